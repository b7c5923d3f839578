//! Waiting beneath a C function: try, park, try again; with the call's own limits, and errno as the call leaves it.
//!
//! Nothing here changes a file descriptor's flags for longer than one system call: they belong to the file, which other
//! OS threads and processes may share.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::{c_int, c_short, c_void, pollfd};

use crate::host::{Direction, Host, Wait};
use crate::real;

pub(crate) fn errno() -> c_int {
    // SAFETY: it is this OS thread's own.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn set_errno(code: c_int) {
    // SAFETY: it is this OS thread's own.
    unsafe { *libc::__errno_location() = code }
}

/// Fails as a system call does.
pub(crate) fn fail(code: c_int) -> isize {
    set_errno(code);
    -1
}

/// What a park came to.
pub(crate) enum Parked {
    /// Try again.
    Again,
    TimedOut,
    /// A signal was handled: what the system never starts anew after one fails with EINTR, all others try again.
    Signalled,
    /// The call fails with this error.
    Failed(c_int),
    /// Parking is not possible: block.
    Impossible,
}

/// When a call gives up, by the limit that it was given.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub const NEVER: Deadline = Deadline(None);

    pub fn after(limit: Option<Duration>) -> Deadline {
        Deadline(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// What is left; `None` for no limit.
    pub fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub fn is_over(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// The tries of one call at a file descriptor. Its limit of time is one for all parts that are transferred.
pub(crate) struct Tries<'a> {
    host: &'a dyn Host,
    fd: c_int,
    direction: Direction,
    deadline: Cell<Option<Deadline>>,
}

impl<'a> Tries<'a> {
    pub fn new(host: &'a dyn Host, fd: c_int, direction: Direction) -> Tries<'a> {
        Tries { host, fd, direction, deadline: Cell::new(None) }
    }

    /// Tries a call that does not block until it has something to say, and parks between the tries. `real` is the same
    /// call as it blocks, for where it must.
    pub fn until_done(&self, mut call: impl FnMut() -> isize, real: impl FnOnce() -> isize) -> isize {
        let before = errno();
        loop {
            let result = call();
            if result >= 0 {
                share(self.host);
                set_errno(before);
                return result;
            }
            if errno() != libc::EAGAIN {
                return result;
            }
            // That tells a datagram socket's end to nobody who does not wait, and those who do, wait for nothing.
            if self.direction == Direction::Read && is_shut_down(self.fd) {
                return real();
            }
            let deadline = match self.deadline.get() {
                Some(deadline) => deadline,
                None if is_non_blocking(self.fd) => return fail(libc::EAGAIN),
                None if !is_open_for(self.fd, self.direction) || in_signal_handler() => return real(),
                None => {
                    let deadline = Deadline::after(socket_limit(self.fd, self.direction));
                    self.deadline.set(Some(deadline));
                    deadline
                }
            };
            match park(self.host, self.fd, self.direction, deadline) {
                Parked::Again | Parked::Signalled => {}
                Parked::TimedOut => return fail(libc::EAGAIN),
                Parked::Failed(code) => return fail(code),
                Parked::Impossible => return real(),
            }
        }
    }
}

/// Parks until `fd` may be ready.
pub(crate) fn park(host: &dyn Host, fd: c_int, direction: Direction, deadline: Deadline) -> Parked {
    if fd < 0 {
        return Parked::Failed(libc::EBADF);
    }
    if deadline.is_over() {
        return Parked::TimedOut;
    }
    // SAFETY: the caller has just used it, and what runs meanwhile and closes it tells the host.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let process = process();
    let waited = host.wait_fd(borrowed, direction, deadline.left());
    LAST_SHARED.set(Some(Instant::now()));
    match waited {
        Ok(Wait::Ready) => Parked::Again,
        Ok(Wait::TimedOut) => Parked::TimedOut,
        Ok(Wait::Signalled) => Parked::Signalled,
        Ok(Wait::Closed) => Parked::Failed(libc::EBADF),
        Ok(Wait::Interrupted) => {
            break_connection(fd, process);
            Parked::Failed(libc::ECANCELED)
        }
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let events = if direction == Direction::Read { libc::POLLIN } else { libc::POLLOUT };
            park_at_all(host, &[pollfd { fd, events, revents: 0 }], deadline)
        }
        Err(_) => Parked::Impossible,
    }
}

/// Parks until one of several may be ready. They are watched by an epoll instance for the while, which is what is
/// waited for.
pub(crate) fn park_at_all(host: &dyn Host, fds: &[pollfd], deadline: Deadline) -> Parked {
    if deadline.is_over() {
        return Parked::TimedOut;
    }
    let Ok(set) = watch(fds) else { return Parked::Impossible };
    let process = process();
    let waited = host.wait_fd(set.as_fd(), Direction::Read, deadline.left());
    LAST_SHARED.set(Some(Instant::now()));
    host.closing(set.as_raw_fd());
    match waited {
        Ok(Wait::Ready) => Parked::Again,
        Ok(Wait::TimedOut) => Parked::TimedOut,
        Ok(Wait::Signalled) => Parked::Signalled,
        Ok(Wait::Closed) => Parked::Failed(libc::EBADF),
        Ok(Wait::Interrupted) => {
            fds.iter().for_each(|one| break_connection(one.fd, process));
            Parked::Failed(libc::ECANCELED)
        }
        Err(_) => Parked::Impossible,
    }
}

/// An epoll instance that is readable while one of these is ready.
fn watch(fds: &[pollfd]) -> io::Result<OwnedFd> {
    // SAFETY: it takes no pointers.
    let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and is nobody else's.
    let set = unsafe { OwnedFd::from_raw_fd(set) };
    for (index, one) in fds.iter().enumerate().filter(|(_, one)| one.fd >= 0) {
        // One that is named several times is watched for all that it is named for.
        let all = fds.iter().filter(|other| other.fd == one.fd).fold(0, |all, other| all | other.events);
        let mut event = libc::epoll_event { events: u32::from(all as u16), u64: index as u64 };
        // SAFETY: `event` lives over the call.
        let added = unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, one.fd, &raw mut event) };
        if added != 0 && errno() != libc::EEXIST {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}

/// A wait that was given up leaves a connection in the middle of an exchange: the next request would get the answer to
/// this one. So it ends, and whatever stands on it fails. What has come already could still be read: it is taken out.
///
/// A wait that began in the parent, and is given up in the child of a fork, is the parent's, and so is the connection.
fn break_connection(fd: c_int, process: libc::pid_t) {
    if process != self::process() {
        return;
    }
    if socket_option(fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM) && socket_option(fd, libc::SO_ACCEPTCONN) == Some(0)
    {
        let mut lost = [0u8; 4096];
        // SAFETY: `lost` has the room that is said. After the shutdown nothing more comes in, so that there is an end.
        unsafe {
            libc::shutdown(fd, libc::SHUT_RDWR);
            while real::recv(fd, lost.as_mut_ptr().cast(), lost.len(), libc::MSG_DONTWAIT) > 0 {}
        }
    }
}

fn process() -> libc::pid_t {
    // SAFETY: it takes no pointers.
    unsafe { libc::getpid() }
}

/// Whether it is ready in this way right now.
pub(crate) fn is_ready(fd: c_int, events: c_short) -> bool {
    let mut one = pollfd { fd, events, revents: 0 };
    // SAFETY: `one` lives over the call.
    unsafe { real::poll(&raw mut one, 1, 0) != 0 }
}

/// Whether a socket was shut down for reading. Other news, as of an error in its queue, keep no call from waiting.
fn is_shut_down(fd: c_int) -> bool {
    let mut one = pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `one` lives over the call.
    unsafe { real::poll(&raw mut one, 1, 0) == 1 && one.revents & libc::POLLRDHUP != 0 }
}

/// Whether the program itself has made it so that no call waits.
pub(crate) fn is_non_blocking(fd: c_int) -> bool {
    open_flags(fd) & libc::O_NONBLOCK != 0
}

/// An end of a pipe is open in one direction. In the other it never becomes ready, and a call fails at once.
fn is_open_for(fd: c_int, direction: Direction) -> bool {
    let other = if direction == Direction::Read { libc::O_WRONLY } else { libc::O_RDONLY };
    open_flags(fd) & libc::O_ACCMODE != other
}

fn open_flags(fd: c_int) -> c_int {
    // SAFETY: it takes no pointers.
    unsafe { libc::fcntl(fd, libc::F_GETFL) }
}

pub(crate) fn socket_option(fd: c_int, name: c_int) -> Option<c_int> {
    let (mut value, mut length) = (0, libc::socklen_t::try_from(size_of::<c_int>()).expect("4"));
    let place: *mut c_void = (&raw mut value).cast();
    // SAFETY: the value has room for what is said to have room.
    let got = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &raw mut length) };
    (got == 0).then_some(value)
}

