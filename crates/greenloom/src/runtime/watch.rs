//! Who is told of what happens on an OS thread.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::node::AnyGreenlet;

/// Something that is told of events on the OS thread it was [installed](crate::instrument::install) on. It runs in the
/// middle of the runtime: it must not block, spawn or switch.
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
    /// The hub is about to look at its timers and at I/O, and to wait for them if nothing is ready.
    Look,
    /// The hub looked at its timers and at I/O. What they wake is told of next.
    Turn {
        /// How many timers and I/O events there were.
        fired: usize,
        /// How late the last of the timers was, if there was one.
        timer_lag: Option<Duration>,
    },
    /// The hub has messages of other OS threads. What they wake is told of next.
    Messages {
        /// How many.
        count: usize,
    },
    /// The hub is about to call a function.
    Call,
    /// A call of [`blocking::run`](crate::blocking::run) has returned.
    Blocking {
        /// Who made it.
        greenlet: &'a AnyGreenlet,
        /// How long it was in line for an OS thread.
        queued: Duration,
        /// How long it ran.
        ran: Duration,
    },
    /// Something went wrong that no caller can be told of. While no instrument is installed it is printed on standard
    /// error.
    Warning {
        /// What, in words.
        message: fmt::Arguments<'a>,
    },
}

/// What [`settrace`](crate::instrument::settrace) calls: with the event's origin and target.
pub type Tracer = Rc<dyn Fn(TraceEvent, &AnyGreenlet, &AnyGreenlet)>;

/// The kind of event that a tracer is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent {
    /// A switch with a value.
    Switch,
    /// A switch that throws an error or an exit into the target.
    Throw,
}

/// Who watches an OS thread.
#[derive(Default)]
pub(crate) struct Watch {
    on: Cell<bool>,
    pub instrument: RefCell<Option<Rc<dyn Instrument>>>,
    pub tracer: RefCell<Option<Tracer>>,
    /// Where the switch that is under way came from.
    origin: Cell<Option<AnyGreenlet>>,
    throw: Cell<bool>,
}

impl Watch {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// After a change of who watches.
    pub fn update(&self) {
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

    /// Tells of something that no caller can be told of.
    #[cold]
    pub fn warn(&self, message: fmt::Arguments<'_>) {
        if self.instrument.borrow().is_some() {
            self.tell(&Event::Warning { message });
        } else {
            eprintln!("greenloom: {message}");
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
    pub fn switched(&self, target: &AnyGreenlet) {
        let throw = self.throw.take();
        let Some(origin) = self.origin.take() else { return };
        self.tell(&Event::Switch { origin: &origin, target, throw });
        let tracer = self.tracer.borrow().clone();
        if let Some(tracer) = tracer {
            tracer(if throw { TraceEvent::Throw } else { TraceEvent::Switch }, &origin, target);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("on", &self.on).finish_non_exhaustive()
    }
}
