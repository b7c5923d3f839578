//! The function of a new fiber, at the top of the stack it will run on, until the fiber begins.
//!
//! Its type is erased: a head with two functions that know the type, then the captured values. Built where it stays, it
//! costs no allocation, and a fiber that never begins can still drop it.

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use super::{Fiber, Resume};
use crate::stack::Stack;

/// The fiber that goes on when another has ended.
pub(super) struct Next {
    pub(super) fiber: *const Fiber,
    /// What keeps it alive while it runs; `None` if the layer above sees to that.
    pub(super) keep: Option<NonNull<dyn Resume>>,
}

/// Runs the function behind the head, which it takes.
///
/// # Safety
/// The head is that of a function which is still there; it is neither run nor dropped again.
pub(super) type Run = unsafe fn(NonNull<Start>) -> Next;

/// The head; the function follows.
pub(super) struct Start {
    run: Run,
    drop: unsafe fn(NonNull<Start>),
}

#[repr(C)]
struct StartWith<F> {
    head: Start,
    function: ManuallyDrop<F>,
}

impl Start {
    /// Puts the function at the top of the stack, to be run by `run`, which must be one for its type.
    ///
    /// The head's address is 16-byte aligned, and the stack's memory below it is unused.
    ///
    /// # Panics
    /// When the function would fill more than half of the stack.
    #[inline]
    pub(super) fn place<F: 'static>(stack: &Stack, function: F, run: Run) -> NonNull<Start> {
        unsafe fn drop_start<F>(start: NonNull<Start>) {
            // SAFETY: only `place::<F>` names this function, in the head of a `StartWith<F>`, and the caller of a
            // head's `drop` vouches that the function was neither taken nor dropped before.
            unsafe { ManuallyDrop::drop(&mut (*start.cast::<StartWith<F>>().as_ptr()).function) };
        }

        let size = size_of::<StartWith<F>>();
        let align = align_of::<StartWith<F>>().max(16);
        let room = stack.top() as usize - stack.bottom() as usize;
        assert!(
            size + align < room / 2,
            "a function of {size} bytes does not fit a stack of {room} bytes; box what it captures"
        );
        // SAFETY: `size + align` bytes below the top were just seen to lie within the stack, which is on loan to our
        // caller and on which nothing lives yet; rounding down to `align` moves the start by less than `align`.
        unsafe {
            let below_top = stack.top().sub(size);
            let start = below_top.sub(below_top as usize % align).cast::<StartWith<F>>();
            start
                .write(StartWith { head: Start { run, drop: drop_start::<F> }, function: ManuallyDrop::new(function) });
            NonNull::new_unchecked(start.cast())
        }
    }

    /// Runs the function.
    ///
    /// # Safety
    /// `start` was made by [`Start::place`], its stack is the running one, and it is not used again.
    pub(super) unsafe fn run(start: NonNull<Start>) -> Next {
        // SAFETY: the head was written by `place` and the caller uses it this once.
        unsafe { (start.as_ref().run)(start) }
    }

    /// Drops the function unrun.
    ///
    /// # Safety
    /// `start` was made by [`Start::place`], its stack is still on loan, and it is not used again.
    pub(super) unsafe fn drop(start: NonNull<Start>) {
        // SAFETY: the head was written by `place` and the caller uses it this once.
        unsafe { (start.as_ref().drop)(start) }
    }

    /// Moves the function out from behind its head.
    ///
    /// # Safety
    /// `start` was made by [`Start::place`] with an `F`, and the function is neither run, taken nor dropped again.
    pub(super) unsafe fn take<F>(start: NonNull<Start>) -> F {
        // SAFETY: a head made with an `F` is the first field of a `StartWith<F>`, and the function is read this once.
        let function = unsafe { ptr::read(&raw const (*start.cast::<StartWith<F>>().as_ptr()).function) };
        ManuallyDrop::into_inner(function)
    }
}
