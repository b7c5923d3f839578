//! What a switch keeps: vectors, general registers, the OS thread's rounding, and an end of the stack for unwinders.
//! Both backends of an architecture run them.

use std::cell::Cell;
use std::panic::catch_unwind;
use std::ptr;

use super::*;
use crate::stack::{Stack, tests::alone};

#[cfg(target_arch = "aarch64")]
use self::aarch64 as processor;
#[cfg(target_arch = "x86_64")]
use self::x86_64 as processor;

/// What the tests ask of the processor: a vector of two integers, and the word that holds the rounding of floats.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::arch::x86_64::{__m128i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_set1_epi64x};

    pub(super) type Vector = __m128i;

    /// MXCSR's bits that round upward.
    pub(super) const UPWARD: u64 = 2 << 13;

    #[inline(always)]
    pub(super) fn both(value: i64) -> Vector {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_set1_epi64x(value) }
    }

    #[inline(always)]
    pub(super) fn add(one: Vector, other: Vector) -> Vector {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_add_epi64(one, other) }
    }

    #[inline(always)]
    pub(super) fn first(vector: Vector) -> i64 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_cvtsi128_si64(vector) }
    }

    #[inline(always)]
    pub(super) fn held(mut vector: Vector) -> Vector {
        // SAFETY: it is no instruction, only a comment in the assembly.
        unsafe { asm!("/* {} */", inout(xmm_reg) vector, options(nomem, nostack, preserves_flags)) };
        vector
    }

    pub(super) fn control() -> u64 {
        let mut word = 0u32;
        // SAFETY: stores the word.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word.into()
    }

    pub(super) fn set_control(word: u64) {
        let word = word as u32;
        // SAFETY: the word is one that was stored, with another rounding; the test computes with no float meanwhile.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack)) };
    }
}

/// The same on 64-bit ARM.
#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::{int64x2_t, vaddq_s64, vdupq_n_s64, vgetq_lane_s64};
    use std::arch::asm;

    pub(super) type Vector = int64x2_t;

    /// FPCR's bits that round upward.
    pub(super) const UPWARD: u64 = 1 << 22;

    #[inline(always)]
    pub(super) fn both(value: i64) -> Vector {
        // SAFETY: NEON is part of the target.
        unsafe { vdupq_n_s64(value) }
    }

    #[inline(always)]
    pub(super) fn add(one: Vector, other: Vector) -> Vector {
        // SAFETY: NEON is part of the target.
        unsafe { vaddq_s64(one, other) }
    }

    #[inline(always)]
    pub(super) fn first(vector: Vector) -> i64 {
        // SAFETY: NEON is part of the target.
        unsafe { vgetq_lane_s64::<0>(vector) }
    }

    #[inline(always)]
    pub(super) fn held(mut vector: Vector) -> Vector {
        // SAFETY: it is no instruction, only a comment in the assembly.
        unsafe { asm!("/* {:v} */", inout(vreg) vector, options(nomem, nostack, preserves_flags)) };
        vector
    }

    pub(super) fn control() -> u64 {
        let word;
        // SAFETY: reads the register.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub(super) fn set_control(word: u64) {
        // SAFETY: the word is one that was read, with another rounding; the test computes with no float meanwhile.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack)) };
    }
}

