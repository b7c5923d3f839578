//! The portable switch: a symmetric one made of corosensei's asymmetric one.
//!
//! corosensei resumes a coroutine from outside and lets it suspend back to its resumer. So the OS thread's own
//! stack, the root, runs a loop: a fiber that wants to switch suspends with the context it wants to run next, and the
//! loop resumes that one. The loop ends when the wanted context is the root's own.
//!
//! ```text
//!  root stack:  switch() -> trampoline: resume A ... resume B ... resume A ... return
//!                                          |  ^          |  ^
//!  fiber stacks:                           A: suspend(B) B: suspend(A)
//! ```

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ptr;

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::Entry;
use crate::snapshot::Registers;

type Next = *const Context;

/// Where a suspended fiber left off.
pub(crate) struct Context {
    /// `None` for the root, which has no stack of ours.
    coroutine: Option<Coroutine<Next, Next, (), Bounds>>,
    yielder: Cell<*const Yielder<Next, Next>>,
    stack_pointer: Cell<*const u8>,
}

impl Context {
    /// The context of something that is running now, on a stack that is not ours.
    pub(crate) const fn running() -> Context {
        Context { coroutine: None, yielder: Cell::new(ptr::null()), stack_pointer: Cell::new(ptr::null()) }
    }

    /// A context that calls `entry` on the stack that ends at `top` and reaches down to `bottom`.
    ///
    /// # Safety
    /// The memory between them is writable and unused, and `top` is 16-byte aligned.
    pub(crate) unsafe fn new(bottom: *mut u8, top: *mut u8, entry: Entry) -> Context {
        let bounds = Bounds { base: address(top), limit: address(bottom) };
        let coroutine = Coroutine::with_stack(bounds, move |yielder, me: Next| {
            // SAFETY: the trampoline passes the context that it resumes, which is alive while its fiber runs, and
            // nobody holds a reference to its cell.
            unsafe { (*me).yielder.set(yielder) };
            entry()
        });
        Context { coroutine: Some(coroutine), yielder: Cell::new(ptr::null()), stack_pointer: Cell::new(top) }
    }

    /// About where the stack pointer was when the fiber was suspended.
    pub(crate) fn stack_pointer(&self) -> *const u8 {
        self.stack_pointer.get()
    }

    /// corosensei knows the registers, and does not say.
    ///
    /// # Safety
    /// None is needed here.
    pub(crate) unsafe fn registers(&self) -> Option<Registers> {
        None
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(coroutine) = &mut self.coroutine {
            // SAFETY: a context is dropped when its fiber has not begun (the coroutine's own closure holds nothing to
            // drop), has ended (the stack holds nothing), or is leaked with its stack kept as it is.
            unsafe { coroutine.force_reset() };
        }
    }
}

/// Saves the running context in `from` and resumes `to`. Returns when somebody switches to `from`.
///
/// # Safety
/// `to` must hold a suspended or fresh context whose stack is intact, of this OS thread; both pointers are valid.
#[inline]
pub(crate) unsafe fn switch(from: *mut Context, to: *const Context) {
    // SAFETY: both pointers are valid by this function's contract. `from` runs: without a coroutine it is the root,
    // which runs the trampoline; with one, its yielder was set when the fiber began and is there as long as its
    // function runs.
    unsafe {
        let mark = 0u8;
        (*from).stack_pointer.set(&raw const mark);
        if (*from).coroutine.is_none() {
            trampoline(from, to);
        } else {
            (*(*from).yielder.get()).suspend(to);
        }
    }
}

/// Resumes one context after the other until `root` is the next one.
///
/// # Safety
/// As `switch`.
unsafe fn trampoline(root: Next, mut next: Next) {
    while !ptr::eq(next, root) {
        // SAFETY: `next` was the `to` of a switch, so it is valid, suspended or fresh; only its field's address is
        // taken.
        let coroutine = unsafe { &raw mut (*next.cast_mut()).coroutine };
        // SAFETY: the coroutine inside is suspended, so this is the only reference to it. A fiber's memory may go only
        // after the next switch, which comes back here.
        let result = match unsafe { (*coroutine).as_mut() } {
            Some(coroutine) => coroutine.resume(next),
            None => unreachable!("one root a thread"),
        };
        match result {
            CoroutineResult::Yield(wanted) => next = wanted,
            CoroutineResult::Return(()) => unreachable!("a fiber's entry never returns"),
        }
    }
}

/// A stack that is owned elsewhere, as corosensei wants to see it.
struct Bounds {
    base: StackPointer,
    limit: StackPointer,
}

fn address(pointer: *mut u8) -> StackPointer {
    NonZeroUsize::new(pointer as usize).expect("a stack is never at address 0")
}

// SAFETY: the only one is made in `Context::new`, whose contract says that the bounds are those of writable, unused
// memory with a 16-byte aligned top, which is what corosensei asks for.
unsafe impl Stack for Bounds {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}
