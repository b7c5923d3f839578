//! Sleep, spawn and kill, and the `GreenThread` type: a greenlet whose result can be waited for.
//!
//! A green thread is a child of its hub's greenlet. Its function is the greenlet's `run` itself; when that has ended,
//! the result goes to the waiters and to the links before the greenlet falls back into the hub.
//!
//! Over 500 lines: the functions and the type's methods are two faces of the same operations, with their docstrings.

use std::ffi::{CStr, c_int, c_void};
use std::mem::{offset_of, size_of};
use std::ptr;

use super::clock;
use super::end::{End, GreenThread, GreenThreads, Link, PyGreenThread, end, green_thread_type, is_green_thread};
use super::finish::{finish_with_exception, on_end, resolve_links, run, run_main, run_plain};
use super::frame;
use super::hub_ref::{self, HubRef, refuse_in_loop};
use super::park::park_in;
use super::ticket::{Outcome, Ticket, restore};
use crate::greenlet::wait::{At, Awaited, Life, Wait, is_noted};
use crate::greenlet::{self, Here, PyGreenlet, body, dealloc, here, recording, throw};
use crate::py::ffi::{self, PyMethodDef, PyObject, PyTypeObject};
use crate::py::free_list;
use crate::py::object::Object;
use crate::py::{self, Args, Gil, Global, GlobalObject, Owned, Raised, Result};

// ---------------------------------------------------------------------------------------------------------------------
// Functions

/// The functions of the module about green threads.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_set_mains",
            frame::set_mains,
            c"_set_mains(*functions)\n--\n\nSets the functions that call those of green threads.",
        ),
        py::function(
            c"sleep",
            sleep,
            c"sleep(seconds=0)\n--\n\nSuspends the current green thread for at least that many seconds; with 0 it goes \
              on when all that is ready now has had its turn. In the hub's own greenlet, as in a timer's function, \
              only sleep(0) is possible: it returns at once.",
        ),
        py::function(
            c"spawn",
            spawn,
            c"spawn(func, *args, **kwargs)\n--\n\nStarts a green thread that calls the function. It \
              begins when the caller waits for something. An exception that ends it is printed, and raised by its \
              wait().",
        ),
        py::function(
            c"spawn_n",
            spawn_n,
            c"spawn_n(func, *args, **kwargs)\n--\n\nAs spawn(), for a result that nobody wants: a plain greenlet.",
        ),
        py::function(
            c"spawn_after",
            spawn_after,
            c"spawn_after(seconds, func, *args, **kwargs)\n--\n\nAs spawn(), after that many seconds. \
              cancel() prevents it while it has not begun.",
        ),
        py::function(
            c"kill",
            kill,
            c"kill(g, *throw_args)\n--\n\nRaises an exception in a green thread, GreenletExit by default, and lets \
              it run at once; the caller goes on when what is ready now has had its turn. One that has not begun never \
              runs. Does nothing to one that has ended.",
        ),
    ]
}

fn sleep(args: Args<'_>) -> Result<Owned> {
    let ([], [delay]) = args.parse("sleep", [], ["seconds"])?;
    sleep_for(args.gil(), delay.map_or(Ok(0.0), Object::float)?)
}

/// Suspends the current green thread for that many seconds; returns None.
pub(super) fn sleep_for(gil: Gil<'_>, delay: f64) -> Result<Owned> {
    let thread = here(gil)?;
    let hub = HubRef::of(thread)?;
    if hub.is_loop(thread)? {
        return if delay <= 0.0 { Ok(Owned::none(gil)) } else { refuse_in_loop(gil) };
    }
    let alarm = hub.wake_me(thread, delay)?;
    let what = if delay > 0.0 { "sleep" } else { "" };
    // The hub knows it as well, but not whose it is.
    let until = (delay > 0.0 && is_noted()).then(|| clock::after(clock::monotonic(), delay));
    let slept = park_in(thread, &Wait { what, at: None, until });
    if let Some(alarm) = alarm {
        alarm.cancel(&thread);
    }
    slept.map(|_| Owned::none(gil))
}

