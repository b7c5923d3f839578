//! Queues, semaphores, locks and events against simple models, under random operations with kills and timeouts.
//!
//! Each operation that may wait runs in a green thread of its own and notes what came of it; after each, everything
//! runs that can, and what was noted, with its order, must be what the model says.
//!
//! Over 500 lines: one machine that runs the operations, and a model for each primitive, which is of use only with it.

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use common::{Log, millis, settle, simulate};
use greenloom::hub::now;
use greenloom::queue::{Fifo, Lifo, Order, Priority, QueueOf, Reason};
use greenloom::sync::{Event, EventError, RwLock, Semaphore};
use greenloom::{GreenThread, get_hub, sleep, spawn};
use proptest::prelude::*;

/// The number of an operation, and what came of it.
type Note = (usize, String);

/// One that waits, in the model.
struct Waiter<B> {
    id: usize,
    deadline: Option<Duration>,
    brings: B,
}

/// The waiters, in the model: first come, first served.
struct Line<B>(Vec<Waiter<B>>);

impl<B> Line<B> {
    fn new() -> Line<B> {
        Line(Vec::new())
    }

    fn join(&mut self, id: usize, patience: Option<u64>, brings: B) {
        let deadline = patience.map(|patience| now() + millis(patience));
        self.0.push(Waiter { id, deadline, brings });
    }

    fn first(&mut self) -> Option<Waiter<B>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// The number of the one in this place, counted round and round.
    fn pick(&self, index: usize) -> Option<usize> {
        (!self.0.is_empty()).then(|| self.0[index % self.0.len()].id)
    }

    fn leave(&mut self, id: usize) {
        self.0.retain(|waiter| waiter.id != id);
    }

    /// The next whose time is over by `until`, by time and then by age.
    fn expire(&mut self, until: Duration) -> Option<Waiter<B>> {
        let due = self.0.iter().enumerate().filter(|(_, waiter)| waiter.deadline.is_some_and(|at| at <= until));
        let (index, _) = due.min_by_key(|(_, waiter)| (waiter.deadline, waiter.id))?;
        Some(self.0.remove(index))
    }
}

/// The green threads and what they note.
struct World {
    log: Log<Note>,
    threads: BTreeMap<usize, GreenThread<()>>,
    next: usize,
}

impl World {
    fn new() -> World {
        World { log: Log::new(), threads: BTreeMap::new(), next: 0 }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn start(&mut self, id: usize, operation: impl FnOnce(&dyn Fn(&str)) + 'static) {
        let log = self.log.clone();
        let thread = spawn(move || operation(&|outcome| log.push((id, outcome.to_owned()))));
        self.threads.insert(id, thread);
    }

    fn kill(&self, id: usize) {
        self.threads[&id].kill();
    }

    /// Everything that can run has run, and this is what was noted.
    #[track_caller]
    fn noted(&self, expected: Vec<Note>, operation: &impl Debug) {
        settle();
        assert_eq!(self.log.take(), expected, "after {operation:?}");
    }

    /// Nobody is left, and nothing of anybody.
    fn end(self) {
        self.threads.values().for_each(GreenThread::kill);
        settle();
        assert!(self.threads.values().all(GreenThread::dead));
        assert_eq!(get_hub().timers_count(), 0);
    }
}

fn note(id: usize, outcome: impl Into<String>) -> Note {
    (id, outcome.into())
}

fn patience() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (1..20u64).prop_map(Some)]
}

// Queues.

#[derive(Clone, Debug)]
enum QueueOp {
    Put(u32, Option<u64>),
    Get(Option<u64>),
    TryPut(u32),
    TryGet,
    KillPutter(usize),
    KillGetter(usize),
    /// Puts an item and kills a waiter, before anybody runs.
    PutAndKill(u32, usize),
    GetAndKill(usize),
    Pass(u64),
    Resize(usize),
    Close,
}

