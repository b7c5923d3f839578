//! The OS thread that serves `greenloom.oslo`, the driver for oslo.messaging: `greenloom_rpc`'s bridge, which stands on
//! the Rust runtime and knows no Python, as this binding knows nothing of that runtime. All they share is sockets, and
//! that thread never takes the interpreter's lock.
//!
//! It is in this module and not in one of its own because that would have a second copy of the standard library, of the
//! stacks and of their handler for overflows. It adds some 3 MB to the file (1.5 MB to a wheel), most of it TLS, which
//! a program that uses none of it does not load: its own memory and the time of the import are as before.

use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::mpsc;
use std::time::Duration;

use greenloom_fiber::{ForkMutex, SignalsBlocked};
use greenloom_inspect::to_stderr;
use greenloom_rpc::bridge::Bridge;

use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::{Args, Global, Owned, Raised, Result, function, runtime_error};

static FUNCTIONS: Global<[PyMethodDef; 2]> = Global::new([const { PyMethodDef::zeroed() }; 2]);

/// The thread, and the process that has it: a child has none of its parent's.
static THREAD: ForkMutex<Option<(u32, Bridge)>> = ForkMutex::new(None);

/// Adds the function.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the interpreter imports with the lock held; the table is written once and lives for ever.
    unsafe {
        *FUNCTIONS.get() = [
            function(
                c"serve_bus",
                serve_bus,
                c"serve_bus(fd)\n\nServes the other end of this Unix socket, which from now on is not the caller's. \
                  What is said there is described in crates/rpc/src/bridge.",
            ),
            PyMethodDef::zeroed(),
        ];
        if ffi::PyModule_AddFunctions(module, FUNCTIONS.get().cast()) < 0 { Err(Raised) } else { Ok(()) }
    }
}

fn serve_bus(args: Args<'_>) -> Result<Owned> {
    let [fd] = args.exactly()?;
    let gil = args.gil();
    let fd = fd.number()? as RawFd;
    // SAFETY: the caller gives it away.
    let stream = unsafe { UnixStream::from_raw_fd(fd) };
    attach(stream).map_or_else(|error| runtime_error(gil, &error.to_string()), |()| Ok(Owned::none(gil)))
}

fn attach(stream: UnixStream) -> io::Result<()> {
    let mut thread = THREAD.lock();
    let here = process::id();
    let bridge = match &mut *thread {
        Some((process, bridge)) if *process == here => bridge,
        other => &mut other.insert((here, start()?)).1,
    };
    if bridge.attach(stream) { Ok(()) } else { Err(io::Error::other("the OS thread of the bus has ended")) }
}

fn start() -> io::Result<Bridge> {
    let (give, made) = mpsc::channel();
    // Signals are the matter of the interpreter's threads.
    let _blocked = SignalsBlocked::all_but(None)?;
    std::thread::Builder::new().name("greenloom-bus".into()).spawn(move || {
        // One who does not get it has given up.
        let served = Bridge::serve(|bridge| drop(give.send(bridge)));
        served.unwrap_or_else(|error| to_stderr(&format!("greenloom: no hub for the bus: {error}\n"), Duration::ZERO));
    })?;
    made.recv().map_err(|_| io::Error::other("there is no hub for the bus"))
}
