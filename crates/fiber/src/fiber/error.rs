//! Why a switch was refused.

use std::fmt;

/// Why a switch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchError {
    /// The fiber has ended.
    Finished,
    /// The running fiber is unwinding from a panic. Were it suspended now, the fibers that run meanwhile would see
    /// [`std::thread::panicking`] as true, and a second panic among them would end the process.
    Panicking,
}

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SwitchError::Finished => "the fiber has ended",
            SwitchError::Panicking => "no switch while a panic unwinds: destructors must not block",
        })
    }
}

impl std::error::Error for SwitchError {}
