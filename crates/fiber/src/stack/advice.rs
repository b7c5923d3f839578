//! Advice to the kernel about many ranges in one system call, which a process may give about itself from Linux 6.13 on.

use std::ptr::NonNull;

/// The most ranges that one call takes (`UIO_MAXIOV`).
const MOST: usize = 1024;

/// Gives `advice` about `length` bytes from each of `bases` on. Returns whether the kernel took it for all of them; it
/// may have for some where it did not. One range alone is left to the caller, who has `madvise` for it.
///
/// # Safety
///
/// The ranges may be done with what the advice says.
pub(super) unsafe fn of_all(bases: &[NonNull<u8>], length: usize, advice: libc::c_int) -> bool {
    /// The calling process, where the kernel knows it by this number (6.14); others say EBADF.
    const PIDFD_SELF: libc::c_int = -10_000;
    if !(2..=MOST).contains(&bases.len()) {
        return false;
    }
    let ranges: Vec<libc::iovec> =
        bases.iter().map(|base| libc::iovec { iov_base: base.as_ptr().cast(), iov_len: length }).collect();
    // SAFETY: `ranges` is as long as is said; what is done with what it names, the caller answers for.
    let advised = unsafe {
        libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, ranges.as_ptr(), ranges.len(), advice, 0 as libc::c_uint)
    };
    usize::try_from(advised) == Ok(bases.len() * length)
}
