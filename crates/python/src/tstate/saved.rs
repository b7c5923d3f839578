//! A greenlet's part of the thread state while it does not run, and how it is taken out and put back.
//!
//! [`Saved`] has what every version keeps for a greenlet. What only some versions have is in the version's own
//! [`Own`], which goes through the same steps as a [`Part`]. The calls are inlined: a switch is one straight line of
//! loads and stores.

use std::ffi::c_int;
use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

use super::part::{ExcState, Frames, Part};
#[cfg(Py_3_14)]
use super::since_v314::Own;
#[cfg(Py_3_15)]
use super::version::Frame;
#[cfg(not(Py_3_14))]
use super::version::Own;
use super::version::{Entry, ThreadState};
use super::{Chunk, DataStack};

/// A greenlet's part of the thread state while it does not run.
pub struct Saved {
    /// Owned. Also meaningful before the first run and after the last.
    pub context: *mut PyObject,
    exc_state: ExcState,
    /// Null for the entry in the thread state itself, so that it may be another thread state when the greenlet goes on.
    exc_info: *mut ExcState,
    depth: c_int,
    datastack: DataStack,
    /// Owned. Of a greenlet that is a [thread](Self::begin_thread), what C keeps for each thread: its own while it is
    /// suspended, that of all others while it runs. Apart, as most are none.
    kept: Option<Box<[*mut PyObject; KEPT]>>,
    own: Own,
}

impl Saved {
    /// Of a greenlet that has not begun.
    pub const fn new() -> Saved {
        Saved {
            context: ptr::null_mut(),
            exc_state: ExcState::NONE,
            exc_info: ptr::null_mut(),
            depth: 0,
            datastack: DataStack::empty(),
            kept: None,
            own: Own::NEW,
        }
    }

    /// Makes the running greenlet what Python knows as a thread: what C keeps for each thread, it keeps for it.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held; `kept`, what is kept for it so far, is owned.
    pub unsafe fn begin_thread(&mut self, state: *mut ThreadState, kept: [*mut PyObject; KEPT]) {
        self.kept = Some(Box::new(kept));
        // SAFETY: as for `save`.
        unsafe { self.exchange_kept(state) };
    }

