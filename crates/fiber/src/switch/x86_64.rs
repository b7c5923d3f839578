//! The switch on x86-64 System V.
//!
//! The frame of a suspended fiber is what the switch pushed:
//!
//! ```text
//! higher addresses
//! +---------------------+  <- top of the stack (16-byte aligned)
//! |  the start closure  |     placed there by `Fiber::new`
//! +---------------------+
//! |  ... frames ...     |
//! +---------------------+
//! |  saved RBP          |
//! |  saved RBX          |
//! |  resume address     |  <- Context::sp
//! +---------------------+
//! lower addresses
//! ```
//!
//! RBX and RBP are pushed by hand because inline assembly may not name them as clobbered; every other register is named
//! as clobbered, so the compiler saves just those that hold something live at that one call site. What a function of
//! the System V ABI may change is named by `clobber_abi`: the other general registers that are not callee-saved, the
//! x87, MMX, SSE, AVX and AMX registers, and of AVX-512 also `zmm16` to `zmm31` and the masks `k0` to `k7`, whether the
//! build uses them or not. The callee-saved ones, R12 to R15, are named one by one. APX's R16 to R31 have no name in
//! Rust yet, so a build for APX is refused (see the module above).
//!
//! The resume address is jumped to and not returned to, so that the processor's return predictor stays in step. MXCSR
//! and the x87 control word are part of the OS thread's environment in Rust and are left alone.
//!
//! A fresh fiber's frame looks the same, with its entry as the resume address, and above it a zero return address and a
//! zero RBP, where unwinders and frame-pointer walkers stop:
//!
//! ```text
//! |  unused              |  <- 8 below the top
//! |  unused              |
//! |  0 (return address)  |  <- RSP when `entry` begins: 8 below a multiple of 16, as after a call
//! |  0 (RBP)             |
//! |  0 (RBX)             |
//! |  entry               |  <- Context::sp, a `Frame` below the top
//! ```

use std::arch::asm;

use super::Entry;
use crate::snapshot::Registers;

/// A fresh fiber's frame, and in its first three words any suspended one's.
pub(super) type Frame = [usize; 6];

/// The frame of a fiber that has not begun. RSP after the three pops is 8 modulo 16 if the frame ends at a multiple of
/// 16, which is what the ABI wants at a function's first instruction.
pub(super) fn fresh(entry: Entry) -> Frame {
    [entry as usize, 0, 0, 0, 0, 0]
}

/// The registers with which the fiber goes on whose frame this is.
///
/// # Safety
/// At `frame` is one as drawn above.
pub(super) unsafe fn registers(frame: *const usize) -> Registers {
    // SAFETY: a frame has at least three words.
    let [instruction, _, frame_pointer] = unsafe { frame.cast::<[usize; 3]>().read() };
    let stack_pointer = frame as usize + size_of::<[usize; 3]>();
    Registers { instruction, stack_pointer, frame_pointer: Some(frame_pointer), link: 0 }
}

/// Leaves the running fiber's stack pointer in `save`, and goes on with the one that is suspended at `load`.
///
/// # Safety
/// At `load` is a frame as drawn above, on an intact stack; `save` may be written to.
#[inline(always)]
pub(super) unsafe fn exchange(save: *mut *mut usize, load: *mut usize) {
    // SAFETY: the frame at `load` and the pointer `save` are as the caller says. All registers that the other side may
    // have changed are named, RBX and RBP are popped before the jump back to label 2, and RSP is then what it was when
    // it was saved.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "push rbp",
            "push rbx",
            "push rax",
            "mov [rdi], rsp",
            "mov rsp, rsi",
            "pop rax",
            "pop rbx",
            "pop rbp",
            "jmp rax",
            "2:",
            inout("rdi") save => _,
            inout("rsi") load => _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        )
    }
}
