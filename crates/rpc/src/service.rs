//! A service: a manager's methods on a topic, with its loops, from start to stop.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloom::greenlet::GreenletExit;
use greenloom::hub::now;
use greenloom::queue::Queue;
use greenloom::signal::{Signal, Signals};
use greenloom::{Builder, GreenThread, getcurrent, sleep, spawn};
use serde::Serialize;

use crate::connection::{Connection, Options};
use crate::endpoint::Endpoint;
use crate::error::Error;

/// What a manager's hook that can fail returns.
pub type Hook = Result<(), Box<dyn std::error::Error>>;

/// What a service does. Only [`Manager::endpoints`] has to be there; the hooks are called in the order in which they stand here.
///
/// Semantics: the managers of OpenStack's agents.
pub trait Manager: 'static {
    /// The methods that can be called on the service's topic.
    fn endpoints(self: Rc<Self>) -> Vec<Endpoint>;

    /// Before there is a connection.
    ///
    /// # Errors
    /// Whatever keeps the service from starting.
    fn init_host(&self, service: &Service) -> Hook {
        let _ = service;
        Ok(())
    }

    /// There is a connection and the service's consumer, and no request comes in yet: the place for further consumers and clients.
    ///
    /// # Errors
    /// Whatever keeps the service from starting.
    fn initialize_service_hook(&self, service: &Service) -> Hook {
        let _ = service;
        Ok(())
    }

    /// Requests come in. A manager starts its own loops here, by [`Service::spawn`].
    fn after_start(self: Rc<Self>, service: &Service) {
        let _ = service;
    }

    /// At the start and in every report interval, in a green thread of its own: says somewhere that the service lives. By
    /// default, in the log.
    fn report_state(&self, report: &Report) {
        tracing::debug!(binary = report.binary, host = report.host, topic = report.topic, "state report");
    }

    /// In every [periodic interval](Service::periodic_interval), in a green thread of its own.
    fn periodic(&self, service: &Service) {
        let _ = service;
    }

    /// The service stops: no more requests come in, and those in work are waited for after this. What they wait for in vain from now
    /// on ends here; see also [`Failure::give_back`](crate::Failure::give_back). What was started by [`Service::spawn`] is killed
    /// when they are done.
    fn before_stop(&self) {}

    /// Between stop and start, when the service is restarted: the place to read the configuration again.
    fn reset(&self) {}
}

/// Who a service is and how long it has been; for [`Manager::report_state`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The program.
    pub binary: String,
    /// Where it runs.
    pub host: String,
    /// Its topic.
    pub topic: String,
    /// How long it has been running since it was started, or restarted.
    pub uptime: Duration,
    /// How often it was restarted.
    pub restarts: u32,
}

/// A service. Clones are the same service.
///
/// ```
/// use greenloom_rpc::{Client, Context, Endpoint, Failure, Manager, Service, Target};
/// use std::{rc::Rc, time::Duration};
///
/// struct Agent;
///
/// #[derive(serde::Deserialize)]
/// struct Router {
///     router: String,
/// }
///
/// impl Agent {
///     fn sync(&self, _: &Context, Router { router }: Router) -> Result<String, Failure> {
///         Ok(format!("{router} is in sync"))
///     }
/// }
///
/// impl Manager for Agent {
///     fn endpoints(self: Rc<Self>) -> Vec<Endpoint> {
///         vec![Endpoint::of(&self).method("sync", Agent::sync).build()]
///     }
/// }
///
/// let service = Service::create("agent", "l3_agent", Duration::from_secs(30), Agent);
/// service.start()?;
/// let client = Client::new(&service.connection().unwrap(), Target::topic("l3_agent"));
/// let answer: String = client.call("sync", &serde_json::json!({"router": "r1"}))?;
/// assert_eq!(answer, "r1 is in sync");
/// service.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Service {
    inner: Rc<Inner>,
}

struct Inner {
    binary: String,
    topic: String,
    report_interval: Duration,
    manager: Rc<dyn Manager>,
    url: RefCell<String>,
    options: RefCell<Options>,
    periodic_interval: Cell<Duration>,
    graceful_timeout: Cell<Duration>,
    connection: RefCell<Option<Connection>>,
    loops: RefCell<Vec<GreenThread<()>>>,
    started: Cell<Duration>,
    restarts: Cell<u32>,
    news: Queue<News>,
}

/// What [`Service::wait`] waits for.
enum News {
    Signal(Signal),
    Stopped,
}

impl Service {
    /// A service of a program's name on a topic, whose manager reports its state in this interval; with zero, never. It uses `memory://` unless it
    /// is given [another](Service::transport), and does nothing before [`Service::start`].
    pub fn create(
        binary: impl Into<String>,
        topic: impl Into<String>,
        report_interval: Duration,
        manager: impl Manager,
    ) -> Service {
        Service::of(binary, topic, report_interval, Rc::new(manager))
    }

