//! A hub's recorder: it is told of what happens there, and writes it into a ring.

use std::cell::Cell;
use std::rc::Rc;

use greenloom_fiber::Ticks;
use greenloom_hub::{Clock, Time};
use greenloom_trace::{ENDED, READY, Reader, Text, Writer, ring};

use super::here;
use super::node::{AnyGreenlet, Kind, Wake};
use super::watch::{Event, Record};

/// A recorder that is told of this OS thread's events, until this is dropped.
pub(crate) struct Installed(Rc<Recorder>);

impl Installed {
    /// With times by the recording's clock, or by one that begins now.
    pub fn new(capacity: usize, clock: Option<Ticks>) -> (Installed, Reader) {
        let runtime = here();
        let (writer, reader) = ring(capacity, hub_name(runtime.id()));
        let virtual_clock = runtime.with_core(|core| Rc::clone(core.clock())).filter(|clock| clock.is_virtual());
        let clock = match virtual_clock {
            Some(clock) => Source::Virtual { began: clock.now(), clock },
            None => Source::System(clock.unwrap_or_default()),
        };
        let recorder = Rc::new(Recorder {
            writer,
            clock,
            waits: Cell::new(None),
            waker: Cell::new(greenloom_trace::Wake::Thread),
            before: runtime.watch.recorder.take(),
        });
        recorder.tell_who_is_there();
        Installed::put(Some(recorder.clone()));
        (Installed(recorder), reader)
    }

    /// How many nanoseconds one of its ticks takes.
    pub fn tick(&self) -> f64 {
        self.0.clock.tick()
    }

    fn put(recorder: Option<Rc<dyn Record>>) {
        let runtime = here();
        drop(runtime.watch.recorder.replace(recorder));
        runtime.watch.update();
        runtime.update_unusual();
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let installed = here().watch.recorder.take();
        let is_ours = installed.as_ref().is_some_and(|installed| std::ptr::addr_eq(&**installed, &*self.0));
        // One that began later stays, and keeps this one, which it tells of everything.
        Installed::put(if is_ours { self.0.before.clone() } else { installed });
    }
}

fn hub_name(id: u32) -> String {
    match std::thread::current().name() {
        Some(name) => format!("hub {id} ({name})"),
        None => format!("hub {id}"),
    }
}

/// Where times come from.
enum Source {
    System(Ticks),
    Virtual { clock: Rc<dyn Clock>, began: Time },
}

impl Source {
    /// Since recording began, in ticks.
    #[inline]
    fn now(&self) -> u64 {
        match self {
            Source::System(ticks) => ticks.now(),
            Source::Virtual { clock, began } => clock.now().since(*began).as_nanos() as u64,
        }
    }

    /// How many nanoseconds a tick takes.
    fn tick(&self) -> f64 {
        match self {
            Source::System(ticks) => ticks.length(),
            Source::Virtual { .. } => 1.0,
        }
    }
}

/// Writes events into a hub's ring.
struct Recorder {
    writer: Writer,
    clock: Source,
    /// What the one that runs has just said that it waits for.
    waits: Cell<Option<Text>>,
    /// On whose behalf the hub's loop wakes others.
    waker: Cell<greenloom_trace::Wake>,
    /// One that began before, and is told too.
    before: Option<Rc<dyn Record>>,
}

impl Recorder {
    #[inline]
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn tell_who_is_there(&self) {
        let (runtime, now) = (here(), self.now());
        let current = runtime.current();
        for greenlet in runtime.enrolled().iter().chain([runtime.loop_greenlet(), &current]) {
            let waits_for = greenlet.waits_for().map(|what| self.writer.static_text(what));
            self.writer.exists(now, greenlet.id(), self.name(greenlet), waits_for);
        }
        self.writer.run(now, current.id(), READY);
    }

    fn name(&self, greenlet: &AnyGreenlet) -> Text {
        match (greenlet.name(), greenlet.node().kind.get()) {
            (Some(name), _) => self.writer.text(name),
            (None, Kind::Root) => self.writer.static_text("root"),
            (None, Kind::Greenlet) => self.writer.static_text("greenlet"),
            (None, _) => self.writer.static_text("green thread"),
        }
    }

    /// Why `origin` no longer runs.
    #[inline]
    fn why(&self, origin: &AnyGreenlet, ends: bool) -> Text {
        match self.waits.take() {
            _ if ends => ENDED,
            Some(text) => text,
            None if origin.node().kind.get() == Kind::Hub => READY,
            None => self.writer.static_text("switch by hand"),
        }
    }

    fn waker(&self, woken: &AnyGreenlet) -> greenloom_trace::Wake {
        if here().try_with_current(|me| me.node().kind.get()) != Some(Kind::Hub) {
            return greenloom_trace::Wake::Thread;
        }
        match woken.node().cause.get() {
            Wake::TimedOut => greenloom_trace::Wake::Timer,
            _ => self.waker.get(),
        }
    }
}

impl Record for Recorder {
    fn switch(&self, origin: &AnyGreenlet, target: &AnyGreenlet, ends: bool) {
        self.writer.run(self.now(), target.id(), self.why(origin, ends));
        if let Some(before) = &self.before {
            before.switch(origin, target, ends);
        }
    }

    fn event(&self, event: &Event<'_>) {
        match *event {
            Event::Park { waits_for: "", .. } => self.waits.set(Some(READY)),
            Event::Park { waits_for, .. } => self.waits.set(Some(self.writer.static_text(waits_for))),
            Event::Wake { greenlet } => self.writer.wake(self.now(), greenlet.id(), self.waker(greenlet)),
            Event::Spawn { greenlet } => self.writer.spawn(self.now(), greenlet.id(), self.name(greenlet)),
            Event::Look => self.writer.idle(self.now()),
            Event::Turn { timer_lag, .. } => {
                let now = self.now();
                self.writer.busy(now);
                self.waker.set(greenloom_trace::Wake::Io);
                if let Some(lag) = timer_lag.filter(|lag| lag.as_micros() > 0) {
                    self.writer.timer_lag(now, lag.as_nanos() as u64);
                }
            }
            Event::Messages { .. } => self.waker.set(greenloom_trace::Wake::Elsewhere),
            Event::Call => self.waker.set(greenloom_trace::Wake::Thread),
            Event::Blocking { greenlet, queued, ran } => {
                let nanoseconds = |time: std::time::Duration| time.as_nanos() as u64;
                self.writer.blocking(self.now(), greenlet.id(), nanoseconds(queued), nanoseconds(ran));
            }
            Event::Switch { .. } | Event::Warning { .. } => {}
        }
        if let Some(before) = &self.before {
            before.event(event);
        }
    }
}
