//! A look at all green threads, for [`inspector`](super::inspector).
//!
//! A hub has to look at its own: it is sent a function that does so for [`STEP`] and sends itself the rest, behind what
//! is ready. A hub that is blocked does not, and that is told.
//!
//! There are two rounds. In the first one all are met; in the second one the hubs tell of those that turned out to be
//! the oldest of their groups, and who of those that others wait for is alive. The hubs copy the stacks of the oldest,
//! which are read afterwards, by the one who looks ([`stacks`](super::stacks)).

use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use greenloom_fiber::Snapshot;
use greenloom_hub::{Direction, TimerKey};
use greenloom_inspect::groups::Groups;
use greenloom_inspect::hints::Waiting;
use greenloom_inspect::native::Symbols;
use greenloom_inspect::protocol::{Seconds, Sizes};
use greenloom_inspect::{Group, Info, Stacks, State, Thread, Waits, descriptor};

use super::counters::Counters;
use super::held::{BIRTHS, WaitsOn, Who};
use super::node::{AnyGreenlet, Kind};
use super::registry::{self, Message};
use super::stacks;
use super::state::Runtime;
use super::try_here;
use super::work::Work;

/// How long a look may keep a hub at a time.
const STEP: Duration = Duration::from_millis(1);

/// How many green threads, timers or descriptors are looked at between two looks at the clock.
const BETWEEN_CLOCKS: usize = 64;

/// How long a hub may give no sign until that is told.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How many bytes of a stack are copied: of each that is told of among all, and of one alone. What is behind them is
/// not told.
const STACK_AMONG_ALL: usize = 32 << 10;
const STACK_OF_ONE: usize = 1 << 20;

/// How many are told of that wait for one.
const MOST_WAITERS: usize = 10;