    /// As [`Service::create`], for a manager that others hold, too.
    pub fn of(
        binary: impl Into<String>,
        topic: impl Into<String>,
        report_interval: Duration,
        manager: Rc<impl Manager>,
    ) -> Service {
        let inner = Inner {
            binary: binary.into(),
            topic: topic.into(),
            report_interval,
            manager,
            url: RefCell::new("memory://".into()),
            options: RefCell::default(),
            periodic_interval: Cell::default(),
            graceful_timeout: Cell::new(Duration::from_secs(60)),
            connection: RefCell::default(),
            loops: RefCell::default(),
            started: Cell::default(),
            restarts: Cell::default(),
            news: Queue::unbounded(),
        };
        Service { inner: Rc::new(inner) }
    }

    /// Uses the bus that this URL names, from the next start on.
    pub fn transport(self, url: impl Into<String>) -> Service {
        *self.inner.url.borrow_mut() = url.into();
        self
    }

    /// Makes its connection with these options, from the next start on.
    pub fn options(self, options: Options) -> Service {
        *self.inner.options.borrow_mut() = options;
        self
    }

    /// How often [`Manager::periodic`] is called; by default, and with zero, never.
    pub fn periodic_interval(self, interval: Duration) -> Service {
        self.inner.periodic_interval.set(interval);
        self
    }

    /// How long a stop waits for the requests in work; by default a minute.
    pub fn graceful_timeout(self, timeout: Duration) -> Service {
        self.inner.graceful_timeout.set(timeout);
        self
    }

    /// Its connection, while it is started.
    pub fn connection(&self) -> Option<Connection> {
        self.inner.connection.borrow().clone()
    }

    /// The name under which it can be addressed alone.
    pub fn host(&self) -> String {
        self.inner.options.borrow().host.clone()
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.inner.topic
    }

    /// Starts it: calls the manager's hooks, connects, and takes requests from the topic, from its own queue and from fanouts. Does nothing
    /// if it is started.
    ///
    /// # Errors
    /// Those of the bus, and a hook's as [`Error::Invalid`] with its text. It is not started then.
    pub fn start(&self) -> Result<(), Error> {
        let inner = &self.inner;
        if inner.connection.borrow().is_some() {
            return Ok(());
        }
        let hook = |name, outcome: Hook| outcome.map_err(|error| Error::Invalid(format!("{name}: {error}")));
        hook("init_host", inner.manager.init_host(self))?;
        let connection = inner.options.borrow().clone().connect(&inner.url.borrow())?;
        *inner.connection.borrow_mut() = Some(connection.clone());
        let consume = || {
            connection.create_consumer(&inner.topic, Rc::clone(&inner.manager).endpoints(), true)?;
            hook("initialize_service_hook", inner.manager.initialize_service_hook(self))?;
            connection.consume_in_threads()
        };
        if let Err(error) = consume() {
            inner.connection.take();
            connection.close();
            return Err(error);
        }
        inner.started.set(now());
        self.start_loops();
        tracing::info!(binary = inner.binary, topic = inner.topic, host = self.host(), "service started");
        Rc::clone(&inner.manager).after_start(self);
        Ok(())
    }

    fn start_loops(&self) {
        let inner = &self.inner;
        if !inner.report_interval.is_zero() {
            let service = self.clone();
            self.every("report_state", Duration::ZERO, inner.report_interval, move || {
                service.inner.manager.report_state(&service.report());
            });
        }
        let interval = inner.periodic_interval.get();
        if !interval.is_zero() {
            let service = self.clone();
            self.every("periodic", interval, interval, move || service.inner.manager.periodic(&service));
        }
    }

    /// Runs a green thread until it ends or the service stops, whatever is first.
    ///
    /// # Panics
    /// As [`spawn`].
    pub fn spawn(&self, name: &str, body: impl FnOnce() + 'static) {
        let thread = Builder::new().name(name).spawn(body).unwrap_or_else(|error| panic!("{error}"));
        let mut loops = self.inner.loops.borrow_mut();
        loops.retain(|thread| !thread.dead());
        loops.push(thread);
    }

    /// Calls `task` after `first` and then in every `interval`, until the service stops. One that takes longer than the interval
    /// is next called at once, and what was missed is left out. A panic is logged, and the task goes on.
    ///
    /// # Panics
    /// As [`spawn`].
    pub fn every(&self, name: &'static str, first: Duration, interval: Duration, task: impl Fn() + 'static) {
        self.spawn(name, move || {
            let mut next = now() + first;
            loop {
                sleep(next.saturating_sub(now()));
                if let Err(payload) = catch_unwind(AssertUnwindSafe(&task)) {
                    if payload.is::<GreenletExit>() {
                        resume_unwind(payload);
                    }
                    tracing::error!(task = name, "a periodic task panicked; it is called again");
                }
                next = (next + interval).max(now());
            }
        });
    }

