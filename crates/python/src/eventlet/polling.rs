//! A hub's poller: the descriptors of green objects, and those that Python code listens to.
//!
//! A green object's descriptor is registered once, edge-triggered. Listeners (`hub.add`, `trampoline`) name any
//! descriptor, of which nobody knows when it is closed and used again; they are registered for as long as they listen,
//! level-triggered, with a poller of their own. It is part of the hub's poller, so one descriptor can be both.

use std::cell::{OnceCell, RefCell, UnsafeCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use greenloom_hub::poller::{Events, Mode, Poller};
use greenloom_hub::{Direction, SourceKey, Sources};

use super::work::Work;
use crate::py::ffi;
use crate::py::{self, Gil, Owned, Raised, Result};

/// A hub's poller and what is registered with it.
pub struct Polling {
    /// Before the poller: both have what it rings, and the last one closes it.
    bell: Box<dyn Fn()>,
    poller: Poller,
    sources: RefCell<Sources<Work>>,
    /// Filled without the interpreter's lock, by the hub's own thread.
    events: UnsafeCell<Events>,
    listeners: OnceCell<Listeners>,
    /// The process it was made in: epoll is shared over a fork.
    generation: u64,
}

/// The number under which the listeners' poller is part of the hub's.
const LISTENERS: u64 = u64::MAX - 1;

/// Descriptors that Python code listens to; their numbers are those of their events.
struct Listeners {
    poller: Poller,
    events: UnsafeCell<Events>,
    wanted: RefCell<HashMap<RawFd, Wanted>>,
}

/// The directions in which somebody listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub read: bool,
    pub write: bool,
}

impl Wanted {
    fn any(self) -> bool {
        self.read || self.write
    }

    fn mode(self) -> Mode {
        Mode::Level { read: self.read, write: self.write }
    }
}

impl Listeners {
    /// None, in a poller that the hub's looks at.
    fn new(outer: &Poller) -> io::Result<Listeners> {
        let poller = Poller::new()?;
        outer.add(poller.as_fd(), LISTENERS, Mode::Level { read: true, write: false })?;
        Ok(Listeners { poller, events: UnsafeCell::new(Events::new()), wanted: RefCell::new(HashMap::new()) })
    }

