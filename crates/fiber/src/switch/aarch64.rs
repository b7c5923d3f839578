//! The switch on 64-bit ARM, after its procedure call standard (AAPCS64).
//!
//! The frame of a suspended fiber is what the switch stored, 16-byte aligned as the processor demands:
//!
//! ```text
//! higher addresses
//! +---------------------+  <- top of the stack (16-byte aligned)
//! |  the start closure  |     placed there by `Fiber::new`
//! +---------------------+
//! |  ... frames ...     |
//! +---------------------+
//! |  unused             |
//! |  saved X19          |
//! |  resume address     |
//! |  saved X29          |  <- Context::sp
//! +---------------------+
//! lower addresses
//! ```
//!
//! X19 and X29 are stored by hand because inline assembly may not name them as clobbered; every other register is named
//! as clobbered, so the compiler saves just those that hold something live at that one call site. `clobber_abi` names
//! what a function may change, X30 among them; of V8 to V15, whose lower halves a function keeps, it names the whole,
//! and of SVE the predicates. X20 to X28 are named one by one. X18 is not touched here: where a platform keeps it for
//! itself, it belongs to the OS thread.
//!
//! FPCR is part of the OS thread's environment in Rust and is left alone, as MXCSR is on x86-64.
//!
//! The resume address is jumped to and not returned to, so that the processor's return predictor stays in step. Where
//! branch targets are checked (BTI), a jump through X17 may land on the `bti c` or `paciasp` at a function's start and
//! on the `bti j` here, which is written as the hint that it is, for assemblers and processors that do not know it.
//! Return addresses that are signed (PAC) stay in the frames of the fiber that signed them, at the same stack pointer.
//!
//! A fresh fiber's frame looks the same, at the top of its stack, with its entry as the resume address. The entry
//! begins with a zero X29 from the frame and a zero X30, the return address, from the switch: there frame-pointer
//! walkers and unwinders stop.

use std::arch::asm;

use super::Entry;
use crate::snapshot::Registers;

/// The frame of a suspended fiber, a fresh one's too.
pub(super) type Frame = [usize; 4];

/// The frame of a fiber that has not begun. SP is the end of the frame when the entry begins, and so 16-byte aligned.
pub(super) fn fresh(entry: Entry) -> Frame {
    [0, entry as usize, 0, 0]
}

/// The registers with which the fiber goes on whose frame this is.
///
/// # Safety
/// At `frame` is one as drawn above.
pub(super) unsafe fn registers(frame: *const usize) -> Registers {
    // SAFETY: a frame has four words.
    let [frame_pointer, instruction, _, _] = unsafe { frame.cast::<Frame>().read() };
    let stack_pointer = frame as usize + size_of::<Frame>();
    Registers { instruction, stack_pointer, frame_pointer: Some(frame_pointer), link: 0 }
}

/// Leaves the running fiber's stack pointer in `save`, and goes on with the one that is suspended at `load`.
///
/// # Safety
/// At `load` is a frame as drawn above, on an intact stack; `save` may be written to.
#[inline(always)]
pub(super) unsafe fn exchange(save: *mut *mut usize, load: *mut usize) {
    // SAFETY: the frame at `load` and the pointer `save` are as the caller says. All registers that the other side may
    // have changed are named; X19 and X29 are loaded before the jump back to label 2, where SP is what it was when it
    // was saved.
    unsafe {
        asm!(
            "adr x17, 2f",
            "stp x29, x17, [sp, #-32]!",
            "str x19, [sp, #16]",
            "mov x17, sp",
            "str x17, [x0]",
            "mov sp, x1",
            "ldr x19, [sp, #16]",
            "ldp x29, x17, [sp], #32",
            "mov x30, xzr",
            "br x17",
            "2:",
            "hint #36", // bti j
            inout("x0") save => _, inout("x1") load => _,
            out("x20") _, out("x21") _, out("x22") _, out("x23") _, out("x24") _,
            out("x25") _, out("x26") _, out("x27") _, out("x28") _,
            clobber_abi("C"),
        )
    }
}
