//! Fibers: a function on a stack of its own, and the switch between them as others call it. It knows stacks and the
//! processor's switch; it must not know what its users carry from fiber to fiber.
//!
//! # What keeps a running fiber alive
//!
//! `switch` borrows the fiber it switches to. The frame that called it stays suspended, and so the borrow stays good,
//! until somebody switches back to that frame, which suspends the other fiber first. So a running fiber is always
//! borrowed by a suspended frame, and cannot be dropped or moved; a suspended one may be moved or dropped. The one
//! exception is a fiber that goes on because another *ended*: there the frame is gone, so the ending fiber hands over
//! an `Rc` and the thread's record holds it until the fiber that went on is suspended again ([`Resume::release`]).
//!
//! A fiber that is dropped while suspended in the middle of its function still has live values on its stack, which
//! others may point to. Its stack is leaked, never reused. The layer above unwinds a fiber before it drops it.

mod error;
mod record;
mod start;

use std::cell::{Cell, OnceCell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::record::Thread;
use self::start::{Next, Run, Start};
use crate::overflow;
use crate::snapshot::Snapshot;
use crate::stack::{self, Stack};
use crate::switch::{Context, switch};

pub use self::error::SwitchError;

/// A function with a stack of its own, or (see [`Fiber::root`]) the OS thread's own stack.
///
/// It belongs to the OS thread that made it:
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<greenloom_fiber::Fiber>();
/// ```
pub struct Fiber {
    context: UnsafeCell<Context>,
    state: Cell<State>,
    /// `None` for the root, and for a fiber that has ended.
    stack: UnsafeCell<Option<Stack>>,
    /// The function, on the fiber's own stack, until it begins.
    start: Cell<Option<NonNull<Start>>>,
    id: Cell<u64>,
    name: OnceCell<Box<str>>,
    one_thread: PhantomData<*mut ()>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum State {
    Suspended,
    New,
    Running,
    Finished,
    /// A handle to the thread's own stack; what state that is in, the thread's record knows.
    Root,
}

impl State {
    /// Whether it can be switched to.
    #[inline]
    fn can_go_on(self) -> bool {
        self <= State::New
    }
}

/// Something that holds a fiber that can go on when another one ends.
pub trait Resume: 'static {
    /// The fiber.
    fn fiber(&self) -> &Fiber;

    /// Called when the fiber, having gone on because another one ended, has been suspended again, on whatever fiber
    /// runs by then; `self` is the reference that kept it alive for the while.
    fn release(self: Rc<Self>) {}
}

static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// How many stacks were leaked because a suspended fiber was dropped without having been unwound.
///
/// ```
/// assert_eq!(greenloom_fiber::leaked_stacks(), 0);
/// ```
pub fn leaked_stacks() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

impl Fiber {
    /// A fiber that will run `function` on `stack`, from the first switch to it on. When the function returns, the
    /// fiber has ended and the one it returned goes on.
    ///
    /// # Panics
    /// When the function does not fit the stack. A panic of the function itself, or returning a fiber that cannot go
    /// on, ends the process with a message: the layer above catches panics and knows which one can go on.
    pub fn new<F, N>(stack: Stack, function: F) -> Fiber
    where
        F: FnOnce() -> Rc<N> + 'static,
        N: Resume,
    {
        let fiber = Fiber::finished();
        fiber.restart(stack, function);
        fiber
    }

    /// Gives a fiber that has ended a function and a stack, so that it begins anew, with a new number and the name it
    /// had. The function is built where it stays, as is the rest: a fiber that is part of something larger need not be
    /// moved there.
    ///
    /// # Panics
    /// As [`Fiber::new`], and when the fiber has not ended.
    #[inline]
    pub fn restart<F, N>(&self, stack: Stack, function: F)
    where
        F: FnOnce() -> Rc<N> + 'static,
        N: Resume,
    {
        unsafe fn run<F: FnOnce() -> Rc<N>, N: Resume>(start: NonNull<Start>) -> Next {
            // SAFETY: `restart` places this function beside an `F` only, and a head's function is run once.
            let function = unsafe { Start::take::<F>(start) };
            let unwound = Unwound;
            let next = function();
            std::mem::forget(unwound);
            let fiber: *const Fiber = next.fiber();
            let keep: Rc<dyn Resume> = next;
            Next { fiber, keep: NonNull::new(Rc::into_raw(keep).cast_mut()) }
        }
        self.start(stack, function, run::<F, N>);
    }

    /// Like [`Fiber::new`], for a layer above that keeps its fibers alive by other means than `Rc`, and whose functions
    /// call into another language: what unwinds out of the function (a foreign exception, or the forced unwinding of a
    /// thread that is ended) meets no handler here and ends as at the bottom of any stack.
    ///
    /// # Safety
    /// The fiber whose address the function returns must be able to go on, and must stay where it is until it is
    /// suspended again. The function must not panic.
    pub unsafe fn new_unguarded<F>(stack: Stack, function: F) -> Fiber
    where
        F: FnOnce() -> *const Fiber + 'static,
    {
        unsafe fn run<F: FnOnce() -> *const Fiber>(start: NonNull<Start>) -> Next {
            // SAFETY: `new_unguarded` places this function beside an `F` only, and a head's function is run once.
            let function = unsafe { Start::take::<F>(start) };
            Next { fiber: function(), keep: None }
        }
        let fiber = Fiber::finished();
        fiber.start(stack, function, run::<F>);
        fiber
    }

    /// Puts the function at the top of the stack, and makes a context that will call it through `run`.
    #[inline]
    fn start<F: 'static>(&self, stack: Stack, function: F, run: Run) {
        assert!(self.is_finished(), "only a fiber that has ended can begin anew");
        let thread = Thread::record();
        if !thread.is_guarded.replace(true) {
            overflow::install(record::running);
            stack::keep_until_the_end();
            thread.current.set(&thread.root);
        }
        let start = Start::place(&stack, function, run);
        // SAFETY: nothing lives on the stack but the function, which begins at `start`, aligned to 16 bytes and in the
        // upper half of at least `MIN_STACK_SIZE` bytes.
        let context = unsafe { Context::new(stack.bottom(), start.as_ptr().cast(), record::entry) };
        // SAFETY: the fiber has ended, so it is not resumed through its context any more, and its stack went to the
        // thread's record when it ended; no reference to either is held across this call.
        unsafe {
            self.context.get().write(context);
            self.stack.get().write(Some(stack));
        }
        self.start.set(Some(start));
        self.id.set(thread.new_id());
        self.state.set(State::New);
    }

    /// A handle to the OS thread's own stack. All roots made on one thread stand for the same stack.
    pub const fn root() -> Fiber {
        Fiber::without_stack(State::Root)
    }

    /// A fiber that has ended, for a handle to something that needed none.
    pub const fn finished() -> Fiber {
        Fiber::without_stack(State::Finished)
    }

    const fn without_stack(state: State) -> Fiber {
        Fiber {
            context: UnsafeCell::new(Context::running()),
            state: Cell::new(state),
            stack: UnsafeCell::new(None),
            start: Cell::new(None),
            id: Cell::new(0),
            name: OnceCell::new(),
            one_thread: PhantomData,
        }
    }

    /// Suspends the running fiber and goes on with this one; returns when somebody switches back. Switching to the
    /// running fiber does nothing.
    ///
    /// # Errors
    /// [`SwitchError`] when this fiber has ended, or when the running one is unwinding from a panic.
    ///
    /// Always inlined: the processor predicts a return from the calls it has seen, and after a switch it has seen those
    /// of another stack. Every call between the caller's own function and the switch costs a mispredicted return.
    #[inline(always)]
    pub fn switch(&self) -> Result<(), SwitchError> {
        if std::thread::panicking() {
            return Err(SwitchError::Panicking);
        }
        self.go_on()
    }

    /// As [`Fiber::switch`], where the caller has seen that no panic unwinds: it is not looked for again.
    ///
    /// # Errors
    /// [`SwitchError::Finished`].
    #[inline(always)]
    pub fn go_on(&self) -> Result<(), SwitchError> {
        // SAFETY: `self` is borrowed until the call returns, so it stays where it is; it is of this OS thread, since
        // `Fiber` is not Send.
        unsafe { Fiber::go_on_raw(self) }
    }

    /// Like [`Fiber::switch`], for a fiber that may have ended and be gone when the call returns.
    ///
    /// # Errors
    /// As [`Fiber::switch`].
    ///
    /// # Safety
    /// `fiber` points to a fiber of this OS thread that stays where it is until it is suspended again or has ended.
    #[inline(always)]
    pub unsafe fn switch_raw(fiber: *const Fiber) -> Result<(), SwitchError> {
        if std::thread::panicking() {
            return Err(SwitchError::Panicking);
        }
        // SAFETY: as the caller promised.
        unsafe { Fiber::go_on_raw(fiber) }
    }

    /// # Safety
    /// As for [`Fiber::switch_raw`].
    #[inline(always)]
    unsafe fn go_on_raw(fiber: *const Fiber) -> Result<(), SwitchError> {
        let thread = Thread::record();
        // SAFETY: the fiber stays where it is at least until it runs, as the caller promised, and is not used after
        // that.
        let mut target = unsafe { &*fiber };
        if !target.state.get().can_go_on() {
            target = thread.resolve(target);
            if !target.state.get().can_go_on() {
                return if target.state.get() == State::Running { Ok(()) } else { Err(SwitchError::Finished) };
            }
        }
        // SAFETY: a fiber that can go on was given a function on this OS thread, or is the root, from which one was
        // switched to.
        let me = unsafe { thread.current() };
        if thread.kept.get().is_some() {
            thread.release_after_the_switch();
        }
        me.state.set(State::Suspended);
        target.state.set(State::Running);
        thread.current.set(target);
        // SAFETY: `target` was just seen to be suspended or new, so its context is good and its stack intact. `me`
        // runs, so a suspended frame borrows it, or it is the root, or `kept` or the layer above holds it.
        unsafe { switch(me.context.get(), target.context.get()) };
        thread.clean_up();
        Ok(())
    }

    /// Ends a fiber that has not begun: its function is dropped unrun and its stack given back. Returns `false`, and
    /// does nothing, if it has begun.
    pub fn cancel(&self) -> bool {
        if self.state.get() != State::New {
            return false;
        }
        self.state.set(State::Finished);
        // SAFETY: the fiber has not begun, so no frame is on its stack, and from here on it cannot begin.
        let stack = unsafe { (*self.stack.get()).take() };
        self.drop_start();
        drop(stack);
        true
    }

    fn drop_start(&self) {
        if let Some(start) = self.start.take() {
            // SAFETY: a fiber that begins takes `start` first, so the function was neither run nor dropped; our callers
            // hold the stack until we return.
            unsafe { Start::drop(start) };
        }
    }

    /// Whether it has begun, has not ended and does not run now; `false` for a root.
    #[inline]
    pub fn is_suspended(&self) -> bool {
        self.state.get() == State::Suspended
    }

    /// Gives up a suspended fiber without unwinding it, and returns its stack to the pool: for a fiber whose OS thread
    /// is gone. Values that live on the stack are not dropped. Does nothing to a fiber that is not suspended.
    ///
    /// # Safety
    /// Nothing may be used any more that lives on the stack.
    pub unsafe fn abandon(&self) {
        if self.state.get() == State::Suspended {
            self.state.set(State::Finished);
            // SAFETY: the fiber is suspended, so it does not run on the stack, and never will again; that nothing which
            // lives there is used any more is the caller's promise.
            drop(unsafe { (*self.stack.get()).take() });
        }
    }

    /// Whether the function has begun. A root has.
    #[inline]
    pub fn is_started(&self) -> bool {
        self.state.get() != State::New
    }

    /// Whether the function has returned.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.state.get() == State::Finished
    }

    /// Whether this is the fiber that runs now.
    #[inline]
    pub fn is_running(&self) -> bool {
        match self.state.get() {
            State::Root => Thread::record().root.state.get() == State::Running,
            state => state == State::Running,
        }
    }

    /// A number that no other fiber of this OS thread has; 0 for the root.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// The name shown when the stack overflows.
    pub fn name(&self) -> Option<&str> {
        self.name.get().map(|name| &**name)
    }

    /// Names the fiber. It can be named once; a second name is returned as the error.
    ///
    /// # Errors
    /// The name, if the fiber has one already.
    pub fn set_name(&self, name: Box<str>) -> Result<(), Box<str>> {
        self.name.set(name)
    }

    /// The usable bounds of the stack, lowest and one past the highest address; `None` for a root and for a fiber that
    /// has ended.
    pub fn stack_bounds(&self) -> Option<std::ops::Range<usize>> {
        // SAFETY: the slot is written only by calls that begin or end the fiber, on this OS thread; none of them runs
        // while this reference is used.
        let stack = unsafe { &*self.stack.get() };
        stack.as_ref().map(|stack| stack.bottom() as usize..stack.top() as usize)
    }

    /// How many bytes of its stack a suspended fiber uses; 0 for a root, and for one that has not begun, runs, or has
    /// ended.
    pub fn stack_in_use(&self) -> usize {
        match (self.state.get(), self.stack_bounds()) {
            (State::Suspended, Some(bounds)) => {
                // SAFETY: a context is written by a switch away from the fiber, which does not run.
                let context = unsafe { &*self.context.get() };
                bounds.end.saturating_sub(context.stack_pointer() as usize)
            }
            _ => 0,
        }
    }

    /// What a suspended fiber's stack is like, `most` bytes of it at most; `None` for one that has not begun, runs, or
    /// has ended, and with the portable switch, which does not say where it has left the registers.
    pub fn snapshot(&self, most: usize) -> Option<Snapshot> {
        let fiber = if self.state.get() == State::Root { &Thread::record().root } else { self };
        if fiber.state.get() != State::Suspended {
            return None;
        }
        // SAFETY: a context is written by a switch away from the fiber, which is suspended, its stack intact.
        let registers = unsafe { (*fiber.context.get()).registers() }?;
        let in_use = fiber.stack_bounds().map_or(most, |bounds| bounds.end.saturating_sub(registers.stack_pointer));
        Some(Snapshot::of(registers, in_use.min(most)))
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        match self.state.get() {
            State::Root | State::Finished => {}
            State::New => self.drop_start(),
            State::Suspended => {
                LEAKED.fetch_add(1, Ordering::Relaxed);
                std::mem::forget(self.stack.get_mut().take());
            }
            State::Running => {
                // Not reached while `switch`'s borrow holds, but a dropped thread record would be worse than a message.
                if self.stack.get_mut().is_some() {
                    die("a running fiber was dropped");
                }
            }
        }
    }
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state.get())
            .finish()
    }
}

