//! What connections have done, on the page of metrics where the hubs are told of, too.
//!
//! Counts belong to an OS thread, which alone reads them. So each hub that has a connection is asked to add them up,
//! and what it said last is told for it when it is blocked. A connection that is gone stays in the sums. The depths of
//! queues are known at once where the bus is in this process; a broker is asked by a green thread, and what it does not
//! tell then, since it is away or the queue is gone, is told no more.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use greenloom::hub::HubHandle;
use greenloom::{get_hub, spawn};
use greenloom_fiber::ForkMutex;
use greenloom_inspect::metrics::{self, Kind, Page};

use crate::stats::{ClientCounts, ConsumerCounts, Histogram};
use crate::transport::Depth;

/// The limits of the histograms' buckets, in seconds: those that OpenTelemetry's conventions advise for calls.
const LIMITS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The label for a topic or a queue.
const DESTINATION: &str = "messaging_destination_name";
const METHOD: &str = "rpc_method";
const ERROR: &str = "error_type";

/// A connection, for what it has at the moment.
pub(crate) trait Watched {
    /// Whether the bus is another process's, so that asking for depths parks.
    fn is_wire(&self) -> bool;

    /// Calls under way.
    fn waiting(&self) -> usize;

    /// Of each consumer its topic, how many requests are in work, and how many can be, if that is known.
    fn loads(&self) -> Vec<(String, usize, Option<usize>)>;

    /// Those of all its consumers' queues, as far as they are to be had.
    fn depths(&self) -> Vec<Depth>;
}

/// Sums over connections.
#[derive(Clone, Default)]
struct Sums {
    calls: Histogram,
    failed: u64,
    timed_out: u64,
    undelivered: u64,
    casts: u64,
    resent: u64,
    late: u64,
    topics: BTreeMap<String, Topic>,
}

/// What others asked on a topic.
#[derive(Clone, Default)]
struct Topic {
    received: u64,
    duplicates: u64,
    retried: u64,
    buried: u64,
    methods: BTreeMap<&'static str, Method>,
}

#[derive(Clone, Default)]
struct Method {
    latency: Histogram,
    failed: u64,
    panicked: u64,
}

/// What is so at the moment.
#[derive(Clone, Default)]
struct Now {
    waiting: usize,
    /// By topic: requests in work, and the size of the pools.
    workers: BTreeMap<String, (usize, Option<usize>)>,
    queues: Queues,
}

/// By name: how many messages are ready, and how many unsettled, where that is known.
type Queues = BTreeMap<String, (usize, Option<usize>)>;

/// What a hub said last.
#[derive(Default)]
struct Said {
    sums: Sums,
    now: Now,
    /// What brokers said, when they were asked last.
    on_brokers: Queues,
}

struct Asked {
    /// The process that it is in: a child has none of its parent's hubs, but that of the OS thread that forked.
    process: u32,
    hub: HubHandle,
    said: Arc<Mutex<Said>>,
}

/// Hubs that have had a connection.
static HUBS: ForkMutex<Vec<Asked>> = ForkMutex::new(Vec::new());

/// The sums of hubs that are gone.
static GONE: ForkMutex<Option<Sums>> = ForkMutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static HERE: Here = Here::begin();
}

/// All that is counted in this OS thread.
struct Here {
    /// The process where it is among [`HUBS`].
    process: Cell<u32>,
    said: Arc<Mutex<Said>>,
    connections: RefCell<Vec<Weak<dyn Watched>>>,
    clients: RefCell<Vec<Rc<ClientCounts>>>,
    consumers: RefCell<Vec<(String, Rc<ConsumerCounts>)>>,
    /// The sums of what is gone.
    gone: RefCell<Sums>,
    /// Whether a broker is being asked.
    asks: Cell<bool>,
}

