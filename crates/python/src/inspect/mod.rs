//! What others may see of the process: the socket of [`greenloom_inspect`], for Python programs.
//!
//! Each file may use those above it:
//!
//! - `locked`: an OS thread that has the interpreter's lock in small steps;
//! - `look`: all green threads with their Python stacks, grouped by where they wait;
//! - `logged`: what the watchdog has found, as records of `logging`;
//! - `program`: what the socket's OS thread asks for.
//!
//! What Python sees is in the package's `inspect.py`, over the functions here.

mod locked;
mod logged;
mod look;
mod program;

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use greenloom_fiber::SignalsBlocked;
use greenloom_inspect::{Server, Settings, metrics};

use self::locked::Locked;
use self::look::Look;
use self::program::Python;
use crate::greenlet::wait::BIRTHS;
use crate::py::ffi::{self, PyMethodDef};
use crate::py::object::Object;
use crate::py::{self, Args, Gil, Owned, Result};

/// The functions of the native module that are for looking in.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_inspect_start",
            start,
            c"_inspect_start(signal=0)\n--\n\nOpens the socket, and dumps all stacks when the signal comes. \
              Returns the socket's path.",
        ),
        py::function(c"_inspect_stop", stop, c"_inspect_stop()\n--\n\nCloses the socket."),
        py::function(
            c"_inspect_after_fork",
            after_fork,
            c"_inspect_after_fork()\n--\n\nIn the child of a fork: leaves the socket to the parent. Returns whether \
              there was one.",
        ),
        py::function(c"_inspect_stacks", stacks, c"_inspect_stacks()\n--\n\nAll green threads by place, as JSON."),
        py::function(c"_inspect_metrics", tell_metrics, c"_inspect_metrics()\n--\n\nOpenMetrics text."),
        py::function(
            c"_command_line",
            command_line,
            c"_command_line(words)\n--\n\nThe command `greenloom` with these words. Returns its exit status.",
        ),
    ]
}

/// What is open.
struct Inspector {
    server: Server,
    locked: Arc<Locked>,
}

/// Changed by holders of the interpreter's lock only, who do not let go of it meanwhile.
static INSPECTOR: Mutex<Option<Inspector>> = Mutex::new(None);

fn inspector() -> MutexGuard<'static, Option<Inspector>> {
    INSPECTOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(args: Args<'_>) -> Result<Owned> {
    let ([], [signal]) = args.parse("_inspect_start", [], ["signal"])?;
    let signal = signal.map_or(Ok(0), Object::number)?;
    let dump = i32::try_from(signal).ok().filter(|signal| *signal > 0);
    let mut inspector = inspector();
    BIRTHS.begin();
    if inspector.is_none() {
        // A signal whose handler is Python's shall interrupt an OS thread that runs Python.
        let opened = SignalsBlocked::all_but(dump).and_then(|_blocked| {
            let locked = Locked::start()?;
            let server = Server::start(
                Python::new(args.gil(), Arc::clone(&locked)),
                Settings::new().dump(dump).told_watchdog(),
            )?;
            Ok(Inspector { server, locked })
        });
        match opened {
            Ok(opened) => *inspector = Some(opened),
            // SAFETY: the exception's class lives for ever.
            Err(error) => return unsafe { py::error(ffi::PyExc_OSError, &format!("cannot be looked into: {error}")) },
        }
    }
    let path = inspector.as_ref().map(|opened| opened.server.path().to_string_lossy().into_owned());
    py::string(args.gil(), &path.unwrap_or_default())
}

fn stop(args: Args<'_>) -> Result<Owned> {
    let Some(Inspector { server, locked }) = inspector().take() else { return Ok(Owned::none(args.gil())) };
    without_lock(args.gil(), move || {
        // First, so that the server's OS thread, for which its end waits, finds nothing to wait for.
        locked.stop();
        drop(server);
        BIRTHS.stop_ticking();
    });
    Ok(Owned::none(args.gil()))
}

fn after_fork(args: Args<'_>) -> Result<Owned> {
    let opened = inspector().take();
    let was_open = opened.is_some();
    if let Some(Inspector { server, locked }) = opened {
        server.leave_to_parent();
        BIRTHS.stop_ticking();
        // Its OS thread, which may have been in the middle of anything, is not there.
        std::mem::forget(locked);
    }
    Ok(Owned::bool(args.gil(), was_open))
}

fn stacks(args: Args<'_>) -> Result<Owned> {
    let mut look = Look::begin();
    look.step(args.gil(), || false);
    let found = look.finish(Some(args.gil()));
    py::string(args.gil(), &serde_json::to_string(&found).expect("all keys are strings"))
}

fn tell_metrics(args: Args<'_>) -> Result<Owned> {
    py::string(args.gil(), &metrics::text(&program::hubs()))
}

fn command_line(args: Args<'_>) -> Result<Owned> {
    let ([words], []) = args.parse("_command_line", ["words"], [])?;
    // SAFETY: a live object; each item is checked to be a string.
    let words = unsafe {
        let words = Owned::new(ffi::PySequence_Tuple(words.as_ptr()))?;
        let items =
            (0..ffi::PyTuple_GET_SIZE(words.as_ptr())).map(|index| ffi::PyTuple_GET_ITEM(words.as_ptr(), index));
        items.map(|word| py::text(word).map(OsString::from)).collect::<Result<Vec<_>>>()?
    };
    let status = without_lock(args.gil(), move || greenloom_cli::run(words));
    py::number(args.gil(), status.into())
}

/// Calls a function that touches no object, without the interpreter's lock.
fn without_lock<T: Send>(_: Gil<'_>, call: impl FnOnce() -> T + Send) -> T {
    // SAFETY: the token says that the lock is held; what is `Send` has no object.
    unsafe {
        let state = ffi::PyEval_SaveThread();
        let result = call();
        ffi::PyEval_RestoreThread(state);
        result
    }
}
