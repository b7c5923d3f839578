//! Lines of the access log on their way to a file: the base of `eventlet.wsgi.LoggerFileWrapper`.
//!
//! A text file that buffers what is written shows it to nobody before it has some KiB. Lines for such a file are
//! gathered here and written as one, at the end of the hub's turn: to write a line takes longer than to make it. A file
//! that passes lines on at once, as stderr does, and any other object with a `write` gets each line by itself, at once.
//!
//! What is gathered is written before anything else that goes through the logger, and when the program ends. A child
//! process has none of it.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_uint};
use std::ptr;

use super::classes::{FILE_LOGGER, FILE_LOGGER_INFO};
use super::words::{WORDS, module_dict};
use crate::eventlet::hub_ref;
use crate::greenlet::here;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, int, latin1};
use crate::py::{
    Args, Class, ClassCell, Gil, Global, GlobalObject, Owned, Payload, Result, Slot, This, call, call_method,
};

/// So much is gathered at most: what a file buffers, too.
const MOST: usize = 8 * 1024;

/// The state of a logger.
pub struct LogFile {
    file: Slot,
    debug: Cell<bool>,
    /// Whole lines, all ASCII.
    lines: RefCell<Vec<u8>>,
    /// The file's method, while there are lines.
    write: Slot,
    /// The second of the first line.
    since: Cell<u64>,
    /// The file wants each line at once.
    is_direct: Cell<bool>,
}

static CLASS: ClassCell = ClassCell::unbuilt();

/// Of what a file of the system is made: `io.TextIOWrapper`, `io.BufferedWriter` and `io.FileIO`.
static LAYERS: [GlobalObject; 3] = [const { GlobalObject::null() }; 3];

/// The version of `eventlet.wsgi.LoggerFileWrapper` that has its own `info`.
static KNOWN_VERSION: Global<c_uint> = Global::new(0);

/// The loggers that have lines.
static GATHERING: Global<Vec<Owned>> = Global::new(Vec::new());

impl Payload for LogFile {
    const NAME: &'static CStr = c"greenloom._native.LogFile";
    const DOC: &'static CStr = c"LogFile()\n--\n\nA file that lines of the access log are written to.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> LogFile {
        LogFile {
            file: Slot::empty(),
            debug: Cell::new(false),
            lines: RefCell::default(),
            write: Slot::empty(),
            since: Cell::new(0),
            is_direct: Cell::new(false),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.file.get());
        visit(self.write.get());
    }

    fn clear(&self) {
        self.file.set(None);
        self.write.set(None);
    }
}

/// A logger that is ours, so that its file may be written to without its methods.
pub fn ours<'a>(logger: Object<'a>) -> Result<Option<This<'a, LogFile>>> {
    // SAFETY: a live object and its type, with the lock held.
    unsafe {
        let kind = ffi::Py_TYPE(logger.as_ptr());
        if !ptr::eq(kind.cast(), FILE_LOGGER.object()) {
            return Ok(None);
        }
        if (*kind).tp_version_tag != *KNOWN_VERSION.get() || (*kind).tp_version_tag == 0 {
            let info = Object::new(kind.cast()).attribute(Object::word(&WORDS.info))?;
            if info.as_ptr() != FILE_LOGGER_INFO.object() {
                return Ok(None);
            }
            *KNOWN_VERSION.get() = (*kind).tp_version_tag;
        }
        let this = logger.instance::<LogFile>();
        Ok(this.filter(|this| {
            this.dict().is_null() || ffi::PyDict_GetItemWithError(this.dict(), WORDS.info.object()).is_null()
        }))
    }
}

/// Writes a line of this second, with its end, now or at the end of the hub's turn.
pub fn put(this: This<'_, LogFile>, line: &[u8], second: u64) -> Result<()> {
    // In another second the turn has ended, but the hub was stopped and has forgotten us.
    if !this.lines.borrow().is_empty() && this.since.get() != second {
        write_lines(this)?;
    }
    // Of other lines the file's encoding may refuse one.
    let gathers = !this.is_direct.get() && line.is_ascii();
    if gathers && (!this.lines.borrow().is_empty() || begin(this, second)?) {
        this.lines.borrow_mut().extend_from_slice(line);
        return if this.lines.borrow().len() < MOST { Ok(()) } else { write_lines(this) };
    }
    write_lines(this)?;
    let line = latin1(this.gil(), line)?;
    let file = file(this);
    // SAFETY: live objects, with the lock held.
    unsafe { call_method(file.as_ptr(), WORDS.write.object(), [line.as_ptr()]) }.map(drop)
}

fn file(this: This<'_, LogFile>) -> Owned {
    this.file.object().unwrap_or_else(|| Owned::none(this.gil()))
}

