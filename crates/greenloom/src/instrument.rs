//! What happens, as it happens: one trait, told of every switch, spawn, park, wake and turn.
//!
//! An [`Instrument`] is installed for one hub and costs one branch an event while there is none. [`settrace`] is one of
//! its users.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::greenlet::AnyGreenlet;
use crate::hub::{State, with_hub};

/// Something that is told of events on the OS thread it was [installed](install) on. It runs in the middle of the runtime:
/// it must not block, spawn or switch.
pub trait Instrument {
    /// An event.
    fn event(&self, event: &Event<'_>);
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A green thread was made.
    Spawn {
        /// Which.
        greenlet: &'a AnyGreenlet,
    },
    /// A greenlet is about to wait.
    Park {
        /// Which.
        greenlet: &'a AnyGreenlet,
        /// For what; empty for one that merely yields.
        waits_for: &'static str,
    },
    /// A parked greenlet is ready again.
    Wake {
        /// Which.
        greenlet: &'a AnyGreenlet,
    },
    /// Control has passed.
    Switch {
        /// From whom.
        origin: &'a AnyGreenlet,
        /// To whom; it is the current one.
        target: &'a AnyGreenlet,
        /// Whether an error or an exit was thrown into it.
        throw: bool,
    },
    /// The hub looked at its timers and at I/O.
    Turn {
        /// How many timers and I/O events there were.
        fired: usize,
    },
}

/// What [`settrace`] calls: with the event's origin and target.
pub type Tracer = Rc<dyn Fn(TraceEvent, &AnyGreenlet, &AnyGreenlet)>;

/// The kind of event that a tracer is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// A switch with a value.
    Switch,
    /// A switch that throws an error or an exit into the target.
    Throw,
}

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
    with_hub(|hub| {
        let before = hub.watch.instrument.replace(instrument);
        hub.watch.update();
        hub.update_unusual();
        before
    })
}

/// Sets the function that is told of every switch and throw on this OS thread, after the fact and in the target; `None`
/// removes it. Returns the one before.
///
/// Semantics: greenlet's `settrace`.
pub fn settrace(tracer: Option<Tracer>) -> Option<Tracer> {
    with_hub(|hub| {
        let before = hub.watch.tracer.replace(tracer);
        hub.watch.update();
        hub.update_unusual();
        before
    })
}

/// The function that [`settrace`] set.
pub fn gettrace() -> Option<Tracer> {
    with_hub(|hub| hub.watch.tracer.borrow().clone())
}

/// Who watches an OS thread.
#[derive(Default)]
pub(crate) struct Watch {
    on: Cell<bool>,
    instrument: RefCell<Option<Rc<dyn Instrument>>>,
    tracer: RefCell<Option<Tracer>>,
    /// Where the switch that is under way came from.
    origin: Cell<Option<AnyGreenlet>>,
    throw: Cell<bool>,
}

impl Watch {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    fn update(&self) {
        self.on.set(self.instrument.borrow().is_some() || self.tracer.borrow().is_some());
        self.origin.set(None);
    }

    #[cold]
    pub fn tell(&self, event: &Event<'_>) {
        let instrument = self.instrument.borrow().clone();
        if let Some(instrument) = instrument {
            instrument.event(event);
        }
    }

    #[cold]
    pub fn will_switch(&self, origin: AnyGreenlet) {
        self.origin.set(Some(origin));
    }

    pub fn will_throw(&self) {
        self.throw.set(true);
    }

    /// Called by the target of a switch.
    #[cold]
    pub fn switched(&self, hub: &State) {
        let throw = self.throw.take();
        let Some(origin) = self.origin.take() else { return };
        let target = hub.current();
        self.tell(&Event::Switch { origin: &origin, target: &target, throw });
        let tracer = self.tracer.borrow().clone();
        if let Some(tracer) = tracer {
            tracer(if throw { TraceEvent::Throw } else { TraceEvent::Switch }, &origin, &target);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("on", &self.on).finish_non_exhaustive()
    }
}