/// A green thread, or a plain greenlet for a result that nobody wants, that calls the function: a child of this
/// thread's hub, not scheduled.
fn make(thread: Here<'_>, hub: &HubRef<'_>, wants_result: bool, function: Object<'_>) -> Result<Owned> {
    let kind = if wants_result { green_thread_type() } else { greenlet::greenlet_type() };
    let loop_greenlet = hub.loop_greenlet()?;
    // SAFETY: a fresh object, whose end is written before anybody sees it.
    unsafe {
        let greenlet = Owned::new(greenlet::make(thread.gil(), kind))?;
        let runner = &body(greenlet.as_ptr().cast()).runner;
        if wants_result {
            (&raw mut (*greenlet.as_ptr().cast::<PyGreenThread>()).end).write(End::new());
            runner.set(Some(run));
        } else {
            runner.set(Some(run_plain));
        }
        if greenlet::set_up(greenlet.as_ptr().cast(), function.as_ptr(), loop_greenlet.as_ptr()) < 0 {
            return Err(Raised);
        }
        if recording::is_on() {
            recording::spawned(&thread, greenlet.as_ptr().cast(), function.as_ptr());
        }
        Ok(greenlet)
    }
}

fn spawn_one(args: Args<'_>, after: bool, wants_result: bool, name: &str) -> Result<Owned> {
    let parameters = [c"seconds", c"func"];
    let first = usize::from(after);
    args.led_by(name, &parameters[1 - first..], |args| {
        let (rest, kwargs) = args.rest(first + 1)?;
        // SAFETY: a tuple and a dict.
        unsafe {
            let seconds = if after { args.positional[0].float()? } else { 0.0 };
            let thread = here(args.gil())?;
            let greenlet = make(thread, &HubRef::of(thread)?, wants_result, args.positional[first])?;
            HubRef::of(thread)?.start(seconds, &greenlet, rest, kwargs)?;
            Ok(greenlet)
        }
    })
}

/// Starts a green thread, or a plain greenlet for a result that nobody wants. `prepare` sees it before it is scheduled.
///
/// # Safety
/// A tuple and a dict.
pub unsafe fn spawn_prepared(
    thread: Here<'_>,
    wants_result: bool,
    function: Object<'_>,
    args: Owned,
    kwargs: Option<Owned>,
    prepare: impl FnOnce(&Owned),
) -> Result<Owned> {
    // SAFETY: a tuple and a dict.
    unsafe {
        let greenlet = make(thread, &HubRef::of(thread)?, wants_result, function)?;
        prepare(&greenlet);
        HubRef::of(thread)?.start(0.0, &greenlet, args, kwargs)?;
        Ok(greenlet)
    }
}

/// Calls a function in the running greenlet, and returns a green thread that has ended with its result.
///
/// # Errors
/// What the function raises.
///
/// # Safety
/// A tuple and a dict.
pub unsafe fn call_in_place(
    thread: Here<'_>,
    function: Object<'_>,
    args: &Owned,
    kwargs: Option<&Owned>,
) -> Result<Owned> {
    // SAFETY: live objects, a tuple and a dict among them; the result is handed over.
    unsafe {
        let green_thread = py::call(green_thread_type().cast(), [thread.current().cast()])?;
        let kwargs = kwargs.map_or(ptr::null_mut(), Owned::as_ptr);
        let result = ffi::PyObject_Call(function.as_ptr(), args.as_ptr(), kwargs);
        Owned::new(on_end(thread, green_thread.as_ptr(), result))?;
        Ok(green_thread)
    }
}

fn spawn(args: Args<'_>) -> Result<Owned> {
    spawn_one(args, false, true, "spawn")
}

fn spawn_n(args: Args<'_>) -> Result<Owned> {
    spawn_one(args, false, false, "spawn_n")
}

fn spawn_after(args: Args<'_>) -> Result<Owned> {
    spawn_one(args, true, true, "spawn_after")
}

fn kill(args: Args<'_>) -> Result<Owned> {
    args.led_by("kill", &[c"g"], |args| {
        let [target, throw_args @ ..] = args.positional else { unreachable!("what leads is there") };
        kill_greenlet(*target, throw_args)
    })
}

fn kill_greenlet(target: Object<'_>, throw_args: &[Object<'_>]) -> Result<Owned> {
    let gil = target.gil();
    let thread = here(gil)?;
    let thrown = throw::arguments(throw_args.iter().map(|argument| argument.as_ptr()));
    // SAFETY: live objects; the target is kept, whatever runs meanwhile.
    unsafe {
        if !greenlet::is_greenlet(target.as_ptr()) {
            return py::type_error(gil, "kill() needs a greenlet");
        }
        let target = target.owned();
        let greenlet = body(target.as_ptr().cast());
        if greenlet.is_dead() {
            return Ok(Owned::none(gil));
        }
        if !greenlet.is_started() {
            end_unbegun(thread, &target, thrown)?;
        }
        throw_from_here(thread, &target, thrown)
    }
}

