//! Queries a second, and the client's CPU time of each, by 100 clients on one OS thread: a synchronous crate as it
//! comes on green threads, or its asynchronous peer in as many tasks of tokio. `mysql` and `redis` are green by the
//! hooks. `postgres` is on the blocking pool, since it waits in a runtime of tokio's, of which an OS thread can be in
//! one at a time. And what a hooked call costs off a green thread.
//!
//! `queries postgres | tokio | mysql | mysql-async | redis | redis-tokio | off`; `bench/python/hooks/compare.py` runs
//! them in turns.

use std::cell::Cell;
use std::ffi::c_int;
use std::rc::Rc;
use std::time::{Duration, Instant};

use synchronous_crates::servers;

greenloom_hooks::install!();

const CLIENTS: usize = 100;
const TIME: Duration = Duration::from_secs(2);
const QUERY: &str = "select 42";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("postgres") => on_green_threads(postgres_client, ask_postgres, end_postgres),
        Some("tokio") => {
            on_tokio(async || tokio_postgres_client().await, async |client| ask_tokio_postgres(client).await)
        }
        Some("mysql") => on_green_threads(mysql_client, ask_mysql, drop),
        Some("mysql-async") => {
            on_tokio(async || mysql_async_client().await, async |client| ask_mysql_async(client).await)
        }
        Some("redis") => on_green_threads(redis_client, ask_redis, drop),
        Some("redis-tokio") => {
            on_tokio(async || redis_tokio_client().await, async |client| ask_redis_tokio(client).await)
        }
        Some("off") => off_a_green_thread(),
        _ => eprintln!("queries postgres | tokio | mysql | mysql-async | redis | redis-tokio | off"),
    }
}

fn on_green_threads<C: 'static>(connect: fn() -> C, ask: fn(C) -> C, end: fn(C)) {
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
    measure(|until, count| {
        let work = |mut client: C| {
            let count = Rc::clone(&count);
            greenloom::spawn(move || {
                while Instant::now() < until {
                    client = ask(client);
                    count.set(count.get() + 1);
                }
                end(client);
            })
        };
        for thread in clients.into_iter().map(work).collect::<Vec<_>>() {
            thread.wait().expect("it did not panic");
        }
    });
}

fn on_tokio<C: 'static>(connect: impl AsyncFn() -> C, ask: impl AsyncFn(&mut C) + Copy + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    let clients: Vec<_> = (0..CLIENTS).map(|_| tasks.block_on(&runtime, connect())).collect();
    measure(|until, count| {
        tasks.block_on(&runtime, async {
            let work = |mut client: C| {
                let count = Rc::clone(&count);
                tokio::task::spawn_local(async move {
                    while Instant::now() < until {
                        ask(&mut client).await;
                        count.set(count.get() + 1);
                    }
                })
            };
            for task in clients.into_iter().map(work).collect::<Vec<_>>() {
                task.await.expect("it did not panic");
            }
        });
    });
}

fn postgres_place() -> String {
    format!("host={} user=postgres dbname=postgres", servers().join("postgres").display())
}

type Postgres = (postgres::Client, postgres::Statement);

fn postgres_client() -> Postgres {
    let mut client = postgres::Client::connect(&postgres_place(), postgres::NoTls).expect("a connection");
    let query = client.prepare(QUERY).expect("a prepared query");
    (client, query)
}

fn ask_postgres((mut client, query): Postgres) -> Postgres {
    let asked = greenloom::blocking::run(move || {
        let row = client.query_one(&query, &[]).expect("an answer");
        assert_eq!(row.get::<_, i32>(0), 42);
        (client, query)
    });
    asked.expect("it did not panic")
}

/// Its end waits in the runtime, too.
fn end_postgres(client: Postgres) {
    greenloom::blocking::run(move || drop(client)).expect("it did not panic");
}

type TokioPostgres = (tokio_postgres::Client, tokio_postgres::Statement);

async fn tokio_postgres_client() -> TokioPostgres {
    let (client, connection) =
        tokio_postgres::connect(&postgres_place(), tokio_postgres::NoTls).await.expect("a connection");
    tokio::task::spawn_local(connection);
    let query = client.prepare(QUERY).await.expect("a prepared query");
    (client, query)
}

async fn ask_tokio_postgres((client, query): &mut TokioPostgres) {
    let row = client.query_one(&*query, &[]).await.expect("an answer");
    assert_eq!(row.get::<_, i32>(0), 42);
}

