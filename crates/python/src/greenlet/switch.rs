//! The switch: who goes on, with what, and what happens when a greenlet begins and ends.
//!
//! A switch carries a [`Handover`] and has two halves. The greenlet that is left saves its part of the thread state,
//! puts the handover into its thread's mailbox and switches the C stack. Whoever goes on, be it resumed or new,
//! *arrives*: it restores its part, takes the handover, tells the trace function, and lets go of the reference to the
//! one that was left. From the handover on nothing of the switch is kept in shared places, so a trace function or a
//! destructor may switch again.
//!
//! On a new stack, [`run`] calls the greenlet's function, and then finds the ancestor that goes on with the result.
//!
//! Over 500 lines: a switch begins greenlets, and one that ends switches and may begin its parent, so that no part of
//! this can be without the others.

use std::ptr;

use greenloom_fiber::{Fiber, StackError};

use super::body::{Body, PyGreenlet, State, body, is_exact};
use super::float::FloatEnvironment;
use super::handover::Handover;
use super::thread::{Here, Thread, current_thread, this_thread};
use super::{names, recording, stacks, trace, wait};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Pending, Raised, Result};
use crate::tstate::{self, Entry};

/// Goes on with `greenlet`, or with the nearest of its ancestors that has not ended. Returns what is handed to the
/// running greenlet when somebody switches back; null with an exception if one is thrown, or if the switch is refused.
///
/// # Safety
/// The caller holds a reference to `greenlet`, and owns what is in the handover.
pub unsafe fn switch(gil: Gil<'_>, greenlet: *mut PyGreenlet, mut handover: Handover) -> *mut PyObject {
    // SAFETY: a record lives as long as its thread; the caller's reference keeps the greenlet, and it its ancestors.
    unsafe {
        let Some(thread) = current_thread(gil).as_ref() else {
            handover.become_throw(gil);
            return ptr::null_mut();
        };
        loop {
            let target = destination(thread, greenlet);
            if target.is_null() {
                handover.become_throw(gil);
                return ptr::null_mut();
            }
            if body(target).state.get() == State::Active {
                return resume(thread, target, handover);
            }
            if let Some(result) = begin(thread, target, &mut handover) {
                return result;
            }
        }
    }
}

/// As [`switch`], with one object for an active greenlet. It is all one function with its caller: each one between that
/// and the switch would cost a mispredicted return.
///
/// # Safety
/// As [`switch`]; the object is owned.
#[inline(always)]
pub unsafe fn switch_active(gil: Gil<'_>, greenlet: *mut PyGreenlet, value: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `switch`.
    unsafe {
        if let Some(thread) = current_thread(gil).as_ref()
            && thread.is_of(body(greenlet))
            && !body(greenlet).broken.get().switch
        {
            thread.mailbox.set(value);
            return jump(thread, greenlet);
        }
        switch(gil, greenlet, Handover::Value(value))
    }
}

/// Goes on with an active greenlet.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
unsafe fn resume(thread: &Thread, target: *mut PyGreenlet, mut handover: Handover) -> *mut PyObject {
    // SAFETY: the caller's reference keeps the greenlet, and the handover is its own.
    unsafe {
        if body(target).broken.get().switch {
            handover.become_throw(thread.gil());
            let _ = py::system_error::<()>(thread.gil(), "Failed to switch stacks into a running greenlet.");
            return ptr::null_mut();
        }
        if post(thread, handover) { jump(thread, target) } else { ptr::null_mut() }
    }
}

/// Begins a pending greenlet. `None` if it has begun or ended meanwhile: there is to be another look at where to go.
///
/// # Safety
/// As [`switch`].
#[inline]
unsafe fn begin(thread: &Thread, target: *mut PyGreenlet, handover: &mut Handover) -> Option<*mut PyObject> {
    // SAFETY: it is kept by a reference while Python code runs.
    unsafe {
        ffi::incref(target);
        let result = match prepare(thread, target, handover) {
            Prepared::Ready => Some(jump(thread, target)),
            Prepared::Meanwhile => None,
            Prepared::NoStack => {
                *handover = end_unbegun(thread.gil(), target, std::mem::replace(handover, Handover::Throw));
                None
            }
            Prepared::Failed => {
                handover.become_throw(thread.gil());
                Some(ptr::null_mut())
            }
        };
        ffi::decref(target);
        result
    }
}

