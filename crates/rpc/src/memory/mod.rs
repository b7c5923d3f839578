//! `memory://`: a message bus inside the process, for programs that need no server and for tests.
//!
//! It behaves as the broker does: queues, acknowledgements, prefetch, messages that come back when their listener goes,
//! expiry, dead letters, a send that parks while a queue is full. What it does not do is outlive the process.
//!
//! | URL | the bus |
//! |---|---|
//! | `memory://` | of this OS thread |
//! | `memory://name` | of the whole process: hubs on other OS threads reach it by its name |
//! | `memory://?limit=500` | with room for 500 messages in a queue, as its first user says; else for 10,000 |
//!
//! A bus lives as long as somebody is connected to it. Tests make one of their own with [`Bus::new`], and may give it
//! [`Faults`]: lost connections, lost messages and reordering, from a seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use greenloom::spawn_after;
use greenloom::sync::Event;
use greenloom_fiber::ForkMutex;

use crate::reason::UrlError;
use crate::transport::{Transport, TransportError};
pub use faults::Faults;
use link::MemoryTransport;
use state::Shared;

mod faults;
mod link;
mod state;

/// How many messages a queue holds.
const LIMIT: usize = 10_000;

/// A bus in memory. Clones are the same bus.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
    /// Its times are those of the hub where it was made.
    here: PhantomData<Rc<()>>,
}

impl Bus {
    /// A bus of one's own, that no URL names.
    pub fn new() -> Bus {
        Bus::with_faults(Faults::default())
    }

    /// A bus on which things go wrong.
    pub fn with_faults(faults: Faults) -> Bus {
        Bus { shared: Arc::new(Shared::new(LIMIT, None, faults)), here: PhantomData }
    }

    /// A bus whose messages are as on a broker: in oslo.messaging's envelopes of JSON, for who reads and writes them as
    /// another program would. On other buses a message has a form that only this version of this crate knows, and what
    /// is buried is JSON.
    ///
    /// ```
    /// use greenloom_rpc::{Client, Options, Target, memory::Bus, transport::Address};
    ///
    /// let (bus, topic) = (Bus::with_envelopes(), "agents");
    /// let transport = bus.connect();
    /// let address = Address::Topic { exchange: "openstack".into(), topic: topic.into() };
    /// let listener = transport.listen(&[address], 1)?;
    /// Client::new(&Options::default().connect_over(bus.connect()), Target::topic(topic)).cast("sync", &())?;
    /// let body = listener.next()?.body.clone();
    /// assert!(body.starts_with(br#"{"oslo.version": "2.0", "oslo.message": "#));
    /// # Ok::<(), greenloom_rpc::Error>(())
    /// ```
    pub fn with_envelopes() -> Bus {
        let mut shared = Shared::new(LIMIT, None, Faults::default());
        shared.wire = true;
        Bus { shared: Arc::new(shared), here: PhantomData }
    }

    /// As [`Bus::new`], with room for `limit` messages in a queue.
    pub fn with_limit(limit: usize) -> Bus {
        Bus { shared: Arc::new(Shared::new(limit, None, Faults::default())), here: PhantomData }
    }

    /// A connection to it.
    pub fn connect(&self) -> Rc<dyn Transport> {
        MemoryTransport::on(Arc::clone(&self.shared))
    }

    /// Cuts all connections; they come back after `outage`. Must be called where a green thread can be started.
    ///
    /// ```
    /// use greenloom_rpc::{memory::Bus, transport::State};
    /// use std::time::Duration;
    ///
    /// let bus = Bus::new();
    /// let transport = bus.connect();
    /// bus.cut(Duration::from_millis(5));
    /// assert_eq!(transport.state(), State::Reconnecting);
    /// assert!(transport.wait_connected(Duration::from_secs(1)));
    /// ```
    pub fn cut(&self, outage: Duration) {
        let mut state = self.shared.lock();
        state.outages += 1;
        if state.outages == 1 {
            state.up = Arc::new(Event::new());
        }
        let all: Vec<u64> = state.consumers.keys().copied().collect();
        all.into_iter().for_each(|consumer| state.cut_consumer(consumer));
        drop(state);
        let shared = Arc::clone(&self.shared);
        drop(spawn_after(outage, move || shared.restore()));
    }
}

impl Default for Bus {
    fn default() -> Bus {
        Bus::new()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Bus")
            .field("queues", &state.queues.len())
            .field("listeners", &state.consumers.len())
            .finish_non_exhaustive()
    }
}

/// Connects to the bus that the URL names.
pub(crate) fn open(rest: &str) -> Result<Rc<dyn Transport>, TransportError> {
    thread_local! {
        static OF_THIS_THREAD: RefCell<Weak<Shared>> = const { RefCell::new(Weak::new()) };
    }
    static OF_THE_PROCESS: ForkMutex<BTreeMap<String, Weak<Shared>>> = ForkMutex::new(BTreeMap::new());

    let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
    let name = name.trim_end_matches('/');
    let limit = parse_options(options)?;
    let find_or_make = |place: &mut Weak<Shared>, clock| {
        place.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Shared::new(limit, clock, Faults::default()));
            *place = Arc::downgrade(&made);
            made
        })
    };
    let shared = if name.is_empty() {
        OF_THIS_THREAD.with_borrow_mut(|place| find_or_make(place, None))
    } else {
        let mut buses = OF_THE_PROCESS.lock();
        buses.retain(|_, bus| bus.strong_count() > 0);
        find_or_make(buses.entry(name.to_string()).or_default(), Some(Instant::now()))
    };
    Ok(MemoryTransport::on(shared))
}

fn parse_options(options: &str) -> Result<usize, TransportError> {
    let mut limit = LIMIT;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("limit", number)) => {
                let parsed = number.parse().ok().filter(|limit| *limit > 0);
                limit = parsed.ok_or_else(|| {
                    let (name, value) = ("limit".to_owned(), number.to_owned());
                    TransportError::Url(UrlError::BadValue { name, value, takes: "a positive number" })
                })?;
            }
            _ => return Err(TransportError::Url(UrlError::UnknownOption(option.to_owned()))),
        }
    }
    Ok(limit)
}