/// A connection and its counts, from now on.
pub(crate) fn note_connection(connection: Weak<dyn Watched>, counts: &Rc<ClientCounts>) {
    HERE.with(|here| {
        here.enroll();
        here.settle();
        here.connections.borrow_mut().push(connection);
        here.clients.borrow_mut().push(Rc::clone(counts));
    });
}

/// A consumer's counts, from now on.
pub(crate) fn note_consumer(topic: &str, counts: &Rc<ConsumerCounts>) {
    HERE.with(|here| {
        here.enroll();
        here.settle();
        here.consumers.borrow_mut().push((topic.to_owned(), Rc::clone(counts)));
    });
}

impl Here {
    fn begin() -> Here {
        static ADDED: Once = Once::new();
        ADDED.call_once(|| metrics::add(tell));
        Here {
            process: Cell::new(0),
            said: Arc::default(),
            connections: RefCell::default(),
            clients: RefCell::default(),
            consumers: RefCell::default(),
            gone: RefCell::default(),
            asks: Cell::new(false),
        }
    }

    /// Is asked from now on, also in the child of a fork.
    fn enroll(&self) {
        let process = std::process::id();
        if self.process.replace(process) != process {
            HUBS.lock().push(Asked { process, hub: get_hub().handle(), said: Arc::clone(&self.said) });
        }
    }

    /// Adds up what nobody else has any more.
    fn settle(&self) {
        self.connections.borrow_mut().retain(|connection| connection.strong_count() > 0);
        let mut gone = self.gone.borrow_mut();
        self.clients.borrow_mut().retain(|counts| {
            let is_used = Rc::strong_count(counts) > 1;
            if !is_used {
                gone.add_client(counts);
            }
            is_used
        });
        self.consumers.borrow_mut().retain(|(topic, counts)| {
            let is_used = Rc::strong_count(counts) > 1;
            if !is_used {
                gone.add_consumer(topic, counts);
            }
            is_used
        });
    }

    fn sums(&self) -> Sums {
        self.settle();
        let mut sums = self.gone.borrow().clone();
        self.clients.borrow().iter().for_each(|counts| sums.add_client(counts));
        self.consumers.borrow().iter().for_each(|(topic, counts)| sums.add_consumer(topic, counts));
        sums
    }

    fn connections(&self) -> Vec<Rc<dyn Watched>> {
        self.connections.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// Says what is known without a wait.
    fn say(&self) {
        let sums = self.sums();
        let mut now = Now::default();
        for connection in self.connections() {
            now.waiting += connection.waiting();
            for (topic, in_work, workers) in connection.loads() {
                now.add_load(topic, in_work, workers);
            }
            if !connection.is_wire() {
                add_depths(&mut now.queues, connection.depths());
            }
        }
        let mut said = lock(&self.said);
        (said.sums, said.now) = (sums, now);
    }

    /// Asks brokers for the depths of queues. Parks.
    fn ask(&self) {
        let mut queues = Queues::new();
        for connection in self.connections().iter().filter(|connection| connection.is_wire()) {
            add_depths(&mut queues, connection.depths());
        }
        lock(&self.said).on_brokers = queues;
    }
}

impl Drop for Here {
    /// The OS thread ends, and with it its hub.
    fn drop(&mut self) {
        *lock(&self.said) = Said { sums: self.sums(), ..Said::default() };
    }
}

impl Sums {
    fn add_client(&mut self, counts: &ClientCounts) {
        self.calls.merge(&counts.calls.borrow());
        self.failed += counts.failed.get();
        self.timed_out += counts.timed_out.get();
        self.undelivered += counts.undelivered.get();
        self.casts += counts.casts.get();
        self.resent += counts.resent.get();
        self.late += counts.late.get();
    }

    fn add_consumer(&mut self, topic: &str, counts: &ConsumerCounts) {
        let sum = self.topics.entry(topic.to_owned()).or_default();
        sum.received += counts.received.get();
        sum.duplicates += counts.duplicates.get();
        sum.retried += counts.retried.get();
        sum.buried += counts.buried.get();
        for (name, counts) in &*counts.methods.borrow() {
            sum.add_method(name, &counts.latency, counts.failed, counts.panicked);
        }
    }