fn queue_op() -> impl Strategy<Value = QueueOp> {
    use QueueOp::*;
    prop_oneof![
        6 => (0..5u32, patience()).prop_map(|(item, patience)| Put(item, patience)),
        6 => patience().prop_map(Get),
        2 => (0..5u32).prop_map(TryPut),
        2 => Just(TryGet),
        1 => (0..9usize).prop_map(KillPutter),
        1 => (0..9usize).prop_map(KillGetter),
        3 => (0..5u32, 0..3usize).prop_map(|(item, index)| PutAndKill(item, index)),
        3 => (0..3usize).prop_map(GetAndKill),
        3 => (1..9u64).prop_map(Pass),
        1 => (0..4usize).prop_map(Resize),
        1 => Just(Close),
    ]
}

struct QueueModel {
    items: Vec<u32>,
    capacity: usize,
    closed: bool,
    putters: Line<u32>,
    getters: Line<()>,
    /// Which of the items leaves next.
    next: fn(&[u32]) -> usize,
    /// Where one that comes back goes.
    put_back: fn(&mut Vec<u32>, u32),
    accepted: usize,
}

impl QueueModel {
    fn pop(&mut self) -> Option<u32> {
        (!self.items.is_empty()).then(|| self.items.remove((self.next)(&self.items)))
    }

    /// What a put comes to now, and whom it wakes with the item.
    fn put(&mut self, item: u32) -> Option<(&'static str, Option<usize>)> {
        if self.closed {
            return Some(("closed", None));
        }
        let getter = self.getters.first().map(|getter| getter.id);
        if getter.is_none() {
            if self.items.len() >= self.capacity {
                return None;
            }
            self.items.push(item);
        }
        self.accepted += 1;
        Some(("put", getter))
    }

    /// What a get comes to now, and whose item has found its place.
    fn get(&mut self) -> Option<(String, Option<usize>)> {
        let item = self.pop();
        if item.is_none() && (self.closed || self.putters.0.is_empty()) {
            return self.closed.then(|| ("closed".to_owned(), None));
        }
        if item.is_some() && self.items.len() >= self.capacity {
            return item.map(|item| (format!("got {item}"), None));
        }
        let Some(putter) = self.putters.first() else { return item.map(|item| (format!("got {item}"), None)) };
        self.accepted += 1;
        let item = match item {
            None => putter.brings,
            Some(item) => {
                self.items.push(putter.brings);
                item
            }
        };
        Some((format!("got {item}"), Some(putter.id)))
    }

    fn expire(&mut self) -> Vec<Note> {
        let mut expired = Vec::new();
        while let Some(putter) = self.putters.expire(now()) {
            expired.push((putter.deadline, note(putter.id, "full")));
        }
        while let Some(getter) = self.getters.expire(now()) {
            expired.push((getter.deadline, note(getter.id, "empty")));
        }
        expired.sort_by_key(|(deadline, note)| (*deadline, note.0));
        expired.into_iter().map(|(_, note)| note).collect()
    }
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Full => "full",
        Reason::Empty => "empty",
        Reason::Closed => "closed",
        _ => "refused",
    }
}

