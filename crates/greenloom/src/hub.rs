//! The hub: one event loop an OS thread, itself a greenlet and the parent of all green threads.
//!
//! It is made when an OS thread first needs it. [`current`] gives the [`Hub`] of the running OS thread, for timers,
//! listeners and file descriptors; [`Hub::handle`] gives a [`HubHandle`], through which any OS thread reaches it.
//!
//! # The order of events
//!
//! The loop runs ready work first in, first out; then timers that are due at one captured `now`, by time and then by
//! age; then I/O. A green thread that parks picks the next ready green thread and switches to it; the hub's own
//! greenlet takes over when nothing is ready, and after every [`greenloom_hub::TURN_EVERY`] pieces of work, so that
//! ready work cannot starve timers or I/O. What a timer or I/O makes ready is appended to the ready work.
//!
//! Functions that the hub calls must not block; one that panics is reported by the panic hook, and the hub goes on.
//! Should the poller itself fail, the process is aborted with a message: nothing could be waited for any more.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use greenloom_hub::TimerKey;

use crate::runtime::fd::{ended, wait_for};
use crate::runtime::node::AnyGreenlet;
use crate::runtime::registry::{self, Message};
use crate::runtime::state::Runtime;
use crate::runtime::work::Work;
use crate::runtime::{here, here_or_error, try_here};

pub use greenloom_hub::{Clock, Direction, Time};

/// The running OS thread's hub, made if there is none yet. In the destructor of a thread-local that comes after the
/// hub's end it is the one that has ended: nothing can be waited for in it, and what it is given to call is dropped.
///
/// # Panics
/// When the system gives no epoll instance or eventfd (too many open files); [`try_current`] returns that as an error.
///
/// ```
/// assert_eq!(greenloom::hub::current().timers_count(), 0);
/// ```
pub fn current() -> Hub {
    Hub { runtime: here() }
}

/// As [`current`], with an error for a panic.
///
/// # Errors
/// Those of `epoll_create1` and `eventfd`.
pub fn try_current() -> io::Result<Hub> {
    Ok(Hub { runtime: here_or_error()? })
}

/// The same as [`current`], by the name it has in eventlet.
///
/// # Panics
/// As there.
///
/// ```
/// let hub = greenloom::get_hub();
/// hub.schedule_call_global(std::time::Duration::ZERO, || println!("from the hub"));
/// greenloom::sleep(std::time::Duration::from_millis(1));
/// ```
pub fn get_hub() -> Hub {
    current()
}

/// The same as [`try_current`], by the name that goes with [`get_hub`].
///
/// # Errors
/// As there.
pub fn try_get_hub() -> io::Result<Hub> {
    try_current()
}

/// The time on the hub's clock since its beginning; in a [simulation](crate::testing), virtual.
///
/// ```
/// let began = greenloom::hub::now();
/// greenloom::sleep(std::time::Duration::from_millis(1));
/// assert!(greenloom::hub::now() - began >= std::time::Duration::from_millis(1));
/// ```
pub fn now() -> Duration {
    here().now() - Time::ZERO
}

/// The hub of the OS thread it was got on; see [`current`]. Clones are the same hub.
///
/// ```
/// use greenloom::{get_hub, sleep};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// let (hub, rings) = (get_hub(), Rc::new(Cell::new(0)));
/// let ring = || {
///     let rings = Rc::clone(&rings);
///     move || rings.set(rings.get() + 1)
/// };
/// hub.schedule_call_global(Duration::from_millis(1), ring());
/// let late = hub.schedule_call_global(Duration::from_secs(3600), ring());
/// assert_eq!(hub.timers_count(), 2);
/// assert!(hub.cancel(&late));
/// sleep(Duration::from_millis(10));
/// assert_eq!(rings.get(), 1);
/// ```
#[derive(Clone, Copy)]
pub struct Hub {
    runtime: &'static Runtime,
}

/// A timer of a [`Hub`], for [`Hub::cancel`].
#[derive(Clone)]
pub struct Timer(Scheduled);

#[derive(Clone)]
enum Scheduled {
    At(TimerKey),
    /// Without a delay it is ready work; the function is here until it is called.
    Soon(Weak<SoonCall>),
}

type SoonCall = Cell<Option<Box<dyn FnOnce()>>>;

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Scheduled::At(key) => write!(f, "Timer(at {:?})", key.at()),
            Scheduled::Soon(_) => f.write_str("Timer(soon)"),
        }
    }
}

