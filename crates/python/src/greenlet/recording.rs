//! Records what greenlets do, for a timeline: every switch, and what the floors above tell of waits and wakes.
//!
//! One recording a process at a time. While there is none, all of this is one branch on [`is_on`], or, in a switch, the
//! branch of the trace function. Each thread has a recorder of its own, made when it first has something to record. All
//! of it is guarded by the interpreter's lock; the rings are read without it.
//!
//! A greenlet is known by its address, which may be another one's when it is gone: a spawn begins another life.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use super::recorder::is_on;
use greenloom_fiber::{ForkMutex, Ticks};
pub use greenloom_trace::Wake;
use greenloom_trace::{ENDED, READY, Reader, Readers, Timeline, ring};

use super::body::{PyGreenlet, State, body};
use super::recorder::{ON, Recorder};
use super::thread::{Thread, of_all_threads, record_of};
use super::walk::Walk;
use crate::py::ffi::{self, PyObject};
use crate::py::{Gil, Owned, Pending, Result, text};

/// How many events of each thread are kept.
static CAPACITY: AtomicUsize = AtomicUsize::new(0);
static RECORDING: ForkMutex<Option<Recording>> = ForkMutex::new(None);

/// What the process's recording has.
struct Recording {
    clock: Ticks,
    /// How many threads take part.
    threads: usize,
    /// Their readers, but for those that were taken to be read.
    readers: Vec<Reader>,
}

/// A recording that one who follows the program reads bit by bit. Needs no lock.
pub struct Followed {
    clock: Ticks,
    readers: Readers,
    is_over: bool,
}

/// Of what ran for longer than about this without giving way, in nanoseconds, the frames are told.
const LONG: f64 = 100_000.0;

/// Threads that are recorded at most: one that makes threads without end makes no rings without end.
const THREADS: usize = 1000;

/// Frames of a stack at most.
const DEEPEST: usize = 64;

/// Begins to record, with room for so many events of each thread; `false` if somebody does already.
pub fn start(gil: Gil<'_>, capacity: usize) -> bool {
    begin(gil, capacity).is_some()
}

/// As [`start`], for one that reads while it is recorded.
pub fn follow(gil: Gil<'_>, capacity: usize) -> Option<Followed> {
    begin(gil, capacity).map(|clock| Followed { clock, readers: Readers::default(), is_over: false })
}

fn begin(gil: Gil<'_>, capacity: usize) -> Option<Ticks> {
    let mut recording = RECORDING.lock();
    if recording.is_some() {
        return None;
    }
    let clock = Ticks::new();
    *recording = Some(Recording { clock, threads: 0, readers: Vec::new() });
    CAPACITY.store(capacity, Ordering::Relaxed);
    drop(recording);
    // What was followed may have ended without the lock.
    tidy(gil);
    ON.store(true, Ordering::Relaxed);
    tell_threads(gil);
    Some(clock)
}

fn tell_threads(gil: Gil<'_>) {
    of_all_threads(gil, |thread| -> Option<()> {
        thread.update_watched();
        None
    });
}

/// After the end of a recording: the threads' recorders go.
pub fn tidy(gil: Gil<'_>) {
    of_all_threads(gil, |thread| -> Option<()> {
        thread.recorder.take();
        None
    });
    tell_threads(gil);
}

/// Ends the recording. Returns what puts its timeline together, without the lock if the caller likes; `None` if nobody
/// records.
pub fn stop(gil: Gil<'_>, title: String) -> Option<impl FnOnce() -> Timeline + Send + use<>> {
    let ended = end()?;
    tidy(gil);
    let tick = ended.clock.length();
    Some(move || {
        let mut timeline = Timeline::new(title);
        for mut reader in ended.readers {
            timeline.add(&reader.take().with_ticks_of(tick));
        }
        timeline
    })
}

/// Nothing is recorded any more.
fn end() -> Option<Recording> {
    let ended = RECORDING.lock().take()?;
    ON.store(false, Ordering::Relaxed);
    Some(ended)
}

impl Followed {
    /// Those of all threads that take part.
    pub fn readers(&mut self) -> &mut Readers {
        if !self.is_over
            && let Some(recording) = &mut *RECORDING.lock()
        {
            recording.readers.drain(..).for_each(|reader| self.readers.push(reader));
        }
        &mut self.readers
    }

    /// How many nanoseconds a tick takes.
    pub fn tick(&self) -> f64 {
        self.clock.length()
    }

