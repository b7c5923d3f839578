//! File descriptors: the poller of a hub, green objects that wait on one, and listeners that Python code adds.
//!
//! A green socket's descriptor is registered once, edge-triggered ([`Source`]). Listeners (`hub.add`, `trampoline`) name any
//! descriptor, of which nobody knows when it is closed and used again; they are registered for as long as they listen,
//! level-triggered, with a poller of their own. It is part of the hub's poller, so one descriptor can be both.

use std::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use ::hub::poller::{Events, Mode, Poller};
use ::hub::{Direction, SourceKey, Sources, Time};

use super::hub::Hub;
use super::park::{Outcome, Ticket, park_until};
use super::work::Work;
use crate::eventlet::hub_ref;
use crate::greenlet::Thread;
use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::{self, Args, Owned, Raised, Result, Slot, This};

/// A hub's poller and what is registered with it.
pub struct Polling {
    poller: Poller,
    bell: Box<dyn Fn()>,
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
struct Wanted {
    read: bool,
    write: bool,
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
    pub fn new() -> Result<Polling> {
        let poller = checked(Poller::new())?;
        let bell = Box::new(poller.bell());
        Ok(Polling {
            poller,
            bell,
            sources: RefCell::new(Sources::new()),
            events: UnsafeCell::new(Events::new()),
            listeners: OnceCell::new(),
            generation: fiber::fork_generation(),
        })
    }