/// Puts what is handed over into the mailbox. Returns `false` if that failed: an exception is pending then.
///
/// # Safety
/// What is handed over is the caller's own.
#[inline]
unsafe fn post(thread: &Thread, handover: Handover) -> bool {
    let throws = matches!(handover, Handover::Throw);
    // SAFETY: the caller's own.
    let value = unsafe { handover.into_value() };
    thread.mailbox.set(value);
    throws || !value.is_null()
}

/// As [`switch`], with a reference to the greenlet that is taken over: nothing on the stack that is left keeps it
/// alive.
///
/// # Safety
/// The greenlet and what is in the handover are owned by the caller.
pub unsafe fn switch_owned(thread: Here<'_>, greenlet: *mut PyGreenlet, mut handover: Handover) -> *mut PyObject {
    let (gil, thread) = (thread.gil(), thread.record());
    // SAFETY: the reference that is taken over keeps the greenlet until it is switched to.
    unsafe {
        let this = body(greenlet);
        if this.state.get() == State::Active && thread.is_of(this) && !this.broken.get().switch {
            return if post(thread, handover) { jump_owned(thread, greenlet) } else { let_go(greenlet) };
        }
        if this.state.get() == State::Pending && may_run_here(thread, greenlet).is_ok() {
            match prepare(thread, greenlet, &mut handover) {
                Prepared::Ready => return jump_owned(thread, greenlet),
                Prepared::Meanwhile => {}
                Prepared::NoStack => handover = end_unbegun(gil, greenlet, handover),
                Prepared::Failed => {
                    handover.become_throw(gil);
                    return let_go(greenlet);
                }
            }
        }
        let result = switch(gil, greenlet, handover);
        ffi::decref(greenlet);
        result
    }
}

/// Instead of a switch to a greenlet, of which the reference was taken over: an exception is pending.
///
/// # Safety
/// An owned reference.
unsafe fn let_go(greenlet: *mut PyGreenlet) -> *mut PyObject {
    // SAFETY: an owned reference.
    unsafe { ffi::decref(greenlet) };
    ptr::null_mut()
}

/// As [`switch_owned`], for a greenlet with a runner that has not begun. `None` if there is no stack for it: then
/// nothing was taken over and nothing has happened.
///
/// # Safety
/// As [`switch_owned`].
#[inline]
pub unsafe fn try_begin_owned(
    thread: Here<'_>,
    greenlet: *mut PyGreenlet,
    handover: &mut Handover,
) -> Option<*mut PyObject> {
    // SAFETY: the reference that is taken over keeps the greenlet until it is switched to.
    unsafe {
        if body(greenlet).state.get() == State::Pending && may_run_here(&thread, greenlet).is_ok() {
            match prepare(&thread, greenlet, handover) {
                Prepared::Ready => return Some(jump_owned(&thread, greenlet)),
                Prepared::NoStack => {
                    ffi::PyErr_Clear();
                    return None;
                }
                Prepared::Meanwhile => {}
                Prepared::Failed => handover.become_throw(thread.gil()),
            }
        }
        Some(switch_owned(thread, greenlet, std::mem::replace(handover, Handover::Throw)))
    }
}

/// The greenlet itself or its nearest ancestor that has not ended; null with an exception if that one cannot run here.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
#[inline]
unsafe fn destination(thread: &Thread, greenlet: *mut PyGreenlet) -> *mut PyGreenlet {
    // SAFETY: the caller holds a reference to the greenlet, which holds its ancestors.
    unsafe {
        let mut target = greenlet;
        if body(target).state.get() == State::Active && thread.is_of(body(target)) {
            return target;
        }
        if may_run_here(thread, greenlet).is_err() {
            return ptr::null_mut();
        }
        while body(target).state.get() == State::Dead {
            target = body(target).parent.get();
            if target.is_null() {
                let _ = names::switch_error::<()>(thread.gil(), GARBAGE);
                return target;
            }
        }
        if target != greenlet && may_run_here(thread, target).is_err() {
            return ptr::null_mut();
        }
        target
    }
}

const GARBAGE: &str = "cannot switch to a garbage collected greenlet";