    /// Records no more. What was recorded stays to be read; [`tidy`] may follow. Returns whether it was not over yet.
    pub fn stop(&mut self) -> bool {
        if std::mem::replace(&mut self.is_over, true) {
            return false;
        }
        let ended = end();
        ended.into_iter().flat_map(|ended| ended.readers).for_each(|reader| self.readers.push(reader));
        self.readers.end_here();
        true
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Calls `f` with a thread's recorder. It must run no Python code.
fn with<R>(thread: &Thread, f: impl FnOnce(&Recorder) -> R) -> Option<R> {
    if let Some(recorder) = &*thread.recorder.borrow() {
        return Some(f(recorder));
    }
    join(thread);
    thread.recorder.borrow().as_ref().map(f)
}

/// A thread takes part.
#[cold]
fn join(thread: &Thread) {
    if RECORDING.lock().as_ref().is_none_or(|recording| recording.threads >= THREADS) {
        return;
    }
    let mut names = vec![(number(thread.main), String::from("main greenlet"))];
    for greenlet in greenlets(thread) {
        // SAFETY: a live greenlet, kept while code may run.
        let name = unsafe { name(thread.gil(), greenlet.as_ptr().cast(), std::ptr::null_mut()) };
        names.push((number(greenlet.as_ptr().cast()), name));
    }
    if thread.recorder.borrow().is_some() {
        // Looking for names has run code that switched.
        return;
    }
    let mut recording = RECORDING.lock();
    let Some(recording) = &mut *recording else { return };
    let (writer, reader) = ring(CAPACITY.load(Ordering::Relaxed), thread_name(thread, recording.threads));
    recording.threads += 1;
    recording.readers.push(reader.with_addresses());
    let recorder = Recorder {
        writer,
        clock: recording.clock,
        tick: recording.clock.length(),
        why: Cell::new(None),
        since: Cell::new(0),
        left: Cell::new(None),
    };
    let now = recorder.now();
    let before = recorder.writer.static_text("(what it waited for before the trace)");
    for (number, name) in names {
        recorder.writer.exists(now, number, recorder.writer.text(&name), Some(before));
    }
    recorder.writer.run(now, number(thread.current()), READY);
    recorder.since.set(now);
    thread.recorder.replace(Some(recorder));
}

/// Its active greenlets but the main one.
fn greenlets(thread: &Thread) -> Vec<Owned> {
    let mut found = Vec::new();
    let keep = |other: &Thread, greenlet: *mut PyGreenlet| {
        if std::ptr::eq(other, thread) && greenlet != thread.main {
            // SAFETY: a live greenlet.
            found.push(unsafe { Owned::borrow(greenlet) });
        }
    };
    Walk::new().step(thread.gil(), || false, keep);
    found
}

/// As the system calls it, where that is known.
fn thread_name(thread: &Thread, number: usize) -> String {
    if !thread.handle.is_mine() {
        return format!("hub {number}");
    }
    // SAFETY: they ask the system only.
    if unsafe { libc::getpid() == libc::gettid() } {
        return format!("hub {number} (main)");
    }
    let mut name = [0; 16];
    // SAFETY: as the call asks for, 16 bytes of which the last one is 0.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy();
    format!("hub {number} ({name})")
}

/// The lower half of an address, without the bits that are all the same.
#[inline]
fn number(greenlet: *mut PyGreenlet) -> u64 {
    (greenlet.addr() >> 4) as u64
}

/// A switch has happened, and `target` runs.
///
/// # Safety
/// Live greenlets of this thread.
#[cold]
pub unsafe fn switched(thread: &Thread, origin: *mut PyGreenlet, target: *mut PyGreenlet) {
    // SAFETY: a live greenlet.
    let ended = unsafe { body(origin).state.get() == State::Dead };
    with(thread, |recorder| {
        let why = recorder.why.take();
        let why = if ended { ENDED } else { why.unwrap_or_else(|| recorder.writer.static_text("switch by hand")) };
        let now = recorder.left.take().unwrap_or_else(|| recorder.now());
        recorder.since.set(now);
        recorder.writer.run(now, number(target), why);
    });
}

/// The running greenlet is about to wait for this; empty for one that gives way, or has nothing to do.
#[cold]
pub fn waits_for(thread: &Thread, what: &'static str) {
    with(thread, |recorder| {
        let why = if what.is_empty() { READY } else { recorder.writer.static_text(what) };
        recorder.why.set(Some(why));
    });
}

/// The running greenlet is about to be left: if it ran for long, its frames are told.
#[cold]
pub fn leaves(thread: &Thread) {
    let long = with(thread, |recorder| {
        let now = recorder.now();
        recorder.left.set(Some(now));
        now.saturating_sub(recorder.since.get()) as f64 * recorder.tick >= LONG
    });
    if long == Some(true) {
        let frames = frames(thread.gil());
        with(thread, |recorder| {
            let frames = recorder.writer.text(&frames);
            recorder.writer.stack(recorder.now(), frames);
            recorder.left.set(None);
        });
    }
}

/// A greenlet was made that will call `function`.
///
/// # Safety
/// Live objects.
#[cold]
pub unsafe fn spawned(thread: &Thread, greenlet: *mut PyGreenlet, function: *mut PyObject) {
    // SAFETY: live objects.
    let name = unsafe { name(thread.gil(), greenlet, function) };
    with(thread, |recorder| {
        let name = recorder.writer.text(&name);
        recorder.writer.spawn(recorder.now(), number(greenlet), name);
    });
}

/// A parked greenlet was made ready: by what runs, or, as it is said, by something else.
///
/// # Safety
/// A live greenlet.
#[cold]
pub unsafe fn woken(gil: Gil<'_>, greenlet: *mut PyGreenlet, by: Option<Wake>) {
    // SAFETY: a live greenlet.
    let handle = unsafe { body(greenlet).handle() };
    let Some(handle) = handle else { return };
    let Some(thread) = record_of(gil, handle) else { return };
    if thread.current() == greenlet {
        // It gives way.
        return;
    }
    let by = by.unwrap_or(if handle.is_mine() { Wake::Thread } else { Wake::Elsewhere });
    with(thread, |recorder| recorder.writer.wake(recorder.now(), number(greenlet), by));
}

/// A timer of a greenlet has fired, so late.
///
/// # Safety
/// A live greenlet.
#[cold]
pub unsafe fn timer_lag(gil: Gil<'_>, greenlet: *mut PyGreenlet, late: Duration) {
    // SAFETY: a live greenlet.
    let thread = unsafe { body(greenlet).handle() }.and_then(|handle| record_of(gil, handle));
    if let Some(thread) = thread.filter(|_| late.as_micros() > 0) {
        with(thread, |recorder| recorder.writer.timer_lag(recorder.now(), late.as_nanos() as u64));
    }
}

/// The hub begins to wait for timers and I/O.
#[cold]
pub fn idle(thread: &Thread) {
    with(thread, |recorder| recorder.writer.idle(recorder.now()));
}

/// It has waited until `since`, and then for the interpreter's lock.
#[cold]
pub fn busy(thread: &Thread, since: Instant) {
    with(thread, |recorder| {
        let waited = since.elapsed().as_nanos() as u64;
        let now = recorder.now();
        recorder.writer.busy(now.saturating_sub((waited as f64 / recorder.tick) as u64));
        if waited >= 1000 {
            recorder.writer.lock_wait(now, waited);
        }
    });
}

/// What a greenlet is called: by the function that it calls.
///
/// # Safety
/// A live greenlet; a live function, or null for its own.
unsafe fn name(gil: Gil<'_>, greenlet: *mut PyGreenlet, function: *mut PyObject) -> String {
    // SAFETY: live objects, which are kept while attributes are looked up.
    unsafe {
        let [called, ..] = body(greenlet).call.get();
        let function = [function, called, body(greenlet).run.get()].into_iter().find(|function| !function.is_null());
        let Some(function) = function.map(|function| Owned::borrow(function)) else { return "greenlet".into() };
        let pending = Pending::take(gil);
        let found = qualified(&function).or_else(|_| {
            ffi::PyErr_Clear();
            // A partial is called by what it calls.
            let inner = Owned::new(ffi::PyObject_GetAttrString(function.as_ptr(), c"func".as_ptr()))?;
            qualified(&inner)
        });
        let found = found.unwrap_or_else(|_| {
            ffi::PyErr_Clear();
            CStr::from_ptr((*ffi::Py_TYPE(function.as_ptr())).tp_name).to_string_lossy().into_owned()
        });
        pending.put_back();
        found
    }
}

/// # Safety
/// A live object.
unsafe fn qualified(function: &Owned) -> Result<String> {
    // SAFETY: a live object; the text is copied while it lives.
    unsafe {
        let name = Owned::new(ffi::PyObject_GetAttrString(function.as_ptr(), c"__qualname__".as_ptr()))?;
        Ok(text(name.as_ptr())?.to_owned())
    }
}

/// The frames of the running greenlet, outermost first, with `;` between them.
fn frames(gil: Gil<'_>) -> String {
    let mut innermost_first = Vec::new();
    let pending = Pending::take(gil);
    // SAFETY: the running frame is borrowed, and kept by a reference; those that are asked for are new ones.
    unsafe {
        let running = ffi::PyEval_GetFrame();
        ffi::Py_XINCREF(running.cast());
        let mut frame = Owned::new(running);
        while let Ok(this) = frame
            && innermost_first.len() < DEEPEST
        {
            innermost_first.push(describe(&this).unwrap_or_else(|_| {
                ffi::PyErr_Clear();
                "?".into()
            }));
            frame = Owned::new(ffi::PyFrame_GetBack(this.as_ptr().cast()));
        }
    }
    pending.put_back();
    innermost_first.reverse();
    innermost_first.join(";")
}

/// A frame as `function (file.py)`.
///
/// # Safety
/// A live frame.
unsafe fn describe(frame: &Owned) -> Result<String> {
    // SAFETY: a live frame; texts are copied while their objects live.
    unsafe {
        let code = Owned::new(ffi::PyFrame_GetCode(frame.as_ptr().cast()))?;
        let name = if cfg!(Py_3_11) { c"co_qualname" } else { c"co_name" };
        let name = Owned::new(ffi::PyObject_GetAttrString(code.as_ptr(), name.as_ptr()))?;
        let file = Owned::new(ffi::PyObject_GetAttrString(code.as_ptr(), c"co_filename".as_ptr()))?;
        let file = text(file.as_ptr())?;
        let file = file.rsplit('/').next().unwrap_or(file);
        Ok(format!("{} ({file})", text(name.as_ptr())?).replace(';', ","))
    }
}
