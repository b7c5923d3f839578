//! The server: casts the feed's updates to the agents, and hears from them what became of each.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use greenloom::sleep;
use greenloom::sync::Event;
use greenloom_rpc::transport::TransportError;
use greenloom_rpc::{Client, Connection, Context, Endpoint, Error, Failure, Fanout, Target, create_connection};

use crate::agent::Counts;
use crate::feed::Update;
use crate::manager::{AGENTS, Progress, RouterUpdate, SERVER};

/// A server with its updates, by their line.
pub struct Server {
    connection: Connection,
    board: Rc<Board>,
}

/// What has become of the updates.
struct Board {
    /// Those of which nothing was heard yet.
    open: RefCell<HashMap<usize, Update>>,
    counts: RefCell<Counts>,
    agents: RefCell<BTreeMap<String, Agent>>,
    done: Event<()>,
}

/// What is known of an agent.
#[derive(Default)]
struct Agent {
    ended: usize,
    retried: usize,
    waiting: usize,
}

impl Board {
    fn progress(&self, _: &Context, progress: Progress) -> Result<(), Failure> {
        let (mut open, mut counts) = (self.open.borrow_mut(), self.counts.borrow_mut());
        let mut agents = self.agents.borrow_mut();
        let agent = agents.entry(progress.host).or_default();
        for finished in &progress.finished {
            // One whose agent was lost after it had told comes a second time, from another.
            if let Some(update) = open.remove(&finished.line) {
                counts.add(&update, finished);
                agent.ended += 1;
            }
        }
        (agent.retried, agent.waiting) = (progress.retried, progress.waiting);
        counts.retried = agents.values().map(|agent| agent.retried).sum();
        counts.waiting = agents.values().map(|agent| agent.waiting).sum();
        counts.deepest = counts.deepest.max(progress.deepest);
        if open.is_empty() {
            // It may be said again.
            let _ = self.done.send(());
        }
        Ok(())
    }
}

impl Server {
    /// A server for these updates, that hears from agents on the bus that the URL names.
    ///
    /// # Errors
    /// Those of the bus.
    pub fn start(url: &str, updates: &[(usize, Update)]) -> Result<Server, Error> {
        let board = Rc::new(Board {
            open: RefCell::new(updates.iter().cloned().collect()),
            counts: RefCell::default(),
            agents: RefCell::default(),
            done: Event::new(),
        });
        if updates.is_empty() {
            let _ = board.done.send(());
        }
        let connection = create_connection(url)?;
        let endpoint = Endpoint::of(&board).method("progress", Board::progress).build();
        connection.create_consumer(SERVER, [endpoint], Fanout::Ignore)?;
        connection.consume_in_threads()?;
        Ok(Server { connection, board })
    }

    /// Casts the updates to the agents, in bursts, as a busy server would. Waits for the first agent, and while the bus
    /// is gone; says so by `waits`.
    ///
    /// # Errors
    /// Those of the bus that do not pass.
    pub fn feed(&self, updates: Vec<(usize, Update)>, waits: impl Fn(&Error)) -> Result<(), Error> {
        let agents = Client::new(&self.connection, Target::topic(AGENTS)).resend(u32::MAX);
        for (number, (line, update)) in updates.into_iter().enumerate() {
            if number % 100 == 99 {
                sleep(Duration::from_millis(60));
            }
            let update = RouterUpdate { line, update };
            while let Err(error) = agents.cast("router_update", &update) {
                match error {
                    Error::Timeout { .. }
                    | Error::Transport(TransportError::Unroutable(_) | TransportError::Disconnected(_)) => {
                        waits(&error)
                    }
                    error => return Err(error),
                }
                sleep(Duration::from_millis(500));
            }
            self.board.counts.borrow_mut().received += 1;
        }
        Ok(())
    }

    /// Parks until it was heard of every update how it ended.
    pub fn wait_until_done(&self) {
        // Nothing but a value is sent.
        let _ = self.board.done.wait();
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.board.counts.borrow().clone()
    }

    /// How many updates each agent has ended, by its name.
    pub fn agents(&self) -> BTreeMap<String, usize> {
        self.board.agents.borrow().iter().map(|(host, agent)| (host.clone(), agent.ended)).collect()
    }

    /// Ends its connection.
    pub fn close(&self) {
        self.connection.close();
    }
}