/// What tells one place from another.
type Place = (State, &'static str, Result<String, Option<&'static Location<'static>>>);

/// A look, hub after hub.
#[derive(Default)]
pub(super) struct Look {
    seen: Mutex<Seen>,
    /// How many steps were done.
    steps: AtomicU64,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    groups: Groups<Place>,
    waiting: Waiting<Thread>,
    /// Those that are told of in the second round.
    wanted: HashMap<Thread, Info>,
    /// Their stacks, so many bytes of each at most.
    stacks: HashMap<Thread, Snapshot>,
    stack_size: usize,
    /// Those that somebody waits for, and those of them that are there.
    holders: HashSet<Thread>,
    alive: HashSet<Thread>,
}

impl Look {
    /// At all green threads of the process.
    pub fn at_all(symbols: &mut Symbols) -> Stacks {
        let begun = Instant::now();
        let look = Arc::new(Look::default());
        look.seen().stack_size = STACK_AMONG_ALL;
        look.meet_all();
        let oldest: Vec<Thread> = {
            let mut seen = look.seen();
            seen.wanted = seen.groups.oldest().map(|thread| (thread, Info::default())).collect();
            seen.holders = seen.waiting.holders();
            seen.groups.oldest().collect()
        };
        let hubs: HashSet<u64> = look.seen().wanted.keys().map(|thread| thread.hub).collect();
        // A hub that did not answer in the first round has nobody here.
        for (id, _) in hubs_of_process().filter(|(id, _)| hubs.contains(&u64::from(*id))) {
            look.ask(id, Round::Tell);
        }
        symbols.renew();
        let seen = &mut *look.seen();
        for (place, thread) in oldest.into_iter().enumerate() {
            if let Some(info) = seen.wanted.remove(&thread) {
                seen.groups.tell(place, info.age.map(|Seconds(age)| age), info.waits);
            }
            if let Some(stack) = seen.stacks.remove(&thread) {
                seen.groups.show(place, stacks::frames(symbols, &stack));
            }
        }
        let alive = std::mem::take(&mut seen.alive);
        let is_alive = |holder: &Thread| alive.contains(holder) || !hubs.contains(&holder.hub);
        let hints = seen.waiting.hints(is_alive);
        seen.groups.hint(hints);
        std::mem::take(&mut seen.groups).finish(begun.elapsed())
    }

    /// At one green thread, and those that wait for it.
    pub fn at_one(thread: Thread, symbols: &mut Symbols) -> Option<Info> {
        let look = Arc::new(Look::default());
        look.seen().stack_size = STACK_OF_ONE;
        look.meet_all();
        look.seen().wanted.insert(thread, Info::default());
        let hub = hubs_of_process().find(|(id, _)| u64::from(*id) == thread.hub)?.0;
        look.ask(hub, Round::Tell);
        let mut seen = look.seen();
        let mut info = seen.wanted.remove(&thread).filter(|info| info.thread == thread)?;
        info.waiters = seen.waiting.waiters_for(thread, MOST_WAITERS);
        symbols.renew();
        info.stack = seen.stacks.remove(&thread).map(|stack| stacks::frames(symbols, &stack)).unwrap_or_default();
        Some(info)
    }

    fn meet_all(self: &Arc<Look>) {
        for (id, counters) in hubs_of_process() {
            if !self.ask(id, Round::Meet) {
                let name = counters.os_thread.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                let patience = PATIENCE.as_millis();
                let problem =
                    format!("hub {id}{name} has not answered for {patience} ms: something blocks its OS thread");
                self.seen().groups.miss(problem);
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a hub look at its green threads. Returns whether it has done so.
    fn ask(self: &Arc<Look>, hub: u32, round: Round) -> bool {
        let (sender, receiver) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        send_step(Steps { look: Arc::clone(self), hub, done: sender, given_up: Arc::clone(&given_up) }, round.begin());
        let done = self.is_done(&receiver);
        given_up.store(true, Ordering::Relaxed);
        done
    }

    fn is_done(&self, receiver: &Receiver<()>) -> bool {
        loop {
            let before = self.steps.load(Ordering::Relaxed);
            match receiver.recv_timeout(PATIENCE) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Timeout) if self.steps.load(Ordering::Relaxed) != before => {}
                // Or it has ended.
                Err(error) => return error == RecvTimeoutError::Disconnected,
            }
        }
    }
}

fn hubs_of_process() -> impl Iterator<Item = (u32, Arc<Counters>)> {
    registry::all().into_iter()
}

/// What a hub is asked to do.
#[derive(Clone, Copy)]
enum Round {
    Meet,
    Tell,
}

impl Round {
    fn begin(self) -> Next {
        match self {
            Round::Meet => Next::Meet(0),
            Round::Tell => Next::Find(0, HashMap::new()),
        }
    }
}

/// What a hub does next.
enum Next {
    /// Meets those from this slot on.
    Meet(u32),
    /// Finds those that are wanted, from this slot on. Their parks are kept.
    Find(u32, Parks),
    /// Looks among the timers behind this one for the ends of those parks.
    Timers(Option<TimerKey>, Parks),
    /// Looks among the descriptors from this place on.
    Sources(usize, Parks),
}

/// Those that are wanted, by their slots and the numbers of their parks.
type Parks = HashMap<(u32, u64), Thread>;

/// The steps of a look in one hub.
struct Steps {
    look: Arc<Look>,
    hub: u32,
    done: SyncSender<()>,
    /// Nobody waits for it any more.
    given_up: Arc<AtomicBool>,
}

fn send_step(steps: Steps, next: Next) {
    let hub = steps.hub;
    let step = move || {
        let Some(runtime) = try_here().filter(|_| !steps.given_up.load(Ordering::Relaxed)) else { return };
        let next = runtime.look_on(&mut steps.look.seen(), next);
        steps.look.steps.fetch_add(1, Ordering::Relaxed);
        match next {
            Some(next) => send_step(steps, next),
            None => drop(steps.done.try_send(())),
        }
    };
    // If the hub has ended, the sender is dropped with the message, which tells.
    let _ = registry::send(hub, Message::Call(Box::new(step)));
}

/// Whether a step has lasted long enough. It is asked for each thing that is looked at.
struct Clock {
    begun: Instant,
    count: usize,
}

impl Clock {
    fn begin() -> Clock {
        Clock { begun: Instant::now(), count: 0 }
    }

    fn is_enough(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(BETWEEN_CLOCKS) && self.begun.elapsed() >= STEP
    }
}

impl Runtime {
    /// Does a step, for [`STEP`]. Returns what is next.
    fn look_on(&self, seen: &mut Seen, next: Next) -> Option<Next> {
        let mut clock = Clock::begin();
        match next {
            Next::Meet(from) => {
                if from == 0 {
                    seen.groups.size(self.sizes());
                }
                let meet = |greenlet: &AnyGreenlet| self.meet(seen, greenlet);
                self.each_from(from, &mut clock, meet).map(Next::Meet)
            }
            Next::Find(from, mut parks) => {
                let find = |greenlet: &AnyGreenlet| self.find(seen, greenlet, &mut parks);
                match self.each_from(from, &mut clock, find) {
                    Some(slot) => Some(Next::Find(slot, parks)),
                    None if parks.is_empty() => None,
                    None => Some(Next::Timers(None, parks)),
                }
            }
            Next::Timers(behind, parks) => Some(match self.look_at_timers(seen, behind, &parks, &mut clock) {
                Some(last) => Next::Timers(Some(last), parks),
                None => Next::Sources(0, parks),
            }),
            Next::Sources(from, parks) => {
                let place = self.look_at_sources(seen, from, &parks, &mut clock)?;
                Some(Next::Sources(place, parks))
            }
        }
    }

    /// Looks at green threads from a slot on. Returns the slot to go on from, if there are more.
    fn each_from(&self, from: u32, clock: &mut Clock, mut look: impl FnMut(&AnyGreenlet)) -> Option<u32> {
        let threads = self.threads.borrow();
        for slot in from..threads.slots() {
            if clock.is_enough() {
                return Some(slot);
            }
            if let Some(greenlet) = threads.get(slot).filter(|greenlet| greenlet.node().slot.get() == slot) {
                look(greenlet);
            }
        }
        None
    }

    fn sizes(&self) -> Sizes {
        let (timers, descriptors) =
            self.with_core(|core| (core.timers.len() as u64, core.sources().len() as u64)).unwrap_or_default();
        let ready = self.ready.borrow().len() as u64;
        Sizes { hub: self.id().into(), ready, timers, descriptors: Some(descriptors) }
    }

    fn name_of(&self, greenlet: &AnyGreenlet) -> Thread {
        Thread { hub: self.id().into(), number: greenlet.id() }
    }

    fn meet(&self, seen: &mut Seen, greenlet: &AnyGreenlet) {
        let (state, waits_for) = state(greenlet);
        let place: Place = (state, waits_for, called(greenlet).map(String::from));
        let thread = self.name_of(greenlet);
        if let Some((object, holder, all_taken)) = waits_on(greenlet) {
            seen.waiting.meet((thread, thread), waits_for, object, 0, holder, all_taken);
        }
        seen.groups.meet(&place, thread, greenlet.id(), || Group {
            state,
            waits_for: (!waits_for.is_empty()).then(|| waits_for.into()),
            name: in_words(&place.2),
            ..Group::default()
        });
    }

    /// Tells of it what it knows itself, if it is wanted.
    fn find(&self, seen: &mut Seen, greenlet: &AnyGreenlet, parks: &mut Parks) {
        let thread = self.name_of(greenlet);
        seen.alive.extend(seen.holders.get(&thread));
        let Some(info) = seen.wanted.get_mut(&thread) else { return };
        seen.stacks.extend(greenlet.node().fiber.snapshot(seen.stack_size).map(|stack| (thread, stack)));
        let (state, waits_for) = state(greenlet);
        let waits = waits_on(greenlet).map(|(object, holder, _)| Waits {
            object: format!("{object:#x}"),
            waiters: seen.waiting.waiters_at(object) as u64,
            holder,
            ..Waits::default()
        });
        *info = Info {
            thread,
            name: in_words(&called(greenlet).map(String::from)),
            state,
            age: BIRTHS.age(greenlet.node().began.get()).map(Seconds),
            waits_for: (!waits_for.is_empty()).then(|| waits_for.into()),
            waits,
            ..Info::default()
        };
        if state == State::Waits {
            parks.insert((greenlet.node().slot.get(), greenlet.node().ticket.get()), thread);
        }
    }

    /// When parks end. Returns the timer to go on behind, if there are more.
    fn look_at_timers(
        &self,
        seen: &mut Seen,
        behind: Option<TimerKey>,
        parks: &Parks,
        clock: &mut Clock,
    ) -> Option<TimerKey> {
        let now = self.now();
        self.with_core(|core| {
            for (key, work) in core.timers.iter_behind(behind) {
                if let Some(waits) = seen.waits_of(work, parks) {
                    waits.due_in = Some(key.at().since(now).as_secs_f64() - now.since(key.at()).as_secs_f64());
                }
                if clock.is_enough() {
                    return Some(key);
                }
            }
            None
        })?
    }

    /// For which descriptors parks are. Returns the place to go on from, if there are more.
    fn look_at_sources(&self, seen: &mut Seen, from: usize, parks: &Parks, clock: &mut Clock) -> Option<usize> {
        self.with_core(|core| {
            for (next, fd, direction, work) in core.sources().waiting_from(from) {
                if let Some(waits) = seen.waits_of(work, parks) {
                    let verb = if direction == Direction::Read { "read" } else { "write" };
                    waits.detail = format!("fd {fd} to {verb}, {}", descriptor::words_of_number(fd));
                }
                if clock.is_enough() {
                    return Some(next);
                }
            }
            None
        })?
    }
}

impl Seen {
    /// The waits of the one whose park is to be ended by this.
    fn waits_of(&mut self, work: &Work, parks: &Parks) -> Option<&mut Waits> {
        let (Work::Wake { slot, ticket } | Work::Choice { slot, ticket, .. }) = work else { return None };
        let thread = parks.get(&(*slot, *ticket))?;
        Some(self.wanted.get_mut(thread)?.waits.get_or_insert_default())
    }
}

/// What it is about, and what it waits for.
fn state(greenlet: &AnyGreenlet) -> (State, &'static str) {
    match greenlet.waits_for() {
        Some(what) => (State::Waits, what),
        None if !greenlet.is_started() => (State::New, ""),
        // What runs is the hub, which looks: whoever is neither parked nor new is ready.
        None => (State::Ready, ""),
    }
}

/// Its name, or else where it was spawned.
fn called(greenlet: &AnyGreenlet) -> Result<&str, Option<&'static Location<'static>>> {
    let is_root = greenlet.node().kind.get() == Kind::Root;
    let name = if is_root { Some("the OS thread's own") } else { greenlet.name() };
    name.ok_or_else(|| greenlet.node().spawned_at.get())
}

fn in_words(called: &Result<String, Option<&'static Location<'static>>>) -> Option<String> {
    match called {
        Ok(name) => Some(name.clone()),
        Err(spawned_at) => spawned_at.map(|place| format!("spawned at {place}")),
    }
}

/// The object that it waits on, for whom, and how many units that has.
fn waits_on(greenlet: &AnyGreenlet) -> Option<(usize, Option<Thread>, Option<usize>)> {
    let what = greenlet.waits_for()?;
    let name = |Who { hub, number }| Thread { hub: hub.into(), number };
    match greenlet.node().extra.borrow().as_ref()?.waits_on.as_ref()? {
        WaitsOn::Unit(taken) if what == "semaphore" => {
            Some((Arc::as_ptr(taken) as usize, taken.holder().map(name), Some(taken.units)))
        }
        WaitsOn::End(who) if what == "green thread" => Some((who.number as usize, Some(name(*who)), None)),
        _ => None,
    }
}
