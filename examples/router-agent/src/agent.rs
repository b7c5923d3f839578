//! The agent: takes updates in, keeps each router's in order, and works through them with a pool.
//!
//! A router that has updates waiting has one place in the queue, at the priority of its most urgent update. A worker
//! that takes a router applies its updates one after the other, most urgent first, so no router is ever worked on twice
//! at a time; what comes meanwhile joins the line. An update that the device refuses does not hold up the router's
//! others: it comes back after a delay that doubles, up to [`TRIES`] tries. An update that repeats the last one still
//! waiting is merged with it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::pool::GreenPool;
use greenloom::queue::PriorityQueue;
use greenloom::spawn_after;
use greenloom::sync::{Event, WaitGroup};
use serde::{Deserialize, Serialize};

use crate::device::Connection;
use crate::feed::{Priority, Update};

/// After how many tries an update is given up.
pub const TRIES: u32 = 4;

/// How long the first retry waits; each later one twice as long as the one before.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It went through.
    Applied,
    /// The same update was still waiting, and stands for both.
    Merged,
    /// It never went through, for this reason.
    GivenUp(String),
}

/// An update that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// The feed's line.
    pub line: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// How long after its arrival.
    pub took: Duration,
}

/// An update that was taken in.
pub struct Pending {
    end: Rc<Event<Option<Finished>>>,
}

impl Pending {
    /// Parks until it has ended. Nothing if the agent was stopped before it began.
    pub fn wait(&self) -> Option<Finished> {
        self.end.wait().ok().flatten()
    }
}

/// An update on its way.
#[derive(Debug)]
struct Job {
    line: usize,
    update: Update,
    tries: u32,
    arrived: Duration,
    end: Rc<Event<Option<Finished>>>,
}

impl Job {
    fn end(&self, outcome: Outcome) -> Finished {
        let finished = Finished { line: self.line, outcome, took: now() - self.arrived };
        // A job ends once.
        let _ = self.end.send(Some(finished.clone()));
        finished
    }
}

/// An update that never went through.
#[derive(Clone, Debug)]
pub struct GivenUp {
    /// The feed's line.
    pub line: usize,
    /// What was to be done.
    pub update: Update,
    /// Why not.
    pub problem: String,
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Updates taken in.
    pub received: usize,
    /// Updates that went through.
    pub applied: usize,
    /// Updates that repeated the last one still waiting.
    pub merged: usize,
    /// Tries that were put off to a later one.
    pub retried: usize,
    /// Updates that never went through.
    pub given_up: Vec<GivenUp>,
    /// Updates that wait in the queue.
    pub waiting: usize,
    /// The most that ever waited, and when.
    pub deepest: (usize, Duration),
    /// The router that took longest from an update's arrival to its end, and how long.
    pub slowest: Option<(String, Duration)>,
}

impl Counts {
    /// Counts an update that has ended.
    pub fn add(&mut self, update: &Update, finished: &Finished) {
        match &finished.outcome {
            Outcome::Merged => return self.merged += 1,
            Outcome::Applied => self.applied += 1,
            Outcome::GivenUp(problem) => {
                let (update, problem) = (update.clone(), problem.clone());
                self.given_up.push(GivenUp { line: finished.line, update, problem });
            }
        }
        if self.slowest.as_ref().is_none_or(|(_, slowest)| finished.took > *slowest) {
            self.slowest = Some((update.router.clone(), finished.took));
        }
    }

    /// How many updates have ended.
    pub fn ended(&self) -> usize {
        self.applied + self.merged + self.given_up.len()
    }
}

/// A router's place in the queue: at this priority, since then.
type Place = (Priority, usize, String);

#[derive(Default)]
struct Router {
    /// By priority and age.
    waiting: BTreeMap<(Priority, usize), Job>,
    in_work: bool,
}

/// The agent's state; clones are the same agent.
#[derive(Clone)]
pub struct Agent {
    inner: Rc<Inner>,
}

struct Inner {
    device: SocketAddr,
    workers: usize,
    queue: RefCell<Rc<PriorityQueue<Place>>>,
    routers: RefCell<HashMap<String, Router>>,
    counts: RefCell<Counts>,
    next: Cell<usize>,
    /// Updates that are neither applied nor given up.
    unfinished: WaitGroup,
    stopping: Cell<bool>,
    connections: RefCell<Vec<Connection>>,
}

impl Agent {
    /// An agent with so many workers for the device at `device`.
    pub fn new(device: SocketAddr, workers: usize) -> Agent {
        Agent {
            inner: Rc::new(Inner {
                device,
                workers,
                queue: RefCell::new(Rc::new(PriorityQueue::unbounded())),
                routers: RefCell::default(),
                counts: RefCell::default(),
                next: Cell::new(0),
                unfinished: WaitGroup::new(),
                stopping: Cell::new(false),
                connections: RefCell::default(),
            }),
        }
    }

