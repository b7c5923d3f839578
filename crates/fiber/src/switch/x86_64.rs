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
//! as clobbered, so the compiler saves just those that hold something live at that one call site. The resume address is
//! jumped to and not returned to, so that the processor's return predictor stays in step. MXCSR and the x87 control
//! word are part of the OS thread's environment in Rust and are left alone.
//!
//! A fresh fiber's frame looks the same, with its entry as the resume address, and above it a zero return address and a
//! zero RBP, where unwinders and frame-pointer walkers stop:
//!
//! ```text
//! |  0 (return address)  |  <- RSP when `entry` begins: 8 below a multiple of 16, as after a call
//! |  0 (RBP)             |
//! |  0 (RBX)             |
//! |  entry               |  <- Context::sp
//! ```

use std::arch::asm;
use std::ptr;

use super::Entry;

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
    /// `top` is 16-byte aligned, and the 32 bytes below it are writable and unused, as is the rest down to `bottom`.
    pub(crate) unsafe fn new(_bottom: *mut u8, top: *mut u8, entry: Entry) -> Context {
        let frame = top.cast::<usize>();
        // SAFETY: the caller grants at least six words below `top`. RSP after the three pops is `top - 24`, which is
        // 8 modulo 16, what the ABI wants at a function's first instruction.
        unsafe {
            let sp = frame.sub(6);
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
    // SAFETY: the caller vouches for `to`. All registers that the other side may have changed are named, RBX and RBP are
    // restored by whoever jumps back to label 2, and RSP is again what it was when `from` was saved.
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
            out("rax") _, out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _, out("mm4") _, out("mm5") _,
            out("mm6") _, out("mm7") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _,
            out("st(6)") _, out("st(7)") _,
            out("k0") _, out("k1") _, out("k2") _, out("k3") _, out("k4") _, out("k5") _, out("k6") _, out("k7") _,
        )
    }
}
