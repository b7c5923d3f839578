//! Crates that open sockets and files of their own, by the hooks: they are green as they are.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenloom::{spawn, yield_now};
use greenloom_web::http::{Request, Response};
use greenloom_web::{Body, Incoming, Server};
use mysql::prelude::Queryable;
use redis::Commands;
use synchronous_crates::{A_WHILE, others_run, servers};

greenloom_hooks::install!();

const CLIENTS: usize = 50;
const MILLI: Duration = Duration::from_millis(1);

/// Calls `wait`, which has to wait for 100 ms, with each of fifty clients on a green thread of its own. On an OS thread
/// that blocks, all of them take five seconds.
fn wait_at_once<C: 'static>(clients: impl IntoIterator<Item = C>, wait: impl Fn(C) + Copy + 'static) {
    let ticks = Rc::new(Cell::new(0));
    let ticker = spawn({
        let ticks = Rc::clone(&ticks);
        move || {
            loop {
                greenloom::sleep(5 * MILLI);
                ticks.set(ticks.get() + 1);
            }
        }
    });
    yield_now();
    let begun = Instant::now();
    let waiting: Vec<_> = clients.into_iter().map(|client| spawn(move || wait(client))).collect();
    assert_eq!(waiting.len(), CLIENTS);
    for one in waiting {
        one.wait().unwrap();
    }
    let took = begun.elapsed();
    ticker.kill();
    // Far from five seconds, and from the twenty ticks, also on a machine with much else to do.
    assert!(took >= 100 * MILLI && took < 2500 * MILLI, "{took:?} for 50 waits of 100 ms at once");
    assert!(ticks.get() >= 5, "{} ticks of 5 ms in {took:?}", ticks.get());
}

fn mysql() -> mysql::Conn {
    let socket = servers().join("mariadb/socket").to_str().unwrap().to_owned();
    mysql::Conn::new(mysql::OptsBuilder::new().user(Some("root")).socket(Some(socket))).unwrap()
}

#[test]
fn mysql_is_green() {
    let clients: Vec<_> = (0..CLIENTS).map(|_| mysql()).collect();
    wait_at_once(clients, |mut client| {
        assert_eq!(client.query_first::<i64, _>("SELECT SLEEP(0.1)").unwrap(), Some(0));
    });
    let mut client = mysql();
    assert_eq!(client.exec_first::<i64, _, _>("SELECT ? + ?", (20, 22)).unwrap(), Some(42));
    let long: Option<String> = client.query_first("SELECT REPEAT('x', 3000000)").unwrap();
    assert_eq!(long.map(|text| text.len()), Some(3_000_000));
    assert!(client.query_drop("SELECT nothing").unwrap_err().to_string().contains("nothing"));
}

fn redis() -> redis::Connection {
    redis::Client::open(format!("unix://{}", servers().join("redis/socket").display()))
        .unwrap()
        .get_connection()
        .unwrap()
}