/// Begins to gather, if the file keeps what is written for a while and nobody has put a method of his own on it.
#[cold]
fn begin(this: This<'_, LogFile>, second: u64) -> Result<bool> {
    let (file, gil) = (file(this), this.gil());
    let file = Object::of(&file);
    if !is_plain(file)? || is_set(file, &WORDS.line_buffering)? || is_set(file, &WORDS.write_through)? {
        this.is_direct.set(true);
        return Ok(false);
    }
    let write = file.attribute(Object::word(&WORDS.write))?;
    // SAFETY: a live object; a function of C has an object that it is bound to, or null.
    let is_own = unsafe {
        ffi::PyCFunction_Check(write.as_ptr()) != 0 && ffi::PyCFunction_GetSelf(write.as_ptr()) == file.as_ptr()
    };
    if !is_own {
        return Ok(false);
    }
    let hub = hub_ref::object(here(gil)?)?;
    let (zero, then) = (int(gil, 0)?, this.as_object().attribute(Object::word(&WORDS.write_lines))?);
    // SAFETY: live objects, with the lock held.
    unsafe {
        call_method(hub.as_ptr(), WORDS.schedule.object(), [zero.as_ptr(), then.as_ptr()])?;
        (*GATHERING.get()).push(this.owned());
    }
    this.write.set(Some(write));
    this.since.set(second);
    Ok(true)
}

/// Whether it is a text file of the system, with a buffer. What that does is known and can be done in the hub, where a
/// green socket's file could not wait.
fn is_plain(file: Object<'_>) -> Result<bool> {
    // SAFETY: live objects, whose types are compared.
    let is = |object: Object<'_>, layer: usize| unsafe {
        ptr::eq(ffi::Py_TYPE(object.as_ptr()).cast(), LAYERS[layer].object())
    };
    if !is(file, 0) {
        return Ok(false);
    }
    let buffer = file.attribute(Object::word(&WORDS.buffer))?;
    if !is(Object::of(&buffer), 1) {
        return Ok(false);
    }
    let raw = Object::of(&buffer).attribute(Object::word(&WORDS.raw))?;
    Ok(is(Object::of(&raw), 2))
}

fn is_set(file: Object<'_>, name: &GlobalObject) -> Result<bool> {
    Object::of(&file.attribute(Object::word(name))?).truth()
}

/// Writes what was gathered.
pub fn write_lines(this: This<'_, LogFile>) -> Result<()> {
    let Some((write, mut lines)) = take(this) else { return Ok(()) };
    let text = latin1(this.gil(), &lines)?;
    lines.clear();
    this.lines.replace(lines);
    // SAFETY: live objects, with the lock held.
    unsafe { call(write.as_ptr(), [text.as_ptr()]) }.map(drop)
}

/// Takes what was gathered, and the method that it is for.
fn take(this: This<'_, LogFile>) -> Option<(Owned, Vec<u8>)> {
    let write = this.write.take()?;
    // SAFETY: under the lock; no code of others runs before it is let go of: the caller keeps what is taken out.
    let former = unsafe {
        let gathering = &mut *GATHERING.get();
        gathering.iter().position(|log| log.as_ptr() == this.as_ptr()).map(|at| gathering.swap_remove(at))
    };
    drop(former);
    Some((write, this.lines.take()))
}

/// A logger that has lines.
fn any_gathering() -> Option<Owned> {
    // SAFETY: under the lock.
    unsafe { (*GATHERING.get()).last().cloned() }
}

/// `_write_log_lines()`: at the end of a program. What it does there to its files it may have done already.
pub fn write_all(args: Args<'_>) -> Result<Owned> {
    while let Some(log) = any_gathering() {
        let this = Object::of(&log).instance().expect("there are only such");
        let file = file(this);
        // SAFETY: live objects, with the lock held.
        let flush = || unsafe { call_method(file.as_ptr(), WORDS.flush.object(), []) };
        if write_lines(this).and_then(|()| flush()).is_err() {
            // SAFETY: an exception is pending, and the lock is held.
            unsafe { ffi::PyErr_WriteUnraisable(log.as_ptr()) };
        }
    }
    Ok(Owned::none(args.gil()))
}

/// `_forget_log_lines()`: in a child process. The lines are its parent's.
pub fn forget_all(args: Args<'_>) -> Result<Owned> {
    while let Some(log) = any_gathering() {
        let taken = take(Object::of(&log).instance().expect("there are only such"));
        drop(taken);
    }
    Ok(Owned::none(args.gil()))
}

/// Makes the type.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(gil: Gil<'_>, module: *mut PyObject) -> Result<()> {
    let io = module_dict(gil, c"io")?;
    // SAFETY: a dict that is alive, and called at import, once.
    unsafe {
        for (place, name) in LAYERS.iter().zip([c"TextIOWrapper", c"BufferedWriter", c"FileIO"]) {
            if let Some(class) = Object::new_or_none(ffi::PyDict_GetItemString(io.as_ptr(), name.as_ptr())) {
                place.set(class.owned());
            }
        }
        class_of_logs().build(module)
    }
}

fn class_of_logs() -> Class<LogFile> {
    Class::new()
        .method(
            c"_write_lines",
            |this, _| write_lines(this).map(|()| Owned::none(this.gil())),
            c"_write_lines($self)\n--\n\nWrites what was gathered.",
        )
        .property(
            c"log",
            |this| Ok(file(this)),
            |this: This<'_, LogFile>, value| {
                let written = write_lines(this);
                this.file.set(value);
                this.is_direct.set(false);
                written
            },
            c"The file.",
        )
        .flag(c"_debug", |log| &log.debug, c"Whether lines for debugging are written.")
}
