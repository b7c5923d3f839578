//! Why there is no stack.

use std::fmt;
use std::io;

use super::{MIN_STACK_SIZE, guard};

/// Why there is no stack.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError {
    /// The size asked for is below [`MIN_STACK_SIZE`].
    TooSmall {
        /// The size asked for, in bytes.
        size: usize,
    },
    /// The size asked for, with its guard, does not fit the address space.
    TooLarge {
        /// The size asked for, in bytes.
        size: usize,
    },
    /// The system gave no memory or no guard.
    OutOfMemory {
        /// The size asked for, in bytes.
        size: usize,
        /// How many stacks of that size there are, in use or free.
        stacks: usize,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackError::TooSmall { size } => {
                write!(f, "a stack of {size} bytes is too small: at least {MIN_STACK_SIZE} are needed")
            }
            StackError::TooLarge { size } => {
                write!(f, "a stack of {size} bytes does not fit the address space")
            }
            StackError::OutOfMemory { size, stacks, source } => {
                write!(f, "no memory for one more stack of {size} bytes beside the {stacks} there are: {source}")?;
                if guard::split_mappings() {
                    write!(f, "; guards made by mprotect are limited by vm.max_map_count")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What the system said stands in the text, with what to do about it after it.
            StackError::OutOfMemory { source, .. } => source.source(),
            _ => None,
        }
    }
}
