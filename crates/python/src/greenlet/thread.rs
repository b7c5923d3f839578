//! What an OS thread knows of its greenlets.
//!
//! The record is made when a thread first asks for its current greenlet. When the thread ends, a thread-local
//! destructor runs without the interpreter's lock; it marks the thread's [`Handle`] dead, queues the record, and asks
//! the interpreter for a call back with the lock, which lets go of the record's objects.
//!
//! Greenlets refer to their thread through the handle, which outlives the record.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use greenloom_fiber::ForkMutex;

use super::body::{Body, PyGreenlet, allocate, attach_body, body, greenlet_type};
use super::extension::Extension;
use super::float::FloatEnvironment;
use super::handle::{Handle, record_here};
use super::interruption::Interruptions;
use super::recorder;
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Pending, Raised, Result};
use crate::tstate::ThreadState;

/// The record.
pub struct Thread {
    pub handle: Arc<Handle>,
    /// Its number, as Python's `threading.get_ident` has it.
    pub ident: std::ffi::c_ulong,
    /// How many threads had a record before it.
    pub number: u64,
    /// Owned.
    pub main: *mut PyGreenlet,
    /// Owned: which greenlet runs.
    current: Cell<*mut PyGreenlet>,
    /// Owned, during a switch: the greenlet that was left, until the one that goes on lets go of it.
    pub origin: Cell<*mut PyGreenlet>,
    /// Owned, during a switch: what is handed over; null for a pending exception.
    pub mailbox: Cell<*mut PyObject>,
    /// During a switch: the thread state, which the one that goes on need not look up again. An OS thread can have
    /// another one later.
    pub state: Cell<*mut ThreadState>,
    /// During a switch: the floating-point control words of the one that was left, which the processor still has.
    pub environment: Cell<FloatEnvironment>,
    /// Owned: the trace function, or null.
    pub tracer: Cell<*mut PyObject>,
    /// Whether a switch is told to anybody: the trace function, or the recorder.
    pub watched: Cell<bool>,
    pub recorder: recorder::Place,
    /// Exceptions that greenlets of this thread shall raise when they reach Python next.
    pub interruptions: Interruptions,
    /// The newest of the active greenlets but the main one.
    pub(super) active: Cell<*mut PyGreenlet>,
    /// Where a walk over them goes on; null if there is none.
    pub(super) walk: Cell<*mut PyGreenlet>,
    /// What a floor above keeps with the thread.
    pub extension: Extension,
    /// Owned: greenlets that other threads let go of, and what is to be done with them.
    left: RefCell<Vec<(*mut PyGreenlet, LetGo)>>,
}

/// Takes over a reference to a greenlet of the running thread.
///
/// # Safety
/// The reference is the caller's to give away.
pub type LetGo = unsafe fn(Gil<'_>, *mut PyGreenlet);

thread_local! {
    static EXIT: Exit = const { Exit };
}

/// How many records were made.
static THREADS: AtomicU64 = AtomicU64::new(0);

static MAIN_GREENLETS: AtomicUsize = AtomicUsize::new(0);

/// Threads that have ended, until the interpreter calls back.
static EXITED: ForkMutex<Vec<Record>> = ForkMutex::new(Vec::new());

/// All records of the process.
static ALL: ForkMutex<Vec<Record>> = ForkMutex::new(Vec::new());

#[derive(Clone, Copy, PartialEq, Eq)]
struct Record(*const Thread);

// SAFETY: followed only by holders of the interpreter's lock.
unsafe impl Send for Record {}

/// The running thread's record, made if there is none; null with an exception if that fails. Lets go of what other
/// threads left here, keeping a pending exception.
#[inline]
pub fn current_thread(gil: Gil<'_>) -> *const Thread {
    let record = record_here().cast::<Thread>();
    // SAFETY: the record lives as long as the thread.
    unsafe {
        if record.is_null() {
            return Thread::create(gil);
        }
        if !(*record).left.borrow().is_empty() {
            (*record).let_go_of_left();
        }
    }
    record
}

/// The running thread's record. Code that has one runs in that thread and holds the interpreter's lock, which is what
/// it takes to suspend a greenlet. As for a [`Gil`], that is still so after a switch.
#[derive(Clone, Copy)]
pub struct Here<'a>(&'a Thread);

