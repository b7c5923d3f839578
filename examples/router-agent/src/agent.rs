//! The agent: takes updates in, keeps each router's in order, and works through them with a pool.
//!
//! A router that has updates waiting has one place in the queue, at the priority of its most urgent update. A worker that takes a
//! router applies its updates one after the other, most urgent first, so no router is ever worked on twice at a time; what
//! comes meanwhile joins the line. An update that the device refuses does not hold up the router's others: it comes back after
//! a delay that doubles, up to [`TRIES`] tries. An update that repeats the last one still waiting is merged with it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::pool::GreenPool;
use greenloom::queue::PriorityQueue;
use greenloom::spawn_after;
use greenloom::sync::WaitGroup;

use crate::device::Connection;
use crate::feed::{Priority, Update};

/// After how many tries an update is given up.
pub const TRIES: u32 = 4;

/// How long the first retry waits; each later one twice as long as the one before.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// An update on its way.
#[derive(Clone, Debug)]
pub struct Job {
    /// The feed's line.
    pub line: usize,
    /// What is to be done.
    pub update: Update,
    /// Why its last try failed; empty before it did.
    pub problem: String,
    tries: u32,
    arrived: Duration,
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
    pub given_up: Vec<Job>,
    /// Updates that wait in the queue.
    pub waiting: usize,
    /// The most that ever waited, and when.
    pub deepest: (usize, Duration),
    /// The router that took longest from an update's arrival to its end, and how long.
    pub slowest: Option<(String, Duration)>,
}

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
    queue: PriorityQueue<(Priority, usize, String)>,
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
                queue: PriorityQueue::unbounded(),
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
    pub fn update(&self, line: usize, update: Update) {
        self.inner.counts.borrow_mut().received += 1;
        self.inner.unfinished.add(1);
        self.enqueue(Job { line, update, problem: String::new(), tries: 0, arrived: now() });
    }

    fn enqueue(&self, job: Job) {
        let inner = &self.inner;
        let mut counts = inner.counts.borrow_mut();
        let mut routers = inner.routers.borrow_mut();
        let router = routers.entry(job.update.router.clone()).or_default();
        // Only the last one: with another change between the two, the router would end up with that one.
        let priority = job.update.priority;
        let last = router.waiting.range((priority, 0)..=(priority, usize::MAX)).next_back();
        if last.is_some_and(|(_, waiting)| waiting.update == job.update) {
            counts.merged += 1;
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
            // A router may have several places; whoever comes to one in vain goes on to the next. A put fails when the agent stops.
            let _ = inner.queue.put(place);
        }
    }

    /// The loop that hands routers to workers, until the agent is stopped.
    pub fn process_routers(&self) {
        let pool = GreenPool::new(self.inner.workers);
        while let Ok((_, _, router)) = self.inner.queue.get() {
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
        let job = router.waiting.pop_first().filter(|_| !self.inner.stopping.get());
        router.in_work = job.is_some();
        if job.is_some() {
            self.inner.counts.borrow_mut().waiting -= 1;
        }
        job.map(|(_, job)| job)
    }

    fn apply(&self, mut job: Job) {
        job.tries += 1;
        let Err(problem) = self.ask_device(&job) else { return self.finish(job, true) };
        job.problem = problem;
        if job.tries >= TRIES {
            return self.finish(job, false);
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

    fn finish(&self, job: Job, applied: bool) {
        let mut counts = self.inner.counts.borrow_mut();
        let took = now() - job.arrived;
        if counts.slowest.as_ref().is_none_or(|(_, slowest)| took > *slowest) {
            counts.slowest = Some((job.update.router.clone(), took));
        }
        if applied {
            counts.applied += 1;
        } else {
            counts.given_up.push(job);
        }
        drop(counts);
        self.inner.unfinished.done();
    }

    /// Parks until every update that was taken in is applied, merged or given up.
    pub fn wait_until_done(&self) {
        self.inner.unfinished.wait();
    }

    /// Lets the updates in work end, and no other begin.
    pub fn stop(&self) {
        self.inner.stopping.set(true);
        self.inner.queue.close();
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.inner.counts.borrow().clone()
    }
}