fn mysql_place() -> Option<String> {
    servers().join("mariadb/socket").to_str().map(str::to_owned)
}

fn mysql_client() -> mysql::Conn {
    let options = mysql::OptsBuilder::new().user(Some("root")).socket(mysql_place());
    mysql::Conn::new(options).expect("a connection")
}

fn ask_mysql(mut client: mysql::Conn) -> mysql::Conn {
    use mysql::prelude::Queryable;
    assert_eq!(client.query_first::<i64, _>(QUERY).expect("an answer"), Some(42));
    client
}

async fn mysql_async_client() -> mysql_async::Conn {
    let options = mysql_async::OptsBuilder::default().user(Some("root")).socket(mysql_place());
    mysql_async::Conn::new(options).await.expect("a connection")
}

async fn ask_mysql_async(client: &mut mysql_async::Conn) {
    use mysql_async::prelude::Queryable;
    assert_eq!(client.query_first::<i64, _>(QUERY).await.expect("an answer"), Some(42));
}

fn redis_server() -> redis::Client {
    redis::Client::open(format!("unix://{}", servers().join("redis/socket").display())).expect("a place")
}

fn redis_client() -> redis::Connection {
    redis_server().get_connection().expect("a connection")
}

fn ask_redis(mut client: redis::Connection) -> redis::Connection {
    let answer: i64 = redis::cmd("ECHO").arg(42).query(&mut client).expect("an answer");
    assert_eq!(answer, 42);
    client
}

async fn redis_tokio_client() -> redis::aio::MultiplexedConnection {
    redis_server().get_multiplexed_async_connection().await.expect("a connection")
}

async fn ask_redis_tokio(client: &mut redis::aio::MultiplexedConnection) {
    let answer: i64 = redis::cmd("ECHO").arg(42).query_async(client).await.expect("an answer");
    assert_eq!(answer, 42);
}

fn measure(work: impl FnOnce(Instant, Rc<Cell<u64>>)) {
    let count = Rc::new(Cell::new(0));
    let (began, used) = (Instant::now(), cpu_time());
    work(began + TIME, Rc::clone(&count));
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu_time() - used);
    let count = count.get() as f64;
    println!("{:.1} {:.3}", count / seconds, used.as_secs_f64() * 1e6 / count);
}

fn cpu_time() -> Duration {
    // Fields 14 and 15 are hundredths of a second.
    let line = std::fs::read_to_string("/proc/self/stat").expect("there is /proc");
    let fields: Vec<_> = line.rsplit(") ").next().expect("a name in parentheses").split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// The cheapest hooked call, a `poll` of nothing, by the hook and past it, in turns: nanoseconds more.
fn off_a_green_thread() {
    // Few at a time, so that some are not disturbed.
    const CALLS: u32 = 2_000;
    let time = |call: fn() -> c_int| {
        let began = Instant::now();
        for _ in 0..CALLS {
            assert_eq!(call(), 0);
        }
        began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    let (mut hooked, mut plain) = (f64::MAX, f64::MAX);
    for _ in 0..1_000 {
        hooked = hooked.min(time(raw::hooked));
        plain = plain.min(time(raw::plain));
    }
    println!("{:.2} {:.2}", hooked - plain, plain);
}

#[allow(unsafe_code)]
mod raw {
    use std::ffi::{c_int, c_void};
    use std::sync::OnceLock;

    use greenloom_hooks::libc::{RTLD_NEXT, dlsym, nfds_t, poll, pollfd};

    // SAFETY: whoever calls one keeps libc's contract.
    type Poll = unsafe extern "C" fn(*mut pollfd, nfds_t, c_int) -> c_int;

    pub fn hooked() -> c_int {
        // SAFETY: it has no files to look at.
        unsafe { poll(std::ptr::null_mut(), 0, 0) }
    }

    pub fn plain() -> c_int {
        static REAL: OnceLock<Poll> = OnceLock::new();
        // SAFETY: the name ends with a zero byte.
        let real = || unsafe { dlsym(RTLD_NEXT, c"poll".as_ptr()) };
        // SAFETY: libc's function of that name has this type.
        let real = REAL.get_or_init(|| unsafe { std::mem::transmute::<*mut c_void, Poll>(real()) });
        // SAFETY: it has no files to look at.
        unsafe { real(std::ptr::null_mut(), 0, 0) }
    }
}