impl<'a> Here<'a> {
    /// The record, for as long as it is known to be the running thread's.
    #[inline(always)]
    pub fn record(self) -> &'a Thread {
        self.0
    }

    /// The token.
    #[inline(always)]
    pub fn gil(self) -> Gil<'a> {
        self.0.gil()
    }
}

impl Deref for Here<'_> {
    type Target = Thread;

    #[inline(always)]
    fn deref(&self) -> &Thread {
        self.0
    }
}

/// The running thread's record, which exists.
///
/// # Safety
/// A greenlet of this thread runs, or has run; the interpreter's lock is held for `'a`.
#[inline]
pub unsafe fn this_thread<'a>() -> Here<'a> {
    // SAFETY: the first greenlet of a thread has made its record, which lives as long as the thread.
    Here(unsafe { &*record_here().cast() })
}

impl Thread {
    #[cold]
    fn create(gil: Gil<'_>) -> *const Thread {
        // SAFETY: the token says that the lock is held; a fresh object gets its body before anybody sees it.
        unsafe {
            let main = allocate(gil, greenlet_type());
            if main.is_null() {
                return ptr::null();
            }
            attach_body(gil, main, true);
            MAIN_GREENLETS.fetch_add(1, Ordering::Relaxed);
            if !record_here().is_null() {
                // The allocation ran code that got here first.
                ffi::decref(main);
                return record_here().cast();
            }
            Thread::with_main(main)
        }
    }

    /// The record of this thread, of which `main` is the first greenlet; takes over the reference.
    ///
    /// # Safety
    /// It is fresh, and the thread has no record; the lock is held.
    unsafe fn with_main(main: *mut PyGreenlet) -> *const Thread {
        let handle = Arc::new(Handle::new(main.cast()));
        // SAFETY: nobody else has seen it.
        unsafe { *body(main).thread.get() = Some(Arc::clone(&handle)) };
        let record = Box::into_raw(Box::new(Thread {
            handle: Arc::clone(&handle),
            // SAFETY: it asks the system only.
            ident: unsafe { ffi::PyThread_get_thread_ident() },
            number: THREADS.fetch_add(1, Ordering::Relaxed),
            main,
            // SAFETY: a live greenlet.
            current: Cell::new(unsafe { ffi::incref(main) }),
            origin: Cell::new(ptr::null_mut()),
            mailbox: Cell::new(ptr::null_mut()),
            state: Cell::new(ptr::null_mut()),
            environment: Cell::new(FloatEnvironment::save()),
            tracer: Cell::new(ptr::null_mut()),
            watched: Cell::new(recorder::is_on()),
            recorder: recorder::Place::default(),
            interruptions: Interruptions::none(),
            active: Cell::new(ptr::null_mut()),
            walk: Cell::new(ptr::null_mut()),
            extension: Extension::empty(),
            left: RefCell::new(Vec::new()),
        }));
        // SAFETY: the record lives until the thread ends, which ends the handle.
        unsafe { handle.begin(record.cast_const().cast()) };
        EXIT.with(|_| ());
        ALL.lock().push(Record(record));
        record
    }