impl Hub {
    /// The hub's own greenlet, the parent of all green threads.
    pub fn greenlet(&self) -> AnyGreenlet {
        self.runtime.loop_greenlet().clone()
    }

    /// The time on the hub's clock.
    pub fn now(&self) -> Time {
        self.runtime.now()
    }

    /// Replaces the clock, for example by a virtual one. Pending timers keep their times.
    pub fn set_clock(&self, clock: Rc<dyn Clock>) {
        self.runtime.with_core(|core| core.set_clock(clock));
    }

    /// Calls `call` in the hub after `delay`; with no delay, behind the ready work. It runs whatever becomes of the
    /// green thread that scheduled it. It must not block.
    ///
    /// Semantics: eventlet's `hub.schedule_call_global`.
    ///
    /// ```
    /// use greenloom::{get_hub, sleep};
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    ///
    /// let called = Rc::new(Cell::new(false));
    /// let seen = called.clone();
    /// get_hub().schedule_call_global(Duration::from_millis(1), move || seen.set(true));
    /// sleep(Duration::from_millis(20));
    /// assert!(called.get());
    /// ```
    pub fn schedule_call_global(&self, delay: Duration, call: impl FnOnce() + 'static) -> Timer {
        if delay.is_zero() {
            let call: Rc<SoonCall> = Rc::new(Cell::new(Some(Box::new(call))));
            let timer = Timer(Scheduled::Soon(Rc::downgrade(&call)));
            self.runtime.call_soon(Box::new(move || {
                if let Some(call) = call.take() {
                    call();
                }
            }));
            return timer;
        }
        match self.runtime.add_call_timer(self.now() + delay, Box::new(call)) {
            Some(key) => Timer(Scheduled::At(key)),
            None => Timer(Scheduled::Soon(Weak::new())),
        }
    }

    /// As [`Hub::schedule_call_global`], but not if the greenlet that scheduled it has ended by then.
    ///
    /// Semantics: eventlet's `hub.schedule_call_local`.
    pub fn schedule_call_local(&self, delay: Duration, call: impl FnOnce() + 'static) -> Timer {
        let owner = self.runtime.current().downgrade();
        self.schedule_call_global(delay, move || {
            if owner.upgrade().is_some_and(|owner| !owner.is_dead()) {
                call();
            }
        })
    }

    /// Cancels a timer; returns whether it had not fired. What it captured is dropped.
    pub fn cancel(&self, timer: &Timer) -> bool {
        match &timer.0 {
            Scheduled::At(key) => self.runtime.cancel_timer(*key),
            Scheduled::Soon(call) => call.upgrade().and_then(|call| call.take()).is_some(),
        }
    }

    /// How many timers are pending, those of sleeping green threads and of timeouts included.
    pub fn timers_count(&self) -> usize {
        self.runtime.with_core(|core| core.timers.len()).unwrap_or(0)
    }

    /// How many green threads and functions are ready to run.
    pub fn ready_count(&self) -> usize {
        self.runtime.ready_count()
    }

    /// How many green threads and listeners wait for file descriptors.
    pub fn io_waiting_count(&self) -> usize {
        self.runtime.with_core(|core| core.sources().waiting()).unwrap_or(0)
    }

    /// Calls `call` in the hub whenever `fd` can be read, as long as it can, until [`Hub::remove_listener`].
    ///
    /// Semantics: eventlet's `hub.add`.
    ///
    /// # Errors
    /// `ResourceBusy` if something reads there already; those of `epoll_ctl`.
    pub fn add_reader(&self, fd: impl AsFd, call: impl Fn() + 'static) -> io::Result<()> {
        self.listen(fd.as_fd(), Direction::Read, Some(Rc::new(call)))
    }

    /// Calls `call` in the hub whenever `fd` can be written, as long as it can; else as [`Hub::add_reader`].
    ///
    /// # Errors
    /// As [`Hub::add_reader`].
    pub fn add_writer(&self, fd: impl AsFd, call: impl Fn() + 'static) -> io::Result<()> {
        self.listen(fd.as_fd(), Direction::Write, Some(Rc::new(call)))
    }

