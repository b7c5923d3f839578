//! Queries a second, and the client's CPU time of each: the crate `postgres` as it comes for 100 green threads, or
//! `tokio-postgres` in as many tasks of one OS thread. The former is on the blocking pool, since it waits in a runtime
//! of tokio's, of which an OS thread can be in one at a time. And what a hooked call costs off a green thread.
//!
//! `queries postgres | tokio | off`; `bench/python/hooks/compare.py` runs them in turns.

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
        Some("postgres") => on_green_threads(),
        Some("tokio") => on_tokio(),
        Some("off") => off_a_green_thread(),
        _ => eprintln!("queries postgres | tokio | off"),
    }
}

fn place() -> String {
    format!("host={} user=postgres dbname=postgres", servers().join("postgres").display())
}

fn on_green_threads() {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = postgres::Client::connect(&place(), postgres::NoTls).expect("a connection");
            let query = client.prepare(QUERY).expect("a prepared query");
            (client, query)
        })
        .collect();
    measure(|end, count| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|(mut client, mut query)| {
                let count = Rc::clone(&count);
                greenloom::spawn(move || {
                    while Instant::now() < end {
                        let asked = greenloom::blocking::run(move || {
                            let row = client.query_one(&query, &[]).expect("an answer");
                            assert_eq!(row.get::<_, i32>(0), 42);
                            (client, query)
                        });
                        (client, query) = asked.expect("it did not panic");
                        count.set(count.get() + 1);
                    }
                    // Its end waits in the runtime, too.
                    greenloom::blocking::run(move || drop(client)).expect("it did not panic");
                })
            })
            .collect();
        for thread in threads {
            thread.wait().expect("it did not panic");
        }
    });
}

fn on_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(tasks.block_on(&runtime, async {
            let (client, connection) =
                tokio_postgres::connect(&place(), tokio_postgres::NoTls).await.expect("a connection");
            tokio::task::spawn_local(connection);
            let query = client.prepare(QUERY).await.expect("a prepared query");
            (client, query)
        }));
    }
    measure(|end, count| {
        tasks.block_on(&runtime, async {
            let work: Vec<_> = clients
                .into_iter()
                .map(|(client, query)| {
                    let count = Rc::clone(&count);
                    tokio::task::spawn_local(async move {
                        while Instant::now() < end {
                            let row = client.query_one(&query, &[]).await.expect("an answer");
                            assert_eq!(row.get::<_, i32>(0), 42);
                            count.set(count.get() + 1);
                        }
                    })
                })
                .collect();
            for task in work {
                task.await.expect("it did not panic");
            }
        });
    });
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
