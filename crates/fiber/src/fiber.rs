//! Fibers.
//!
//! # Who keeps a running fiber alive
//!
//! `switch` borrows the fiber it switches to. The frame that called it stays suspended, and so the borrow stays good,
//! until somebody switches back to that frame, which suspends the other fiber first. So a running fiber is always
//! borrowed by a suspended frame, and cannot be dropped or moved; a suspended one may be moved or dropped. The one
//! exception is a fiber that goes on because another *ended*: there the frame is gone, so the ending fiber hands over
//! an `Rc` and the thread's record holds it until the fiber that went on is suspended again ([`Resume::release`]).
//!
//! A fiber that is dropped while suspended in the middle of its function still has live values on its stack, which
//! others may point to. Its stack is leaked, never reused. The layer above unwinds a fiber before it drops it.

use std::cell::{Cell, OnceCell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::overflow;
use crate::stack::Stack;
use crate::switch::{Context, switch};

/// A function with a stack of its own, or (see [`Fiber::root`]) the OS thread's own stack.
///
/// It belongs to the OS thread that made it:
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<fiber::Fiber>();
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

/// Why a switch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchError {
    /// The fiber has ended.
    Finished,
    /// The running fiber is unwinding from a panic. Were it suspended now, the fibers that run meanwhile would see
    /// [`std::thread::panicking`] as true, and a second panic among them would end the process.
    Panicking,
}

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SwitchError::Finished => "the fiber has ended",
            SwitchError::Panicking => "no switch while a panic unwinds: destructors must not block",
        })
    }
}

impl std::error::Error for SwitchError {}

/// Something that holds a fiber that can go on when another one ends.
pub trait Resume: 'static {
    /// The fiber.
    fn fiber(&self) -> &Fiber;

    /// Called when the fiber, having gone on because another one ended, has been suspended again, on whatever fiber runs
    /// by then; `self` is the reference that kept it alive for the while.
    fn release(self: Rc<Self>) {}
}

/// The head of the function that waits on a new fiber's stack; the function itself follows.
struct Start {
    run: unsafe fn(NonNull<Start>) -> Next,
    drop: unsafe fn(NonNull<Start>),
}

/// Who goes on when a fiber has ended.
struct Next {
    fiber: *const Fiber,
    /// What keeps it alive while it runs; `None` if the layer above sees to that.
    keep: Option<NonNull<dyn Resume>>,
}

#[repr(C)]
struct StartWith<F> {
    head: Start,
    function: ManuallyDrop<F>,
}

static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// How many stacks were leaked because a suspended fiber was dropped without having been unwound.
///
/// ```
/// assert_eq!(fiber::leaked_stacks(), 0);
/// ```
pub fn leaked_stacks() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

impl Fiber {
    /// A fiber that will run `function` on `stack`, from the first switch to it on. When the function returns, the fiber
    /// has ended and the one it returned goes on.
    ///
    /// # Panics
    /// When the function does not fit the stack. A panic of the function itself, or returning a fiber that cannot go
    /// on, ends the process with a message: the layer above catches panics and knows who can go on.
    pub fn new<F, N>(stack: Stack, function: F) -> Fiber
    where
        F: FnOnce() -> Rc<N> + 'static,
        N: Resume,
    {
        let fiber = Fiber::finished();
        fiber.restart(stack, function);
        fiber
    }

