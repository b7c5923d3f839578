//! A file descriptor of which only the number is known, taken out of an epoll instance.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// Takes the file that is registered with `epoll` under `number` out of it. Nothing but that registration is touched,
/// so it matters to nobody else whose the number is by now.
///
/// # Errors
/// Those of `epoll_ctl`: `EBADF` if the number is closed, `ENOENT` if its file is not in.
///
/// ```
/// use std::os::fd::{AsFd, AsRawFd};
///
/// let (reader, _writer) = std::io::pipe()?;
/// assert!(greenloom_fiber::epoll_forget(reader.as_fd(), reader.as_raw_fd()).is_err(), "a pipe is no epoll instance");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn epoll_forget(epoll: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: a system call on an open descriptor that takes no pointer when it deletes; whatever `number` is, it is
    // only compared with what `epoll` has registered.
    match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, number, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
