//! The hooked calls. Each does what libc's function of that name does, on a green thread without blocking the OS
//! thread, and anywhere else by calling that function at once.
//!
//! # Safety
//! Of all: the contract of libc's function. Pointers are valid until it returns, and "the caller's contract" in a
//! `SAFETY` comment says that they go on to that function, or are read within what it may read. That suffices on
//! another OS thread too: the hook returns only when the call has ended, even if the green thread is killed meanwhile.

mod file;
pub(crate) mod lock;
mod names;
mod poll;
mod process;
pub(crate) mod rwlock;
mod sleep;
mod socket;
mod stream;

pub use file::{close, dup2, dup3, fdatasync, flock, fsync, pread, pread64, pwrite, pwrite64, sendfile, sendfile64};
pub use names::{getaddrinfo, gethostbyname, gethostbyname_r, getnameinfo};
pub use poll::{epoll_pwait, epoll_wait, poll, ppoll, pselect, select};
pub use process::{wait, wait4, waitid, waitpid};
pub use sleep::{clock_nanosleep, nanosleep, sleep, usleep};
pub use socket::{accept, accept4, connect, recv, recvfrom, recvmmsg, recvmsg, send, sendmmsg, sendmsg, sendto};
pub use stream::{read, readv, write, writev};