    /// Who it is, and how long it has been.
    pub fn report(&self) -> Report {
        let inner = &self.inner;
        Report {
            binary: inner.binary.clone(),
            host: self.host(),
            topic: inner.topic.clone(),
            uptime: now() - inner.started.get(),
            restarts: inner.restarts.get(),
        }
    }

    /// Stops it: takes no more requests, waits for those in work at most for the [graceful timeout](Service::graceful_timeout), ends its
    /// loops and its connection. Does nothing if it is not started. One of its own loops that calls this ends here; a method that does
    /// so waits for itself: it starts a green thread for it.
    pub fn stop(&self) {
        let caller = self.shut_down(self.inner.graceful_timeout.get());
        // Without a limit, and never closed.
        let _ = self.inner.news.put(News::Stopped);
        drop(caller);
    }

    /// Returns the loop that called this, if one did; it is ended by the drop.
    fn shut_down(&self, timeout: Duration) -> Option<Ends> {
        let inner = &self.inner;
        let connection = inner.connection.borrow().clone()?;
        connection.stop_taking();
        inner.manager.before_stop();
        if !connection.stop_consuming(timeout) {
            tracing::warn!(binary = inner.binary, ?timeout, "requests are still in work; they go back to the bus");
        }
        // Somebody else may have been quicker meanwhile.
        inner.connection.take()?;
        let me = getcurrent().id();
        let (mine, others): (Vec<_>, Vec<_>) =
            inner.loops.take().into_iter().partition(|one| one.greenlet().id() == me);
        others.iter().for_each(GreenThread::kill);
        connection.close();
        tracing::info!(binary = inner.binary, topic = inner.topic, "service stopped");
        mine.into_iter().next().map(Ends)
    }

    /// Stops it gracefully, calls [`Manager::reset`] and starts it again. Requests that come meanwhile wait with the bus.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn restart(&self) -> Result<(), Error> {
        let caller = self.shut_down(self.inner.graceful_timeout.get());
        self.inner.manager.reset();
        self.inner.restarts.set(self.inner.restarts.get() + 1);
        let started = self.start();
        drop(caller);
        started
    }

    /// Parks until it is stopped, by [`Service::stop`] or by a signal: `SIGTERM` and `SIGINT` stop it gracefully, a second one at
    /// once; `SIGHUP` restarts it. Returns the signal that stopped it.
    ///
    /// # Errors
    /// Those of a restart, and a system that has no file descriptors left.
    pub fn wait(&self) -> Result<Option<Signal>, Error> {
        let signals = Signals::new([Signal::TERM, Signal::INT, Signal::HUP]).map_err(no_signals)?;
        self.wait_with(signals)
    }

    /// Starts it and waits for its end. A signal that comes while it starts is not lost.
    ///
    /// # Errors
    /// Those of [`Service::start`] and [`Service::wait`].
    pub fn run(&self) -> Result<Option<Signal>, Error> {
        let signals = Signals::new([Signal::TERM, Signal::INT, Signal::HUP]).map_err(no_signals)?;
        self.start()?;
        self.wait_with(signals)
    }

    fn wait_with(&self, signals: Signals) -> Result<Option<Signal>, Error> {
        let service = self.clone();
        let _watch = Ends(spawn(move || {
            while let Ok(signal) = signals.wait() {
                let _ = service.inner.news.put(News::Signal(signal));
            }
        }));
        let mut stopped_by = None;
        while let Ok(news) = self.inner.news.get() {
            match news {
                News::Stopped => break,
                News::Signal(Signal::HUP) if stopped_by.is_none() => {
                    tracing::info!(binary = self.inner.binary, "restarting");
                    self.restart()?;
                }
                News::Signal(Signal::HUP) => {}
                News::Signal(signal) if stopped_by.is_none() => {
                    tracing::info!(binary = self.inner.binary, %signal, "stopping");
                    stopped_by = Some(signal);
                    let service = self.clone();
                    drop(spawn(move || service.stop()));
                }
                News::Signal(_) => {
                    drop(self.shut_down(Duration::ZERO));
                    break;
                }
            }
        }
        Ok(stopped_by)
    }
}

fn no_signals(error: io::Error) -> Error {
    Error::Invalid(format!("cannot wait for signals: {error}"))
}

/// A green thread that ends with its owner.
struct Ends(GreenThread<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("binary", &self.inner.binary)
            .field("topic", &self.inner.topic)
            .field("started", &self.inner.connection.borrow().is_some())
            .finish_non_exhaustive()
    }
}
