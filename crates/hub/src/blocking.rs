//! A pool of OS threads for calls that block and have no other way: file I/O, `getaddrinfo`, a user's own function.
//!
//! One pool serves all hubs of the process. Threads are started as jobs come, up to the pool's size, and end after
//! ten idle seconds. Jobs wait in line, first in, first out.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The number of threads when nobody says otherwise: eventlet's.
pub const DEFAULT_SIZE: usize = 20;

const IDLE: Duration = Duration::from_secs(10);

/// What a job came to: its value, or the payload of its panic.
pub type Outcome<T> = Result<T, Box<dyn Any + Send>>;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of OS threads.
#[derive(Clone)]
pub struct BlockingPool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    size: usize,
    threads: usize,
    idle: usize,
    started: u64,
}

impl BlockingPool {
    /// A pool of at most `size` threads, none of which runs yet.
    pub fn new(size: NonZeroUsize) -> BlockingPool {
        let state = Mutex::new(State { size: size.get(), ..State::default() });
        BlockingPool { shared: Arc::new(Shared { state, work: Condvar::new() }) }
    }

    /// Changes the size. Threads above it end when they are idle.
    pub fn set_size(&self, size: NonZeroUsize) {
        self.shared.lock().size = size.get();
        self.shared.work.notify_all();
    }

    /// The size.
    pub fn size(&self) -> usize {
        self.shared.lock().size
    }

    /// How many threads there are now.
    pub fn threads(&self) -> usize {
        self.shared.lock().threads
    }

    /// Runs `job` on a thread of the pool and then `done`, on the same thread, with what it came to. Does not block.
    ///
    /// # Errors
    /// When no thread runs and none can be started. `job` is dropped then.
    pub fn run<T: 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Outcome<T>) + Send + 'static,
    ) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= state.idle && state.threads < state.size {
            let shared = Arc::clone(&self.shared);
            state.started += 1;
            let name = format!("greenloom-blocking-{}", state.started);
            match thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(error),
                // The job waits for one of those that run.
                Err(_) => {}
            }
        }
        state.jobs.push_back(Box::new(move || done(catch_unwind(AssertUnwindSafe(job)))));
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No job runs under the lock, so a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // `done` is the hub's; should it panic, the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                continue;
            }
            if state.threads > state.size {
                break;
            }
            state.idle += 1;
            let (woken, timeout) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl std::fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("BlockingPool")
            .field("size", &state.size)
            .field("threads", &state.threads)
            .field("idle", &state.idle)
            .field("jobs", &state.jobs.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(size: usize) -> BlockingPool {
        BlockingPool::new(NonZeroUsize::new(size).unwrap())
    }

    #[test]
    fn jobs_beyond_the_size_wait_in_line() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        for number in 0..50 {
            let sender = sender.clone();
            pool.run(move || number, move |value| sender.send(value.unwrap()).unwrap()).unwrap();
        }
        assert_eq!(receiver.iter().take(50).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        assert_eq!(pool.threads(), 1);
    }

    #[test]
    fn a_panic_is_an_outcome_and_the_thread_goes_on() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let second = sender.clone();
        pool.run(|| panic!("job"), move |outcome: Outcome<()>| sender.send(outcome.is_err()).unwrap()).unwrap();
        pool.run(|| (), move |outcome| second.send(outcome.is_err()).unwrap()).unwrap();
        assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (true, false));
    }

    #[test]
    fn threads_run_jobs_side_by_side_up_to_the_size() {
        let pool = pool(4);
        let barrier = Arc::new(std::sync::Barrier::new(4));
        let (sender, receiver) = mpsc::channel();
        for _ in 0..4 {
            let (barrier, sender) = (barrier.clone(), sender.clone());
            pool.run(move || barrier.wait().is_leader(), move |leader| sender.send(leader.unwrap()).unwrap()).unwrap();
        }
        assert_eq!(receiver.iter().take(4).filter(|leader| *leader).count(), 1);
        assert_eq!(pool.threads(), 4);
    }
}