/// Raises unless a greenlet belongs to the running thread: by itself if it has begun, else by its ancestors.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
unsafe fn may_run_here(thread: &Thread, greenlet: *mut PyGreenlet) -> Result<()> {
    let mut ancestor = greenlet;
    let handle = loop {
        if ancestor.is_null() {
            return names::switch_error(thread.gil(), GARBAGE);
        }
        // SAFETY: the caller's reference keeps the greenlet, which keeps its ancestors.
        let body = unsafe { body(ancestor) };
        if let Some(handle) = body.handle() {
            break handle;
        }
        ancestor = body.parent.get();
    };
    if std::sync::Arc::ptr_eq(handle, &thread.handle) {
        return Ok(());
    }
    if !handle.is_alive() {
        return names::switch_error(thread.gil(), "cannot switch to a different thread (which happens to have exited)");
    }
    let message = c"Cannot switch to a different thread\n\tCurrent:  %R\n\tExpected: %R";
    // SAFETY: two live objects, as the message asks for.
    unsafe { ffi::PyErr_Format(names::error(), message.as_ptr(), thread.current(), ancestor) };
    Err(Raised)
}

enum Prepared {
    /// The next jump to it begins it. The handover was taken.
    Ready,
    /// Looking for its `run` made it begin, or end.
    Meanwhile,
    /// There is no memory for its stack, and it has a runner to tell. An exception is pending, beside the handover.
    NoStack,
    /// An exception is pending, beside the handover.
    Failed,
}

/// Makes a pending greenlet ready to begin.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
unsafe fn prepare(thread: &Thread, greenlet: *mut PyGreenlet, handover: &mut Handover) -> Prepared {
    // SAFETY: the caller holds a reference to the greenlet.
    let (this, run) = unsafe {
        let run = find_run(thread.gil(), greenlet, matches!(handover, Handover::Throw));
        (body(greenlet), run)
    };
    if run.is_null() {
        return Prepared::Failed;
    }
    // SAFETY: as above; `run` was made for us.
    let prepared = unsafe { prepare_with(thread, greenlet, run, handover) };
    if !matches!(prepared, Prepared::Ready) {
        // SAFETY: nobody took it over.
        unsafe { ffi::decref(run) };
    }
    match prepared {
        Prepared::NoStack if this.runner.get().is_none() => Prepared::Failed,
        prepared => prepared,
    }
}

/// As [`prepare`], with its function, of which it takes over the reference if it is ready.
///
/// # Safety
/// As [`prepare`].
unsafe fn prepare_with(
    thread: &Thread,
    greenlet: *mut PyGreenlet,
    run: *mut PyObject,
    handover: &mut Handover,
) -> Prepared {
    // SAFETY: the caller holds a reference to the greenlet.
    let this = unsafe { body(greenlet) };
    if this.state.get() != State::Pending {
        return Prepared::Meanwhile;
    }
    // Python code may have run: it may have another parent now.
    // SAFETY: as above.
    if unsafe { may_run_here(thread, greenlet) }.is_err() {
        return Prepared::Failed;
    }
    if this.broken.get().switch {
        let message = "Failed to switch stacks into a greenlet for the first time.";
        let _ = py::system_error::<()>(thread.gil(), message);
        return Prepared::Failed;
    }
    let (stack, chunk) = match stacks::take() {
        Ok(taken) => taken,
        Err(error) => return no_stack(thread, &error),
    };
    let throws = matches!(handover, Handover::Throw);
    // SAFETY: the handover is the caller's own.
    let (args, kwargs) = unsafe { std::mem::replace(handover, Handover::Throw).into_call() };
    if args.is_null() && !throws {
        return Prepared::Failed;
    }
    let begin = Begin { greenlet, run, kwargs, chunk };
    // SAFETY: nobody else looks at these before the greenlet is active. The closure is as small as can be: a
    // pointer-sized part of the new stack's first page each.
    unsafe {
        if recording::is_on() && this.runner.get().is_none() {
            // One that a floor above has made was told of when it was made.
            recording::spawned(thread, greenlet, run);
        }
        *this.fiber.get() = Fiber::new_unguarded(stack, move || self::run(begin));
        *this.thread.get() = Some(std::sync::Arc::clone(&thread.handle));
        this.state.set(State::Active);
        this.began.set(wait::birth(thread.gil()));
        thread.link(greenlet);
    }
    thread.mailbox.set(args);
    Prepared::Ready
}

/// Out of line: who parks may begin another greenlet, and what that needs of the stack that is left stays in use.
#[cold]
#[inline(never)]
fn no_stack(thread: &Thread, error: &StackError) -> Prepared {
    let _ = py::memory_error::<()>(thread.gil(), &error.to_string());
    Prepared::NoStack
}

