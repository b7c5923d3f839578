//! Recording a timeline, as `greenloom.inspect.trace` asks for it.

use std::io;
use std::path::PathBuf;

use greenloom_trace::Timeline;

use super::polling::raise_os_error;
use crate::greenlet::recording;
use crate::py::ffi::{self, PyMethodDef};
use crate::py::object::{self, Object};
use crate::py::{self, Args, Gil, Owned, Raised, Result};

/// Functions of the native module.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_trace_start",
            start,
            c"_trace_start(events)\n--\n\nBegins to record, the newest *events* of each thread. Returns whether it \
              does: not while there is another recording.",
        ),
        py::function(
            c"_trace_check",
            check,
            c"_trace_check(path)\n--\n\nRaises the OSError that would keep a trace from being written there.",
        ),
        py::function(
            c"_trace_stop",
            stop,
            c"_trace_stop(title, path)\n--\n\nEnds the recording and writes it to *path*, or nowhere for None. Returns \
              how many events it had and how many were lost; None if there was no recording.",
        ),
    ]
}

fn start(args: Args<'_>) -> Result<Owned> {
    let ([events], []) = args.parse("_trace_start", ["events"], [])?;
    let events = events.size()?;
    // 16 GB of memory; more is a mistake.
    if !(1..=1 << 30).contains(&events) {
        return py::value_error(args.gil(), "the number of events is from 1 to 2**30");
    }
    Ok(Owned::bool(args.gil(), recording::start(args.gil(), events)))
}

fn check(args: Args<'_>) -> Result<Owned> {
    let ([path], []) = args.parse("_trace_check", ["path"], [])?;
    let path = PathBuf::from(path.text()?);
    Timeline::can_save(path).map_err(|error| raise(args.gil(), &error))?;
    Ok(Owned::none(args.gil()))
}

fn stop(args: Args<'_>) -> Result<Owned> {
    let ([title, path], []) = args.parse("_trace_stop", ["title", "path"], [])?;
    let gil = args.gil();
    let (title, path) =
        (title.text()?.to_owned(), path.unless_none().map(Object::text).transpose()?.map(PathBuf::from));
    let Some(finish) = recording::stop(gil, title) else { return Ok(Owned::none(gil)) };
    // SAFETY: what runs without the lock touches no object.
    let ((events, dropped), saved) = unsafe {
        let state = ffi::PyEval_SaveThread();
        let timeline = finish();
        let saved = path.map_or(Ok(()), |path| timeline.save(path));
        let counts = (timeline.events(), timeline.dropped());
        drop(timeline);
        ffi::PyEval_RestoreThread(state);
        (counts, saved)
    };
    saved.map_err(|error| raise(gil, &error))?;
    object::tuple(gil, [object::unsigned(gil, events)?, object::unsigned(gil, dropped)?])
}

/// Raises an error, whose text says what would help, with the number that goes with its kind.
fn raise(gil: Gil<'_>, error: &io::Error) -> Raised {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => libc::ENOSPC,
        io::ErrorKind::PermissionDenied => libc::EACCES,
        io::ErrorKind::NotFound => libc::ENOENT,
        io::ErrorKind::NotADirectory => libc::ENOTDIR,
        io::ErrorKind::IsADirectory => libc::EISDIR,
        _ => libc::EIO,
    };
    raise_os_error(gil, code, &error.to_string())
}