    /// Makes the listeners of a descriptor what they shall be.
    fn set(&self, number: RawFd, wanted: Wanted) -> io::Result<()> {
        let mut all = self.wanted.borrow_mut();
        if !wanted.any() {
            if all.remove(&number).is_some() {
                // An error means that it was closed, and has left by itself.
                let _ = self.poller.remove(valid_fd(number)?);
            }
            return Ok(());
        }
        let fd = valid_fd(number)?;
        let number_in_events = number.unsigned_abs().into();
        let changed = match all.get(&number) {
            Some(former) if *former == wanted => return Ok(()),
            Some(_) => self.poller.change(fd, number_in_events, wanted.mode()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match changed {
            // New, or closed behind our back and another file now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.poller.add(fd, number_in_events, wanted.mode())?;
            }
            result => result?,
        }
        all.insert(number, wanted);
        Ok(())
    }

    fn report(&self, fire: &mut impl FnMut(Work)) {
        let wanted = self.wanted.borrow();
        // SAFETY: called by the hub's thread only.
        for event in unsafe { &*self.events.get() }.iter() {
            let number = event.number as RawFd;
            let Some(wanted) = wanted.get(&number) else { continue };
            if event.read && wanted.read {
                fire(Work::Listener(number, Direction::Read));
            }
            if event.write && wanted.write {
                fire(Work::Listener(number, Direction::Write));
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = Work> {
        let each = |(number, wanted): (&RawFd, &Wanted)| {
            let read = wanted.read.then_some(Work::Listener(*number, Direction::Read));
            [read, wanted.write.then_some(Work::Listener(*number, Direction::Write))]
        };
        self.wanted.borrow().iter().flat_map(each).flatten().collect::<Vec<_>>().into_iter()
    }
}

impl Polling {
    /// A poller with nothing in it.
    pub fn new(gil: Gil<'_>) -> Result<Polling> {
        let poller = checked(gil, Poller::new())?;
        let bell = Box::new(poller.bell());
        Ok(Polling {
            bell,
            poller,
            sources: RefCell::new(Sources::new()),
            events: UnsafeCell::new(Events::new()),
            listeners: OnceCell::new(),
            generation: greenloom_fiber::fork_generation(),
        })
    }

    /// Whether it belongs to this process.
    pub fn is_current(&self) -> bool {
        self.generation == greenloom_fiber::fork_generation()
    }

    /// Whether its descriptors are still its own: a program may have closed them by their numbers.
    pub fn is_intact(&self) -> bool {
        self.poller.is_intact() && self.listeners.get().is_none_or(|all| all.poller.is_intact())
    }

    /// They are not: no number is used or closed that may be another file's.
    pub fn doubt(&self) {
        self.poller.doubt();
        if let Some(listeners) = self.listeners.get() {
            listeners.poller.doubt();
        }
    }

    /// The work that waits, of a poller that is done with.
    pub fn into_waiting(self) -> Vec<Work> {
        let mut waiting = self.sources.into_inner().into_waiting();
        waiting.extend(self.listeners.get().into_iter().flat_map(Listeners::all));
        waiting
    }

    /// Whether anything waits for I/O.
    pub fn has_waiters(&self) -> bool {
        self.sources.borrow().waiting() > 0 || self.listeners.get().is_some_and(|all| !all.wanted.borrow().is_empty())
    }

    /// How many descriptors are registered. None in the middle of a change.
    pub fn watched(&self) -> Option<usize> {
        let listened = |all: &Listeners| Some(all.wanted.try_borrow().ok()?.len());
        Some(self.sources.try_borrow().ok()?.len() + self.listeners.get().map_or(Some(0), listened)?)
    }

    /// How many wait for I/O.
    pub fn waiters(&self) -> usize {
        let listen = |all: &Listeners| {
            all.wanted.borrow().values().map(|one| usize::from(one.read) + usize::from(one.write)).sum()
        };
        self.sources.borrow().waiting() + self.listeners.get().map_or(0, listen)
    }

    /// A descriptor that can be read when [`wait`](Self::wait) would bring something.
    pub fn number(&self) -> RawFd {
        self.poller.as_fd().as_raw_fd()
    }

    /// Ends the present or the next wait.
    pub fn ring(&self) {
        (self.bell)();
    }

    /// Waits for events, for [`report`](Self::report). Returns whether a signal ended the wait.
    ///
    /// # Safety
    /// Called by the hub's thread only.
    pub unsafe fn wait(&self, timeout: Duration) -> io::Result<bool> {
        // SAFETY: nobody else looks at the events.
        let events = unsafe { &mut *self.events.get() };
        let by_signal = self.poller.wait(Some(timeout), events)?;
        if let Some(listeners) = self.listeners.get()
            && events.iter().any(|event| event.number == LISTENERS)
        {
            // SAFETY: nobody else looks at them.
            listeners.poller.wait(Some(Duration::ZERO), unsafe { &mut *listeners.events.get() })?;
        }
        Ok(by_signal)
    }

    /// Hands out the work that the last wait's events wake.
    ///
    /// # Safety
    /// Called by the hub's thread only, with the interpreter's lock.
    pub unsafe fn report(&self, mut fire: impl FnMut(Work)) {
        let mut sources = self.sources.borrow_mut();
        // SAFETY: the hub's thread does not wait now.
        for event in unsafe { &*self.events.get() }.iter() {
            match self.listeners.get() {
                Some(listeners) if event.number == LISTENERS => listeners.report(&mut fire),
                _ => sources.report(event, &mut fire),
            }
        }
    }

    /// Makes the listeners of a descriptor what they shall be.
    pub fn listen(&self, number: RawFd, wanted: Wanted) -> io::Result<()> {
        let listeners = match self.listeners.get() {
            Some(listeners) => listeners,
            None if !wanted.any() => return Ok(()),
            None => {
                let listeners = Listeners::new(&self.poller)?;
                self.listeners.get_or_init(|| listeners)
            }
        };
        listeners.set(number, wanted)
    }

    /// The key of a descriptor, which another green object may have registered.
    pub fn register(&self, sources: &mut Sources<Work>, number: RawFd) -> io::Result<SourceKey> {
        let fd = valid_fd(number)?;
        match sources.find_open(&self.poller, fd)? {
            Some(key) => Ok(key),
            None => sources.add(&self.poller, fd),
        }
    }

    /// Whether Python code listens to a descriptor.
    pub fn listens(&self, number: RawFd) -> bool {
        self.listeners.get().is_some_and(|listeners| listeners.wanted.borrow().contains_key(&number))
    }

    /// The file behind a descriptor is or will be another one: takes out the green objects that wait on it.
    pub fn forget(&self, number: RawFd) -> impl Iterator<Item = Work> + use<> {
        let key = self.sources.borrow().find(number);
        key.map(|key| self.remove(key, number)).into_iter().flatten()
    }

    /// Takes a descriptor out, and returns the work that waits for it.
    pub fn remove(&self, key: SourceKey, number: RawFd) -> impl Iterator<Item = Work> + use<> {
        let waiting = self.sources.borrow_mut().remove(&self.poller, key, valid_fd(number).ok());
        waiting.into_iter().flatten()
    }

    /// The descriptors of green objects.
    pub fn sources(&self) -> &RefCell<Sources<Work>> {
        &self.sources
    }
}

/// Whether an error may mean that the poller's own descriptor was closed by its number, or is another file's now.
pub fn may_be_closed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL))
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
pub fn checked<T>(gil: Gil<'_>, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| {
        let message = error.to_string();
        let message = message.split(" (os error").next().unwrap_or_default();
        raise_os_error(gil, error.raw_os_error().unwrap_or(libc::EIO), message)
    })
}

