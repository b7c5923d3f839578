//! The OS thread's record of its fibers: which one runs, and what is to be dropped once nobody runs on it any more.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use super::start::{Next, Start};
use super::{Fiber, Resume, State, die};
use crate::overflow::Running;
use crate::stack::{self, Stack};
use crate::switch::switch;

/// What an OS thread knows of its fibers. Nothing here has a destructor, so that it can be used until the very end.
pub(super) struct Thread {
    pub(super) root: Fiber,
    /// The running fiber; null until the first one begins.
    pub(super) current: Cell<*const Fiber>,
    next_id: Cell<u64>,
    /// Whether the OS thread is ready to report an overflow.
    pub(super) is_guarded: Cell<bool>,
    /// Whether there is something to be dropped by whatever runs after a switch: `released`, or the stack of a fiber
    /// that ended in an OS thread that is ending.
    unclean: Cell<bool>,
    /// What keeps the running fiber alive, if it went on because another one ended.
    pub(super) kept: Cell<Option<NonNull<dyn Resume>>>,
    /// What kept the fiber alive that was just suspended.
    released: Cell<Option<NonNull<dyn Resume>>>,
}

thread_local! {
    static THREAD: ManuallyDrop<Thread> = const {
        ManuallyDrop::new(Thread {
            root: Fiber::without_stack(State::Running),
            current: Cell::new(ptr::null()),
            next_id: Cell::new(1),
            is_guarded: Cell::new(false),
            unclean: Cell::new(false),
            kept: Cell::new(None),
            released: Cell::new(None),
        })
    };
}

#[cfg(feature = "shared-library")]
crate::thread_pointer!(mod pointer = "greenloom_fiber_thread");

impl Thread {
    /// The OS thread's own.
    #[inline(always)]
    pub(super) fn record() -> &'static Thread {
        #[cfg(feature = "shared-library")]
        let record = if pointer::get().is_null() { Thread::first_look() } else { pointer::get().cast() };
        #[cfg(not(feature = "shared-library"))]
        let record = Thread::look_up();
        // SAFETY: it has no destructor, so it is there until the OS thread's last instruction; the reference cannot
        // leave the OS thread, since `Thread` is not Sync.
        unsafe { &*record }
    }

    #[inline(always)]
    fn look_up() -> *const Thread {
        THREAD.with(|thread| &raw const **thread)
    }

    #[cfg(feature = "shared-library")]
    #[cold]
    fn first_look() -> *const Thread {
        pointer::set(Thread::look_up().cast());
        Thread::look_up()
    }

    /// A number that no fiber of this OS thread had before.
    #[inline]
    pub(super) fn new_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    #[inline(always)]
    pub(super) fn resolve<'a>(&'a self, fiber: &'a Fiber) -> &'a Fiber {
        if fiber.state.get() == State::Root { self.root() } else { fiber }
    }

    /// The running fiber.
    ///
    /// # Safety
    /// A function was given to a fiber on this OS thread, which notes the root as what runs.
    #[inline(always)]
    pub(super) unsafe fn current(&self) -> &Fiber {
        // SAFETY: not null, as the caller says. The running fiber is alive (see the documentation of `super`), and the
        // root as long as the thread.
        unsafe { &*self.current.get() }
    }

    /// A call, for the sake of a branch, which the processor predicts. Chosen by a conditional move, the address of
    /// what goes on would be known only when its state has been loaded, and its stack pointer be loaded after that.
    #[cold]
    #[inline(never)]
    fn root(&self) -> &Fiber {
        &self.root
    }

    #[cold]
    pub(super) fn release_after_the_switch(&self) {
        self.released.set(self.kept.take());
        self.unclean.set(true);
    }

    /// Drops what the fiber that ran before left to be dropped.
    #[inline(always)]
    pub(super) fn clean_up(&self) {
        if self.unclean.get() {
            self.clean_up_now();
        }
    }

    #[inline(never)]
    fn clean_up_now(&self) {
        self.unclean.set(false);
        // Nobody runs on it any more, and it is kept for the next fiber unless there will be none.
        stack::drop_last_of_the_ending();
        if let Some(released) = self.released.take() {
            // SAFETY: made by `Rc::into_raw` in `Fiber::restart`; it went from there to `kept` and here, and taking it
            // leaves no second copy.
            unsafe { Rc::from_raw(released.as_ptr()) }.release();
        }
    }

    /// Ends the running fiber and goes on with `next`. Inlined: it never returns, and a call would leave the address
    /// behind that the processor predicts for the next return of whatever goes on.
    #[inline(always)]
    fn finish(&self, next: Next) -> ! {
        // SAFETY: one ends here.
        let me = unsafe { self.current() };
        if self.kept.get().is_some() {
            self.release_after_the_switch();
        }
        self.kept.set(next.keep);
        // SAFETY: `kept` holds a count of the `Rc` that has it, or, without one, the fiber was made by `new_unguarded`,
        // whose caller promised that it stays where it is until it is suspended again.
        let target = self.resolve(unsafe { &*next.fiber });
        if !target.state.get().can_go_on() {
            die("a fiber ended, and the one it returned cannot go on");
        }
        me.state.set(State::Finished);
        // SAFETY: `me` runs on this stack to its last switch below, and nothing takes or drops what is given back like
        // this before that; other readers of the slot are on this OS thread and run later.
        let stack = unsafe { (*me.stack.get()).take() };
        if stack.is_some_and(Stack::give_back_running) {
            self.unclean.set(true);
        }
        target.state.set(State::Running);
        self.current.set(target);
        // SAFETY: `target` was just seen to be suspended or new, so its context is good and its stack intact. The
        // context saved in `me` is never resumed, and `me` itself is borrowed, by the frame that switched to it or by
        // `released`, until the next fiber cleans up.
        unsafe { switch(me.context.get(), target.context.get()) };
        die("a fiber that had ended was resumed")
    }
}

/// Where every fiber begins.
pub(super) extern "C-unwind" fn entry() -> ! {
    let thread = Thread::record();
    thread.clean_up();
    // SAFETY: one begins here.
    let start = unsafe { thread.current() }.start.take().expect("a fiber begins once");
    // SAFETY: `Fiber::start` placed it on the stack of this fiber, which runs now; taking it leaves no second copy.
    let next = unsafe { Start::run(start) };
    thread.finish(next)
}

/// What the overflow handler needs to know of the running fiber; `None` on the OS thread's own stack.
pub(super) fn running() -> Option<Running> {
    let current = Thread::record().current.get();
    // SAFETY: the running fiber is alive, and the handler, which runs on top of it, ends before it goes on.
    let fiber = unsafe { current.as_ref() }?;
    // SAFETY: as above; the slot is written only when a fiber begins or ends, not while it runs its function.
    let stack = unsafe { &*fiber.stack.get() }.as_ref()?;
    Some(Running { id: fiber.id(), name: fiber.name(), size: stack.size(), guard: stack.guard() })
}
