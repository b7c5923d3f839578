//! Scoped green threads, which may borrow from the frame that starts them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::builder::Builder;
use crate::green_thread::GreenThread;
use crate::packet::{PacketRef, run_into};
use crate::runtime::error::{JoinError, SpawnError};
use crate::runtime::here;
use crate::runtime::node::AnyGreenlet;
use crate::runtime::park::{Waker, prepare_shielded};

/// Runs `body`, in which [`Scope::spawn`] starts green threads that may borrow what lives outside of it, and returns
/// when they all have ended.
///
/// If `body` panics, or its green thread is killed or timed out meanwhile, the green threads of the scope are killed;
/// it is still waited for their end, since they borrow.
///
/// Semantics: [`std::thread::scope`], with cancellation.
///
/// ```
/// let words = vec!["green", "thread"];
/// let mut total = 0;
/// greenloom::scope(|scope| {
///     let lengths: Vec<_> = words.iter().map(|word| scope.spawn(|| word.len())).collect();
///     total = lengths.into_iter().map(|length| length.wait().unwrap()).sum();
/// });
/// assert_eq!(total, 11);
/// ```
///
/// What the green threads borrow must live longer than the scope:
///
/// ```compile_fail
/// greenloom::scope(|scope| {
///     let local = 5;
///     scope.spawn(|| println!("{local}")); // `local` is gone before the thread is
/// });
/// ```
pub fn scope<'env, R>(body: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R) -> R {
    let shared = Rc::new(Shared::default());
    let value = greenloom_fiber::scope(
        |_pending| shared.wait(),
        |inner| {
            let scope = Scope { inner, shared: Rc::clone(&shared) };
            match catch_unwind(AssertUnwindSafe(|| body(scope))) {
                Ok(value) => value,
                Err(payload) => {
                    shared.kill();
                    resume_unwind(payload)
                }
            }
        },
    );
    if shared.cut_short.get() {
        // Now that nobody borrows any more, it may unwind.
        let _ = here().check_interrupts();
    }
    value
}

/// Starts green threads that may borrow; see [`scope`]. Clones are the same scope.
#[derive(Clone)]
pub struct Scope<'scope, 'env: 'scope> {
    inner: &'scope greenloom_fiber::Eraser<'scope, 'env>,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    threads: RefCell<Vec<AnyGreenlet>>,
    waiter: Cell<Option<Waker>>,
    /// Whether its green threads were killed because the one that waits for them was interrupted.
    cut_short: Cell<bool>,
}

impl Shared {
    /// Parks until one of the scope's green threads has ended. Does not unwind.
    fn wait(&self) {
        let interrupted = here().is_current_interrupted();
        if interrupted && !self.threads.borrow().is_empty() {
            // Whoever is killed must not have to wait for what others would still like to do.
            self.cut_short.set(true);
            return self.kill();
        }
        match prepare_shielded() {
            Ok(ticket) => {
                self.waiter.set(Some(ticket.waker()));
                ticket.park("scope", None);
            }
            Err(refused) => refused.raise(),
        }
    }

    fn kill(&self) {
        for thread in self.threads.take() {
            if !thread.node().fiber.cancel() {
                here().kill_shielded(&thread);
            }
        }
    }
}

/// What a scoped green thread runs. Dropped, in this order, when it has run, or when it is cancelled.
struct Job {
    closure: greenloom_fiber::Erased,
    ended: Ended,
}

struct Ended(Rc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(waiter) = self.0.waiter.take() {
            waiter.wake();
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a green thread.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<T: 'scope>(&self, f: impl FnOnce() -> T + 'scope) -> ScopedThread<'scope, T> {
        self.spawn_with(Builder::new(), f).unwrap_or_else(|error| error.raise())
    }

    /// Starts a green thread with options.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    #[track_caller]
    pub fn spawn_with<T: 'scope>(
        &self,
        builder: Builder,
        f: impl FnOnce() -> T + 'scope,
    ) -> Result<ScopedThread<'scope, T>, SpawnError> {
        let packet = PacketRef::new();
        let closure = self.inner.erase(run_into(packet.clone(), f));
        let job = Job { closure, ended: Ended(Rc::clone(&self.shared)) };
        let thread = builder.spawn(move || {
            let Job { closure, ended } = job;
            let _ended = ended;
            closure.run();
        })?;
        self.shared.threads.borrow_mut().retain(|thread| !thread.is_dead());
        self.shared.threads.borrow_mut().push(thread.greenlet().clone());
        Ok(ScopedThread { thread, packet, scope: std::marker::PhantomData })
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("pending", &self.inner.pending()).finish()
    }
}

/// A green thread of a [`scope`].
pub struct ScopedThread<'scope, T> {
    thread: GreenThread<()>,
    packet: PacketRef<T>,
    scope: std::marker::PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedThread<'_, T> {
    /// Parks until it has ended and returns its value.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn wait(self) -> Result<T, JoinError> {
        self.packet.wait()
    }

    /// Kills it; see [`GreenThread::kill`].
    pub fn kill(&self) {
        self.thread.kill();
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.thread.is_dead()
    }

    /// The green thread; its own outcome is none.
    pub(crate) fn thread(&self) -> &GreenThread<()> {
        &self.thread
    }

    /// The same as [`is_dead`](ScopedThread::is_dead), by the name it has in eventlet.
    pub fn dead(&self) -> bool {
        self.is_dead()
    }

    /// Lets `waker`, if there is one by then, be used when it has ended.
    pub(crate) fn on_end(&self, waker: &Rc<Cell<Option<Waker>>>) {
        let waker = Rc::clone(waker);
        self.thread.link(move |_| {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        });
    }
}

impl<T> fmt::Debug for ScopedThread<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.thread.fmt(f)
    }
}