#[test]
fn redis_is_green_over_its_own_connection() {
    let clients: Vec<_> = (0..CLIENTS).map(|_| redis()).collect();
    wait_at_once(clients, |mut client| {
        assert_eq!(client.blpop::<_, Option<(String, String)>>("never", 0.1).unwrap(), None);
    });
    let mut client = redis();
    client.set_read_timeout(Some(50 * MILLI)).unwrap();
    let error = client.blpop::<_, Option<(String, String)>>("never", 1.0).unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn ureq_is_green_over_its_own_sockets() {
    let listener = greenloom::net::listen("127.0.0.1:0").unwrap();
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    let handler = |_: Request<Incoming>| {
        std::thread::sleep(100 * MILLI);
        Response::new(Body::from("hello"))
    };
    let _server = Server::start(listener, handler).unwrap();
    // Buffers of 128 KiB that are zeroed take a debug build milliseconds for each connection.
    let settings = ureq::Agent::config_builder().input_buffer_size(4096).output_buffer_size(4096);
    let agent = ureq::Agent::new_with_config(settings.build());
    wait_at_once((0..CLIENTS).map(|_| (agent.clone(), url.clone())), |(agent, url)| {
        assert_eq!(agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap(), "hello");
    });
}

#[test]
fn native_tls_is_green_over_streams_of_std() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = native_tls::Identity::from_pkcs8(chain.as_bytes(), key.as_bytes()).unwrap();
    let acceptor = Arc::new(native_tls::TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(move || {
        for _ in 0..CLIENTS {
            let (stream, _) = listener.accept().unwrap();
            let acceptor = Arc::clone(&acceptor);
            spawn(move || {
                let mut stream = acceptor.accept(stream).unwrap();
                let mut request = [0; 4];
                stream.read_exact(&mut request).unwrap();
                std::thread::sleep(100 * MILLI);
                stream.write_all(&request).unwrap();
            });
        }
    });
    let root = native_tls::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let connector = native_tls::TlsConnector::builder().add_root_certificate(root).build().unwrap();
    // Handshakes first: those of fifty take the processor its time.
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| connector.connect("localhost", TcpStream::connect(address).unwrap()).unwrap()).collect();
    wait_at_once(clients, |mut stream| {
        stream.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    });
    server.wait().unwrap();
}

#[test]
fn rusqlite_is_green_while_the_database_is_busy() {
    let path = std::env::temp_dir().join(format!("greenloom-hooked-rusqlite-{}", std::process::id()));
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.execute_batch("CREATE TABLE t (n INTEGER); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
    let written = Rc::new(Cell::new(0));
    let writers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (path, written) = (path.clone(), Rc::clone(&written));
            spawn(move || {
                let writer = rusqlite::Connection::open(path).unwrap();
                writer.busy_timeout(60_000 * MILLI).unwrap();
                written.set(written.get() + writer.execute("INSERT INTO t VALUES (2)", []).unwrap());
            })
        })
        .collect();
    // They wait, and others run.
    let ((), others_ran) = others_run(|| greenloom::sleep(A_WHILE));
    assert_eq!((written.get(), others_ran), (0, true));
    holder.execute_batch("COMMIT").unwrap();
    for writer in writers {
        writer.wait().unwrap();
    }
    let count: usize = holder.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1 + CLIENTS);
    // One that may not wait so long is told, and nobody else waits meanwhile.
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let impatient = rusqlite::Connection::open(&path).unwrap();
    impatient.busy_timeout(A_WHILE).unwrap();
    let (refused, others_ran) = others_run(|| impatient.execute("INSERT INTO t VALUES (3)", []).unwrap_err());
    assert_eq!((refused.sqlite_error_code(), others_ran), (Some(rusqlite::ErrorCode::DatabaseBusy), true));
    drop((holder, impatient));
    std::fs::remove_file(path).unwrap();
}

fn postgres() -> postgres::Client {
    let host = servers().join("postgres");
    postgres::Config::new().host_path(host).user("postgres").connect(postgres::NoTls).unwrap()
}

/// The crate waits in a runtime of tokio's, of which an OS thread can be in one at a time.
#[test]
fn postgres_is_green_for_one_green_thread_of_an_os_thread_and_refuses_a_second() {
    let mut client = postgres();
    let (rows, others_ran) = others_run(|| client.execute("SELECT pg_sleep(0.2)", &[]).unwrap());
    assert_eq!((rows, others_ran), (1, true));
    let mut other = postgres();
    let first = spawn(move || client.execute("SELECT pg_sleep(0.2)", &[]).unwrap());
    yield_now();
    // It stays for later: its end waits in the runtime, too.
    let refused = catch_unwind(AssertUnwindSafe(|| other.execute("SELECT 1", &[]))).unwrap_err();
    let refused = refused.downcast_ref::<&str>().unwrap();
    assert!(refused.contains("Cannot start a runtime from within a runtime"), "{refused}");
    assert_eq!(first.wait().unwrap(), 1);
    assert_eq!(other.execute("SELECT 1", &[]).unwrap(), 1);
}
