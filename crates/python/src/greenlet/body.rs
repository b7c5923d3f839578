//! A greenlet's data: what hangs off the Python object.
//!
//! The object itself has the layout that greenlet's C header promises, with one opaque pointer, to a [`Body`]. What it
//! means to switch is in [`switch`](super::switch); what Python sees of it in [`class`](super::class).

use std::alloc::{Layout, handle_alloc_error};
use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::Arc;

use greenloom_fiber::Fiber;

use super::awaited;
use super::handle::Handle;
use super::locals::Locals;
#[cfg(Py_3_15)]
use crate::py;
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::free_list::{FreeList, Kept};
use crate::py::table::zeroed_type;
use crate::py::{Gil, Global, Slot};
use crate::tstate::Saved;

/// The Python object. C code compiled against `greenlet.h` knows this layout.
#[repr(C)]
pub struct PyGreenlet {
    ob_base: PyObject,
    pub weakreflist: *mut PyObject,
    pub dict: *mut PyObject,
    body: *mut Body,
}

const _: () = assert!(size_of::<PyGreenlet>() == 40 || cfg!(not(target_pointer_width = "64")));

/// Where a greenlet is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has not begun.
    Pending,
    /// It has begun and not ended: it runs, or is suspended.
    Active,
    /// It has ended.
    Dead,
}

/// In `parks` of what was left behind by a fork. No greenlet parks as often.
const LEFT_BEHIND: u64 = 1 << 63;

/// What the greenlet is made of.
pub struct Body {
    pub state: Cell<State>,
    pub main: bool,
    /// The number of the interpreter that it was made in.
    pub interpreter: u32,
    /// Owned. Null for a main greenlet, and after the garbage collector took the greenlet apart.
    pub parent: Cell<*mut PyGreenlet>,
    /// Owned. What to run, until it begins.
    pub run: Cell<*mut PyObject>,
    /// Owned. What its function was called with, while that runs: the function, a tuple, a dict or null. Here the
    /// garbage collector finds it.
    pub call: Cell<[*mut PyObject; 3]>,
    /// The thread it runs in, since it has begun.
    pub thread: UnsafeCell<Option<Arc<Handle>>>,
    pub saved: UnsafeCell<Saved>,
    pub fiber: UnsafeCell<Fiber>,
    /// About where the stack pointer was when it was left.
    pub left_at: Cell<usize>,
    /// Neighbours in the thread's list of active greenlets.
    pub links: Cell<[*mut PyGreenlet; 2]>,
    /// For the test type: what is to fail.
    pub broken: Cell<Broken>,
    /// How often it was suspended to be woken by somebody, so that a waker can tell one time from the next.
    pub parks: Cell<u64>,
    /// What it waits for, while it is parked; on its own stack.
    pub wait: awaited::Place,
    /// When it began; 0 if that was not noted.
    pub began: Cell<u64>,
    /// What calls its function in place of a plain call.
    pub runner: Cell<Option<Runner>>,
    /// An object that who made the greenlet keeps with it.
    pub extension: Slot,
    /// What has values of its own for it, until it is gone.
    pub locals: Locals,
}

