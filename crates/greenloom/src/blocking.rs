//! Calls that have no other way than to block an OS thread: file I/O, a library that knows nothing of green threads, a
//! long computation.
//!
//! [`run`] hands a closure to a pool of OS threads and parks the green thread until it is done. One pool serves all
//! hubs of the process; its threads start as they are needed, [`size`] of them at most, and end after ten idle seconds.
//!
//! Semantics: eventlet's `tpool`.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use greenloom_fiber::ForkMutex;
use greenloom_hub::blocking::{BlockingPool, DEFAULT_SIZE};

use crate::runtime::chain::Chain;
use crate::runtime::error::{Panic, Refused, is_interrupt};
use crate::runtime::park::prepare;
use crate::runtime::watch::Event;
use crate::runtime::{here, try_here};

/// Runs `job` on an OS thread of the pool, parks meanwhile, and returns its value.
///
/// If the green thread is killed or timed out meanwhile, it unwinds at once; the job goes on, and its value is dropped.
///
/// A job that calls this itself runs the inner one at once, where it is: it is on an OS thread that may block, and if
/// it waited for another one of the pool, jobs that fill the pool could wait for one another for ever. What else calls
/// it there, such as a look-up of names, is served in the same way.
///
/// # Errors
/// [`Error`]: the job's panic, a park that is refused here, or no OS thread to run it.
///
/// ```
/// let text = greenloom::blocking::run(|| std::fs::read_to_string("/proc/self/status"))??;
/// assert!(text.starts_with("Name:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    if IN_POOL.get() {
        if try_here().is_some() {
            drop(prepare()?);
        }
        return catch_unwind(AssertUnwindSafe(job)).map_err(|payload| {
            if is_interrupt(payload.as_ref()) {
                resume_unwind(payload);
            }
            Error::Panicked(Panic::new(payload))
        });
    }
    let ticket = prepare()?;
    let waker = ticket.waker();
    let outcome = Arc::new(Mutex::new(None));
    let place = Arc::clone(&outcome);
    let done = move |value| {
        *lock(&place) = Some(value);
        waker.wake();
    };
    let _outstanding = Outstanding::new();
    let watch = &here().watch;
    let watched = watch.is_on().then(|| Arc::new(Watched { made: Instant::now(), times: OnceLock::new() }));
    let timed = watched.clone();
    let job = move || {
        let begun = timed.is_some().then(Instant::now);
        let value = job();
        if let (Some(watched), Some(begun)) = (timed, begun) {
            let _ = watched.times.set((begun - watched.made, begun.elapsed()));
        }
        value
    };
    pool().run(in_pool(job), done).map_err(Error::NoThread)?;
    ticket.park("blocking call", None);
    if let Some((queued, ran)) = watched.and_then(|watched| watched.times.get().copied()) {
        watch.tell(&Event::Blocking { greenlet: &here().current(), queued, ran });
    }
    let outcome = lock(&outcome).take();
    // The ticket was shown to nobody else, and a kill or a timeout would have unwound.
    outcome.expect("the park was ended by the job").map_err(|payload| Error::Panicked(Panic::new(payload)))
}

/// When a call was made, and what the OS thread that ran it says: how long it was in line, and how long it ran.
struct Watched {
    made: Instant,
    times: OnceLock<(Duration, Duration)>,
}

/// `job`, as it runs on an OS thread of the pool.
pub(crate) fn in_pool<T>(job: impl FnOnce() -> T) -> impl FnOnce() -> T {
    || {
        IN_POOL.set(true);
        job()
    }
}

thread_local! {
    /// Whether this is an OS thread of the pool.
    static IN_POOL: Cell<bool> = const { Cell::new(false) };
}

/// How many OS threads the pool has at most: what [`set_size`] said last, else the environment variable
/// `GREENLOOM_BLOCKING_THREADS`, else 20.
///
/// # Panics
/// When the variable holds something else than a number above zero.
///
/// ```
/// assert!(greenloom::blocking::size() > 0);
/// ```
pub fn size() -> usize {
    pool().size()
}

/// Changes how many OS threads the pool has at most. Those above it end when they are idle.
///
/// ```
/// greenloom::blocking::set_size(4.try_into()?);
/// assert_eq!(greenloom::blocking::size(), 4);
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
pub fn set_size(size: NonZeroUsize) {
    pool().set_size(size);
}

/// Why [`run`] has no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The job panicked.
    Panicked(Panic),
    /// Waiting is not possible here.
    Refused(Refused),
    /// No OS thread runs, and none could be started.
    NoThread(io::Error),
}

impl Error {
    /// Panics with the payload of the job's panic, or with the error's text.
    pub fn resume(self) -> ! {
        match self {
            Error::Panicked(panic) => panic.resume(),
            error => panic!("{}", Chain(&error)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Panicked(_) => f.write_str("the blocking call panicked"),
            Error::Refused(refused) => refused.fmt(f),
            Error::NoThread(_) => f.write_str("no OS thread for a blocking call"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Panicked(panic) => Some(panic),
            Error::Refused(refused) => refused.source(),
            Error::NoThread(error) => Some(error),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Refused(refused)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Panicked(panic) => io::Error::other(panic),
            Error::Refused(refused) => refused.into(),
            Error::NoThread(error) => error,
        }
    }
}

/// While it lives, a virtual clock stands still and nobody takes the hub for deadlocked.
pub(crate) struct Outstanding;

impl Outstanding {
    pub(crate) fn new() -> Outstanding {
        here().add_outstanding(1);
        Outstanding
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        if let Some(runtime) = try_here() {
            runtime.add_outstanding(-1);
        }
    }
}

/// The pool of this process. The child of a fork has none of its parent's threads, so it makes a pool of its own.
pub(crate) fn pool() -> BlockingPool {
    static POOL: ForkMutex<Option<(u64, BlockingPool)>> = ForkMutex::new(None);
    let forks = greenloom_fiber::fork_generation();
    let mut pool = POOL.lock();
    match &*pool {
        Some((made_after, pool)) if *made_after == forks => pool.clone(),
        _ => pool.insert((forks, BlockingPool::new(first_size()))).1.clone(),
    }
}

fn first_size() -> NonZeroUsize {
    match std::env::var("GREENLOOM_BLOCKING_THREADS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("GREENLOOM_BLOCKING_THREADS={text:?} is no number above 0")),
        Err(_) => NonZeroUsize::new(DEFAULT_SIZE).expect("the default is not 0"),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under these locks is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
