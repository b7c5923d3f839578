//! The switch on x86-64 System V.
//!
//! A suspended fiber is one stack pointer. Below it lie the words that the switch pushed:
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
//! |  entry               |  <- Context::sp, `FRAME` words below the top
//! ```

use std::arch::asm;
use std::ptr;

use super::Entry;

/// How many words a fresh fiber's frame takes below the top of its stack.
const FRAME: usize = 6;

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
        let frame = top.cast::<usize>();
        // SAFETY: `FRAME` words are 48 bytes, which the caller grants below `top`. RSP after the three pops is
        // `top - 24`, which is 8 modulo 16, what the ABI wants at a function's first instruction.
        unsafe {
            let sp = frame.sub(FRAME);
            sp.write(entry as usize);
            sp.add(1).write(0);
            sp.add(2).write(0);
            sp.add(3).write(0);
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
    // that the other side may have changed are named, RBX and RBP are popped before the jump back to label 2, and RSP
    // is then what it was when `from` was saved.
    unsafe {
        let save = &raw mut (*from).sp;
        let load = (*to).sp;
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
