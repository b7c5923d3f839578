//! What a stack was like at one moment, for somebody who finds out later who called whom.
//!
//! It must not know how that is found out: it copies.

/// The registers with which one begins to find out who called whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Where it goes on.
    pub instruction: usize,
    /// The stack pointer.
    pub stack_pointer: usize,
    /// The frame pointer, which code may use for something else; none where it is not known.
    pub frame_pointer: Option<usize>,
    /// The link register, on processors that have one; 0 if that is not known.
    pub link: usize,
}

/// Registers, and the memory from the stack pointer up, as far as it was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The registers.
    pub registers: Registers,
    /// The memory.
    pub stack: Vec<u8>,
}

impl Snapshot {
    /// Of a stack of this process that stands still with these registers: `size` bytes at most, and fewer where the
    /// memory ends.
    ///
    /// ```
    /// use greenloom_fiber::{Registers, Snapshot};
    ///
    /// // No memory is there.
    /// assert!(Snapshot::of(Registers::default(), 100).stack.is_empty());
    /// ```
    pub fn of(registers: Registers, size: usize) -> Snapshot {
        Snapshot { registers, stack: read_memory(registers.stack_pointer, size) }
    }
}

/// A copy of this process's memory from `address` on: `size` bytes, and fewer where the memory ends, or where the
/// system forbids it.
///
/// The system copies, so that memory which is not there is no fault, and that of others who write to it meanwhile may
/// be read.
///
/// ```
/// let word = 7_u64;
/// assert!(matches!(greenloom_fiber::read_memory(&raw const word as usize, 8).len(), 8 | 0));
/// assert!(greenloom_fiber::read_memory(0, 8).is_empty());
/// ```
pub fn read_memory(address: usize, size: usize) -> Vec<u8> {
    let mut memory = vec![0; size];
    let copied = read_memory_into(address, &mut memory);
    memory.truncate(copied);
    memory
}

/// As [`read_memory`], to where there is room; returns how much there was. May be called in a signal handler, but for
/// `errno`.
pub(crate) fn read_memory_into(address: usize, into: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
    // SAFETY: the system writes into the one buffer, which is as long as is said.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    usize::try_from(copied).unwrap_or(0)
}
