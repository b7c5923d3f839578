//! The switch itself, one file a backend, each with the same three items:
//!
//! - `Context`: where a suspended fiber left off;
//! - `Context::new(bottom, top, entry)`: a context that will call `entry` on the stack `bottom..top`;
//! - `switch(from, to)`: saves the running context in `from` and goes on with `to`.
//!
//! `x86_64` is a few instructions of our own, because a symmetric switch built from an asymmetric one costs a pair of
//! them: measured on one AMD EPYC core, 5.5 ns a switch between two fibers against 2.8 ns with a value carried.
//! `trampoline` builds it from corosensei and serves every other architecture; `--cfg greenloom_switch="trampoline"`
//! selects it on x86-64 too, which is how it is tested.
//!
//! A stable compiler does not tell the source that a build is for APX, so there the refusal below is not seen: do not
//! build with `-C target-cpu` of a processor that has APX, or switch APX off.

// Neither backend can name R16 to R31 as changed by a switch: rustc has no names for them.
#[cfg(all(target_arch = "x86_64", target_feature = "apxf"))]
compile_error!("greenloom cannot switch in code built for APX; add `-C target-feature=-apxf` to RUSTFLAGS");

#[cfg(all(target_arch = "x86_64", not(greenloom_switch = "trampoline")))]
#[path = "x86_64.rs"]
mod backend;

#[cfg(any(not(target_arch = "x86_64"), greenloom_switch = "trampoline"))]
#[path = "trampoline.rs"]
mod backend;

pub(crate) use backend::{Context, switch};

/// Where a new fiber starts. It finds out which fiber it is from the thread's record, and never returns.
pub(crate) type Entry = extern "C-unwind" fn() -> !;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::arch::x86_64::{__m128i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_set1_epi64x};
    use std::cell::Cell;
    use std::ptr;

    use super::*;
    use crate::stack::{Stack, tests::alone};

    thread_local! {
        /// The contexts of the root and of the fiber.
        static PAIR: Cell<[*mut Context; 2]> = const { Cell::new([ptr::null_mut(); 2]) };
    }

    /// A vector that the compiler can neither make anew nor use before this call: it has to hold it in a register.
    #[inline(always)]
    fn held(mut vector: __m128i) -> __m128i {
        // SAFETY: it is no instruction, only a comment in the assembly.
        unsafe { std::arch::asm!("/* {} */", inout(xmm_reg) vector, options(nomem, nostack, preserves_flags)) };
        vector
    }

    /// The sum of 24 vectors that are made before a switch and added after it.
    ///
    /// # Safety
    /// As of [`switch`].
    #[inline(never)]
    unsafe fn sum_over_a_switch(seed: i64, from: *mut Context, to: *const Context) -> i64 {
        // SAFETY: SSE2 is part of x86-64.
        let made: [__m128i; 24] = std::array::from_fn(|number| held(unsafe { _mm_set1_epi64x(seed * number as i64) }));
        // SAFETY: by this function's own contract.
        unsafe { switch(from, to) };
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let sum = made.into_iter().fold(_mm_set1_epi64x(0), |sum, vector| _mm_add_epi64(sum, held(vector)));
            _mm_cvtsi128_si64(sum)
        }
    }

    const SUM: i64 = 23 * 24 / 2;

    extern "C-unwind" fn entry() -> ! {
        let [root, fiber] = PAIR.get();
        loop {
            // SAFETY: the root is suspended in the test below, which keeps both contexts and the stack.
            let sum = unsafe { sum_over_a_switch(-7, fiber, root) };
            if sum != -7 * SUM {
                std::process::abort();
            }
        }
    }

    /// It broke once: the switch on x86-64 named the sixteen vector registers of SSE as changed, and not the sixteen
    /// more of AVX-512. It shows only where the processor has those: in `make test-native`.
    #[test]
    fn more_vectors_than_sse_has_registers_survive_a_switch() {
        let _alone = alone();
        let stack = Stack::new(64 * 1024).unwrap();
        let mut root = Context::running();
        // SAFETY: nothing lives on the stack.
        let mut fiber = unsafe { Context::new(stack.bottom(), stack.top(), entry) };
        let (root, fiber) = (&raw mut root, &raw mut fiber);
        PAIR.set([root, fiber]);
        for _ in 0..3 {
            // SAFETY: the fiber is fresh at first, and suspended in its loop after that.
            assert_eq!(unsafe { sum_over_a_switch(3, root, fiber) }, 3 * SUM);
        }
    }
}
