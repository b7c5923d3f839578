//! What happens, as it happens: one trait, told of every switch, spawn, park, wake and turn.
//!
//! An [`Instrument`] is installed for one hub and costs one branch an event while there is none. [`settrace`] is one of
//! its users.

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