fn check_queue<O: Order<Item = u32> + 'static>(mut model: QueueModel, ops: Vec<QueueOp>) {
    let queue = Rc::new(QueueOf::<O>::new(model.capacity));
    let mut world = World::new();
    for op in ops {
        let mut expected = Vec::new();
        match op {
            QueueOp::Put(item, patience) => {
                let id = world.number();
                match model.put(item) {
                    None => model.putters.join(id, patience, item),
                    Some((outcome, getter)) => {
                        expected.push(note(id, outcome));
                        expected.extend(getter.map(|getter| note(getter, format!("got {item}"))));
                    }
                }
                let queue = queue.clone();
                world.start(id, move |say| {
                    let outcome = match patience {
                        None => queue.put(item),
                        Some(patience) => queue.put_timeout(item, millis(patience)),
                    };
                    say(outcome.map_or_else(|error| reason(error.reason), |()| "put"));
                });
            }
            QueueOp::Get(patience) => {
                let id = world.number();
                match model.get() {
                    None => model.getters.join(id, patience, ()),
                    Some((outcome, putter)) => {
                        expected.push(note(id, outcome));
                        expected.extend(putter.map(|putter| note(putter, "put")));
                    }
                }
                let queue = queue.clone();
                world.start(id, move |say| {
                    let outcome = match patience {
                        None => queue.get(),
                        Some(patience) => queue.get_timeout(millis(patience)),
                    };
                    match outcome {
                        Ok(item) => say(&format!("got {item}")),
                        Err(error) => say(reason(error)),
                    }
                });
            }
            QueueOp::TryPut(item) => {
                let outcome = queue.try_put(item).map_or_else(|error| reason(error.reason), |()| "put");
                let (said, getter) = model.put(item).unwrap_or(("full", None));
                assert_eq!(outcome, said);
                expected.extend(getter.map(|getter| note(getter, format!("got {item}"))));
            }
            QueueOp::TryGet => {
                let outcome =
                    queue.try_get().map_or_else(|error| reason(error).to_owned(), |item| format!("got {item}"));
                let (said, putter) = model.get().unwrap_or(("empty".to_owned(), None));
                assert_eq!(outcome, said);
                expected.extend(putter.map(|putter| note(putter, "put")));
            }
            QueueOp::KillPutter(index) => {
                if let Some(id) = model.putters.pick(index) {
                    world.kill(id);
                    model.putters.leave(id);
                }
            }
            QueueOp::KillGetter(index) => {
                if let Some(id) = model.getters.pick(index) {
                    world.kill(id);
                    model.getters.leave(id);
                }
            }
            QueueOp::PutAndKill(item, index) => {
                let Some(victim) = model.getters.pick(index) else { continue };
                assert_eq!(queue.try_put(item).is_ok(), !model.closed);
                world.kill(victim);
                if let Some((_, mut getter)) = model.put(item) {
                    model.getters.leave(victim);
                    if getter == Some(victim) {
                        getter = model.getters.first().map(|getter| getter.id);
                        if getter.is_none() {
                            (model.put_back)(&mut model.items, item);
                        }
                    }
                    expected.extend(getter.map(|getter| note(getter, format!("got {item}"))));
                }
            }
            QueueOp::GetAndKill(index) => {
                let Some(victim) = model.putters.pick(index) else { continue };
                let outcome = queue.try_get().map(|item| format!("got {item}")).unwrap();
                world.kill(victim);
                let (said, putter) = model.get().unwrap();
                assert_eq!(outcome, said);
                model.putters.leave(victim);
                expected.extend(putter.filter(|putter| *putter != victim).map(|putter| note(putter, "put")));
            }
            QueueOp::Pass(time) => sleep(millis(time)),
            QueueOp::Resize(capacity) => {
                queue.resize(capacity);
                model.capacity = capacity;
                while model.items.len() < model.capacity
                    && let Some(putter) = model.putters.first()
                {
                    model.items.push(putter.brings);
                    model.accepted += 1;
                    expected.push(note(putter.id, "put"));
                }
            }
            QueueOp::Close => {
                queue.close();
                model.closed = true;
                expected.extend(std::iter::from_fn(|| model.putters.first()).map(|putter| note(putter.id, "closed")));
                expected.extend(std::iter::from_fn(|| model.getters.first()).map(|getter| note(getter.id, "closed")));
            }
        }
        expected.splice(0..0, model.expire());
        world.noted(expected, &op);
        assert_eq!(queue.len(), model.items.len());
        assert_eq!(queue.waiting(), (model.putters.0.len(), model.getters.0.len()));
        assert_eq!(queue.unfinished_tasks(), model.accepted);
    }
    world.end();
    let left: Vec<u32> = std::iter::from_fn(|| queue.try_get().ok()).collect();
    let expected: Vec<u32> = std::iter::from_fn(|| model.pop()).collect();
    assert_eq!(left, expected);
}

