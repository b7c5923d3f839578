//! Which green thread a panic message is about.
//!
//! std's panic hook names the OS thread, which tells little where thousands of green threads share one. So when the
//! first hub of the process is made, a hook is put around the one that is set then: in a green thread, it writes a line
//! about that to standard error and calls the other. A hook that is set later takes the place of both.

use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use super::node::Kind;
use super::try_here;

pub(super) fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // While a panic unwinds, hooks cannot be changed; the next hub will do it.
    if std::thread::panicking() || INSTALLED.swap(true, Ordering::Relaxed) {
        return;
    }
    let inner = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        note();
        inner(info);
    }));
}

/// Writes the line. It must not panic: that would end the process.
fn note() {
    let Some(runtime) = try_here() else { return };
    let _ = runtime.try_with_current(|me| {
        let id = me.id();
        let mut stderr = io::stderr().lock();
        match (me.node().kind.get(), me.name()) {
            (Kind::Root | Kind::Ended, _) => Ok(()),
            (Kind::Hub, _) => writeln!(stderr, "greenloom: a function that the hub calls panics:"),
            (Kind::GreenThread | Kind::Greenlet, Some(name)) => {
                writeln!(stderr, "greenloom: green thread {id} {name:?} panics:")
            }
            (Kind::GreenThread, None) => writeln!(stderr, "greenloom: green thread {id} panics:"),
            (Kind::Greenlet, None) => writeln!(stderr, "greenloom: greenlet {id} panics:"),
        }
    });
}