    fn merge(&mut self, other: &Sums) {
        self.calls.merge(&other.calls);
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.undelivered += other.undelivered;
        self.casts += other.casts;
        self.resent += other.resent;
        self.late += other.late;
        for (name, topic) in &other.topics {
            let sum = self.topics.entry(name.clone()).or_default();
            sum.received += topic.received;
            sum.duplicates += topic.duplicates;
            sum.retried += topic.retried;
            sum.buried += topic.buried;
            for (name, method) in &topic.methods {
                sum.add_method(name, &method.latency, method.failed, method.panicked);
            }
        }
    }
}

impl Topic {
    fn add_method(&mut self, name: &'static str, latency: &Histogram, failed: u64, panicked: u64) {
        let sum = self.methods.entry(name).or_default();
        sum.latency.merge(latency);
        sum.failed += failed;
        sum.panicked += panicked;
    }
}

impl Now {
    fn add_load(&mut self, topic: String, in_work: usize, workers: Option<usize>) {
        let sum = self.workers.entry(topic).or_default();
        sum.0 += in_work;
        sum.1 = workers.map(|workers| sum.1.unwrap_or_default() + workers).or(sum.1);
    }

    fn merge(&mut self, other: &Now) {
        self.waiting += other.waiting;
        for (topic, (in_work, workers)) in &other.workers {
            self.add_load(topic.clone(), *in_work, *workers);
        }
        self.queues.extend(other.queues.clone());
    }
}

/// Several may listen to one queue: it is as deep for all of them.
fn add_depths(queues: &mut Queues, depths: Vec<Depth>) {
    queues.extend(depths.into_iter().map(|Depth { queue, ready, unsettled }| (queue, (ready, unsettled))));
}

/// In a hub: says what is known, and has brokers asked. What it was given is dropped when all is said.
fn say_all(done: Sender<()>) {
    let asks = HERE.try_with(|here| {
        here.say();
        here.asks.replace(true)
    });
    if asks == Ok(false) {
        let asking = Asking;
        drop(spawn(move || {
            HERE.with(Here::ask);
            drop((asking, done));
        }));
    }
}

/// That brokers are being asked, until it is dropped: by the one who asks, or by whoever kills that one.
struct Asking;

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| here.asks.set(false));
    }
}

/// Writes it all.
fn tell(page: &mut Page, patience: Duration) {
    let (sender, done) = channel();
    let process = std::process::id();
    HUBS.lock().retain(|asked| {
        if asked.process != process {
            return false;
        }
        let sender = sender.clone();
        if asked.hub.is_here() {
            HERE.with(Here::say);
        }
        let is_there = asked.hub.schedule(move || say_all(sender)).is_ok();
        if !is_there {
            GONE.lock().get_or_insert_default().merge(&lock(&asked.said).sums);
        }
        is_there
    });
    drop(sender);
    if !patience.is_zero() {
        // An end without a message: all have said what they know.
        let _ = done.recv_timeout(patience);
    }
    let (mut sums, mut now) = (GONE.lock().clone().unwrap_or_default(), Now::default());
    for asked in &*HUBS.lock() {
        let said = lock(&asked.said);
        sums.merge(&said.sums);
        now.merge(&said.now);
        now.queues.extend(said.on_brokers.clone());
    }
    write_client(page, &sums, &now);
    write_server(page, &sums, &now);
}

