//! Clients of databases. Those that open a `std::net::TcpStream` of their own block the OS thread, which the tests
//! show, and go to the blocking pool; redis can be given a connection.

use std::io::{self, Read, Write};
use std::time::Duration;

use greenloom::net::UnixStream;
use greenloom::{JoinSet, blocking, sleep, timeout};
use mysql::prelude::Queryable;
use redis::{Cmd, Commands, ConnectionLike, Parser, RedisResult, Value};
use synchronous_crates::{A_WHILE, others_run, servers};

// redis: green, over a connection of forty lines.

/// A connection to Redis over a green stream. Everything in the crate that works on a [`ConnectionLike`] works on it.
struct Green<S> {
    stream: S,
    parser: Parser,
    is_open: bool,
}

impl<S: Read + Write> Green<S> {
    fn new(stream: S) -> Green<S> {
        Green { stream, parser: Parser::new(), is_open: true }
    }

    fn ask(&mut self, commands: &[u8], answers: usize) -> RedisResult<Vec<Value>> {
        if !self.is_open {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        // A timeout or an error between a command and its answer leaves a connection that is of no more use.
        self.is_open = false;
        self.stream.write_all(commands)?;
        let answers = (0..answers).map(|_| self.parser.parse_value(&mut self.stream)).collect::<RedisResult<_>>()?;
        self.is_open = true;
        Ok(answers)
    }
}

impl<S: Read + Write> ConnectionLike for Green<S> {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.ask(command, 1)?.pop().ok_or_else(|| io::Error::other("one answer to one command").into())
    }