/// Ends a greenlet for which there is no stack with the pending exception, in the running greenlet. Returns what it
/// hands over to its parent in place of what it was to begin with.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
#[cold]
unsafe fn end_unbegun(gil: Gil<'_>, greenlet: *mut PyGreenlet, mut handover: Handover) -> Handover {
    // SAFETY: the caller holds a reference to the greenlet. It has ended before code can run that looks at it.
    unsafe {
        let this = body(greenlet);
        this.state.set(State::Dead);
        handover.become_throw(gil);
        let result = match this.runner.get() {
            Some(runner) => runner(gil, greenlet, ptr::null_mut(), ptr::null_mut(), ptr::null_mut()),
            None => ptr::null_mut(),
        };
        last_words(gil, result)
    }
}

/// The greenlet's function, as a new reference. A pending exception is kept if the lookup succeeds.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
unsafe fn find_run(gil: Gil<'_>, greenlet: *mut PyGreenlet, throws: bool) -> *mut PyObject {
    // SAFETY: the caller holds a reference to the greenlet.
    unsafe {
        let this = body(greenlet);
        let run = this.run.get();
        // Of the types that give their greenlets a runner, those of our own do not override `run`.
        let is_ours = || (*ffi::Py_TYPE(greenlet.cast())).tp_flags & ffi::Py_TPFLAGS_HEAPTYPE == 0;
        if !run.is_null() && (is_exact(greenlet) || this.runner.get().is_some() && is_ours()) {
            return ffi::incref(run);
        }
        if !throws {
            return ffi::PyObject_GetAttr(greenlet.cast(), names::RUN.object());
        }
        let pending = Pending::take(gil);
        let run = ffi::PyObject_GetAttr(greenlet.cast(), names::RUN.object());
        if run.is_null() {
            pending.discard()
        } else {
            pending.put_back()
        }
        run
    }
}

/// What a greenlet begins with, beside the arguments in the mailbox. Owns `run` and `kwargs`.
struct Begin {
    greenlet: *mut PyGreenlet,
    run: *mut PyObject,
    kwargs: *mut PyObject,
    chunk: *mut tstate::Chunk,
}

/// Leaves the running greenlet for `target`, with the mailbox filled. Returns what the running one finds in the mailbox
/// when it goes on.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
#[inline(always)]
unsafe fn jump(thread: &Thread, target: *mut PyGreenlet) -> *mut PyObject {
    // SAFETY: the reference is made for it.
    unsafe { jump_owned(thread, ffi::incref(target)) }
}

/// As [`jump`], with a reference to the target that is taken over.
///
/// # Safety
/// As [`jump`].
#[inline(always)]
unsafe fn jump_owned(thread: &Thread, target: *mut PyGreenlet) -> *mut PyObject {
    // SAFETY: `target` is active and suspended or ready to begin, or the running one. The running greenlet is kept by
    // the thread's record, one that was left only by its users: if they let go, it is resumed and ends before its body
    // goes.
    unsafe {
        let me = thread.current();
        if me == target {
            thread.origin.set(target);
            return arrive(thread, me);
        }
        let this = body(me);
        if body(target).broken.get().slp_switch {
            ffi::Py_FatalError(c"greenlet: Failed low-level slp_switch(). The stack is probably corrupt.".as_ptr());
        }
        let environment = FloatEnvironment::save();
        let state = tstate::current();
        (*this.saved.get()).save(state);
        thread.state.set(state);
        thread.environment.set(environment);
        this.left_at.set((&raw const environment).addr());
        thread.origin.set(thread.set_current(target));
        if Fiber::switch_raw(body(target).fiber.get()).is_err() {
            ffi::Py_FatalError(c"greenlet: the stack of an active greenlet cannot go on".as_ptr());
        }
        environment.restore(thread.environment.get());
        (*this.saved.get()).restore(thread.state.get());
        arrive(thread, me)
    }
}

/// The second half of a switch. Returns what was handed over; null for an exception.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
#[inline]
unsafe fn arrive(thread: &Thread, me: *mut PyGreenlet) -> *mut PyObject {
    // SAFETY: both slots were filled by the one that was left.
    unsafe {
        let mut value = thread.mailbox.replace(ptr::null_mut());
        let origin = thread.origin.replace(ptr::null_mut());
        if thread.watched.get() {
            value = trace::tell(thread, origin, me, value);
        }
        ffi::decref(origin);
        if thread.interruptions.any() {
            thread.interruptions.arrived(thread.ident(), me);
        }
        value
    }
}