fn queue_model(capacity: usize, next: fn(&[u32]) -> usize, put_back: fn(&mut Vec<u32>, u32)) -> QueueModel {
    let (putters, getters) = (Line::new(), Line::new());
    QueueModel { items: Vec::new(), capacity, closed: false, putters, getters, next, put_back, accepted: 0 }
}

// Semaphore.

#[derive(Clone, Debug)]
enum SemaphoreOp {
    Acquire(Option<u64>),
    TryAcquire,
    Release,
    Kill(usize),
    ReleaseAndKill(usize),
    Pass(u64),
}

fn semaphore_op() -> impl Strategy<Value = SemaphoreOp> {
    use SemaphoreOp::*;
    prop_oneof![
        5 => patience().prop_map(Acquire),
        1 => Just(TryAcquire),
        3 => Just(Release),
        1 => (0..9usize).prop_map(Kill),
        2 => (0..3usize).prop_map(ReleaseAndKill),
        2 => (1..9u64).prop_map(Pass),
    ]
}

fn check_semaphore(permits: usize, ops: Vec<SemaphoreOp>) {
    let (semaphore, mut available) = (Rc::new(Semaphore::new(permits)), permits);
    let (mut world, mut line) = (World::new(), Line::new());
    for op in ops {
        let mut expected = Vec::new();
        match op {
            SemaphoreOp::Acquire(patience) => {
                let id = world.number();
                if available > 0 {
                    available -= 1;
                    expected.push(note(id, "acquired"));
                } else {
                    line.join(id, patience, ());
                }
                let semaphore = semaphore.clone();
                world.start(id, move |say| {
                    let permit = match patience {
                        None => Some(semaphore.acquire()),
                        Some(patience) => semaphore.acquire_timeout(millis(patience)),
                    };
                    say(if permit.is_some() { "acquired" } else { "timed out" });
                    permit.into_iter().for_each(|permit| permit.forget());
                });
            }
            SemaphoreOp::TryAcquire => {
                let acquired = semaphore.try_acquire().map(|permit| permit.forget()).is_some();
                assert_eq!(acquired, available > 0);
                available -= usize::from(acquired);
            }
            SemaphoreOp::Kill(index) => {
                if let Some(id) = line.pick(index) {
                    world.kill(id);
                    line.leave(id);
                }
            }
            SemaphoreOp::Release | SemaphoreOp::ReleaseAndKill(_) => {
                semaphore.release();
                if let SemaphoreOp::ReleaseAndKill(index) = op
                    && let Some(victim) = line.pick(index)
                {
                    world.kill(victim);
                    line.leave(victim);
                }
                match line.first() {
                    Some(first) => expected.push(note(first.id, "acquired")),
                    None => available += 1,
                }
            }
            SemaphoreOp::Pass(time) => sleep(millis(time)),
        }
        let expired = std::iter::from_fn(|| line.expire(now())).map(|waiter| note(waiter.id, "timed out"));
        expected.splice(0..0, expired.collect::<Vec<_>>());
        world.noted(expected, &op);
        assert_eq!((semaphore.available(), semaphore.waiting()), (available, line.0.len()));
    }
    world.end();
    assert_eq!((semaphore.available(), semaphore.waiting()), (available, 0));
}

// RwLock.

#[derive(Clone, Debug)]
enum RwLockOp {
    /// For writing?
    Lock(bool, Option<u64>),
    Unlock(usize),
    KillWaiter(usize),
    KillHolder(usize),
    Pass(u64),
}

fn rwlock_op() -> impl Strategy<Value = RwLockOp> {
    use RwLockOp::*;
    prop_oneof![
        6 => (proptest::bool::weighted(0.4), patience()).prop_map(|(write, patience)| Lock(write, patience)),
        4 => (0..9usize).prop_map(Unlock),
        1 => (0..9usize).prop_map(KillWaiter),
        1 => (0..9usize).prop_map(KillHolder),
        2 => (1..9u64).prop_map(Pass),
    ]
}