/// Throws into a greenlet; the running one, if it is not the hub's, goes on in the hub's next turn.
///
/// # Safety
/// A live greenlet; objects to throw, or null.
unsafe fn throw_from_here(thread: Here<'_>, target: &Owned, thrown: [*mut PyObject; 3]) -> Result<Owned> {
    let (hub, me, [kind, value, traceback]) = (HubRef::of(thread)?, thread.current(), thrown);
    let in_loop = hub.is_loop(thread)?;
    if !in_loop {
        hub.ensure_greenlet()?;
        hub.wake_me(thread, 0.0)?;
    }
    // SAFETY: live objects; the running greenlet is kept by its thread's record.
    unsafe {
        let result = Owned::new(throw::throw(thread.gil(), target.as_ptr().cast(), kind, value, traceback));
        if !in_loop {
            body(me).parks.set(body(me).parks.get() + 1);
        }
        result?;
    }
    Ok(Owned::none(thread.gil()))
}

/// A greenlet that is killed before it begins ends before anybody is told, so that nobody finds it about to begin.
///
/// # Safety
/// A live greenlet; objects to throw, or null.
unsafe fn end_unbegun(thread: Here<'_>, greenlet: &Owned, [kind, value, traceback]: [*mut PyObject; 3]) -> Result<()> {
    // SAFETY: a live greenlet and objects to throw; then an exception is pending.
    unsafe {
        if !throw::make_pending(thread.gil(), kind, value, traceback) {
            return Err(Raised);
        }
        if is_green_thread(greenlet.as_ptr()) && !end(greenlet.as_ptr()).done.get() {
            finish_with_exception(thread, greenlet.as_ptr()).discard();
        } else {
            ffi::PyErr_Clear();
        }
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------------
// The type

const DOC: &CStr = c"GreenThread(parent)\n--\n\n\
A greenlet whose result can be waited for. spawn() makes one; a subclass is made with the hub's greenlet as its parent \
and begun with switch(function, args, kwargs).";

static METHODS: Global<Vec<PyMethodDef>> = Global::new(Vec::new());

fn method<F>(name: &'static CStr, function: F, doc: &'static CStr) -> PyMethodDef
where
    F: Fn(GreenThread<'_>, Args<'_>) -> Result<Owned> + Copy,
{
    // SAFETY: the interpreter calls the methods of the type with its instances.
    py::bare_method(name, move |this, args| function(unsafe { GreenThread::of(this) }, args), doc)
}

fn methods() -> Vec<PyMethodDef> {
    vec![
        method(
            c"wait",
            wait,
            c"wait($self)\n--\n\nWaits for the end. Returns what the function returned, or raises what ended it.",
        ),
        method(
            c"link",
            link,
            c"link($self, func, *curried_args, **curried_kwargs)\n--\n\nCalls func(green_thread, *curried_args, \
              **curried_kwargs) when it ends, in the green thread itself; at once if it has ended.",
        ),
        method(
            c"unlink",
            unlink,
            c"unlink($self, func, *curried_args, **curried_kwargs)\n--\n\nTakes back a link; tells whether there was \
              one.",
        ),
        method(c"kill", kill_method, c"kill($self, *throw_args)\n--\n\nAs the function kill()."),
        method(c"cancel", cancel, c"cancel($self, *throw_args)\n--\n\nAs kill(), but only if it has not begun."),
        method(
            c"main",
            main,
            c"main($self, function, args, kwargs)\n--\n\nWhat runs in a green thread that was not made by spawn(): \
              calls the function and tells of its end.",
        ),
        PyMethodDef::zeroed(),
    ]
}

/// Makes the type ready and puts it into the module.
///
/// # Safety
/// Called at import, once.
pub unsafe fn ready(module: *mut PyObject) -> Result<()> {
    // SAFETY: the statics live for ever, and nobody else uses them yet.
    let (table, this) = unsafe { (&mut *METHODS.get(), &mut *green_thread_type()) };
    *table = methods();
    this.tp_name = c"eventlet.greenthread.GreenThread".as_ptr();
    this.tp_doc = DOC.as_ptr();
    this.tp_base = greenlet::greenlet_type();
    this.tp_basicsize = size_of::<PyGreenThread>() as ffi::Py_ssize_t;
    this.tp_flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    this.tp_weaklistoffset = offset_of!(PyGreenlet, weakreflist) as ffi::Py_ssize_t;
    this.tp_dictoffset = offset_of!(PyGreenlet, dict) as ffi::Py_ssize_t;
    this.tp_methods = table.as_mut_ptr();
    this.tp_dealloc = Some(greenlet::class::unwinding(dealloc));
    this.tp_traverse = Some(traverse);
    this.tp_clear = Some(clear);
    this.tp_is_gc = Some(greenlet::class::is_gc);
    this.tp_alloc = Some(free_list::alloc::<GreenThreads>);
    this.tp_free = Some(free_list::free::<GreenThreads>);
    this.tp_new = Some(new);
    this.tp_init = Some(init);
    this.tp_as_async = ASYNC.get();
    // SAFETY: as above; the type is filled in, and the names are literals.
    unsafe {
        (*ASYNC.get()).am_await = Some(await_);
        if ffi::PyType_Ready(this) < 0 {
            return Err(Raised);
        }
        if ffi::PyModule_AddObjectRef(module, c"GreenThread".as_ptr(), green_thread_type().cast()) < 0 {
            return Err(Raised);
        }
        MAIN.set(Owned::new(ffi::PyUnicode_InternFromString(c"main".as_ptr()))?);
    }
    Ok(())
}

static MAIN: GlobalObject = GlobalObject::null();

// SAFETY: all fields are optional functions.
static ASYNC: Global<ffi::PyAsyncMethods> = Global::new(unsafe { std::mem::zeroed() });

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn new(kind: *mut PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter; a fresh object's end is written before anybody sees it.
    unsafe {
        let this = greenlet::make(Gil::assume(), kind).cast::<PyObject>();
        if !this.is_null() {
            (&raw mut (*this.cast::<PyGreenThread>()).end).write(End::new());
            body(this.cast()).runner.set(Some(run_main));
        }
        this
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn init(this: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let set = Args::from_tuple(args, kwargs).parse("GreenThread", [], ["parent"]).and_then(|([], [parent])| {
            let main = Owned::new(ffi::PyObject_GetAttr(this, MAIN.object()))?;
            let parent = parent.map_or(ptr::null_mut(), Object::as_ptr);
            if greenlet::set_up(this.cast(), main.as_ptr(), parent) < 0 { Err(Raised) } else { Ok(()) }
        });
        if set.is_ok() { 0 } else { -1 }
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn dealloc(this: *mut PyObject) {
    // SAFETY: called by the interpreter; the end is there since the object was made.
    unsafe { dealloc::dealloc_with(this, || ptr::drop_in_place(&raw mut (*this.cast::<PyGreenThread>()).end)) };
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn traverse(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter; nothing changes meanwhile.
    unsafe {
        let end = end(this);
        let links = end.links.borrow();
        let of_links = links.iter().flat_map(|link| {
            [link.function.as_ptr(), link.args.as_ptr(), link.kwargs.as_ref().map_or(ptr::null_mut(), Owned::as_ptr)]
        });
        let own = [end.value.get(), end.exception.get(), end.traceback.get()];
        for object in own.into_iter().chain(of_links).filter(|object| !object.is_null()) {
            let answer = visit(object, arg);
            if answer != 0 {
                return answer;
            }
        }
        greenlet::class::traverse(this, visit, arg)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let end = end(this);
        let held = (end.value.take(), end.exception.take(), end.traceback.take(), end.links.take());
        drop(held);
        greenlet::class::clear(this)
    }
}

/// `await green_thread`, which the `eventlet.asyncio` module knows how to do.
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn await_(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let awaited = Owned::new(ffi::PyImport_ImportModule(c"eventlet.asyncio".as_ptr())).and_then(|module| {
            let function = Owned::new(ffi::PyObject_GetAttrString(module.as_ptr(), c"_await_green_thread".as_ptr()))?;
            py::call(function.as_ptr(), [this])
        });
        awaited.map_or(ptr::null_mut(), Owned::into_raw)
    }
}

fn wait(this: GreenThread<'_>, args: Args<'_>) -> Result<Owned> {
    let end = this.end();
    let thread = here(args.gil())?;
    if !end.done.get() {
        hub_ref::ensure(thread)?;
    }
    if end.done.get() {
        return match end.outcome(args.gil()) {
            Outcome::Value(value) => Ok(value),
            Outcome::Throw(exception, traceback) => {
                // SAFETY: what ended it was an exception.
                unsafe { restore(&exception, traceback) };
                Err(Raised)
            }
        };
    }
    if thread.current() == this.object().as_ptr().cast() {
        return py::assertion_error(args.gil(), "a green thread cannot wait for its own end");
    }
    let place = end.waiters.join(Ticket::take(thread), ());
    // Its caller keeps it.
    let awaited = Awaits(this.object().as_ptr().cast());
    let value = park_in(thread, &Wait { what: "green thread", at: Some(&awaited), until: None });
    if !end.done.get() {
        // Woken by somebody else: nobody shall find the ticket.
        end.waiters.leave(place);
    }
    value
}

/// The wait for a green thread's end.
struct Awaits(*mut PyGreenlet);

impl Awaited for Awaits {
    fn at(&self) -> At {
        // SAFETY: alive as long as it is waited for. It may begin only now.
        let holder = unsafe { Life::of_active(self.0) };
        At { object: self.0 as usize, waiters: 1, holder, all_taken: None }
    }
}

fn make_link(method: &str, args: Args<'_>) -> Result<Link> {
    args.led_by(method, &[c"func"], |args| {
        let (rest, kwargs) = args.rest(1)?;
        Ok(Link { function: args.positional[0].owned(), args: rest, kwargs })
    })
}

fn link(this: GreenThread<'_>, args: Args<'_>) -> Result<Owned> {
    let link = make_link("link", args)?;
    this.end().links.borrow_mut().push_back(link);
    if this.end().done.get() {
        // SAFETY: a live green thread.
        unsafe { resolve_links(here(args.gil())?, this.object().as_ptr()) };
    }
    Ok(Owned::none(args.gil()))
}

fn unlink(this: GreenThread<'_>, args: Args<'_>) -> Result<Owned> {
    let (gil, wanted) = (args.gil(), make_link("unlink", args)?);
    let end = this.end();
    // Comparing runs code, so it is done on a copy of the list.
    let links: Vec<_> =
        end.links.borrow().iter().map(|link| (link.function.clone(), link.args.clone(), link.kwargs.clone())).collect();
    for (function, args, kwargs) in links {
        let same_kwargs = match (&kwargs, &wanted.kwargs) {
            (Some(one), Some(other)) => py::equal(one, other)?,
            (one, other) => one.is_none() && other.is_none(),
        };
        if same_kwargs && py::equal(&function, &wanted.function)? && py::equal(&args, &wanted.args)? {
            let is_it =
                |link: &Link| link.function.as_ptr() == function.as_ptr() && link.args.as_ptr() == args.as_ptr();
            let index = end.links.borrow().iter().position(is_it);
            let removed = index.and_then(|index| end.links.borrow_mut().remove(index));
            return Ok(Owned::bool(gil, removed.is_some()));
        }
    }
    Ok(Owned::bool(gil, false))
}

fn kill_method(this: GreenThread<'_>, args: Args<'_>) -> Result<Owned> {
    kill_greenlet(this.object(), args.positional)
}

fn cancel(this: GreenThread<'_>, args: Args<'_>) -> Result<Owned> {
    if !this.is_started() {
        return kill_greenlet(this.object(), args.positional);
    }
    Ok(Owned::none(args.gil()))
}

fn main(this: GreenThread<'_>, args: Args<'_>) -> Result<Owned> {
    let ([function, positional, keywords], []) = args.parse("main", ["function", "args", "kwargs"], [])?;
    // SAFETY: live objects, a green thread among them, which `frame::call` gets as it asks for.
    unsafe {
        let positional = Owned::new(ffi::PySequence_Tuple(positional.as_ptr()))?;
        let keywords = keywords.unless_none().map_or(ptr::null_mut(), Object::as_ptr);
        let result = frame::call(function.as_ptr(), positional.as_ptr(), keywords);
        Owned::new(on_end(here(args.gil())?, this.object().as_ptr(), result))
    }
}
