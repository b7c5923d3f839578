//! More than one hub: one on each of n OS threads, with `Send` work handed between them.
//!
//! Green threads do not migrate, so spreading work is a choice the program makes: hand it to [a hub](HubHandle::spawn),
//! or to [the next one](Hubs::spawn).

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::green_thread::spawn_n_at;
use crate::hub::{HubHandle, try_current};
use crate::runtime::error::JoinError;
use crate::runtime::here;
use crate::runtime::park::{Waker, park};
use crate::runtime::state::Runtime;

/// Hubs on OS threads of their own. Dropping it stops them.
///
/// ```
/// let hubs = greenloom::Hubs::new(2)?;
/// let squares: Vec<_> = (0..10u64).map(|number| hubs.spawn(move || number * number)).collect();
/// let sum: u64 = squares.into_iter().map(|square| square.wait().unwrap()).sum();
/// assert_eq!(sum, 285);
/// hubs.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Hubs {
    hubs: Vec<Running>,
    next: AtomicUsize,
}

struct Running {
    handle: HubHandle,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// How the root of a hub's OS thread is told that the hub is to end.
#[derive(Default)]
struct Stop {
    state: Mutex<(bool, Option<Waker>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stop {
    fn wait(&self) {
        while !lock(&self.state).0 {
            // The root is not the hub and does not panic, so it may park.
            let _ = park("stop", |waker| lock(&self.state).1 = Some(waker));
        }
    }

    fn stop(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Hubs {
    /// Starts `count` hubs, named `hub-0` and so on.
    ///
    /// # Errors
    /// When an OS thread or its hub cannot be made; those that were are stopped.
    pub fn new(count: usize) -> io::Result<Hubs> {
        let mut hubs = Hubs { hubs: Vec::new(), next: AtomicUsize::new(0) };
        for number in 0..count {
            let (sender, receiver) = mpsc::channel();
            let stop = Arc::new(Stop::default());
            let stopped = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name(format!("hub-{number}")).spawn(move || {
                let hub = try_current().map(|hub| hub.handle());
                let made = hub.is_ok();
                if sender.send(hub).is_ok() && made {
                    stopped.wait();
                    here().kill_all();
                }
            })?;
            let handle = receiver.recv().map_err(|_| io::Error::other("the hub's OS thread ended"))??;
            hubs.hubs.push(Running { handle, stop, thread: Some(thread) });
        }
        Ok(hubs)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hubs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hubs.is_empty()
    }

    /// The hub with this number.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn handle(&self, number: usize) -> &HubHandle {
        &self.hubs[number].handle
    }

    /// Starts a green thread in the hubs in turn.
    ///
    /// # Panics
    /// When there are none.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Remote<T> {
        assert!(!self.is_empty(), "there is no hub to spawn in");
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.len();
        self.handle(number).spawn(f)
    }

    /// Stops the hubs: kills their green threads, so that destructors run, and waits for the OS threads to end.
    ///
    /// Called on one of those OS threads, which cannot wait for its own end, it waits for the others; its own ends once
    /// the calling green thread has parked or ended, and kills it then as all others. The same goes for the drop.
    ///
    /// # Panics
    /// When an OS thread panicked.
    pub fn stop(mut self) {
        self.stop_all().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    }

    fn stop_all(&mut self) -> std::thread::Result<()> {
        for hub in &self.hubs {
            hub.stop.stop();
        }
        let here = std::thread::current().id();
        let mut result = Ok(());
        for hub in &mut self.hubs {
            // Whoever runs in one of the hubs cannot wait for its own OS thread.
            if let Some(thread) = hub.thread.take().filter(|thread| thread.thread().id() != here) {
                result = result.and(thread.join());
            }
        }
        result
    }
}

impl Drop for Hubs {
    fn drop(&mut self) {
        // A panic of theirs was reported by the panic hook.
        let _ = self.stop_all();
    }
}

impl fmt::Debug for Hubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.hubs.iter().map(|hub| &hub.handle)).finish()
    }
}

/// The outcome of something that another hub does, and its waiter.
struct Answer<T> {
    state: Mutex<AnswerState<T>>,
}

struct AnswerState<T> {
    result: Option<Result<T, JoinError>>,
    waiter: Option<Waker>,
}

/// The other hub's end of a [`Remote`]. Dropped without an answer, it says that there will be none.
struct Reply<T>(Option<Arc<Answer<T>>>);

impl<T> Reply<T> {
    fn send(mut self, result: Result<T, JoinError>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<T, JoinError>) {
        if let Some(answer) = self.0.take() {
            let waiter = {
                let mut state = lock(&answer.state);
                state.result = Some(result);
                state.waiter.take()
            };
            if let Some(waiter) = waiter {
                waiter.wake();
            }
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.put(Err(JoinError::Killed));
    }
}

impl HubHandle {
    /// Starts a green thread in that hub, from any OS thread. If the hub has ended, or ends before the green thread
    /// does, waiting for it says [`JoinError::Killed`].
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Remote<T> {
        let answer = Arc::new(Answer { state: Mutex::new(AnswerState { result: None, waiter: None }) });
        let (reply, place) = (Reply(Some(Arc::clone(&answer))), Location::caller());
        // If the hub is gone the message is dropped, and with it the reply.
        let _ = self.schedule(move || {
            spawn_n_at(place, move || reply.send(catch_unwind(AssertUnwindSafe(f)).map_err(JoinError::from_payload)));
        });
        Remote { answer }
    }
}

/// A green thread in another hub.
pub struct Remote<T> {
    answer: Arc<Answer<T>>,
}

impl<T> Remote<T> {
    /// Parks until it has ended and returns its value. Works on any OS thread.
    ///
    /// # Errors
    /// [`JoinError`]: its panic; that it was killed, or its hub ended.
    pub fn wait(self) -> Result<T, JoinError> {
        struct Owed(&'static Runtime);
        impl Drop for Owed {
            fn drop(&mut self) {
                self.0.add_outstanding(-1);
            }
        }
        let runtime = here();
        runtime.add_outstanding(1);
        let _owed = Owed(runtime);
        loop {
            if let Some(result) = lock(&self.answer.state).result.take() {
                return result;
            }
            park("green thread of another hub", |waker| {
                let mut answer = lock(&self.answer.state);
                answer.waiter = Some(waker);
                if answer.result.is_some() {
                    // It came between the look and the announcement.
                    waker.wake();
                }
            })?;
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        lock(&self.answer.state).result.is_some()
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("finished", &self.is_finished()).finish()
    }
}