    fn req_packed_commands(&mut self, commands: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let mut answers = self.ask(commands, offset + count)?;
        answers.drain(..offset);
        Ok(answers)
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").query::<String>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}

fn redis() -> Green<UnixStream> {
    Green::new(UnixStream::connect(servers().join("redis/socket")).unwrap())
}

#[test]
fn redis_is_green_over_a_green_connection() {
    let mut connection = redis();
    let () = connection.set("greeting", "hello").unwrap();
    assert_eq!(connection.get::<_, String>("greeting").unwrap(), "hello");
    let (first, second): (i64, i64) =
        redis::pipe().atomic().incr("counted", 1).incr("counted", 1).query(&mut connection).unwrap();
    assert_eq!(second, first + 1);
    let wrong: RedisResult<i64> = connection.lpush("greeting", 1);
    assert_eq!(wrong.unwrap_err().code(), Some("WRONGTYPE"));
    assert!(connection.check_connection());

    let blocked = Cmd::new().arg("BLPOP").arg("never").arg(A_WHILE.as_secs_f64()).to_owned();
    let (nothing, others_ran) = others_run(|| blocked.query::<Option<(String, String)>>(&mut connection).unwrap());
    assert_eq!((nothing, others_ran), (None, true));
}

fn blocked_clients(connection: &mut Green<UnixStream>) -> u32 {
    let told: String = redis::cmd("INFO").arg("clients").query(connection).unwrap();
    told.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_green_threads_wait_in_redis_at_once() {
    let mut waiting = JoinSet::new();
    for number in 0..100 {
        waiting.spawn(move || redis().blpop::<_, (String, u32)>(format!("queue {number}"), 20.0).unwrap().1);
    }
    // They have all asked before they are answered.
    let mut connection = redis();
    while blocked_clients(&mut connection) < 100 {
        sleep(Duration::from_millis(1));
    }
    for number in 0..100 {
        let () = connection.rpush(format!("queue {number}"), number).unwrap();
    }
    let mut got: Vec<u32> = std::iter::from_fn(|| waiting.join_next()).map(|number| number.unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..100).collect::<Vec<_>>());
}

#[test]
fn redis_own_connection_blocks_so_it_goes_to_the_pool() {
    let path = servers().join("redis/socket");
    let url = format!("unix://{}", path.display());
    let wait = move || {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        connection.blpop::<_, Option<(String, String)>>("never", A_WHILE.as_secs_f64()).unwrap()
    };
    assert_eq!(others_run(wait.clone()), (None, false));
    assert_eq!(others_run(|| blocking::run(wait).unwrap()), (None, true));
}

// postgres, mysql: they block, and run on the pool.

fn postgres() -> postgres::Client {
    let host = servers().join("postgres");
    postgres::Config::new().host_path(host).user("postgres").connect(postgres::NoTls).unwrap()
}

#[test]
fn postgres_blocks_so_it_goes_to_the_pool() {
    let wait = |client: &mut postgres::Client| client.execute("SELECT pg_sleep(0.2)", &[]).unwrap();
    assert_eq!(others_run(|| wait(&mut postgres())), (1, false));
    assert_eq!(others_run(|| blocking::run(move || wait(&mut postgres())).unwrap()), (1, true));
}

#[test]
fn a_postgres_client_goes_to_the_pool_and_comes_back() {
    let client = blocking::run(postgres).unwrap();
    let (client, sum) = blocking::run(move || {
        let mut client = client;
        let sum: i64 = client.query_one("SELECT sum(n) FROM generate_series(1, 100) AS n", &[]).unwrap().get(0);
        (client, sum)
    })
    .unwrap();
    assert_eq!(sum, 5050);
    // Its end says good-bye to the server.
    blocking::run(move || drop(client)).unwrap();
}

#[test]
fn a_timeout_ends_the_wait_for_a_job_on_the_pool_and_not_the_job() {
    let waited = timeout(A_WHILE / 10, || blocking::run(|| postgres().execute("SELECT pg_sleep(0.2)", &[]).unwrap()));
    assert!(waited.is_err());
}

fn mysql() -> mysql::Conn {
    let socket = servers().join("mariadb/socket").to_str().unwrap().to_owned();
    mysql::Conn::new(mysql::OptsBuilder::new().user(Some("root")).socket(Some(socket))).unwrap()
}

#[test]
fn mysql_blocks_so_it_goes_to_the_pool() {
    let wait = || mysql().query_first::<i64, _>("SELECT SLEEP(0.2)").unwrap();
    assert_eq!(others_run(wait), (Some(0), false));
    assert_eq!(others_run(|| blocking::run(wait).unwrap()), (Some(0), true));
}

#[test]
fn a_mysql_connection_goes_to_the_pool_and_comes_back() {
    let connection = blocking::run(mysql).unwrap();
    let (connection, sum) = blocking::run(move || {
        let mut connection = connection;
        let sum = connection.exec_first::<i64, _, _>("SELECT ? + ?", (20, 22)).unwrap();
        (connection, sum)
    })
    .unwrap();
    assert_eq!(sum, Some(42));
    blocking::run(move || drop(connection)).unwrap();
}

// rusqlite: no sockets, but files and locks.

#[test]
fn rusqlite_blocks_so_it_goes_to_the_pool() {
    let path = std::env::temp_dir().join(format!("greenloom-rusqlite-{}", std::process::id()));
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.execute_batch("CREATE TABLE t (n INTEGER); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
    // It waits for the lock as long as it may.
    let wait = {
        let path = path.clone();
        move || {
            let other = rusqlite::Connection::open(path).unwrap();
            other.busy_timeout(A_WHILE).unwrap();
            other.execute("INSERT INTO t VALUES (2)", []).unwrap_err().sqlite_error_code()
        }
    };
    let busy = Some(rusqlite::ErrorCode::DatabaseBusy);
    assert_eq!(others_run(wait.clone()), (busy, false));
    assert_eq!(others_run(|| blocking::run(wait).unwrap()), (busy, true));
    holder.execute_batch("COMMIT").unwrap();
    let count: i64 = holder.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    drop(holder);
    std::fs::remove_file(path).unwrap();
}