    /// The lock is held: a record is reached under the lock only, and is not `Sync`.
    #[inline(always)]
    pub fn gil(&self) -> Gil<'_> {
        // SAFETY: as for `Owned::gil`.
        unsafe { Gil::assume() }
    }

    pub fn ident(&self) -> std::ffi::c_ulong {
        self.ident
    }

    /// Whether the greenlet began in this thread.
    #[inline]
    pub fn is_of(&self, body: &Body) -> bool {
        body.handle().is_some_and(|handle| Arc::ptr_eq(handle, &self.handle))
    }

    /// Which greenlet runs, borrowed.
    #[inline]
    pub fn current(&self) -> *mut PyGreenlet {
        self.current.get()
    }

    /// Makes another greenlet the running one; the reference to it is taken over, and that to the former handed back.
    ///
    /// # Safety
    /// An owned reference to a greenlet of this thread, which runs from now on.
    #[inline]
    pub unsafe fn set_current(&self, greenlet: *mut PyGreenlet) -> *mut PyGreenlet {
        self.handle.set_running(greenlet.cast());
        self.current.replace(greenlet)
    }

    /// Adds a greenlet to the list of active ones.
    ///
    /// # Safety
    /// It begins in this thread.
    pub unsafe fn link(&self, greenlet: *mut PyGreenlet) {
        let next = self.active.replace(greenlet);
        // SAFETY: listed greenlets are alive.
        unsafe {
            body(greenlet).links.set([ptr::null_mut(), next]);
            if !next.is_null() {
                let [_, after] = body(next).links.get();
                body(next).links.set([greenlet, after]);
            }
        }
    }

    /// Takes a greenlet off the list.
    ///
    /// # Safety
    /// It is on it.
    pub unsafe fn unlink(&self, greenlet: *mut PyGreenlet) {
        // SAFETY: listed greenlets are alive.
        unsafe {
            let [previous, next] = body(greenlet).links.replace([ptr::null_mut(); 2]);
            if self.walk.get() == greenlet {
                self.walk.set(next);
            }
            if previous.is_null() {
                self.active.set(next);
            } else {
                let [before, _] = body(previous).links.get();
                body(previous).links.set([before, next]);
            }
            if !next.is_null() {
                let [_, after] = body(next).links.get();
                body(next).links.set([previous, after]);
            }
        }
    }

    /// After a change of who is told of switches.
    pub fn update_watched(&self) {
        self.watched.set(!self.tracer.get().is_null() || recorder::is_on());
    }

    /// Leaves a greenlet of this thread, with the caller's reference, for the thread to let go of. The caller is
    /// another thread.
    ///
    /// # Safety
    /// An owned reference to a greenlet of this thread, which `let_go` may be called with.
    pub unsafe fn leave(&self, greenlet: *mut PyGreenlet, let_go: LetGo) {
        self.left.borrow_mut().push((greenlet, let_go));
    }

    #[cold]
    fn let_go_of_left(&self) {
        // SAFETY: the list has references of its own, and is emptied before code can run that adds to it.
        unsafe {
            let pending = Pending::take(self.gil());
            for (greenlet, let_go) in self.left.take() {
                let_go(self.gil(), greenlet);
            }
            pending.put_back();
        }
    }
}

/// Runs when the thread ends.
struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        let record = record_here().cast::<Thread>();
        if record.is_null() {
            return;
        }
        // SAFETY: the record is ours until it is queued.
        unsafe { &(*record).handle }.end();
        if py::is_gone() {
            return;
        }
        let mut exited = EXITED.lock();
        exited.push(Record(record));
        if exited.len() == 1 {
            // SAFETY: may be called without the interpreter's lock. If its queue is full, the next exit asks again.
            if unsafe { ffi::Py_AddPendingCall(Some(let_go_of_exited), ptr::null_mut()) } != 0 {
                PENDING_CALL_REFUSED.store(true, Ordering::Relaxed);
            }
        } else if PENDING_CALL_REFUSED.load(Ordering::Relaxed) {
            // SAFETY: as above.
            let refused = unsafe { ffi::Py_AddPendingCall(Some(let_go_of_exited), ptr::null_mut()) } != 0;
            PENDING_CALL_REFUSED.store(refused, Ordering::Relaxed);
        }
    }
}

static PENDING_CALL_REFUSED: AtomicBool = AtomicBool::new(false);

extern "C" fn let_go_of_exited(_: *mut std::ffi::c_void) -> std::ffi::c_int {
    loop {
        let Some(Record(record)) = EXITED.lock().pop() else { return 0 };
        ALL.lock().retain(|other| other.0 != record);
        // SAFETY: queued once, by its thread, which is gone; the interpreter's lock is held.
        unsafe {
            let record = Box::from_raw(record.cast_mut());
            for (greenlet, _) in record.left.take() {
                ffi::decref(greenlet);
            }
            record.extension.end();
            record.interruptions.forget(record.gil());
            ffi::clear(&record.tracer);
            ffi::clear(&record.mailbox);
            ffi::clear(&record.origin);
            ffi::clear(&record.current);
            let main = record.main;
            drop(record);
            if ffi::Py_REFCNT(main.cast()) == 2 && CLEANUP.load(Ordering::Relaxed) && only_a_lost_stack_holds(main) {
                ffi::decref(main);
            }
            ffi::decref(main);
        }
    }
}