/// SO_RCVTIMEO or SO_SNDTIMEO, if it is set.
pub(crate) fn socket_limit(fd: c_int, direction: Direction) -> Option<Duration> {
    let name = if direction == Direction::Read { libc::SO_RCVTIMEO } else { libc::SO_SNDTIMEO };
    let mut value = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::timeval>()).expect("16");
    let place: *mut c_void = (&raw mut value).cast();
    // SAFETY: the value has room for what is said to have room.
    let got = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &raw mut length) };
    if got != 0 || (value.tv_sec == 0 && value.tv_usec == 0) {
        return None;
    }
    Some(duration(value.tv_sec, value.tv_usec.saturating_mul(1000)))
}

/// Saturates; what is negative is none.
pub(crate) fn duration(seconds: i64, nanoseconds: i64) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    seconds.saturating_add(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0)))
}

thread_local! {
    /// When others could last run on this OS thread.
    static LAST_SHARED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How long calls that never have to wait may go on before others run.
const TURN: Duration = Duration::from_micros(500);

/// After a call that did not have to wait: lets others run when it has been long enough.
pub(crate) fn share(host: &dyn Host) {
    let now = Instant::now();
    let last = LAST_SHARED.get();
    if last.is_some_and(|last| now.saturating_duration_since(last) < TURN) {
        return;
    }
    LAST_SHARED.set(Some(now));
    if last.is_some() && !in_signal_handler() {
        host.yield_now();
        LAST_SHARED.set(Some(Instant::now()));
    }
}

/// Whether a signal handler is running: what it interrupted may hold a lock, and must not be left. A handler has its
/// own signal blocked, so that mostly nothing has to be looked for. (One with SA_NODEFER and an empty mask is missed.)
pub(crate) fn in_signal_handler() -> bool {
    let mut mask = [0u64; size_of::<libc::sigset_t>() / 8];
    // SAFETY: the mask has a sigset_t's size, and the OS thread's own is only asked for.
    let asked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr().cast()) };
    asked == 0 && mask[0] != 0 && has_signal_frame()
}

unsafe extern "C" {
    fn _Unwind_Backtrace(visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(frame: *mut c_void, before_instruction: *mut c_int) -> usize;
}

/// Whether one of the frames below is the kernel's of a signal.
#[cold]
fn has_signal_frame() -> bool {
    extern "C" fn visit(frame: *mut c_void, found: *mut c_void) -> c_int {
        let mut before_instruction = 0;
        // SAFETY: the unwinder lends its frame to this call.
        unsafe { _Unwind_GetIPInfo(frame, &raw mut before_instruction) };
        if before_instruction == 0 {
            return 0;
        }
        // SAFETY: it is the flag below.
        unsafe { *found.cast::<bool>() = true };
        // _URC_NORMAL_STOP
        4
    }
    let mut found = false;
    // SAFETY: `visit` matches, and the flag lives over the call.
    unsafe { _Unwind_Backtrace(visit, (&raw mut found).cast()) };
    found
}