/// The life of a greenlet on its stack. Returns the stack that goes on.
///
/// Nothing in this frame has a destructor: a thread that is ended at interpreter shutdown unwinds through it.
fn run(begin: Begin) -> *const Fiber {
    let Begin { greenlet, run, kwargs, chunk } = begin;
    let mut entry = Entry::new();
    // SAFETY: it runs in the thread that prepared it, with the interpreter's lock.
    unsafe {
        let thread = this_thread().record();
        let this = body(greenlet);
        let stack = (*this.fiber.get()).stack_bounds().unwrap_or(0..0);
        (*this.saved.get()).begin(thread.state.get(), &mut entry, chunk, &stack);
        let result = call(thread, greenlet, run, arrive(thread, greenlet), kwargs);
        let result = thread.interruptions.at_end(thread.gil(), thread.ident(), greenlet, result);
        let heir = find_heir(thread, this, last_words(thread.gil(), result));

        // From here to the jump no Python code runs.
        let state = tstate::current();
        (*this.saved.get()).end(state);
        thread.state.set(state);
        thread.environment.set(FloatEnvironment::save());
        this.state.set(State::Dead);
        thread.unlink(greenlet);
        thread.origin.set(thread.set_current(heir));
        body(heir).fiber.get()
    }
}

/// Calls the function of a greenlet that has begun; takes over what it is called with. Returns its result, null for an
/// exception.
///
/// # Safety
/// The greenlet runs; owned objects, `args` null for a pending exception.
#[inline(always)]
unsafe fn call(
    thread: &Thread,
    greenlet: *mut PyGreenlet,
    run: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the running greenlet is kept by its thread's record; the objects are owned.
    unsafe {
        let this = body(greenlet);
        let unused = this.run.replace(ptr::null_mut());
        // Not what was found as `run`, perhaps; letting go of it may switch.
        ffi::xdecref(unused);
        this.call.set([run, args, kwargs]);
        let result = match this.runner.get() {
            Some(runner) => runner(thread.gil(), greenlet, run, args, kwargs),
            None if args.is_null() => ptr::null_mut(),
            None => ffi::PyObject_Call(run, args, kwargs),
        };
        this.call.set([ptr::null_mut(); 3]);
        ffi::xdecref(args);
        ffi::decref(run);
        ffi::xdecref(kwargs);
        result
    }
}

/// What a greenlet hands over that ends with this result, null for the pending exception.
///
/// # Safety
/// An owned result; the interpreter's lock is held.
unsafe fn last_words(gil: Gil<'_>, result: *mut PyObject) -> Handover {
    // SAFETY: without a result an exception is pending.
    unsafe {
        if !result.is_null() {
            Handover::Value(result)
        } else if ffi::PyErr_ExceptionMatches(names::greenlet_exit()) != 0 {
            Handover::Value(Pending::take(gil).into_value())
        } else {
            Handover::Throw
        }
    }
}

/// Finds who goes on when a greenlet has ended, and puts the handover into the mailbox. Returns a new reference.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
unsafe fn find_heir(thread: &Thread, dying: &Body, mut handover: Handover) -> *mut PyGreenlet {
    // SAFETY: ancestors are held by their descendants, and by a reference while Python code runs.
    unsafe {
        let mut heir = ffi::incref(dying.parent.get());
        loop {
            let state = body(heir).state.get();
            if state == State::Active && thread.is_of(body(heir)) {
                let posted = post(thread, handover);
                debug_assert!(posted, "what a greenlet ends with is one object");
                return heir;
            }
            if state == State::Pending {
                match prepare(thread, heir, &mut handover) {
                    Prepared::Ready => return heir,
                    Prepared::Meanwhile => continue,
                    Prepared::NoStack => handover = end_unbegun(thread.gil(), heir, handover),
                    // It could not begin: its parent hears why.
                    Prepared::Failed => handover.become_throw(thread.gil()),
                }
            }
            let next = body(heir).parent.get();
            let next = ffi::incref(if next.is_null() { thread.main } else { next });
            ffi::decref(heir);
            heir = next;
        }
    }
}
