//! The switch in a few instructions of our own: what the architectures share.
//!
//! A suspended fiber is one stack pointer, at which its frame begins: the address where it goes on, and the registers
//! that inline assembly may not name as clobbered. Each architecture draws its frame at the top of its file, which has
//!
//! - `Frame`: so many words, and `fresh(entry)`: those of a fiber that has not begun, for the top of its stack;
//! - `exchange(save, load)`: the instructions;
//! - `registers(frame)`: what the registers will be that it restores, for who looks at the stack meanwhile.

use std::ptr;

use super::Entry;
use crate::snapshot::Registers;
use architecture::Frame;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod architecture;

/// Where a suspended fiber left off; meaningless while it runs.
pub(crate) struct Context {
    sp: *mut usize,
}

impl Context {
    /// The context of something that is running now.
    pub(crate) const fn running() -> Context {
        Context { sp: ptr::null_mut() }
    }

    /// A context that calls `entry` on the stack that ends at `top` and reaches down to `bottom`.
    ///
    /// # Safety
    /// `top` is 16-byte aligned, and the memory between `bottom` and it is writable and unused, 48 bytes or more.
    pub(crate) unsafe fn new(_bottom: *mut u8, top: *mut u8, entry: Entry) -> Context {
        const { assert!(size_of::<Frame>() <= 48) };
        // SAFETY: the caller grants what the frame takes below `top`; `fresh` is for this place.
        unsafe {
            let frame = top.cast::<Frame>().sub(1);
            frame.write(architecture::fresh(entry));
            Context { sp: frame.cast() }
        }
    }

    /// The stack pointer at which the fiber is suspended.
    pub(crate) fn stack_pointer(&self) -> *const u8 {
        self.sp.cast()
    }

    /// The registers with which it goes on.
    ///
    /// # Safety
    /// It is suspended, and its stack intact.
    pub(crate) unsafe fn registers(&self) -> Option<Registers> {
        // SAFETY: by this function's contract, `sp` is where a switch has left a frame.
        Some(unsafe { architecture::registers(self.sp) })
    }
}

/// Saves the running context in `from` and resumes `to`. Returns when somebody switches to `from`.
///
/// # Safety
/// `to` must hold a suspended or fresh context whose stack is intact, of this OS thread; both pointers are valid.
#[inline(always)]
pub(crate) unsafe fn switch(from: *mut Context, to: *const Context) {
    // SAFETY: both pointers are valid by this function's contract, by which `to` holds a frame that this architecture
    // wrote, on an intact stack.
    unsafe { architecture::exchange(&raw mut (*from).sp, (*to).sp) }
}