/// Raises an OSError with this number.
pub fn raise_os_error(gil: Gil<'_>, code: i32, message: &str) -> Raised {
    // SAFETY: live objects, as the format says, and the token says that the lock is held.
    unsafe {
        let args = py::string(gil, message)
            .and_then(|message| Owned::new(ffi::Py_BuildValue(c"iO".as_ptr(), code, message.as_ptr())));
        if let Ok(args) = args {
            // The instance, whose class is that of its number: before 3.12 a class with arguments stays what it is.
            let made = ffi::PyObject_Call(ffi::PyExc_OSError, args.as_ptr(), ptr::null_mut());
            if let Ok(error) = Owned::new(made) {
                ffi::PyErr_SetObject(ffi::Py_TYPE(error.as_ptr()).cast(), error.as_ptr());
            }
        }
        Raised
    }
}

/// What green objects raise whose file was closed behind their back: an `IOClosed`.
pub fn closed_error(gil: Gil<'_>) -> Result<Owned> {
    let class = closed_class(gil)?;
    // SAFETY: a live class, and arguments as the format says.
    unsafe {
        let args =
            Owned::new(ffi::Py_BuildValue(c"is".as_ptr(), libc::ENOTCONN, c"Operation on closed file".as_ptr()))?;
        Owned::new(ffi::PyObject_Call(class.as_ptr(), args.as_ptr(), ptr::null_mut()))
    }
}

/// `eventlet.hubs.IOClosed`.
pub fn closed_class(_: Gil<'_>) -> Result<Owned> {
    // SAFETY: a live module, and the token says that the lock is held.
    unsafe {
        let hubs = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs".as_ptr()))?;
        Owned::new(ffi::PyObject_GetAttrString(hubs.as_ptr(), c"IOClosed".as_ptr()))
    }
}