    /// Takes an update in. Does not wait.
    pub fn update(&self, line: usize, update: Update) -> Pending {
        let end = Rc::new(Event::new());
        self.inner.counts.borrow_mut().received += 1;
        self.inner.unfinished.add(1);
        self.enqueue(Job { line, update, tries: 0, arrived: now(), end: Rc::clone(&end) });
        Pending { end }
    }

    fn enqueue(&self, job: Job) {
        let inner = &self.inner;
        if inner.stopping.get() {
            return self.let_go(&job);
        }
        let mut counts = inner.counts.borrow_mut();
        let mut routers = inner.routers.borrow_mut();
        let router = routers.entry(job.update.router.clone()).or_default();
        // Only the last one: with another change between the two, the router would end up with that one.
        let priority = job.update.priority;
        let last = router.waiting.range((priority, 0)..=(priority, usize::MAX)).next_back();
        if last.is_some_and(|(_, waiting)| waiting.update == job.update) {
            counts.add(&job.update, &job.end(Outcome::Merged));
            inner.unfinished.done();
            return;
        }
        counts.waiting += 1;
        if counts.waiting > counts.deepest.0 {
            counts.deepest = (counts.waiting, now());
        }
        let age = inner.next.replace(inner.next.get() + 1);
        let place = (priority, age, job.update.router.clone());
        router.waiting.insert((priority, age), job);
        if !router.in_work {
            // A router may have several places; a worker that finds no work at one goes on to the next. A put fails
            // when the agent stops.
            let _ = inner.queue.borrow().put(place);
        }
    }

    /// The loop that hands routers to workers, until the agent is stopped.
    pub fn process_routers(&self) {
        let pool = GreenPool::new(self.inner.workers);
        let queue = Rc::clone(&self.inner.queue.borrow());
        while let Ok((_, _, router)) = queue.get() {
            let agent = self.clone();
            pool.spawn_n(move || agent.process(&router));
        }
        pool.waitall();
    }

    /// Applies a router's updates, most urgent first, unless somebody is at it.
    fn process(&self, name: &str) {
        match self.inner.routers.borrow_mut().get_mut(name) {
            Some(router) if !router.in_work => router.in_work = true,
            _ => return,
        }
        while let Some(job) = self.next_job(name) {
            self.apply(job);
        }
    }

    /// The router's most urgent update; with none left, or when the agent stops, the router is let go.
    fn next_job(&self, name: &str) -> Option<Job> {
        let mut routers = self.inner.routers.borrow_mut();
        let router = routers.get_mut(name)?;
        let job = router.waiting.pop_first();
        router.in_work = job.is_some();
        if job.is_some() {
            self.inner.counts.borrow_mut().waiting -= 1;
        }
        job.map(|(_, job)| job)
    }

    fn apply(&self, mut job: Job) {
        job.tries += 1;
        let Err(problem) = self.ask_device(&job) else { return self.finish(&job, Outcome::Applied) };
        if job.tries >= TRIES {
            return self.finish(&job, Outcome::GivenUp(problem));
        }
        self.inner.counts.borrow_mut().retried += 1;
        let agent = self.clone();
        let delay = RETRY_AFTER * 2u32.pow(job.tries - 1);
        drop(spawn_after(delay, move || agent.enqueue(job)));
    }

    /// One try, on a connection that is kept for the next one if it held.
    fn ask_device(&self, job: &Job) -> Result<(), String> {
        let kept = self.inner.connections.borrow_mut().pop();
        let connection = kept.map_or_else(|| Connection::open(self.inner.device), Ok);
        let mut connection = connection.map_err(|error| format!("no connection to the device: {error}"))?;
        let answer = connection.apply(job.line, &job.update).map_err(|error| format!("the device: {error}"))?;
        self.inner.connections.borrow_mut().push(connection);
        answer.map_err(|reason| format!("the device says: {reason}"))
    }

    fn finish(&self, job: &Job, outcome: Outcome) {
        self.inner.counts.borrow_mut().add(&job.update, &job.end(outcome));
        self.inner.unfinished.done();
    }

    /// An update that is not begun any more.
    fn let_go(&self, job: &Job) {
        let _ = job.end.send(None);
        self.inner.unfinished.done();
    }

    /// Parks until every update that was taken in is applied, merged or given up.
    pub fn wait_until_done(&self) {
        self.inner.unfinished.wait();
    }

    /// Lets the updates in work end, and no other begin.
    pub fn stop(&self) {
        let inner = &self.inner;
        inner.stopping.set(true);
        inner.queue.borrow().close();
        let waiting: Vec<Job> = {
            let mut routers = inner.routers.borrow_mut();
            routers.values_mut().flat_map(|router| std::mem::take(&mut router.waiting).into_values()).collect()
        };
        inner.counts.borrow_mut().waiting -= waiting.len();
        waiting.iter().for_each(|job| self.let_go(job));
    }

    /// Lets updates begin again, after a stop.
    pub fn resume(&self) {
        if self.inner.stopping.replace(false) {
            *self.inner.queue.borrow_mut() = Rc::new(PriorityQueue::unbounded());
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.inner.counts.borrow().clone()
    }
}