/// An integer that the compiler can neither make anew nor use before this call.
#[inline(always)]
fn held(mut value: u64) -> u64 {
    // SAFETY: it is no instruction, only a comment in the assembly.
    unsafe { std::arch::asm!("/* {} */", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

thread_local! {
    /// The contexts of the root and of the fiber.
    static PAIR: Cell<[*mut Context; 2]> = const { Cell::new([ptr::null_mut(); 2]) };
}

/// Runs `test` with the contexts of the root, which runs, and of a fresh fiber, which is not unwound at its end.
fn with_a_fiber(entry: Entry, test: impl FnOnce(*mut Context, *mut Context)) {
    let _alone = alone();
    let stack = Stack::new(64 * 1024).unwrap();
    let mut root = Context::running();
    // SAFETY: nothing lives on the stack.
    let mut fiber = unsafe { Context::new(stack.bottom(), stack.top(), entry) };
    let (root, fiber) = (&raw mut root, &raw mut fiber);
    PAIR.set([root, fiber]);
    test(root, fiber);
}

/// From the fiber back to the root.
fn to_the_root() {
    let [root, fiber] = PAIR.get();
    // SAFETY: the root is suspended in `with_a_fiber`, which keeps both contexts and the stack.
    unsafe { switch(fiber, root) };
}

const SUM: i64 = 23 * 24 / 2;

/// The sum of 24 vectors that are made before a switch and added after it.
///
/// # Safety
/// As of [`switch`].
#[inline(never)]
unsafe fn vectors_over_a_switch(seed: i64, from: *mut Context, to: *const Context) -> i64 {
    let made: [processor::Vector; 24] =
        std::array::from_fn(|number| processor::held(processor::both(seed * number as i64)));
    // SAFETY: by this function's own contract.
    unsafe { switch(from, to) };
    processor::first(made.into_iter().fold(processor::both(0), |sum, one| processor::add(sum, processor::held(one))))
}

/// The same of as many integers as fill the general registers.
///
/// # Safety
/// As of [`switch`].
#[inline(never)]
unsafe fn integers_over_a_switch(seed: u64, from: *mut Context, to: *const Context) -> u64 {
    let made: [u64; 24] = std::array::from_fn(|number| held(seed * number as u64));
    // SAFETY: by this function's own contract.
    unsafe { switch(from, to) };
    made.into_iter().fold(0, |sum, one| sum + held(one))
}

/// It broke once: the switch on x86-64 named the sixteen vector registers of SSE as changed, and not the sixteen more
/// of AVX-512. It shows only where the processor has those: in `make test-native`.
#[test]
fn more_vectors_than_sse_has_registers_survive_a_switch() {
    extern "C-unwind" fn entry() -> ! {
        let [root, fiber] = PAIR.get();
        loop {
            // SAFETY: the root is suspended in `with_a_fiber`, which keeps both contexts and the stack.
            if unsafe { vectors_over_a_switch(-7, fiber, root) } != -7 * SUM {
                std::process::abort();
            }
        }
    }
    with_a_fiber(entry, |root, fiber| {
        for _ in 0..3 {
            // SAFETY: the fiber is fresh at first, and suspended in its loop after that.
            assert_eq!(unsafe { vectors_over_a_switch(3, root, fiber) }, 3 * SUM);
        }
    });
}

#[test]
fn general_registers_survive_a_switch() {
    extern "C-unwind" fn entry() -> ! {
        let [root, fiber] = PAIR.get();
        loop {
            // SAFETY: the root is suspended in `with_a_fiber`, which keeps both contexts and the stack.
            if unsafe { integers_over_a_switch(7, fiber, root) } != 7 * SUM as u64 {
                std::process::abort();
            }
        }
    }
    with_a_fiber(entry, |root, fiber| {
        for _ in 0..3 {
            // SAFETY: the fiber is fresh at first, and suspended in its loop after that.
            assert_eq!(unsafe { integers_over_a_switch(3, root, fiber) }, 3 * SUM as u64);
        }
    });
}

#[test]
fn the_rounding_of_floats_is_the_threads_and_no_switch_changes_it() {
    extern "C-unwind" fn entry() -> ! {
        processor::set_control(processor::control() | processor::UPWARD);
        loop {
            to_the_root();
        }
    }
    with_a_fiber(entry, |root, fiber| {
        let before = processor::control();
        // SAFETY: the fiber is fresh.
        unsafe { switch(root, fiber) };
        let after = processor::control();
        processor::set_control(before);
        assert_eq!(after & processor::UPWARD, processor::UPWARD);
    });
}

#[test]
fn a_panic_unwinds_within_a_fiber_and_a_backtrace_ends_at_its_base() {
    thread_local! {
        static FRAMES: Cell<usize> = const { Cell::new(usize::MAX) };
        static CAUGHT: Cell<bool> = const { Cell::new(false) };
    }
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            visit: extern "C" fn(*mut libc::c_void, *mut libc::c_void) -> libc::c_int,
            count: *mut libc::c_void,
        ) -> libc::c_int;
    }
    extern "C" fn count(_frame: *mut libc::c_void, count: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the caller passes a `usize`, which it does not look at meanwhile.
        unsafe { *count.cast::<usize>() += 1 };
        0
    }
    extern "C-unwind" fn entry() -> ! {
        let mut frames = 0usize;
        // SAFETY: `count` has the form that the unwinder calls, and is given a `usize`.
        let reason = unsafe { _Unwind_Backtrace(count, (&raw mut frames).cast()) };
        // 5 is the end of the stack.
        FRAMES.set(if reason == 5 { frames } else { usize::MAX });
        CAUGHT.set(catch_unwind(|| std::panic::resume_unwind(Box::new(()))).is_err());
        loop {
            to_the_root();
        }
    }
    with_a_fiber(entry, |root, fiber| {
        // SAFETY: the fiber is fresh.
        unsafe { switch(root, fiber) };
    });
    assert!(CAUGHT.get());
    // corosensei's own frames, and the root's behind them, are part of what its backtraces show.
    let most = if cfg!(greenloom_switch = "trampoline") { 200 } else { 3 };
    assert!((1..=most).contains(&FRAMES.get()), "{} frames", FRAMES.get());
}
