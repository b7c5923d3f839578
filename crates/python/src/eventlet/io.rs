//! File descriptors: the poller of a hub, green objects that wait on one, and listeners that Python code adds.
//!
//! A green socket's descriptor is registered once, edge-triggered ([`Source`]). Listeners (`hub.add`, `trampoline`) name any
//! descriptor, of which nobody knows when it is closed and used again; they are registered for as long as they listen,
//! level-triggered.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use ::hub::poller::{Events, Poller};
use ::hub::{Direction, SourceKey, Sources, Time};

use super::hub::Hub;
use super::park::{Outcome, Ticket, park_until};
use super::work::Work;
use crate::class::{self, Args, This};
use crate::ffi::{self, Owned, PyMethodDef, PyObject, Raised, Result, Slot};
use crate::thread::Thread;

/// A hub's poller and what is registered with it.
pub struct Polling {
    poller: Poller,
    bell: Box<dyn Fn()>,
    sources: RefCell<Sources<Work>>,
    /// Filled without the interpreter's lock, by the hub's own thread.
    events: UnsafeCell<Events>,
    /// Descriptors that only listeners use: their sources go with the last listener.
    listened: RefCell<HashMap<RawFd, SourceKey>>,
    /// The process it was made in: epoll is shared over a fork.
    generation: u64,
}

impl Polling {
    /// A poller with nothing in it.
    pub fn new() -> Result<Polling> {
        let poller = checked(Poller::new())?;
        let bell = Box::new(poller.bell());
        Ok(Polling {
            poller,
            bell,
            sources: RefCell::new(Sources::new()),
            events: UnsafeCell::new(Events::new()),
            listened: RefCell::new(HashMap::new()),
            generation: fiber::fork_generation(),
        })
    }

    /// Whether it belongs to this process.
    pub fn is_current(&self) -> bool {
        self.generation == fiber::fork_generation()
    }

    /// The work that waits, of a poller that is done with.
    pub fn into_waiting(self) -> Vec<Work> {
        self.sources.into_inner().into_waiting()
    }

    /// Whether anything waits for I/O.
    pub fn has_waiters(&self) -> bool {
        self.sources.borrow().waiting() > 0
    }

    /// How many wait for I/O.
    pub fn waiters(&self) -> usize {
        self.sources.borrow().waiting()
    }

    /// A descriptor that can be read when [`wait`](Self::wait) would bring something.
    pub fn number(&self) -> RawFd {
        self.poller.as_fd().as_raw_fd()
    }

    /// Ends the present or the next wait.
    pub fn ring(&self) {
        (self.bell)();
    }

    /// Waits for events, for [`report`](Self::report).
    ///
    /// # Safety
    /// Called by the hub's thread only.
    pub unsafe fn wait(&self, timeout: Duration) -> io::Result<()> {
        // SAFETY: nobody else looks at the events.
        self.poller.wait(Some(timeout), unsafe { &mut *self.events.get() })
    }

    /// Hands out the work that the last wait's events wake.
    ///
    /// # Safety
    /// Called by the hub's thread only, with the interpreter's lock.
    pub unsafe fn report(&self, mut fire: impl FnMut(Work)) {
        let mut sources = self.sources.borrow_mut();
        // SAFETY: as `wait`.
        for event in unsafe { &*self.events.get() }.iter() {
            sources.report(event, &mut fire);
        }
    }