    /// Whether the greenlet is one.
    pub fn is_thread(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes out what was kept for the running greenlet as a thread so far: owned objects, or null.
    ///
    /// # Safety
    /// As [`begin_thread`](Self::begin_thread).
    pub unsafe fn take_kept(&mut self, state: *mut ThreadState) -> [*mut PyObject; KEPT] {
        if !self.is_thread() {
            return [ptr::null_mut(); KEPT];
        }
        // SAFETY: as for `save`.
        unsafe { (*state).kept_for_thread().map(|place| place.replace(ptr::null_mut())) }
    }

    /// As [`take_kept`](Self::take_kept), and from then on the greenlet shares what all others have.
    ///
    /// # Safety
    /// As [`begin_thread`](Self::begin_thread).
    pub unsafe fn end_thread(&mut self, state: *mut ThreadState) -> [*mut PyObject; KEPT] {
        // SAFETY: as for `save`.
        unsafe { self.exchange_kept(state) };
        self.kept.take().map_or([ptr::null_mut(); KEPT], |kept| *kept)
    }

    #[inline]
    unsafe fn exchange_kept(&mut self, state: *mut ThreadState) {
        #[cold]
        unsafe fn exchange(kept: &mut [*mut PyObject; KEPT], state: *mut ThreadState) {
            // SAFETY: as for `save`.
            unsafe {
                for (mine, place) in kept.iter_mut().zip((*state).kept_for_thread()) {
                    *mine = place.replace(*mine);
                }
            }
        }
        if let Some(kept) = &mut self.kept {
            // SAFETY: as for `save`.
            unsafe { exchange(kept, state) }
        }
    }

    /// Takes the running greenlet's part out. What is in the thread state stays there, to be overwritten.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held.
    #[inline]
    pub unsafe fn save(&mut self, state: *mut ThreadState) {
        // SAFETY: the thread state lives as long as its OS thread runs Python, and with the lock held nobody else
        // changes it.
        unsafe {
            self.context = (*state).context;
            self.exc_state = (*state).exc_state;
            let exc_info = (*state).exc_info;
            self.exc_info = if exc_info == &raw mut (*state).exc_state { ptr::null_mut() } else { exc_info };
            self.depth = (*state).depth();
            self.datastack = (*state).datastack;
            self.exchange_kept(state);
            self.own.save(state);
        }
    }

    /// Puts a suspended greenlet's part back in.
    ///
    /// # Safety
    /// As [`save`](Self::save), and the thread state holds the part of a greenlet that was saved or has ended.
    #[inline]
    pub unsafe fn restore(&mut self, state: *mut ThreadState) {
        // SAFETY: as for `save`; what is overwritten belongs to a greenlet that has it saved, or has ended.
        unsafe {
            (*state).context = std::mem::replace(&mut self.context, ptr::null_mut());
            (*state).context_ver += 1;
            (*state).exc_state = std::mem::replace(&mut self.exc_state, ExcState::NONE);
            (*state).exc_info = if self.exc_info.is_null() { &raw mut (*state).exc_state } else { self.exc_info };
            (*state).set_depth(self.depth);
            (*state).datastack = self.datastack;
            self.exchange_kept(state);
            self.own.restore(state);
        }
    }

    /// Sets up the thread state for a greenlet that begins: nothing on its stacks, nothing being handled, the context
    /// that was chosen for it.
    ///
    /// # Safety
    /// As [`restore`](Self::restore). The entry and the root chunk's memory at `chunk` are the greenlet's until
    /// [`end`](Self::end), and `stack` is its C stack.
    pub unsafe fn begin(
        &mut self,
        state: *mut ThreadState,
        entry: *mut Entry,
        chunk: *mut Chunk,
        stack: &Range<usize>,
    ) {
        // SAFETY: as for `restore`; nobody else uses the entry and the memory.
        unsafe {
            (*state).context = std::mem::replace(&mut self.context, ptr::null_mut());
            (*state).context_ver += 1;
            // Its own stack has room for all of the limit, no matter what begins it.
            (*state).set_depth(0);
            (*state).exc_state = ExcState::NONE;
            (*state).exc_info = &raw mut (*state).exc_state;
            (*state).datastack = Chunk::root(chunk);
            Own::begin(state, entry, stack);
        }
    }

    /// Takes what outlives the greenlet out of the thread state, and lets go of the rest.
    ///
    /// # Safety
    /// As [`save`](Self::save); the running greenlet began with [`begin`](Self::begin) and has nothing left to run.
    #[inline]
    pub unsafe fn end(&mut self, state: *mut ThreadState) {
        // SAFETY: as for `save`; no frame of the data stack is used again.
        unsafe {
            // Up to 3.11, None is left there once an exception was handled.
            self.exc_state = std::mem::replace(&mut (*state).exc_state, ExcState::NONE);
            self.context = std::mem::replace(&mut (*state).context, ptr::null_mut());
            self.exchange_kept(state);
            (*state).datastack.free_to_root();
            Own::end(state);
        }
    }

    /// Lets go of a greenlet that will never go on: its stacks are about to be taken away.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    pub unsafe fn abandon(&mut self) {
        // SAFETY: the greenlet is suspended for ever, so no frame of its data stack is used again.
        unsafe {
            std::mem::replace(&mut self.datastack, DataStack::empty()).free_to_root();
            self.own.abandon();
        }
        self.exc_info = ptr::null_mut();
    }

