//! A service: a manager's methods on a topic, with its loops, from start to stop.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloom::greenlet::GreenletExit;
use greenloom::hub::now;
use greenloom::queue::Queue;
use greenloom::signal::{Signal, Signals};
use greenloom::{Builder, GreenThread, getcurrent, sleep, spawn};
use serde::Serialize;

use crate::connection::{Connection, Fanout};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::options::Options;

/// What a manager's hook that can fail returns.
pub type Hook = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What a service does. Only [`Manager::endpoints`] has to be there; the hooks are called in the order in which they
/// stand here.
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

    /// There is a connection and the service's consumer, and no request comes in yet: the place for further consumers
    /// and clients.
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

    /// At the start and in every report interval, in a green thread of its own: says somewhere that the service lives.
    /// By default, in the log.
    fn report_state(&self, report: &Report) {
        tracing::debug!(binary = report.binary, host = report.host, topic = report.topic, "state report");
    }

    /// In every [periodic interval](ServiceBuilder::periodic_interval), in a green thread of its own.
    fn periodic(&self, service: &Service) {
        let _ = service;
    }

    /// The service stops: no more requests come in, and those in work are waited for after this. What they wait for in
    /// vain from now on ends here; see also [`Failure::give_back`](crate::Failure::give_back). What was started by
    /// [`Service::spawn`] is killed when they are done.
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
/// let builder = Service::builder("agent", "l3_agent", Rc::new(Agent));
/// let service = builder.report_interval(Duration::from_secs(30)).build();
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
    url: String,
    options: Options,
    periodic_interval: Duration,
    graceful_timeout: Duration,
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

/// A [`Service`] in the making; from [`Service::builder`].
#[must_use = "it does nothing before `build`"]
pub struct ServiceBuilder {
    inner: Inner,
}

impl ServiceBuilder {
    /// The bus that this URL names, by default `memory://`.
    pub fn transport(mut self, url: impl Into<String>) -> ServiceBuilder {
        self.inner.url = url.into();
        self
    }

    /// What its connection is to be like.
    pub fn options(mut self, options: Options) -> ServiceBuilder {
        self.inner.options = options;
        self
    }

    /// How often [`Manager::report_state`] is called; by default, and with zero, never.
    pub fn report_interval(mut self, interval: Duration) -> ServiceBuilder {
        self.inner.report_interval = interval;
        self
    }

    /// How often [`Manager::periodic`] is called; by default, and with zero, never.
    pub fn periodic_interval(mut self, interval: Duration) -> ServiceBuilder {
        self.inner.periodic_interval = interval;
        self
    }

    /// How long a stop waits for the requests in work; by default a minute.
    pub fn graceful_timeout(mut self, timeout: Duration) -> ServiceBuilder {
        self.inner.graceful_timeout = timeout;
        self
    }

