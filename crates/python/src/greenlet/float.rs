//! The floating-point control words of the processor, which a switch carries over.

/// The floating-point control words, which belong to a greenlet: rounding, masked exceptions.
#[cfg(target_arch = "x86_64")]
#[derive(PartialEq)]
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

    /// Loading them is slow, and they seldom differ.
    #[inline(always)]
    pub fn restore(&self) {
        if *self == FloatEnvironment::save() {
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

#[cfg(not(target_arch = "x86_64"))]
pub struct FloatEnvironment;

#[cfg(not(target_arch = "x86_64"))]
impl FloatEnvironment {
    /// Those of the processor now.
    pub fn save() -> FloatEnvironment {
        FloatEnvironment
    }

    pub fn restore(&self) {}
}