    /// Whether somebody else holds a frame object of a suspended greenlet, whose content is on its data stack.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    pub unsafe fn is_seen(&self) -> bool {
        let mut frame = self.own.frame();
        // SAFETY: a suspended greenlet's frames are intact, and each object lives as long as its frame.
        unsafe {
            while !frame.is_null() {
                let object = (*frame).object();
                if !object.is_null() && pyo3_ffi::Py_REFCNT(object) > 1 {
                    return true;
                }
                frame = (*frame).previous();
            }
        }
        false
    }

    /// Adds the [places](super::version::Frame::place) of a suspended greenlet's frames, at most `most` of them, from
    /// the innermost. No object is made for it.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    pub unsafe fn add_places(&self, places: &mut Vec<usize>, most: usize) {
        let mut frame = self.own.frame();
        for _ in 0..most {
            if frame.is_null() {
                return;
            }
            // SAFETY: a suspended greenlet's frames are intact.
            unsafe {
                places.push((*frame).place());
                frame = (*frame).previous();
            }
        }
    }

    /// Shows the garbage collector what the frames of a suspended greenlet hold.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    #[cfg(Py_3_15)]
    pub unsafe fn traverse_frames(&self, visit: pyo3_ffi::visitproc, arg: *mut std::ffi::c_void) -> c_int {
        let mut frame = self.own.frame();
        while !frame.is_null() {
            // SAFETY: a suspended greenlet's frames are intact.
            unsafe {
                let answer = Frame::traverse(frame, visit, arg);
                if answer != 0 {
                    return answer;
                }
                frame = (*frame).previous();
            }
        }
        0
    }

    /// Lets go of what the frames of a greenlet hold that will never go on.
    ///
    /// # Safety
    /// The greenlet is suspended for ever, nobody [sees](Self::is_seen) it, and the caller holds the lock.
    #[cfg(Py_3_15)]
    pub unsafe fn clear_frames(&mut self) {
        let mut frame = self.own.frame();
        while !frame.is_null() {
            // SAFETY: the frames stay where they are; what is let go of cannot reach them.
            unsafe {
                Frame::clear(frame);
                frame = (*frame).previous();
            }
        }
    }

    /// The objects that a suspended greenlet holds through its thread state, but for those [kept](Self::kept).
    pub fn held(&self) -> impl Iterator<Item = *mut PyObject> {
        self.exc_state.values.into_iter().chain([self.context]).filter(|object| !object.is_null())
    }

    /// The objects that are kept for it as a thread. Told apart, as most are none, and each one's end asks.
    pub fn kept(&self) -> impl Iterator<Item = *mut PyObject> {
        self.kept.iter().flat_map(|kept| **kept).filter(|object| !object.is_null())
    }

    /// The Python stack of a suspended greenlet, as a new reference to its innermost frame; null if there is none.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held; the greenlet is suspended.
    pub unsafe fn frame_object(&self, state: *mut ThreadState) -> *mut PyObject {
        // SAFETY: the frame is put in for one call that runs no Python code, and the running one back after it.
        unsafe {
            let running = Own::running_frame(state);
            let mine = running.replace(self.own.frame());
            let frame = pyo3_ffi::PyThreadState_GetFrame(state.cast());
            running.write(mine);
            frame.cast()
        }
    }
}

impl ThreadState {
    /// Whether the stack of handled exceptions ends in this thread state.
    ///
    /// # Safety
    /// The caller holds the lock, and the layout is right or fails this check on a null pointer.
    pub unsafe fn handles_exceptions_here(&self) -> bool {
        let mut entry: *const ExcState = self.exc_info;
        for _ in 0..1_000_000 {
            if entry.is_null() {
                return false;
            }
            if ptr::eq(entry, &self.exc_state) {
                return true;
            }
            // SAFETY: a list in CPython's own memory, which with the lock held does not change.
            entry = unsafe { (*entry).previous };
        }
        false
    }
}

/// How many objects C keeps for each thread.
pub const KEPT: usize = if cfg!(Py_3_13) { 3 } else { 1 };

impl ThreadState {
    /// The places of what C keeps for each thread: a dict, in which up to 3.12 the values of its `threading.local` are,
    /// the containers whose `repr` is under way, and ctypes' copy of errno; and from 3.13 on whose values are whose.
    #[inline]
    fn kept_for_thread(&mut self) -> [*mut *mut PyObject; KEPT] {
        [
            &raw mut self.dict,
            #[cfg(Py_3_13)]
            &raw mut self.threading_local_key,
            #[cfg(Py_3_13)]
            &raw mut self.threading_local_sentinel,
        ]
    }
}

/// 3.10 counts up, and keeps the limit elsewhere.
#[cfg(Py_3_11)]
impl ThreadState {
    /// How deep calls are nested. Kept as that, so that a new limit holds for all greenlets.
    #[inline]
    fn depth(&self) -> c_int {
        self.recursion_limit - self.recursion_remaining
    }

    /// Makes calls be nested this deep.
    #[inline]
    fn set_depth(&mut self, depth: c_int) {
        self.recursion_remaining = self.recursion_limit - depth;
    }

    /// The recursion limit as this thread state has it; `None` where it is kept elsewhere.
    pub fn depth_limit(&self) -> Option<c_int> {
        Some(self.recursion_limit)
    }
}