    /// The service. It does nothing before [`Service::start`].
    pub fn build(self) -> Service {
        Service { inner: Rc::new(self.inner) }
    }
}

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder")
            .field("binary", &self.inner.binary)
            .field("topic", &self.inner.topic)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Begins a service of a program's name on a topic.
    pub fn builder(binary: impl Into<String>, topic: impl Into<String>, manager: Rc<impl Manager>) -> ServiceBuilder {
        let inner = Inner {
            binary: binary.into(),
            topic: topic.into(),
            report_interval: Duration::ZERO,
            manager,
            url: "memory://".into(),
            options: Options::default(),
            periodic_interval: Duration::ZERO,
            graceful_timeout: Duration::from_secs(60),
            connection: RefCell::default(),
            loops: RefCell::default(),
            started: Cell::default(),
            restarts: Cell::default(),
            news: Queue::unbounded(),
        };
        ServiceBuilder { inner }
    }

    /// Its connection, while it is started.
    pub fn connection(&self) -> Option<Connection> {
        self.inner.connection.borrow().clone()
    }

    /// The name under which it can be addressed alone.
    pub fn host(&self) -> &str {
        &self.inner.options.host
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.inner.topic
    }

    /// Starts it: calls the manager's hooks, connects, and takes requests from the topic, from its own queue and from
    /// fanouts. Does nothing if it is started.
    ///
    /// # Errors
    /// Those of the bus, and a hook's as [`Error::Hook`]. It is not started then.
    pub fn start(&self) -> Result<(), Error> {
        let inner = &self.inner;
        if inner.connection.borrow().is_some() {
            return Ok(());
        }
        let hook = |name, outcome: Hook| outcome.map_err(|error| Error::Hook { name, error });
        hook("init_host", inner.manager.init_host(self))?;
        let connection = inner.options.clone().connect(&inner.url)?;
        *inner.connection.borrow_mut() = Some(connection.clone());
        let consume = || {
            connection.create_consumer(&inner.topic, Rc::clone(&inner.manager).endpoints(), Fanout::Listen)?;
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
        let interval = inner.periodic_interval;
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

    /// Calls `task` after `first` and then in every `interval`, until the service stops. One that takes longer than the
    /// interval is next called at once, and what was missed is left out. A panic is logged, and the task goes on.
    ///
    /// # Panics
    /// As [`spawn`].
    pub fn every(&self, name: &'static str, first: Duration, interval: Duration, task: impl Fn() + 'static) {
        self.spawn(name, move || {
            let mut next = now().saturating_add(first);
            loop {
                sleep(next.saturating_sub(now()));
                if let Err(payload) = catch_unwind(AssertUnwindSafe(&task)) {
                    if payload.is::<GreenletExit>() {
                        resume_unwind(payload);
                    }
                    tracing::error!(task = name, "a periodic task panicked; it is called again");
                }
                next = next.saturating_add(interval).max(now());
            }
        });
    }

    /// Who it is, and how long it has been.
    pub fn report(&self) -> Report {
        let inner = &self.inner;
        Report {
            binary: inner.binary.clone(),
            host: self.host().to_owned(),
            topic: inner.topic.clone(),
            uptime: now() - inner.started.get(),
            restarts: inner.restarts.get(),
        }
    }

    /// Stops it: takes no more requests, waits for those in work at most for the [graceful
    /// timeout](ServiceBuilder::graceful_timeout), ends its loops and its connection. Does nothing if it is not
    /// started. One of its own loops that calls this ends here; a method that does so waits for itself: it starts a
    /// green thread for it.
    pub fn stop(&self) {
        let caller = self.shut_down(self.inner.graceful_timeout);
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

    /// Stops it gracefully, calls [`Manager::reset`] and starts it again. Requests that come meanwhile wait with the
    /// bus.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn restart(&self) -> Result<(), Error> {
        let caller = self.shut_down(self.inner.graceful_timeout);
        self.inner.manager.reset();
        self.inner.restarts.set(self.inner.restarts.get() + 1);
        let started = self.start();
        drop(caller);
        started
    }

    /// Parks until it is stopped, by [`Service::stop`] or by a signal: `SIGTERM` and `SIGINT` stop it gracefully, a
    /// second one at once; `SIGHUP` restarts it. Returns the signal that stopped it.
    ///
    /// # Errors
    /// Those of a restart, and a system that has no file descriptors left.
    pub fn wait(&self) -> Result<Option<Signal>, Error> {
        let signals = Signals::new([Signal::TERM, Signal::INT, Signal::HUP]).map_err(Error::Signals)?;
        self.wait_with(signals)
    }

    /// Starts it and waits for its end. A signal that comes while it starts is not lost.
    ///
    /// # Errors
    /// Those of [`Service::start`] and [`Service::wait`].
    pub fn run(&self) -> Result<Option<Signal>, Error> {
        let signals = Signals::new([Signal::TERM, Signal::INT, Signal::HUP]).map_err(Error::Signals)?;
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