/// Calls a greenlet's function, the second argument, with a tuple and a dict or null. With null in the tuple's place
/// the function shall not be called: the pending exception ends the greenlet before it began. Returns what the greenlet
/// ends with, null for the pending exception.
///
/// # Safety
/// Live objects; in the greenlet, or in another one if there was no stack for it.
pub type Runner = unsafe fn(Gil<'_>, *mut PyGreenlet, *mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;

/// Failures that can be asked of an `UnswitchableGreenlet`.
#[derive(Clone, Copy, Default)]
pub struct Broken {
    pub switch: bool,
    pub slp_switch: bool,
}

/// The number of the interpreter that runs.
#[inline]
pub fn running_interpreter(_: Gil<'_>) -> u32 {
    // SAFETY: the token says that the lock is held. Numbers are given out one after another, from 0.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) as u32 }
}

impl Body {
    fn new(gil: Gil<'_>, main: bool) -> Body {
        Body {
            state: Cell::new(if main { State::Active } else { State::Pending }),
            main,
            interpreter: running_interpreter(gil),
            parent: Cell::new(ptr::null_mut()),
            run: Cell::new(ptr::null_mut()),
            call: Cell::new([ptr::null_mut(); 3]),
            thread: UnsafeCell::new(None),
            saved: UnsafeCell::new(Saved::new()),
            fiber: UnsafeCell::new(Fiber::root()),
            left_at: Cell::new(0),
            links: Cell::new([ptr::null_mut(); 2]),
            broken: Cell::new(Broken::default()),
            parks: Cell::new(0),
            wait: Cell::new(ptr::null()),
            began: Cell::new(0),
            runner: Cell::new(None),
            extension: Slot::empty(),
            locals: Locals::new(),
        }
    }

    /// The thread it began in, if it has begun.
    pub fn handle(&self) -> Option<&Arc<Handle>> {
        // SAFETY: set when the greenlet begins or is made, and not before it is gone.
        unsafe { &*self.thread.get() }.as_ref()
    }

    /// Whether it began in a thread that has ended meanwhile.
    pub fn is_thread_dead(&self) -> bool {
        self.handle().is_some_and(|handle| !handle.is_alive())
    }

    /// In the child of a fork that leaves it behind: it never goes on, as who has a ticket for a park of its finds.
    pub fn leave_behind(&self) {
        self.parks.set(self.parks.get() | LEFT_BEHIND);
    }

    /// Whether who parked here never goes on: its thread has ended, or it was left behind.
    pub fn is_lost(&self) -> bool {
        self.is_thread_dead() || self.parks.get() & LEFT_BEHIND != 0
    }

    /// Whether it has begun, has not ended, and could go on.
    pub fn is_active(&self) -> bool {
        self.state.get() == State::Active && !self.is_thread_dead()
    }

    /// Whether it has begun, be it that it has ended since.
    pub fn is_started(&self) -> bool {
        self.state.get() != State::Pending
    }

    /// What Python sees as `dead`.
    pub fn is_dead(&self) -> bool {
        self.state.get() == State::Dead || self.is_thread_dead()
    }

    /// Whether it is what its thread runs now.
    pub fn is_current(&self, me: *mut PyGreenlet) -> bool {
        self.state.get() == State::Active && self.handle().is_some_and(|handle| handle.runs(me.cast()))
    }

    /// Whether it was left in the middle of what it does, so that its frames are there, be its thread there or not.
    #[cfg(Py_3_15)]
    pub fn is_suspended(&self, me: *mut PyGreenlet) -> bool {
        let is_left = || self.handle().is_some_and(|handle| !handle.ran_last(me.cast()));
        self.state.get() == State::Active && !self.main && is_left()
    }

    /// Takes the stacks away from an active greenlet that will never go on. What it holds through them is leaked, but
    /// for what 3.15 and later can tell from its frames.
    ///
    /// # Safety
    /// It is suspended, and the caller holds the interpreter's lock.
    pub unsafe fn abandon(&self) {
        self.state.set(State::Dead);
        // SAFETY: suspended, and its thread is gone or will not resume it.
        unsafe {
            if (*self.saved.get()).is_seen() {
                // Frame objects that point into its stack outlive it, so the stack stays, and is leaked with the fiber.
                return;
            }
            #[cfg(Py_3_15)]
            if !py::is_finalizing() {
                (*self.saved.get()).clear_frames();
                self.call.replace([ptr::null_mut(); 3]).into_iter().for_each(|object| ffi::xdecref(object));
            }
            (*self.saved.get()).abandon();
            (*self.fiber.get()).abandon();
        }
    }
}

/// A greenlet's body.
///
/// # Safety
/// A live greenlet object that was set up by [`attach_body`]; the result is good as long as the object is.
#[inline]
pub unsafe fn body<'a>(greenlet: *mut PyGreenlet) -> &'a Body {
    // SAFETY: the object has a body until it goes.
    unsafe { &*(*greenlet).body }
}

/// Memory of bodies.
static FREE_BODIES: Global<FreeList> = Global::new(FreeList::new());

/// Gives a fresh object its body.
///
/// # Safety
/// The object is zeroed behind its head.
pub unsafe fn attach_body(gil: Gil<'_>, greenlet: *mut PyGreenlet, main: bool) {
    const LAYOUT: Layout = Layout::new::<Body>();
    // The interpreter's blocks are aligned to 16 bytes.
    const { assert!(LAYOUT.align() <= 16) };
    // SAFETY: a fresh object of the type, which nobody else has seen; memory for a body, under the interpreter's lock.
    unsafe {
        // The interpreter's allocator has memory at hand where that of the system has given its few blocks away: many
        // are spawned at once.
        let kept = (*FREE_BODIES.get()).take();
        let memory = kept.unwrap_or_else(|| ffi::PyObject_Malloc(LAYOUT.size())).cast::<Body>();
        if memory.is_null() {
            handle_alloc_error(LAYOUT);
        }
        memory.write(Body::new(gil, main));
        (*greenlet).body = memory;
    }
}

/// Takes the body away, with what it owns.
///
/// # Safety
/// The greenlet is not active, and nobody uses it any more.
pub unsafe fn drop_body(greenlet: *mut PyGreenlet) {
    // SAFETY: nobody uses the body any more, and its memory is the interpreter's.
    unsafe {
        let memory = std::mem::replace(&mut (*greenlet).body, ptr::null_mut());
        if memory.is_null() {
            return;
        }
        let body = &*memory;
        body.locals.forget(greenlet.cast());
        ffi::clear(&body.parent);
        ffi::clear(&body.run);
        let saved = &*body.saved.get();
        for held in saved.held() {
            ffi::decref(held);
        }
        if saved.is_thread() {
            saved.kept().for_each(|kept| ffi::decref(kept));
        }
        ptr::drop_in_place(memory);
        if !(*FREE_BODIES.get()).keep(memory.cast()) {
            ffi::PyObject_Free(memory.cast());
        }
    }
}

/// Whether the object has a body: not while it is being made or unmade.
///
/// # Safety
/// A greenlet object.
pub unsafe fn has_body(greenlet: *mut PyGreenlet) -> bool {
    // SAFETY: a greenlet object, whose field is null or a body.
    unsafe { !(*greenlet).body.is_null() }
}

static TYPE: Global<PyTypeObject> = Global::new(zeroed_type());

/// The type.
pub fn greenlet_type() -> *mut PyTypeObject {
    TYPE.get()
}

static FREE: Global<FreeList> = Global::new(FreeList::new());

/// Objects of the type itself.
pub enum Greenlets {}

impl Kept for Greenlets {
    fn kind() -> *mut PyTypeObject {
        greenlet_type()
    }

    fn list() -> &'static Global<FreeList> {
        &FREE
    }
}

/// Whether the object is a greenlet, of the type itself or of a subclass.
///
/// # Safety
/// A live object.
pub unsafe fn is_greenlet(object: *mut PyObject) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyObject_TypeCheck(object, greenlet_type()) != 0 }
}

/// Whether the greenlet is of the type itself, whose `run` nobody overrides.
///
/// # Safety
/// A live greenlet.
#[inline]
pub unsafe fn is_exact(greenlet: *mut PyGreenlet) -> bool {
    // SAFETY: a live object.
    unsafe { ptr::eq(ffi::Py_TYPE(greenlet.cast()), greenlet_type()) }
}

/// A zeroed object of the type or of a subclass, without a body.
///
/// # Safety
/// The type or a subclass.
pub unsafe fn allocate(_: Gil<'_>, kind: *mut PyTypeObject) -> *mut PyGreenlet {
    // SAFETY: a type of greenlets, with the lock held.
    unsafe {
        match (*kind).tp_alloc {
            Some(alloc) => alloc(kind, 0).cast(),
            None => ffi::PyType_GenericAlloc(kind, 0).cast(),
        }
    }
}
