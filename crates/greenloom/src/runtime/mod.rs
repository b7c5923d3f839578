//! What all public modules stand on: one [`Runtime`] an OS thread, made on first use.
//!
//! Private. The public modules look down at these, and these never up. Among themselves, each knows those above it:
//!
//! | file | what |
//! |---|---|
//! | `chain` | an error and its causes in one line |
//! | `error` | why something is not possible, how something ended, what unwinds |
//! | `held` | who has taken something, for those who look |
//! | `node` | what a greenlet is made of, and handles to it |
//! | `table` | what can be parked, by slots |
//! | `watch` | who is told of what happens |
//! | `spans` | the spans of `tracing` that a greenlet is in |
//! | `counters` | what a hub has done and how late it was |
//! | `registry`, `work` | hubs by their numbers, and what they are sent; what is ready, and what waits |
//! | `state` | what an OS thread knows of its greenlets and its hub |
//! | `slots` | who has a place in the table |
//! | `schedule` | what timers and sources hold |
//! | `interrupt` | kill and timeout |
//! | `recorder`, `recording` | what a hub does, for a timeline; all hubs of the process |
//! | `stacks` | what is in stacks that were copied |
//! | `look`, `inspector` | all green threads, in steps; what the socket tells of the hubs |
//! | `turn` | the loop |
//! | `park` | how a green thread waits and is woken |
//! | `line`, `fd` | waiting in line, and for file descriptors |
//! | `watched` | waiting for a state to change |
//! | `stack_size` | how large stacks are by default |
//! | `panic_note` | which green thread a panic message is about |

pub(crate) mod chain;
pub(crate) mod counters;
pub(crate) mod error;
pub(crate) mod fd;
#[cfg_attr(not(feature = "inspect"), expect(dead_code, reason = "only who looks reads what is noted"))]
pub(crate) mod held;
#[cfg(feature = "inspect")]
pub(crate) mod inspector;
mod interrupt;
pub(crate) mod line;
#[cfg(feature = "inspect")]
mod look;
pub(crate) mod node;
mod panic_note;
pub(crate) mod park;
pub(crate) mod recorder;
pub(crate) mod recording;
pub(crate) mod registry;
mod schedule;
mod slots;
mod spans;
pub(crate) mod stack_size;
#[cfg(feature = "inspect")]
mod stacks;
pub(crate) mod state;
mod table;
mod turn;
pub(crate) mod watch;
pub(crate) mod watched;
pub(crate) mod work;

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use greenloom_hub::{Clock, MonotonicClock};
use node::UNWIND_DROPPED;
use state::Runtime;

thread_local! {
    /// Without a destructor, so that reading it is one load, and so that it can be read until the OS thread's very end.
    /// The runtime is leaked for that: `End` empties it, and what is left is under a kilobyte for an OS thread that had
    /// a hub.
    static HERE: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// The running OS thread's runtime. Panics when it cannot be made. When the OS thread is ending, it may have
/// [ended](Runtime::has_ended).
#[inline(always)]
pub(crate) fn here() -> &'static Runtime {
    match HERE.get() {
        Some(runtime) => runtime,
        None => made_here().unwrap_or_else(|error| panic!("no hub for this OS thread: {}", chain::Chain(&error))),
    }
}

/// As [`here`], but none is made.
#[inline(always)]
pub(crate) fn try_here() -> Option<&'static Runtime> {
    HERE.get()
}

/// As [`here`], with an error for a panic.
pub(crate) fn here_or_error() -> io::Result<&'static Runtime> {
    HERE.get().map_or_else(made_here, Ok)
}

#[cold]
fn made_here() -> io::Result<&'static Runtime> {
    make(Rc::new(MonotonicClock::new()))
}

/// Makes the running OS thread's runtime, which has none yet, with times of `clock`.
pub(crate) fn make(clock: Rc<dyn Clock>) -> io::Result<&'static Runtime> {
    greenloom_fiber::overflow::set_wording(
        "green thread",
        "raise it with greenloom::Builder::stack_size, or for all with the environment variable GREENLOOM_STACK_SIZE",
    );
    UNWIND_DROPPED.get_or_init(|| {
        |greenlet| match try_here() {
            Some(runtime) => runtime.unwind_dropped(greenlet),
            None => std::mem::forget(greenlet),
        }
    });
    panic_note::install();
    let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new(turn::run_loop, clock)?));
    HERE.set(Some(runtime));
    // It fails only where a runtime was made before, and ended with its OS thread: that one stays.
    let _ = END.try_with(|end| end.set(Some(End(runtime))));
    registry::show_running(runtime.id(), runtime.seen_current_id());
    recording::begin_in_new_hub();
    #[cfg(feature = "inspect")]
    inspector::serve_as_told();
    Ok(runtime)
}

/// Ends the runtime with its OS thread.
struct End(&'static Runtime);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}