    /// Removes what [`Hub::add_reader`] or [`Hub::add_writer`] added. Does nothing if there is nothing.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn remove_listener(&self, fd: impl AsFd, direction: Direction) -> io::Result<()> {
        self.listen(fd.as_fd(), direction, None)
    }

    fn listen(&self, fd: BorrowedFd<'_>, direction: Direction, call: Option<Rc<dyn Fn()>>) -> io::Result<()> {
        let make = call.map(|call| -> Box<dyn Fn() -> Work> {
            Box::new(move || {
                let call = Rc::clone(&call);
                Work::Call(Box::new(move || call()))
            })
        });
        let runtime = self.runtime;
        let known = runtime.with_core(|core| core.sources().find(fd.as_raw_fd())).flatten();
        let key = match known {
            Some(key) => key,
            None if make.is_none() => return Ok(()),
            None => runtime.add_source(fd)?,
        };
        runtime.with_core(|core| core.listen(key, fd, direction, make)).unwrap_or_else(|| Err(ended()))
    }

    /// Tells the hub that `fd` is about to be closed, or was: its waiters get an error at once, and its number
    /// may be used again. The types of [`net`](crate::net) do this themselves.
    ///
    /// Semantics: eventlet's `hubs.notify_close`.
    pub fn notify_close(&self, fd: RawFd) {
        self.runtime.forget_fd(fd);
    }

    /// A handle through which other OS threads reach this hub.
    pub fn handle(&self) -> HubHandle {
        HubHandle { id: self.runtime.id() }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hub = f.debug_struct("Hub");
        hub.field("id", &self.runtime.id());
        match self.runtime.with_core(|core| hub.field("core", core).finish()) {
            Some(written) => written,
            None => hub.field("ended", &true).finish(),
        }
    }
}

/// Reaches a hub from any OS thread; see [`Hub::handle`].
///
/// ```
/// use greenloom::{get_hub, sync::Event};
/// use std::{sync::Arc, thread};
///
/// let (hub, told) = (get_hub().handle(), Arc::new(Event::new()));
/// let tell = Arc::clone(&told);
/// thread::spawn(move || {
///     assert!(!hub.is_here());
///     // Runs on the OS thread of the hub, which is this example's.
///     hub.schedule(move || tell.send(thread::current().id()).expect("it is sent once"))
/// });
/// assert_eq!(told.wait()?, thread::current().id());
/// # Ok::<(), greenloom::sync::EventError>(())
/// ```
#[derive(Clone)]
pub struct HubHandle {
    id: u32,
}

/// The hub is gone: its OS thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubGone;

impl fmt::Display for HubGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub is gone: its OS thread has ended")
    }
}

impl std::error::Error for HubGone {}

impl HubHandle {
    /// Calls `call` in the hub, behind its ready work. It must not block; it may spawn.
    ///
    /// # Errors
    /// [`HubGone`].
    pub fn schedule(&self, call: impl FnOnce() + Send + 'static) -> Result<(), HubGone> {
        registry::send(self.id, Message::Call(Box::new(call))).map_err(|_| HubGone)
    }

    /// Calls `call` in the hub after `delay` on its clock.
    ///
    /// # Errors
    /// [`HubGone`].
    pub fn schedule_after(&self, delay: Duration, call: impl FnOnce() + Send + 'static) -> Result<(), HubGone> {
        self.schedule(move || {
            get_hub().schedule_call_global(delay, call);
        })
    }

    /// Whether this is the hub of the running OS thread.
    pub fn is_here(&self) -> bool {
        try_here().is_some_and(|runtime| runtime.id() == self.id && !runtime.has_ended())
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHandle").field("id", &self.id).finish()
    }
}

/// Parks the running green thread until `fd` is ready in `direction`, or until `timeout`.
///
/// It may return early, so try the operation again afterwards. Prefer the types of [`net`](crate::net), which keep
/// track of readiness and only wait when they must; this is for file descriptors of your own. The registration stays
/// until [`Hub::notify_close`]: call it before you close `fd`.
///
/// Semantics: eventlet's `hubs.trampoline`.
///
/// # Errors
/// `TimedOut`; `ResourceBusy` if another green thread waits there already; `NotConnected` if `fd` was closed meanwhile;
/// those of `epoll_ctl`; [`Refused`](crate::Refused) as `Unsupported`.
pub fn trampoline(fd: impl AsFd, direction: Direction, timeout: Option<Duration>) -> io::Result<()> {
    let (fd, runtime) = (fd.as_fd(), here());
    runtime.renew_after_fork();
    let known = runtime.with_core(|core| core.sources().find(fd.as_raw_fd())).flatten();
    let key = match known {
        Some(key) => key,
        None => runtime.add_source(fd)?,
    };
    // The caller has just seen that it is not ready; an edge since then is seen by the next turn.
    runtime.with_core(|core| core.sources().expect_edge(key, direction));
    wait_for(key, direction, timeout.map(|timeout| runtime.now() + timeout))
}
