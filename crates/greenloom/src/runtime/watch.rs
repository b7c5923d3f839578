//! Who is told of what happens on an OS thread.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
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

/// What records a trace: an instrument that is told of a switch before it happens, which needs no handle to anybody,
/// and that installs nothing itself.
pub(crate) trait Record {
    /// An event, but for switches.
    fn event(&self, event: &Event<'_>);

    /// Control is about to pass; `ends` says that it does not come back.
    fn switch(&self, origin: &AnyGreenlet, target: &AnyGreenlet, ends: bool);
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
    /// Whether somebody but a recorder watches.
    told: Cell<bool>,
    pub recorder: RefCell<Option<Rc<dyn Record>>>,
    pub instrument: RefCell<Option<Rc<dyn Instrument>>>,
    pub tracer: RefCell<Option<Tracer>>,
    /// Where the switch that is under way came from.
    origin: Cell<Option<AnyGreenlet>>,
    throw: Cell<bool>,
    ends: Cell<bool>,
}

impl Watch {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// After a change of who watches.
    pub fn update(&self) {
        self.told.set(self.instrument.borrow().is_some() || self.tracer.borrow().is_some());
        self.on.set(self.told.get() || self.recorder.borrow().is_some());
        self.origin.set(None);
    }

    /// Calls `f` with the recorder, if there is one.
    #[inline]
    fn with_recorder(&self, f: impl FnOnce(&dyn Record)) {
        if let Some(recorder) = &*self.recorder.borrow() {
            f(&**recorder);
        }
    }

    #[cold]
    pub fn tell(&self, event: &Event<'_>) {
        self.with_recorder(|recorder| recorder.event(event));
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
            // Not by a macro of std, which panics where standard error is full or closed.
            let _ = writeln!(std::io::stderr(), "greenloom: {message}");
        }
    }

    /// The current greenlet is about to wait, or to give way.
    #[cold]
    pub fn parks(&self, me: &AnyGreenlet) {
        let event = Event::Park { greenlet: me, waits_for: me.waits_for().unwrap_or("") };
        if self.told.get() { self.tell(&event) } else { self.with_recorder(|recorder| recorder.event(&event)) }
    }

    #[cold]
    pub fn will_switch(&self, origin: &AnyGreenlet, target: &AnyGreenlet) {
        let ends = self.ends.take();
        self.with_recorder(|recorder| recorder.switch(origin, target, ends));
        if self.told.get() {
            self.origin.set(Some(origin.clone()));
        }
    }

    /// The current greenlet's next switch is its last.
    #[cold]
    pub fn will_end(&self) {
        self.ends.set(self.on.get());
    }

    pub fn will_throw(&self) {
        self.throw.set(true);
    }

    /// Called by the target of a switch.
    #[cold]
    pub fn switched(&self, target: impl FnOnce() -> AnyGreenlet) {
        let throw = self.throw.take();
        let Some(origin) = self.origin.take() else { return };
        let target = &target();
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