    /// Makes the listeners of a descriptor what they shall be.
    fn listen(&self, number: RawFd, wanted: [(Direction, bool); 2]) -> io::Result<()> {
        let any = wanted.iter().any(|(_, wanted)| *wanted);
        let found = self.sources.borrow().find(number);
        let Some(key) = found else {
            return if any { self.listen_anew(number, wanted) } else { Ok(()) };
        };
        if !any && self.listened.borrow_mut().remove(&number).is_some() {
            let fd = valid_fd(number)?;
            let waiting = self.sources.borrow_mut().remove(&self.poller, key, Some(fd));
            drop(waiting);
            return Ok(());
        }
        match self.set_listeners(number, key, wanted) {
            // It was closed behind our back, and is another file now.
            Err(error) if error.kind() == io::ErrorKind::NotFound && any => {
                let waiting = self.sources.borrow_mut().remove(&self.poller, key, None);
                drop(waiting);
                self.listen_anew(number, wanted)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn listen_anew(&self, number: RawFd, wanted: [(Direction, bool); 2]) -> io::Result<()> {
        let key = self.sources.borrow_mut().add(&self.poller, valid_fd(number)?)?;
        self.listened.borrow_mut().insert(number, key);
        self.set_listeners(number, key, wanted)
    }

    fn set_listeners(&self, number: RawFd, key: SourceKey, wanted: [(Direction, bool); 2]) -> io::Result<()> {
        let mut sources = self.sources.borrow_mut();
        for (direction, wanted) in wanted {
            let make: Option<Box<dyn Fn() -> Work>> =
                wanted.then(|| Box::new(move || Work::Listener(number, direction)) as Box<dyn Fn() -> Work>);
            let fd = valid_fd(number)?;
            match sources.listen(&self.poller, key, fd, direction, make) {
                // It listens already.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && wanted => {}
                // Somebody else waits there, who is no listener.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                result => result?,
            }
        }
        Ok(())
    }
}

fn valid_fd<'a>(number: RawFd) -> io::Result<BorrowedFd<'a>> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: used for one system call, which says so if it is closed.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Raises an error of the operating system as an OSError.
///
/// # Errors
/// It.
pub fn checked<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|error| {
        // SAFETY: called with the interpreter's lock.
        unsafe {
            let message = error.to_string();
            let message = message.split(" (os error").next().unwrap_or_default();
            let args = ffi::string(message).and_then(|message| {
                let code = error.raw_os_error().unwrap_or(libc::EIO);
                Owned::new(ffi::Py_BuildValue(c"iO".as_ptr(), code, message.as_ptr()))
            });
            if let Ok(args) = args {
                ffi::PyErr_SetObject(ffi::PyExc_OSError, args.as_ptr());
            }
            Raised
        }
    })
}

/// How a wait for a descriptor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Worth another try: it is ready, or was closed.
    Yes,
    /// The time is up.
    TimedOut,
}

/// The descriptor of a green object, registered with the hub of whichever thread waits on it.
pub struct Source {
    fd: Cell<RawFd>,
    key: Cell<Option<SourceKey>>,
    /// The hub it is registered with.
    hub: Slot,
}

impl Source {
    /// An open descriptor, not registered yet.
    pub fn new(fd: RawFd) -> Source {
        Source { fd: Cell::new(fd), key: Cell::new(None), hub: Slot::empty() }
    }

    /// The descriptor, -1 once it was closed or given away.
    pub fn fd(&self) -> RawFd {
        self.fd.get()
    }

    /// Whether an operation is worth a try, as far as this hub knows.
    ///
    /// # Safety
    /// The interpreter's lock is held, in the hub's thread.
    #[inline]
    pub unsafe fn is_ready(&self, hub: &Hub, direction: Direction) -> bool {
        let Some(key) = self.key.get() else { return true };
        // SAFETY: the caller's word.
        unsafe { hub.polling() }.map_or(true, |polling| polling.sources.borrow_mut().is_ready(key, direction))
    }

    /// Notes that an operation would have blocked, or took all there was.
    ///
    /// # Safety
    /// As [`is_ready`](Self::is_ready).
    #[inline]
    pub unsafe fn clear_ready(&self, hub: &Hub, direction: Direction) {
        if let Some(key) = self.key.get()
            // SAFETY: the caller's word.
            && let Ok(polling) = unsafe { hub.polling() }
        {
            polling.sources.borrow_mut().clear_ready(key, direction);
        }
    }

    /// Parks the running greenlet until the descriptor is ready, after an operation would have blocked.
    ///
    /// # Errors
    /// What is thrown in; RuntimeError if another greenlet waits in that direction; OSError if it cannot be registered.
    ///
    /// # Safety
    /// The interpreter's lock is held; `hub` is the thread's plain hub.
    pub unsafe fn wait(
        &self,
        thread: &Thread,
        hub: &Hub,
        direction: Direction,
        deadline: Option<Time>,
    ) -> Result<Ready> {
        // SAFETY: the caller's word.
        unsafe {
            let key = self.register(thread, hub)?;
            let polling = hub.polling()?;
            polling.sources.borrow_mut().clear_ready(key, direction);
            let ticket = Ticket::take(thread);
            let work = Work::Wake(ticket.clone(), Outcome::none());
            let waits = polling.sources.borrow_mut().wait(key, direction, work);
            match waits {
                Ok(true) => {}
                Ok(false) => return Ok(Ready::Yes),
                Err(_) => return self.refuse_second(direction),
            }
            let value = park_until(thread, &ticket, deadline);
            if let Ok(polling) = hub.polling() {
                let mine = |work: &Work| matches!(work, Work::Wake(other, _) if other.is_same(&ticket));
                let work = polling.sources.borrow_mut().stop_waiting(key, direction, mine);
                drop(work);
            }
            Ok(if value?.is_some() { Ready::Yes } else { Ready::TimedOut })
        }
    }