fn write_client(page: &mut Page, sums: &Sums, now: &Now) {
    let help = "How long calls took that were answered.";
    page.family("rpc_client_call_duration_seconds", Kind::Histogram, "seconds", help).histogram(
        &[],
        &sums.calls.up_to(&LIMITS),
        sums.calls.total().as_secs_f64(),
        sums.calls.count(),
    );
    let mut failures = page.family("rpc_client_failures", Kind::Counter, "", "Calls and casts that failed.");
    failures.sample(&[(ERROR, "remote")], sums.failed as f64);
    failures.sample(&[(ERROR, "timeout")], sums.timed_out as f64);
    failures.sample(&[(ERROR, "undelivered")], sums.undelivered as f64);
    page.family("rpc_client_waiting", Kind::Gauge, "", "Calls under way.").sample(&[], now.waiting as f64);
    let help = "Casts that were sent.";
    page.family("messaging_client_sent_messages", Kind::Counter, "", help)
        .sample(&[("messaging_operation_name", "cast")], sums.casts as f64);
    let help = "Messages that were sent again after a lost connection.";
    page.family("messaging_client_resent_messages", Kind::Counter, "", help).sample(&[], sums.resent as f64);
    let help = "Answers for which nobody waited any more.";
    page.family("rpc_client_late_answers", Kind::Counter, "", help).sample(&[], sums.late as f64);
}

fn write_server(page: &mut Page, sums: &Sums, now: &Now) {
    let methods = || {
        sums.topics.iter().flat_map(|(topic, sum)| {
            let labels = move |name| [(DESTINATION, topic.as_str()), (METHOD, name)];
            sum.methods.iter().map(move |(name, method)| (labels(*name), method))
        })
    };
    let help = "How long requests took, until they were acknowledged.";
    let mut family = page.family("rpc_server_call_duration_seconds", Kind::Histogram, "seconds", help);
    for (labels, Method { latency, .. }) in methods() {
        family.histogram(&labels, &latency.up_to(&LIMITS), latency.total().as_secs_f64(), latency.count());
    }
    let mut family = page.family("rpc_server_failures", Kind::Counter, "", "Requests that failed.");
    for ([topic, method], sum) in methods() {
        family.sample(&[topic, method, (ERROR, "failure")], sum.failed as f64);
        family.sample(&[topic, method, (ERROR, "panic")], sum.panicked as f64);
    }
    let name = "messaging_client_consumed_messages";
    by_topic(page, name, Kind::Counter, "Messages that came in.", &sums.topics, |sum| Some(sum.received));
    let (name, help) = ("messaging_client_duplicate_messages", "Messages that were done already and came again.");
    by_topic(page, name, Kind::Counter, help, &sums.topics, |sum| Some(sum.duplicates));
    let (name, help) = ("messaging_client_retried_messages", "Requests that are to come again, after a panic.");
    by_topic(page, name, Kind::Counter, help, &sums.topics, |sum| Some(sum.retried));
    let (name, help) = ("messaging_client_buried_messages", "Messages that were given up.");
    by_topic(page, name, Kind::Counter, help, &sums.topics, |sum| Some(sum.buried));
    let name = "rpc_server_active_requests";
    by_topic(page, name, Kind::Gauge, "Requests in work.", &now.workers, |(in_work, _)| Some(*in_work as u64));
    let (name, help) = ("rpc_server_workers", "How many requests can be in work.");
    by_topic(page, name, Kind::Gauge, help, &now.workers, |(_, workers)| workers.map(|workers| workers as u64));
    let mut family = page.family("messaging_queue_messages", Kind::Gauge, "", "Messages in a queue.");
    for (queue, (ready, unsettled)) in &now.queues {
        family.sample(&[(DESTINATION, queue), ("state", "ready")], *ready as f64);
        if let Some(unsettled) = unsettled {
            family.sample(&[(DESTINATION, queue), ("state", "unsettled")], *unsettled as f64);
        }
    }
}

/// A metric that has a value for each topic, where it is known.
fn by_topic<T>(
    page: &mut Page,
    name: &str,
    kind: Kind,
    help: &str,
    topics: &BTreeMap<String, T>,
    value: impl Fn(&T) -> Option<u64>,
) {
    let mut family = page.family(name, kind, "", help);
    for (topic, of) in topics {
        if let Some(value) = value(of) {
            family.sample(&[(DESTINATION, topic)], value as f64);
        }
    }
}