fn check_rwlock(ops: Vec<RwLockOp>) {
    let lock = Rc::new(RwLock::new(()));
    let (mut world, mut line) = (World::new(), Line::<bool>::new());
    // Who has it, whether for writing, and how to make it let go.
    let mut holders: Vec<(usize, bool)> = Vec::new();
    let mut releases = BTreeMap::new();
    for op in ops {
        match op {
            RwLockOp::Lock(write, patience) => {
                let (id, release) = (world.number(), Rc::new(Event::<()>::new()));
                releases.insert(id, release.clone());
                line.join(id, patience, write);
                let lock = lock.clone();
                world.start(id, move |say| {
                    let hold = || {
                        say("has it");
                        release.wait().unwrap();
                    };
                    match (write, patience.map(millis)) {
                        (false, None) => {
                            let _guard = lock.read();
                            hold()
                        }
                        (true, None) => {
                            let _guard = lock.write();
                            hold()
                        }
                        (false, Some(patience)) => {
                            lock.read_timeout(patience).map_or_else(|| say("timed out"), |_guard| hold());
                        }
                        (true, Some(patience)) => {
                            lock.write_timeout(patience).map_or_else(|| say("timed out"), |_guard| hold());
                        }
                    }
                });
            }
            RwLockOp::Unlock(index) | RwLockOp::KillHolder(index) if !holders.is_empty() => {
                let (id, _) = holders.remove(index % holders.len());
                match op {
                    RwLockOp::Unlock(_) => releases[&id].send(()).unwrap(),
                    _ => world.kill(id),
                }
            }
            RwLockOp::Unlock(_) | RwLockOp::KillHolder(_) => continue,
            RwLockOp::KillWaiter(index) => {
                if let Some(id) = line.pick(index) {
                    world.kill(id);
                    line.leave(id);
                }
            }
            RwLockOp::Pass(time) => sleep(millis(time)),
        }
        let mut expected = Vec::new();
        rwlock_admit(&mut line, &mut holders, &mut expected);
        // A writer that gives up lets readers in, whose own time is not over then, be it by a nanosecond.
        while let Some(waiter) = line.expire(now()) {
            expected.push(note(waiter.id, "timed out"));
            rwlock_admit(&mut line, &mut holders, &mut expected);
        }
        // Those who give up and those who get in at one point of time note it in no order that matters.
        settle();
        let mut noted = world.log.take();
        noted.sort();
        expected.sort();
        assert_eq!(noted, expected, "after {op:?}");
    }
    world.end();
    assert!(lock.try_write().is_some());
}

/// Who gets in now, in the model.
fn rwlock_admit(line: &mut Line<bool>, holders: &mut Vec<(usize, bool)>, notes: &mut Vec<Note>) {
    while let Some(first) = line.0.first() {
        let free = if first.brings { holders.is_empty() } else { !holders.iter().any(|(_, write)| *write) };
        if !free {
            break;
        }
        let first = line.0.remove(0);
        holders.push((first.id, first.brings));
        notes.push(note(first.id, "has it"));
    }
}

// Event.

#[derive(Clone, Debug)]
enum EventOp {
    Wait(Option<u64>),
    Send(u32),
    SendError,
    Reset,
    Kill(usize),
    /// Sends, kills a waiter, and resets, before anybody runs.
    SendKillReset(u32, usize),
    Pass(u64),
}

fn event_op() -> impl Strategy<Value = EventOp> {
    use EventOp::*;
    prop_oneof![
        6 => patience().prop_map(Wait),
        2 => (0..9u32).prop_map(Send),
        1 => Just(SendError),
        3 => Just(Reset),
        1 => (0..9usize).prop_map(Kill),
        2 => (0..9u32, 0..9usize).prop_map(|(value, index)| SendKillReset(value, index)),
        2 => (1..9u64).prop_map(Pass),
    ]
}