    /// Whether it belongs to this process.
    pub fn is_current(&self) -> bool {
        self.generation == fiber::fork_generation()
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

    /// Waits for events, for [`report`](Self::report).
    ///
    /// # Safety
    /// Called by the hub's thread only.
    pub unsafe fn wait(&self, timeout: Duration) -> io::Result<()> {
        // SAFETY: nobody else looks at the events.
        let events = unsafe { &mut *self.events.get() };
        self.poller.wait(Some(timeout), events)?;
        if let Some(listeners) = self.listeners.get()
            && events.iter().any(|event| event.number == LISTENERS)
        {
            // SAFETY: the same.
            listeners.poller.wait(Some(Duration::ZERO), unsafe { &mut *listeners.events.get() })?;
        }
        Ok(())
    }

    /// Hands out the work that the last wait's events wake.
    ///
    /// # Safety
    /// Called by the hub's thread only, with the interpreter's lock.
    pub unsafe fn report(&self, mut fire: impl FnMut(Work)) {
        let mut sources = self.sources.borrow_mut();
        // SAFETY: as `wait`.
        for event in unsafe { &*self.events.get() }.iter() {
            match self.listeners.get() {
                Some(listeners) if event.number == LISTENERS => listeners.report(&mut fire),
                _ => sources.report(event, &mut fire),
            }
        }
    }

    /// Makes the listeners of a descriptor what they shall be.
    fn listen(&self, number: RawFd, wanted: Wanted) -> io::Result<()> {
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
    fn register(&self, sources: &mut Sources<Work>, number: RawFd) -> io::Result<SourceKey> {
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

    /// The file behind a descriptor is or will be another one: makes green objects that wait on it raise `exception`.
    pub fn forget(&self, number: RawFd, exception: impl FnOnce() -> Result<Owned>) -> Result<()> {
        let Some(key) = self.sources.borrow().find(number) else { return Ok(()) };
        let waiting = self.sources.borrow_mut().remove(&self.poller, key, valid_fd(number).ok());
        if waiting.iter().all(Option::is_none) {
            return Ok(());
        }
        let exception = exception()?;
        for work in waiting.into_iter().flatten() {
            if let Work::Wake(ticket, _) = work {
                ticket.wake(Outcome::Throw(exception.clone(), None));
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
            let args = py::string(message).and_then(|message| {
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

/// What green objects raise whose file was closed behind their back: an `IOClosed`.
pub fn closed_error() -> Result<Owned> {
    // SAFETY: called with the interpreter's lock.
    unsafe {
        let class = closed_class()?;
        let args =
            Owned::new(ffi::Py_BuildValue(c"is".as_ptr(), libc::ENOTCONN, c"Operation on closed file".as_ptr()))?;
        Owned::new(ffi::PyObject_Call(class.as_ptr(), args.as_ptr(), ptr::null_mut()))
    }
}

/// `eventlet.hubs.IOClosed`.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn closed_class() -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe {
        let hubs = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs".as_ptr()))?;
        Owned::new(ffi::PyObject_GetAttrString(hubs.as_ptr(), c"IOClosed".as_ptr()))
    }
}

/// How a wait for a descriptor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Worth another try: it is ready, or was closed.
    Yes,
    /// The time is up.
    TimedOut,
    /// Somebody else waits there.
    Busy,
}

/// The descriptor of a green object, registered with the hub of whichever thread waits on it.
pub struct Source {
    key: Cell<Option<SourceKey>>,
    /// The hub it is registered with.
    hub: Slot,
    /// Further hubs: of other OS threads that have used it.
    others: RefCell<Vec<(Owned, SourceKey)>>,
}

impl Source {
    /// Of a descriptor that is not registered yet.
    pub fn new() -> Source {
        Source { key: Cell::new(None), hub: Slot::empty(), others: RefCell::new(Vec::new()) }
    }

    /// The key in the thread's hub, if it was registered there.
    #[inline]
    fn key(&self, thread: &Thread) -> Option<SourceKey> {
        if ptr::eq(self.hub.get(), hub_ref::object_of(thread)) { self.key.get() } else { self.other_key(thread) }
    }

    #[cold]
    fn other_key(&self, thread: &Thread) -> Option<SourceKey> {
        self.others
            .borrow()
            .iter()
            .find(|(hub, _)| ptr::eq(hub.as_ptr(), hub_ref::object_of(thread)))
            .map(|(_, key)| *key)
    }

    fn set_key(&self, thread: &Thread, key: SourceKey) {
        // SAFETY: the thread keeps its hub.
        let hub = unsafe { Owned::borrow(hub_ref::object_of(thread)) };
        if self.key.get().is_none() || ptr::eq(self.hub.get(), hub.as_ptr()) {
            self.key.set(Some(key));
            self.hub.set(Some(hub));
            return;
        }
        let mut others = self.others.borrow_mut();
        match others.iter_mut().find(|(other, _)| ptr::eq(other.as_ptr(), hub.as_ptr())) {
            Some(other) => other.1 = key,
            None => others.push((hub, key)),
        }
    }

    /// Whether an operation is worth a try, as far as this hub knows.
    ///
    /// # Safety
    /// The interpreter's lock is held, in the hub's thread.
    #[inline]
    pub unsafe fn is_ready(&self, thread: &Thread, hub: &Hub, direction: Direction) -> bool {
        let Some(key) = self.key(thread) else { return true };
        // SAFETY: the caller's word.
        unsafe { hub.polling() }.map_or(true, |polling| polling.sources.borrow_mut().is_ready(key, direction))
    }

    /// Notes that an operation took all there was.
    ///
    /// # Safety
    /// As [`is_ready`](Self::is_ready).
    #[inline]
    pub unsafe fn clear_ready(&self, thread: &Thread, hub: &Hub, direction: Direction) {
        if let Some(key) = self.key(thread)
            // SAFETY: the caller's word.
            && let Ok(polling) = unsafe { hub.polling() }
        {
            polling.sources.borrow_mut().clear_ready(key, direction);
        }
    }

    /// Parks the running greenlet until the descriptor is ready; does not park if it is, but for what was `refused`: an
    /// operation has just said that it would block.
    ///
    /// # Errors
    /// What is thrown in; OSError if it cannot be registered.
    ///
    /// # Safety
    /// The interpreter's lock is held; `hub` is the thread's plain hub; `fd` is always the same number.
    pub unsafe fn wait(
        &self,
        thread: &Thread,
        hub: &Hub,
        fd: RawFd,
        direction: Direction,
        refused: bool,
        deadline: Option<Time>,
    ) -> Result<Ready> {
        // SAFETY: the caller's word.
        unsafe {
            let polling = hub.polling()?;
            let (key, waits) = {
                let mut sources = polling.sources.borrow_mut();
                let known = self.key(thread).filter(|key| sources.contains(*key));
                let key = match known {
                    Some(key) => key,
                    None => {
                        let key = checked(polling.register(&mut sources, fd))?;
                        self.set_key(thread, key);
                        key
                    }
                };
                if refused {
                    sources.would_block(key, direction);
                }
                let ticket = Ticket::take(thread);
                (
                    key,
                    sources
                        .wait(key, direction, Work::Wake(ticket.clone(), Outcome::none()))
                        .map(|waits| waits.then_some(ticket)),
                )
            };
            let ticket = match waits {
                Ok(Some(ticket)) => ticket,
                Ok(None) => return Ok(Ready::Yes),
                Err(_) => return Ok(Ready::Busy),
            };
            let value = park_until(thread, &ticket, deadline);
            if let Ok(polling) = hub.polling() {
                let mine = |work: &Work| matches!(work, Work::Wake(other, _) if other.is_same(&ticket));
                let work = polling.sources.borrow_mut().stop_waiting(key, direction, mine);
                drop(work);
            }
            Ok(if value?.is_some() { Ready::Yes } else { Ready::TimedOut })
        }
    }

    /// Forgets the descriptor, which the caller is about to close, and makes who waits on it try again.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn detach(&self, fd: RawFd) {
        let Some(key) = self.key.take() else { return };
        let first = self.hub.take().map(|hub| (hub, key));
        let others = self.others.take();
        for (owner, key) in first.into_iter().chain(others) {
            // SAFETY: guarded by the lock, as all of a hub's state is.
            unsafe {
                let Some(hub) = This::<Hub>::try_of(owner.as_ptr()) else { continue };
                let Some(polling) = hub.polling_if_any() else { continue };
                let waiting = polling.sources.borrow_mut().remove(&polling.poller, key, valid_fd(fd).ok());
                for work in waiting.into_iter().flatten() {
                    if let Work::Wake(ticket, outcome) = work {
                        ticket.wake(outcome);
                    }
                }
            }
        }
    }

    /// For the garbage collector.
    pub fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.hub.get());
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
        let kind = py::string(kind)?;
        let bucket = Owned::new(ffi::PyObject_GetItem(listeners.as_ptr(), kind.as_ptr()))?;
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        let listener = ffi::PyDict_GetItemWithError(bucket.as_ptr(), number.as_ptr());
        if listener.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(Owned::none()) } else { Err(Raised) };
        }
        let listener = Owned::borrow(listener);
        let callback = Owned::new(ffi::PyObject_GetAttrString(listener.as_ptr(), c"cb".as_ptr()))?;
        py::call(callback.as_ptr(), [number.as_ptr()])
    }
}

/// The functions of the module about descriptors.
pub fn functions() -> Vec<PyMethodDef> {
    vec![py::function(
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
            return py::error(ffi::PyExc_TypeError, "_listen() needs a native hub");
        };
        let fd = RawFd::try_from(py::integer(fd)?).unwrap_or(-1);
        let wanted = Wanted { read: py::truth(read)?, write: py::truth(write)? };
        checked(hub.polling()?.listen(fd, wanted))?;
    }
    Ok(Owned::none())
}