    /// Gives a fiber that has ended a function and a stack, so that it begins anew, with a new number and the name it had. The
    /// function is built where it stays, as is the rest: a fiber that is part of something larger need not be moved there.
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
            // SAFETY: the caller vouches that `start` heads a `StartWith<F>` that was not read before.
            let function = unsafe { take_function::<F>(start) };
            match catch_unwind(AssertUnwindSafe(function)) {
                Ok(next) => {
                    let fiber: *const Fiber = next.fiber();
                    let keep: Rc<dyn Resume> = next;
                    Next { fiber, keep: NonNull::new(Rc::into_raw(keep).cast_mut()) }
                }
                Err(_) => die("a panic left a fiber's function"),
            }
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
            // SAFETY: the caller vouches that `start` heads a `StartWith<F>` that was not read before.
            let function = unsafe { take_function::<F>(start) };
            Next { fiber: function(), keep: None }
        }
        let fiber = Fiber::finished();
        fiber.start(stack, function, run::<F>);
        fiber
    }

    /// Puts the function at the top of the stack, and makes a context that will call it through `run`.
    #[inline]
    fn start<F: 'static>(&self, stack: Stack, function: F, run: unsafe fn(NonNull<Start>) -> Next) {
        unsafe fn drop_start<F>(start: NonNull<Start>) {
            // SAFETY: `start` heads a `StartWith<F>` that was never run.
            unsafe { ManuallyDrop::drop(&mut (*start.cast::<StartWith<F>>().as_ptr()).function) };
        }

        assert!(self.is_finished(), "only a fiber that has ended can begin anew");
        overflow::install();
        let size = size_of::<StartWith<F>>();
        let align = align_of::<StartWith<F>>().max(16);
        let room = stack.top() as usize - stack.bottom() as usize;
        assert!(
            size + align < room / 2,
            "a function of {size} bytes does not fit a stack of {room} bytes; box what it captures"
        );
        // SAFETY: the stack is ours and unused; `start` is aligned and lies, with its function, between top and bottom.
        let (start, context) = unsafe {
            let below_top = stack.top().sub(size);
            let start = below_top.sub(below_top as usize % align);
            let with = start.cast::<StartWith<F>>();
            with.write(StartWith { head: Start { run, drop: drop_start::<F> }, function: ManuallyDrop::new(function) });
            (NonNull::new_unchecked(with.cast::<Start>()), Context::new(stack.bottom(), start, entry))
        };
        // SAFETY: the fiber has ended, so nobody uses its context or its stack.
        unsafe {
            self.context.get().write(context);
            self.stack.get().write(Some(stack));
        }
        self.start.set(Some(start));
        let thread = Thread::record();
        self.id.set(thread.next_id.replace(thread.next_id.get() + 1));
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
    /// Always inlined: the processor predicts a return from the calls it has seen, and after a switch it has seen those of
    /// another stack. Every call between the caller's own function and the switch costs a mispredicted return.
    #[inline(always)]
    pub fn switch(&self) -> Result<(), SwitchError> {
        // SAFETY: `self` is borrowed until the call returns.
        unsafe { Fiber::switch_raw(self) }
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
        let thread = Thread::record();
        // SAFETY: the caller vouches for it up to the switch, after which it is not used.
        let target = thread.resolve(unsafe { &*fiber });
        if !target.state.get().can_go_on() {
            return if target.state.get() == State::Running { Ok(()) } else { Err(SwitchError::Finished) };
        }
        let me = thread.current();
        if thread.kept.get().is_some() {
            thread.release_after_the_switch();
        }
        me.state.set(State::Suspended);
        target.state.set(State::Running);
        thread.current.set(target);
        // SAFETY: `target` is suspended or new, so its context is good and its stack intact; the caller vouches for it. `me`
        // runs, so a suspended frame borrows it, or it is the root, or `kept` or the layer above holds it.
        unsafe { switch(me.context.get(), target.context.get()) };
        thread.clean_up();
        Ok(())
    }

    /// Ends a fiber that has not begun: its function is dropped unrun and its stack given back. Returns `false`, and does
    /// nothing, if it has begun.
    pub fn cancel(&self) -> bool {
        if self.state.get() != State::New {
            return false;
        }
        self.state.set(State::Finished);
        // SAFETY: nobody runs on the stack, and nobody will.
        let stack = unsafe { (*self.stack.get()).take() };
        self.drop_start();
        drop(stack);
        true
    }

    fn drop_start(&self) {
        if let Some(start) = self.start.take() {
            // SAFETY: the fiber has not begun, so the function is still there, and was not run.
            unsafe { (start.as_ref().drop)(start) };
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
            // SAFETY: a suspended fiber's stack is looked at by nobody, and the caller vouches for what lives on it.
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
            State::Root => THREAD.with(|thread| thread.root.state.get() == State::Running),
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
        // SAFETY: the stack is taken out only when the fiber ends, on this thread.
        let stack = unsafe { &*self.stack.get() };
        stack.as_ref().map(|stack| stack.bottom() as usize..stack.top() as usize)
    }

    /// How many bytes of its stack a suspended fiber uses; 0 for a root, and for one that has not begun, runs, or has ended.
    pub fn stack_in_use(&self) -> usize {
        match (self.state.get(), self.stack_bounds()) {
            (State::Suspended, Some(bounds)) => {
                // SAFETY: a suspended fiber's context is not being written.
                let context = unsafe { &*self.context.get() };
                bounds.end.saturating_sub(context.stack_pointer() as usize)
            }
            _ => 0,
        }
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

/// What an OS thread knows of its fibers. Nothing here has a destructor, so that it can be used until the very end.
struct Thread {
    root: Fiber,
    /// The running fiber; null at first, which means the root.
    current: Cell<*const Fiber>,
    next_id: Cell<u64>,
    /// Whether `dead` or `released` holds something to be dropped by whoever runs after a switch.
    unclean: Cell<bool>,
    /// The stack of the fiber that ended last, until nobody runs on it any more.
    dead: Cell<Option<ManuallyDrop<Stack>>>,
    /// What keeps the running fiber alive, if it went on because another one ended.
    kept: Cell<Option<NonNull<dyn Resume>>>,
    /// What kept the fiber alive that was just suspended.
    released: Cell<Option<NonNull<dyn Resume>>>,
}

thread_local! {
    static THREAD: ManuallyDrop<Thread> = const {
        ManuallyDrop::new(Thread {
            root: Fiber::without_stack(State::Running),
            current: Cell::new(ptr::null()),
            next_id: Cell::new(1),
            unclean: Cell::new(false),
            dead: Cell::new(None),
            kept: Cell::new(None),
            released: Cell::new(None),
        })
    };
}

impl Thread {
    /// The OS thread's own.
    #[inline(always)]
    fn record() -> &'static Thread {
        let record: *const Thread = THREAD.with(|thread| &raw const **thread);
        // SAFETY: it has no destructor, so it is there until the OS thread's last instruction; the reference cannot leave the
        // OS thread, since `Thread` is not Sync.
        unsafe { &*record }
    }

    #[inline(always)]
    fn resolve<'a>(&'a self, fiber: &'a Fiber) -> &'a Fiber {
        if fiber.state.get() == State::Root { &self.root } else { fiber }
    }

    #[inline(always)]
    fn current(&self) -> &Fiber {
        let current = self.current.get();
        // SAFETY: the running fiber is alive (see the module's documentation), and the root as long as the thread.
        if current.is_null() { &self.root } else { unsafe { &*current } }
    }

    #[cold]
    fn release_after_the_switch(&self) {
        self.released.set(self.kept.take());
        self.unclean.set(true);
    }

    /// Drops what the fiber that ran before left to be dropped.
    #[inline(always)]
    fn clean_up(&self) {
        if self.unclean.get() {
            self.clean_up_now();
        }
    }

    #[inline(never)]
    fn clean_up_now(&self) {
        self.unclean.set(false);
        if let Some(stack) = self.dead.take() {
            // The fiber it belonged to has ended and has been left for good.
            drop(ManuallyDrop::into_inner(stack));
        }
        if let Some(released) = self.released.take() {
            // SAFETY: made by `Rc::into_raw` in `finish`.
            unsafe { Rc::from_raw(released.as_ptr()) }.release();
        }
    }

    /// Ends the running fiber and goes on with `next`.
    fn finish(&self, next: Next) -> ! {
        let me = self.current();
        if self.kept.get().is_some() {
            self.release_after_the_switch();
        }
        self.kept.set(next.keep);
        // SAFETY: `kept` holds a count of the `Rc`, or the caller of `new_unguarded` vouches for it.
        let target = self.resolve(unsafe { &*next.fiber });
        if !target.state.get().can_go_on() {
            die("a fiber ended, and the one it returned cannot go on");
        }
        me.state.set(State::Finished);
        // SAFETY: `me` has ended, so nobody else looks at its stack slot.
        let stack = unsafe { (*me.stack.get()).take() };
        self.dead.set(stack.map(ManuallyDrop::new));
        self.unclean.set(true);
        target.state.set(State::Running);
        self.current.set(target);
        // SAFETY: as in `Fiber::switch`; the context saved in `me` is never resumed, and `me` itself is borrowed, by
        // the frame that switched to it or by `released`, until the next fiber cleans up.
        unsafe { switch(me.context.get(), target.context.get()) };
        die("a fiber that had ended was resumed")
    }
}

/// Moves the function out from behind its head.
///
/// # Safety
/// `start` heads a `StartWith<F>` whose function is there, and is not used again.
unsafe fn take_function<F>(start: NonNull<Start>) -> F {
    // SAFETY: the caller's word.
    let function = unsafe { ptr::read(&raw const (*start.cast::<StartWith<F>>().as_ptr()).function) };
    ManuallyDrop::into_inner(function)
}

/// Where every fiber begins.
extern "C-unwind" fn entry() -> ! {
    THREAD.with(|thread| {
        thread.clean_up();
        let start = thread.current().start.take().expect("a fiber begins once");
        // SAFETY: the function was put there by `Fiber::start` and is run this once.
        let next = unsafe { (start.as_ref().run)(start) };
        thread.finish(next)
    })
}

/// What the overflow handler needs to know of the running fiber; `None` on the OS thread's own stack.
pub(crate) fn running_stack() -> Option<(u64, Option<&'static str>, &'static Stack)> {
    THREAD.with(|thread| {
        let current = thread.current.get();
        // SAFETY: the running fiber is alive; the caller uses the references only while it runs.
        let fiber = unsafe { current.as_ref() }?;
        // SAFETY: as above.
        let stack = unsafe { &*fiber.stack.get() }.as_ref()?;
        Some((fiber.id(), fiber.name(), stack))
    })
}

fn die(message: &str) -> ! {
    eprintln!("greenloom: {message}; this is a fault of the layer above the fibers, and the process ends");
    std::process::abort();
}

#[cfg(test)]
mod tests {
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
