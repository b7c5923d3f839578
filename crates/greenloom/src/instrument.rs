//! What happens, as it happens: one trait, told of every switch, spawn, park, wake and turn.
//!
//! An [`Instrument`] is installed for one hub and costs one branch an event while there is none. [`settrace`] is one of
//! its users; with the feature `tracing`, `Tracing` is another.

use std::rc::Rc;

use crate::runtime::here;

pub use crate::runtime::watch::{Event, Instrument, TraceEvent, Tracer};

/// Installs an instrument for the running OS thread, or removes it with `None`. Returns the one before.
///
/// ```
/// use greenloom::instrument::{Event, Instrument, install};
/// use std::{cell::Cell, rc::Rc};
///
/// #[derive(Default)]
/// struct Spawns(Cell<usize>);
/// impl Instrument for Spawns {
///     fn event(&self, event: &Event<'_>) {
///         if let Event::Spawn { .. } = event {
///             self.0.set(self.0.get() + 1);
///         }
///     }
/// }
///
/// let spawns = Rc::new(Spawns::default());
/// install(Some(spawns.clone()));
/// greenloom::spawn(|| ()).wait()?;
/// install(None);
/// assert_eq!(spawns.0.get(), 1);
/// # Ok::<(), greenloom::JoinError>(())
/// ```
pub fn install(instrument: Option<Rc<dyn Instrument>>) -> Option<Rc<dyn Instrument>> {
    let runtime = here();
    let before = runtime.watch.instrument.replace(instrument);
    runtime.watch.update();
    runtime.update_unusual();
    before
}

/// Sets the function that is told of every switch and throw on this OS thread, after the fact and in the target; `None`
/// removes it. Returns the one before.
///
/// Semantics: greenlet's `settrace`.
///
/// ```
/// use greenloom::greenlet::{gettrace, settrace};
/// use std::{cell::Cell, rc::Rc};
///
/// let switches = Rc::new(Cell::new(0));
/// let count = switches.clone();
/// settrace(Some(Rc::new(move |_, _, _| count.set(count.get() + 1))));
/// greenloom::spawn(|| ()).wait()?;
/// assert!(gettrace().is_some() && switches.get() > 0);
/// settrace(None);
/// # Ok::<(), greenloom::JoinError>(())
/// ```
pub fn settrace(tracer: Option<Tracer>) -> Option<Tracer> {
    let runtime = here();
    let before = runtime.watch.tracer.replace(tracer);
    runtime.watch.update();
    runtime.update_unusual();
    before
}

/// The function that [`settrace`] set.
pub fn gettrace() -> Option<Tracer> {
    here().watch.tracer.borrow().clone()
}

/// Makes events of the crate [`tracing`] of all that happens, with the target `greenloom`: warnings at the level WARN,
/// everything else at TRACE.
///
/// It needs the feature `tracing`, and is [installed](install) for each hub that is to be traced.
///
/// With that feature, whether this is installed or not, **spans are a green thread's own**: those that it has entered
/// are left when it is suspended and entered again when it goes on, as an instrumented future's are around a poll. A
/// new green thread begins in no span; to begin in that of its maker, take it along:
///
/// ```
/// use tracing::{Span, info_span};
///
/// let request = info_span!("request", id = 7);
/// let _entered = request.enter();
/// let span = Span::current();
/// greenloom::spawn(move || span.in_scope(|| tracing::info!("in the span of the request"))).wait()?;
/// # Ok::<(), greenloom::JoinError>(())
/// ```
///
/// It works with subscribers that know the current span, as those of `tracing-subscriber` do, and costs one branch a
/// switch while there is no subscriber. A subscriber that is set for an OS thread (`set_default`, `with_default`)
/// counts for all its green threads.
///
/// ```
/// use greenloom::instrument::{Tracing, install};
/// use std::rc::Rc;
///
/// install(Some(Rc::new(Tracing)));
/// # install(None);
/// ```
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

#[cfg(feature = "tracing")]
impl Instrument for Tracing {
    fn event(&self, event: &Event<'_>) {
        const TARGET: &str = "greenloom";
        match *event {
            Event::Spawn { greenlet } => {
                tracing::trace!(target: TARGET, id = greenlet.id(), name = greenlet.name(), "spawn");
            }
            Event::Park { greenlet, waits_for } => {
                tracing::trace!(target: TARGET, id = greenlet.id(), name = greenlet.name(), waits_for, "park");
            }
            Event::Wake { greenlet } => {
                tracing::trace!(target: TARGET, id = greenlet.id(), name = greenlet.name(), "wake");
            }
            Event::Switch { origin, target, throw } => {
                tracing::trace!(target: TARGET, origin = origin.id(), id = target.id(), name = target.name(), throw,
                    "switch");
            }
            Event::Look => tracing::trace!(target: TARGET, "look"),
            Event::Turn { fired, timer_lag } => tracing::trace!(target: TARGET, fired, ?timer_lag, "turn"),
            Event::Messages { count } => tracing::trace!(target: TARGET, count, "messages"),
            Event::Call => tracing::trace!(target: TARGET, "call"),
            Event::Blocking { greenlet, queued, ran } => {
                tracing::trace!(target: TARGET, id = greenlet.id(), name = greenlet.name(), ?queued, ?ran, "blocking");
            }
            Event::Warning { message } => tracing::warn!(target: TARGET, "{message}"),
        }
    }
}
