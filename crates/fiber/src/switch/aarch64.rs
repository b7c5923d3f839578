//! The switch on 64-bit ARM, after its procedure call standard (AAPCS64).
//!
//! A suspended fiber is one stack pointer, 16-byte aligned as the processor demands. Above it lie the words that the
//! switch stored:
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
use std::ptr;

use super::Entry;

/// How many words the frame of a suspended fiber takes, a fresh one's too.
const FRAME: usize = 4;

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
    /// `top` is 16-byte aligned, and the memory between `bottom` and it is writable and unused, 32 bytes or more.
    pub(crate) unsafe fn new(_bottom: *mut u8, top: *mut u8, entry: Entry) -> Context {
        let frame = top.cast::<usize>();
        // SAFETY: `FRAME` words are 32 bytes, which the caller grants below `top`. SP is `top` when the entry begins,
        // and so 16-byte aligned.
        unsafe {
            let sp = frame.sub(FRAME);
            sp.write(0);
            sp.add(1).write(entry as usize);
            sp.add(2).write(0);
            Context { sp }
        }
    }

    /// The stack pointer at which the fiber is suspended.
    pub(crate) fn stack_pointer(&self) -> *const u8 {
        self.sp.cast()
    }
}

/// Saves the running context in `from` and resumes `to`. Returns when somebody switches to `from`.
///
/// # Safety
/// `to` must hold a suspended or fresh context whose stack is intact, of this OS thread; both pointers are valid.
#[inline(always)]
pub(crate) unsafe fn switch(from: *mut Context, to: *const Context) {
    // SAFETY: `to` holds a frame as drawn above, on an intact stack, by this function's own contract. All registers
    // that the other side may have changed are named; X19 and X29 are loaded before the jump back to label 2, where SP
    // is what it was when `from` was saved.
    unsafe {
        let save = &raw mut (*from).sp;
        let load = (*to).sp;
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