    /// The key in this hub, registered if it was not.
    unsafe fn register(&self, thread: &Thread, hub: &Hub) -> Result<SourceKey> {
        // SAFETY: the caller of `wait`'s word.
        unsafe {
            let polling = hub.polling()?;
            let mut sources = polling.sources.borrow_mut();
            if let Some(key) = self.key.get().filter(|key| sources.contains(*key)) {
                return Ok(key);
            }
            let key = checked(valid_fd(self.fd.get()).and_then(|fd| sources.add(&polling.poller, fd)))?;
            drop(sources);
            self.key.set(Some(key));
            self.hub.set(Some(Owned::borrow(thread.hub.get())));
            Ok(key)
        }
    }

    #[cold]
    fn refuse_second<T>(&self, direction: Direction) -> Result<T> {
        let verb = if direction == Direction::Read { "read" } else { "write" };
        let fd = self.fd.get();
        let message = format!(
            "Second simultaneous {verb} on fileno {fd} detected: another green thread waits to {verb} there already. \
             Let one green thread {verb} a socket at a time, with a lock or a pool"
        );
        // SAFETY: called with the interpreter's lock.
        unsafe { ffi::error(ffi::PyExc_RuntimeError, &message) }
    }

    /// Forgets the descriptor, which the caller closes or has closed, and makes who waits on it try again. Returns it.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn detach(&self) -> RawFd {
        let fd = self.fd.replace(-1);
        let (Some(key), Some(owner)) = (self.key.take(), self.hub.take()) else { return fd };
        // SAFETY: guarded by the lock, as all of a hub's state is.
        unsafe {
            let Some(hub) = This::<Hub>::try_of(owner.as_ptr()) else { return fd };
            let Some(polling) = hub.polling_if_any() else { return fd };
            let waiting = polling.sources.borrow_mut().remove(&polling.poller, key, valid_fd(fd).ok());
            for work in waiting.into_iter().flatten() {
                if let Work::Wake(ticket, outcome) = work {
                    ticket.wake(outcome);
                }
            }
        }
        fd
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Listeners

/// Calls the listener of a descriptor, in the hub's greenlet.
///
/// # Safety
/// A live hub; the interpreter's lock is held.
pub unsafe fn tell_listener(hub: *mut PyObject, fd: RawFd, direction: Direction) -> Result<Owned> {
    // SAFETY: the caller's word; what is borrowed from a dict is kept before code can run.
    unsafe {
        let listeners = Owned::new(ffi::PyObject_GetAttrString(hub, c"listeners".as_ptr()))?;
        let kind = if direction == Direction::Read { "read" } else { "write" };
        let kind = ffi::string(kind)?;
        let bucket = Owned::new(ffi::PyObject_GetItem(listeners.as_ptr(), kind.as_ptr()))?;
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        let listener = ffi::PyDict_GetItemWithError(bucket.as_ptr(), number.as_ptr());
        if listener.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(Owned::none()) } else { Err(Raised) };
        }
        let listener = Owned::borrow(listener);
        let callback = Owned::new(ffi::PyObject_GetAttrString(listener.as_ptr(), c"cb".as_ptr()))?;
        ffi::call(callback.as_ptr(), [number.as_ptr()])
    }
}

/// The functions of the module about descriptors.
pub fn functions() -> Vec<PyMethodDef> {
    vec![class::function(
        c"_listen",
        listen,
        c"_listen(hub, fileno, read, write)\n\nMakes the hub's loop call the listeners of a file descriptor in these directions, \
          and in no other.",
    )]
}

fn listen(args: Args<'_>) -> Result<Owned> {
    let [hub, fd, read, write] = args.parse("_listen", ["hub", "fileno", "read", "write"], 4)?;
    // SAFETY: called by the interpreter.
    unsafe {
        let Some(hub) = This::<Hub>::try_of(hub) else {
            return ffi::error(ffi::PyExc_TypeError, "_listen() needs a native hub");
        };
        let fd = RawFd::try_from(ffi::integer(fd)?).unwrap_or(-1);
        let wanted = [(Direction::Read, ffi::truth(read)?), (Direction::Write, ffi::truth(write)?)];
        checked(hub.polling()?.listen(fd, wanted))?;
    }
    Ok(Owned::none())
}
