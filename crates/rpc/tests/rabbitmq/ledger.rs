//! Load, and the books that are kept of it: what the broker has taken over, what was worked on, and how long each
//! caller waited by its own clock.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloom::{GreenThread, sleep, spawn};
use greenloom_rpc::{Client, Connection, Context, Endpoint, Error, Fanout, Options};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
}

/// A server that counts by id what it has worked on, and clients that count what the broker has taken over.
#[derive(Clone, Default)]
pub struct Ledger {
    next: Rc<Cell<u64>>,
    pub done: Rc<RefCell<HashMap<u64, u32>>>,
    pub taken: Rc<RefCell<HashSet<u64>>>,
    pub stop: Rc<Cell<bool>>,
}

impl Ledger {
    pub fn serve(&self, options: &Options, url: &str, topic: &str) -> Connection {
        let connection = options.clone().connect(url).unwrap();
        let done = Rc::clone(&self.done);
        let work = move |_: &(), _: &Context, Job { id }: Job| {
            *done.borrow_mut().entry(id).or_default() += 1;
            Ok(id)
        };
        let endpoint = Endpoint::builder().method("work", work).build();
        connection.create_consumer(topic, [endpoint], Fanout::Ignore).unwrap();
        connection.consume_in_threads().unwrap();
        connection
    }

    pub fn id(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// Casts one job after another until it is told to stop. Returns the longest that one took.
    pub fn cast(&self, client: Client) -> GreenThread<Duration> {
        let ledger = self.clone();
        spawn(move || {
            let mut longest = Duration::ZERO;
            while !ledger.stop.get() {
                let (id, began) = (ledger.id(), Instant::now());
                if client.cast("work", &Job { id }).is_ok() {
                    ledger.taken.borrow_mut().insert(id);
                }
                longest = longest.max(began.elapsed());
                sleep(Duration::from_millis(2));
            }
            longest
        })
    }

    /// Calls one job after another until it is told to stop. Returns the longest that one took, and how many there were
    /// with and without an answer.
    pub fn call(&self, client: Client) -> GreenThread<(Duration, u32, u32)> {
        let ledger = self.clone();
        spawn(move || {
            let (mut longest, mut answered, mut failed) = (Duration::ZERO, 0, 0);
            while !ledger.stop.get() {
                let (id, began) = (ledger.id(), Instant::now());
                match client.call::<u64>("work", &Job { id }) {
                    Ok(answer) => {
                        assert_eq!(answer, id);
                        answered += 1;
                    }
                    Err(Error::Transport(_) | Error::Timeout { .. }) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
                longest = longest.max(began.elapsed());
                sleep(Duration::from_millis(2));
            }
            (longest, answered, failed)
        })
    }

    pub fn lost(&self) -> Vec<u64> {
        let done = self.done.borrow();
        self.taken.borrow().iter().filter(|id| !done.contains_key(id)).copied().collect()
    }
}