fn check_event(ops: Vec<EventOp>) {
    let event = Rc::new(Event::<u32>::new());
    let (mut world, mut line, mut sent) = (World::new(), Line::new(), None::<String>);
    for op in ops {
        let mut expected = Vec::new();
        let settles = match &op {
            EventOp::Wait(patience) => {
                let (id, patience) = (world.number(), *patience);
                match &sent {
                    Some(outcome) => expected.push(note(id, outcome)),
                    None => line.join(id, patience, ()),
                }
                let event = event.clone();
                world.start(id, move |say| {
                    let outcome = match patience {
                        None => event.wait(),
                        Some(patience) => event.wait_timeout(millis(patience)),
                    };
                    say(&match outcome {
                        Ok(value) => value.to_string(),
                        Err(EventError::Failed(error)) => error.to_string(),
                        Err(EventError::TimedOut) => "timed out".to_owned(),
                        Err(error) => panic!("{error}"),
                    });
                });
                None
            }
            EventOp::Send(value) | EventOp::SendKillReset(value, _) => {
                assert_eq!(event.send(*value).is_ok(), sent.is_none());
                Some(value.to_string())
            }
            EventOp::SendError => {
                assert_eq!(event.send_error("broken").is_ok(), sent.is_none());
                Some("broken".to_owned())
            }
            EventOp::Reset => {
                event.reset();
                sent = None;
                None
            }
            EventOp::Kill(index) => {
                if let Some(id) = line.pick(*index) {
                    world.kill(id);
                    line.leave(id);
                }
                None
            }
            EventOp::Pass(time) => {
                sleep(millis(*time));
                None
            }
        };
        if let Some(outcome) = settles {
            let reaches = sent.is_none();
            if let EventOp::SendKillReset(_, index) = op {
                if let Some(victim) = line.pick(index) {
                    world.kill(victim);
                    line.leave(victim);
                }
                event.reset();
                sent = None;
            } else {
                sent.get_or_insert(outcome.clone());
            }
            if reaches {
                expected.extend(std::iter::from_fn(|| line.first()).map(|waiter| note(waiter.id, &outcome)));
            }
        }
        let expired = std::iter::from_fn(|| line.expire(now())).map(|waiter| note(waiter.id, "timed out"));
        expected.splice(0..0, expired.collect::<Vec<_>>());
        world.noted(expected, &op);
        assert_eq!(event.ready(), sent.is_some());
    }
    world.end();
}

fn ops<O: Debug>(op: impl Strategy<Value = O>) -> impl Strategy<Value = Vec<O>> {
    proptest::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_first_in_first_out(capacity in 0..4usize, ops in ops(queue_op())) {
        simulate(|| {
            let model = queue_model(capacity, |_| 0, |items, item| items.insert(0, item));
            check_queue::<Fifo<u32>>(model, ops);
        });
    }

    #[test]
    fn a_lifo_queue_is_last_in_first_out(capacity in 0..4usize, ops in ops(queue_op())) {
        simulate(|| {
            let model = queue_model(capacity, |items| items.len() - 1, Vec::push);
            check_queue::<Lifo<u32>>(model, ops);
        });
    }

    #[test]
    fn a_priority_queue_is_least_first(capacity in 0..4usize, ops in ops(queue_op())) {
        fn least(items: &[u32]) -> usize {
            (0..items.len()).min_by_key(|index| items[*index]).unwrap()
        }
        simulate(|| {
            let model = queue_model(capacity, least, |items, item| items.insert(0, item));
            check_queue::<Priority<u32>>(model, ops);
        });
    }

    #[test]
    fn a_semaphore_hands_out_so_many_permits(permits in 0..3usize, ops in ops(semaphore_op())) {
        simulate(|| check_semaphore(permits, ops));
    }

    #[test]
    fn a_rwlock_has_many_readers_or_one_writer(ops in ops(rwlock_op())) {
        simulate(|| check_rwlock(ops));
    }

    #[test]
    fn an_event_reaches_everybody_once(ops in ops(event_op())) {
        simulate(|| check_event(ops));
    }
}