/// Whether the one reference to a main greenlet beside the caller's lies on the stack of a greenlet that was abandoned
/// in the middle of a switch to it, to all appearances: no object has it. Nobody would ever give it back.
///
/// # Safety
/// The interpreter's lock is held.
unsafe fn only_a_lost_stack_holds(main: *mut PyGreenlet) -> bool {
    let begun = clock();
    // SAFETY: the interpreter's lock is held.
    let none = unsafe {
        let gc = ffi::PyImport_ImportModule(c"gc".as_ptr());
        let referrers = if gc.is_null() {
            gc
        } else {
            let name = c"get_referrers".as_ptr();
            ffi::PyObject_CallMethod(gc, name, c"O".as_ptr(), main)
        };
        let none = !referrers.is_null() && ffi::PyObject_Size(referrers) == 0;
        ffi::xdecref(referrers);
        ffi::xdecref(gc);
        ffi::PyErr_Clear();
        none && ffi::Py_REFCNT(main.cast()) == 2
    };
    CLEANUP_CLOCKS.fetch_add(clock() - begun, Ordering::Relaxed);
    none
}

fn clock() -> i64 {
    unsafe extern "C" {
        safe fn clock() -> std::ffi::c_long;
    }
    clock()
}

static CLEANUP: AtomicBool = AtomicBool::new(true);
static CLEANUP_CLOCKS: AtomicI64 = AtomicI64::new(0);

/// Whether to look, when a thread has ended, for a reference to its main greenlet that was lost.
pub fn enable_cleanup(on: bool) {
    if CLEANUP.swap(on, Ordering::Relaxed) && !on {
        CLEANUP_CLOCKS.store(0, Ordering::Relaxed);
    }
}

/// The processor time that took, in `CLOCKS_PER_SEC`; `None` if it is not done.
pub fn cleanup_clocks() -> Option<i64> {
    CLEANUP.load(Ordering::Relaxed).then(|| CLEANUP_CLOCKS.load(Ordering::Relaxed))
}

/// How many threads have ended whose records were not let go of yet.
pub fn exited_threads() -> usize {
    EXITED.lock().len()
}

/// How many main greenlets there are.
pub fn main_greenlets() -> usize {
    MAIN_GREENLETS.load(Ordering::Relaxed)
}

/// A main greenlet is gone.
pub fn main_greenlet_is_gone() {
    MAIN_GREENLETS.fetch_sub(1, Ordering::Relaxed);
}

/// Looks at the records of the threads that live until one answers. `look` must run no Python code.
pub fn find_thread<T>(_: Gil<'_>, mut look: impl FnMut(&Thread) -> Option<T>) -> Option<T> {
    ALL.lock().iter().find_map(|Record(record)| {
        // SAFETY: records are removed from the list before they go, under the interpreter's lock.
        let thread = unsafe { &**record };
        if thread.handle.is_alive() { look(thread) } else { None }
    })
}

/// What `look` finds in the records of the threads that live, each with the thread's number.
/// `look` must run no Python code.
pub fn of_all_threads<T>(_: Gil<'_>, look: impl Fn(&Thread) -> Option<T>) -> Vec<(std::ffi::c_ulong, T)> {
    let mut found = Vec::new();
    for Record(record) in ALL.lock().iter() {
        // SAFETY: records are removed from the list before they go, under the interpreter's lock.
        let thread = unsafe { &**record };
        if thread.handle.is_alive()
            && let Some(seen) = look(thread)
        {
            found.push((thread.ident, seen));
        }
    }
    found
}

/// The record of a handle's thread, `None` once it has ended.
#[inline]
pub fn record_of<'py>(_: Gil<'py>, handle: &Handle) -> Option<&'py Thread> {
    // SAFETY: the handle forgets its record before that goes, under the interpreter's lock.
    unsafe { handle.record().cast::<Thread>().as_ref() }
}

/// The running thread's record, made if there is none.
#[inline]
pub fn here<'py>(gil: Gil<'py>) -> Result<Here<'py>> {
    // SAFETY: null, or the running thread's record, which lives as long as the thread.
    unsafe { current_thread(gil).as_ref().map(Here).ok_or(Raised) }
}

/// Whether a body belongs to the running thread.
#[inline]
pub fn is_here(body: &Body) -> bool {
    body.handle().is_some_and(|handle| handle.is_mine())
}

/// The current greenlet, as a new reference; a RuntimeError when there is none any more.
pub fn current_or_refuse(gil: Gil<'_>) -> *mut PyGreenlet {
    // SAFETY: the token says that the lock is held; the record keeps its current greenlet.
    unsafe {
        if py::is_finalizing() {
            return py::raise(ffi::PyExc_RuntimeError, "greenlet is being finalized");
        }
        let thread = current_thread(gil);
        if thread.is_null() {
            return ptr::null_mut();
        }
        ffi::incref((*thread).current())
    }
}