/// Dropped by what unwinds out of a fiber's function. A value and not a `catch_unwind`, which costs a call.
struct Unwound;

impl Drop for Unwound {
    fn drop(&mut self) {
        die("a panic left a fiber's function");
    }
}

/// Out of line, as nothing of it is to be on the stack of one that waits.
#[cold]
#[inline(never)]
fn die(message: &str) -> ! {
    crate::die(&format!("{message}; this is a fault of the layer above the fibers, and the process ends"));
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::pool_stats;

    thread_local! {
        static ROOT: &'static Fiber = Box::leak(Box::new(Fiber::root()));
    }

    fn leave() -> *const Fiber {
        ROOT.with(|root| *root)
    }

    #[test]
    fn an_unguarded_fiber_may_be_gone_when_the_switch_to_it_returns() {
        let _alone = crate::stack::tests::alone();
        let slot: &'static Cell<*mut Fiber> = Box::leak(Box::new(Cell::new(ptr::null_mut())));
        let stack = Stack::new(64 * 1024).unwrap();
        // SAFETY: the root is leaked.
        let fiber = Box::into_raw(Box::new(unsafe { Fiber::new_unguarded(stack, leave) }));
        slot.set(fiber);
        // SAFETY: the fiber is boxed and freed by the second fiber, after it has ended.
        unsafe { Fiber::switch_raw(fiber) }.unwrap();
        // SAFETY: it has ended.
        let ended = unsafe { Box::from_raw(slot.get()) };
        assert!(ended.is_finished());
    }

    #[test]
    fn an_abandoned_fiber_gives_its_stack_back_on_any_thread() {
        let _alone = crate::stack::tests::alone();
        struct Sent(Fiber);
        // SAFETY: its own thread is gone when it is used.
        unsafe impl Send for Sent {}

        let sent = std::thread::spawn(|| {
            let stack = Stack::new(80 * 1024).unwrap();
            // SAFETY: the root is leaked.
            let fiber = unsafe {
                Fiber::new_unguarded(stack, || {
                    ROOT.with(|root| root.switch()).unwrap();
                    leave()
                })
            };
            fiber.switch().unwrap();
            assert!(fiber.stack_in_use() > 0);
            Sent(fiber)
        })
        .join()
        .unwrap();
        let stacks = pool_stats().stacks;
        // SAFETY: nothing on the stack is used any more.
        unsafe { sent.0.abandon() };
        assert!(sent.0.is_finished() && sent.0.stack_bounds().is_none());
        assert_eq!(pool_stats().in_use, 0);
        let _again = Stack::new(80 * 1024).unwrap();
        assert_eq!(pool_stats().stacks, stacks);
    }
}
