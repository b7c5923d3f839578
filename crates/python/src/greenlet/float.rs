//! The floating-point control words of the processor, which a switch carries over.

/// The floating-point control words, which belong to a greenlet: rounding, masked exceptions.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq)]
pub struct FloatEnvironment {
    mxcsr: u32,
    x87: u16,
}

#[cfg(target_arch = "x86_64")]
impl FloatEnvironment {
    /// Those of the processor now.
    #[inline(always)]
    pub fn save() -> FloatEnvironment {
        let mut saved = FloatEnvironment { mxcsr: 0, x87: 0 };
        // SAFETY: stores the two words.
        unsafe {
            std::arch::asm!(
                "stmxcsr [{0}]",
                "fnstcw [{1}]",
                in(reg) &raw mut saved.mxcsr,
                in(reg) &raw mut saved.x87,
                options(nostack, preserves_flags)
            );
        }
        saved
    }

    /// Makes them the processor's, which has `present`. Loading them is slow, and they seldom differ.
    #[inline(always)]
    pub fn restore(&self, present: FloatEnvironment) {
        if *self == present {
            return;
        }
        // SAFETY: loads two words that were stored.
        unsafe {
            std::arch::asm!(
                "ldmxcsr [{0}]",
                "fldcw [{1}]",
                in(reg) &raw const self.mxcsr,
                in(reg) &raw const self.x87,
                options(nostack)
            );
        }
    }
}

/// FPCR: rounding, enabled traps, how tiny numbers are treated.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy, PartialEq)]
pub struct FloatEnvironment {
    fpcr: u64,
}

#[cfg(target_arch = "aarch64")]
impl FloatEnvironment {
    /// That of the processor now.
    #[inline(always)]
    pub fn save() -> FloatEnvironment {
        let fpcr;
        // SAFETY: reads the register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags)) };
        FloatEnvironment { fpcr }
    }

    /// Makes it the processor's, which has `present`. Writing it is slow, and it seldom differs.
    #[inline(always)]
    pub fn restore(&self, present: FloatEnvironment) {
        if *self == present {
            return;
        }
        // SAFETY: writes what was read.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) self.fpcr, options(nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[derive(Clone, Copy)]
pub struct FloatEnvironment;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl FloatEnvironment {
    /// Those of the processor now.
    pub fn save() -> FloatEnvironment {
        FloatEnvironment
    }

    pub fn restore(&self, _present: FloatEnvironment) {}
}
