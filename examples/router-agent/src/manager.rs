//! The agent as a service: updates come in as casts on a topic, and what became of them goes back to the server.
//!
//! A cast is acknowledged when its update has ended and the server has been told. So an update that an agent has in
//! hand when it dies, or when it is stopped before the update begins, goes to another agent.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::Event;
use greenloom_rpc::{Client, Context, Endpoint, Failure, Hook, Manager, Options, Report, Service, Target};
use serde::{Deserialize, Serialize};

use crate::agent::{Agent, Finished};
use crate::feed::Update;

/// The topic of the agents.
pub const AGENTS: &str = "router_agent";

/// The topic of the server.
pub const SERVER: &str = "router_server";

/// How often an agent tells the server.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// How many updates an agent has in hand; its workers take the most urgent of them first.
const IN_HAND: usize = 256;

/// What a server casts to the agents.
#[derive(Debug, Serialize, Deserialize)]
pub struct RouterUpdate {
    /// The feed's line.
    pub line: usize,
    /// What is to be done.
    pub update: Update,
}

/// What an agent casts to the server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The agent.
    pub host: String,
    /// What has ended since the last time.
    pub finished: Vec<Finished>,
    /// Tries that were put off, in all.
    pub retried: usize,
    /// Updates that wait in the agent now.
    pub waiting: usize,
    /// The most that ever waited, and when.
    pub deepest: (usize, Duration),
}

/// The agent's service, not started yet: `agent` on the bus that the URL names, under a name of its own.
pub fn service(agent: Agent, url: &str, host: &str) -> Service {
    let options = Options::new().host(host).workers(IN_HAND);
    let manager = RouterManager { agent, server: RefCell::default(), unreported: RefCell::default() };
    Service::builder("router-agent", AGENTS, Rc::new(manager))
        .report_interval(REPORT_EVERY)
        .transport(url)
        .options(options)
        .graceful_timeout(Duration::from_secs(10))
        .build()
}

struct RouterManager {
    agent: Agent,
    server: RefCell<Option<Client>>,
    unreported: RefCell<Vec<Unreported>>,
}

/// An update that has ended and of which the server does not know.
struct Unreported {
    finished: Finished,
    /// Sent when it does.
    known: Rc<Event<()>>,
}

impl RouterManager {
    fn router_update(&self, _: &Context, RouterUpdate { line, update }: RouterUpdate) -> Result<(), Failure> {
        let Some(finished) = self.agent.update(line, update).wait() else { return Err(Failure::give_back()) };
        let known = Rc::new(Event::new());
        self.unreported.borrow_mut().push(Unreported { finished, known: Rc::clone(&known) });
        Ok(known.wait()?)
    }

    /// Tells the server. A waiter for that goes on when the bus has taken it over.
    fn tell(&self, server: &Client, host: &str) {
        let ended = self.unreported.take();
        let finished = ended.iter().map(|ended| ended.finished.clone()).collect();
        let counts = self.agent.counts();
        let (retried, waiting, deepest) = (counts.retried, counts.waiting, counts.deepest);
        let progress = Progress { host: host.into(), finished, retried, waiting, deepest };
        if server.cast("progress", &progress).is_ok() {
            // Each is sent once.
            return ended.iter().for_each(|ended| {
                let _ = ended.known.send(());
            });
        }
        // They are told with the next ones.
        let later = self.unreported.replace(ended);
        self.unreported.borrow_mut().extend(later);
    }
}

impl Manager for RouterManager {
    fn endpoints(self: Rc<Self>) -> Vec<Endpoint> {
        vec![Endpoint::of(&self).version("1.0").method("router_update", RouterManager::router_update).build()]
    }

    fn initialize_service_hook(&self, service: &Service) -> Hook {
        let connection = service.connection().ok_or("there is no connection")?;
        *self.server.borrow_mut() = Some(Client::new(&connection, Target::topic(SERVER)));
        Ok(())
    }

    fn after_start(self: Rc<Self>, service: &Service) {
        self.agent.resume();
        service.spawn("process_routers", move || self.agent.process_routers());
    }

    fn report_state(&self, report: &Report) {
        let server = self.server.borrow().clone();
        if let Some(server) = server {
            self.tell(&server, &report.host);
        }
    }

    fn before_stop(&self) {
        self.agent.stop();
    }
}
