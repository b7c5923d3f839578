//! A connection to a message bus, for consumers and clients.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::Consumer;
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::flight::{Flights, Missed};
#[cfg(feature = "metrics")]
use crate::metrics::{Watched, note_connection};
use crate::open::open_transport;
use crate::options::Options;
use crate::reason::Awaited;
use crate::replies::Replies;
use crate::stats::{ClientCounts, ClientStats, Stats};
#[cfg(feature = "metrics")]
use crate::transport::Depth;
use crate::transport::{Address, State, Transport, TransportError};

impl Options {
    /// Connects to the bus that the URL names; see [`create_connection`].
    ///
    /// # Errors
    /// As there.
    pub fn connect(self, url: &str) -> Result<Connection, Error> {
        Ok(self.connect_over(open_transport(url)?))
    }

    /// A connection over a transport that there is already, such as one of a [`Bus`](crate::memory::Bus).
    pub fn connect_over(self, transport: Rc<dyn Transport>) -> Connection {
        let inner = Inner {
            transport,
            options: self,
            consumers: RefCell::default(),
            replies: OnceCell::new(),
            opening: Rc::default(),
            counts: Rc::default(),
        };
        let inner = Rc::new(inner);
        #[cfg(feature = "metrics")]
        {
            let watched: Rc<dyn Watched> = Rc::clone(&inner) as _;
            note_connection(Rc::downgrade(&watched), &inner.counts);
        }
        HERE.with_borrow_mut(|here| {
            here.retain(|known| known.strong_count() > 0);
            here.push(Rc::downgrade(&inner));
        });
        Connection { inner }
    }
}

thread_local! {
    static HERE: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// All connections of this OS thread, in the order in which they were made: for code that inspects a program and was
/// not given them. [`Connection::stats`] has the counts of each.
///
/// ```
/// let connection = greenloom_rpc::create_connection("memory://")?;
/// let stats = greenloom_rpc::connections().into_iter().flat_map(|connection| connection.stats());
/// let calls: u64 = stats.map(|stats| stats.client.calls.count).sum();
/// assert_eq!(calls, 0);
/// # drop(connection);
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
pub fn connections() -> Vec<Connection> {
    HERE.with_borrow(|here| here.iter().filter_map(Weak::upgrade).map(|inner| Connection { inner }).collect())
}

/// A connection to a message bus. Clones are the same connection, and a [`Client`](crate::Client) has one. It ends with
/// [`Connection::close`], or without a wait when the last of them is dropped, its consumers included.
///
/// ```
/// use greenloom_rpc::{Client, Endpoint, Fanout, Target, create_connection};
///
/// let connection = create_connection("memory://")?;
/// let ports = Endpoint::builder().method("port", |_, _, ()| Ok(9696)).build();
/// connection.create_consumer("agent", [ports], Fanout::Listen)?;
/// connection.consume_in_threads()?;
/// assert_eq!(Client::new(&connection, Target::topic("agent")).call::<u16>("port", &())?, 9696);
/// connection.close();
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
#[derive(Clone)]
pub struct Connection {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub transport: Rc<dyn Transport>,
    pub options: Options,
    consumers: RefCell<Vec<Rc<Consumer>>>,
    replies: OnceCell<Rc<Replies>>,
    opening: Rc<Flights<(), Rc<Replies>, TransportError>>,
    pub counts: Rc<ClientCounts>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Green threads that wait on it end, and with the last of them the transport.
        self.consumers.borrow().iter().for_each(|consumer| consumer.stop());
        if let Some(replies) = self.replies.get() {
            replies.stop();
        }
    }
}

#[cfg(feature = "metrics")]
impl Watched for Inner {
    fn is_wire(&self) -> bool {
        self.transport.is_wire()
    }

    fn waiting(&self) -> usize {
        Inner::waiting(self)
    }

    fn loads(&self) -> Vec<(String, usize, Option<usize>)> {
        self.consumers.borrow().iter().map(|consumer| consumer.load()).collect()
    }

    fn depths(&self) -> Vec<Depth> {
        // A broker that is away tells nothing, and would be waited for.
        if self.transport.state() != State::Connected {
            return Vec::new();
        }
        let consumers = self.consumers.borrow().clone();
        consumers.iter().filter_map(|consumer| consumer.depths().ok()).flatten().collect()
    }
}

impl Inner {
    /// How many calls are under way.
    fn waiting(&self) -> usize {
        self.replies.get().map_or(0, |replies| replies.waiting())
    }

    /// The queue for answers, made when the first call wants one. All who want it meanwhile wait for the same.
    pub fn replies(self: &Rc<Inner>, deadline: Deadline) -> Result<Rc<Replies>, TransportError> {
        if let Some(replies) = self.replies.get() {
            return Ok(Rc::clone(replies));
        }
        let this = Rc::clone(self);
        let open = move || {
            let made = Replies::open(&*this.transport, &this.counts)?;
            Ok(Rc::clone(this.replies.get_or_init(|| made)))
        };
        self.opening.join((), deadline, open).map_err(|missed| match missed {
            Missed::Failed(error) => error,
            Missed::TimedOut => TransportError::TimedOut(Awaited::ReplyQueue),
            Missed::NotBegun(error) => TransportError::Failed(Arc::new(error)),
        })
    }
}

/// Connects to the bus that a URL names: `memory://` ([which](crate::memory)), or
/// `amqp://user:password@host:5672/virtual_host` ([and so on](crate::amqp::Options)).
///
/// # Errors
/// [`Error::Transport`]: a URL that makes no sense, a bus that cannot be reached.
///
/// ```
/// use greenloom_rpc::{Client, Context, Endpoint, Fanout, Target, create_connection};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet {
///     name: String,
/// }
///
/// let server = create_connection("memory://")?;
/// let greet = |_: &(), _: &Context, Greet { name }| Ok(format!("hello {name}"));
/// let endpoint = Endpoint::builder().method("greet", greet).build();
/// server.create_consumer("greeters", [endpoint], Fanout::Ignore)?;
/// server.consume_in_threads()?;
///
/// let client = Client::new(&create_connection("memory://")?, Target::topic("greeters"));
/// let greeting: String = client.call("greet", &Greet { name: "r1".into() })?;
/// assert_eq!(greeting, "hello r1");
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
pub fn create_connection(url: &str) -> Result<Connection, Error> {
    Options::default().connect(url)
}

/// Whether a consumer also takes what is sent to all servers of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// It does.
    Listen,
    /// It takes only what is for one server.
    Ignore,
}

impl Connection {
    /// Prepares to take requests from a topic: from its queue, which it shares with other servers of the topic, from
    /// that of this server alone, and with [`Fanout::Listen`] also from what is sent to all.
    /// [`Connection::consume_in_threads`] begins.
    ///
    /// # Errors
    /// [`Error::NothingToConsume`] without a topic, or without an endpoint.
    pub fn create_consumer(
        &self,
        topic: &str,
        endpoints: impl IntoIterator<Item = Endpoint>,
        fanout: Fanout,
    ) -> Result<(), Error> {
        let endpoints: Vec<Endpoint> = endpoints.into_iter().collect();
        if topic.is_empty() || endpoints.is_empty() {
            return Err(Error::NothingToConsume);
        }
        let Inner { transport, options, consumers, .. } = &*self.inner;
        let (exchange, name) = (options.exchange.clone(), topic.to_owned());
        let mut addresses = vec![
            Address::Topic { exchange: exchange.clone(), topic: name.clone() },
            Address::Server { exchange, topic: name.clone(), server: options.host.clone() },
        ];
        if fanout == Fanout::Listen {
            addresses.push(Address::Fanout { topic: name });
        }
        consumers.borrow_mut().push(Rc::new(Consumer::new(transport, options, topic, addresses, endpoints)));
        Ok(())
    }

    /// Begins to take requests for all consumers that do not yet. Each request runs in a green thread of its consumer's
    /// pool.
    ///
    /// # Errors
    /// Those of [`Transport::listen`].
    pub fn consume_in_threads(&self) -> Result<(), Error> {
        let consumers = self.inner.consumers.borrow().clone();
        consumers.iter().try_for_each(Consumer::start)?;
        Ok(())
    }

    /// Takes no more requests, and parks until those in work are done, at most for `timeout` in all. Returns whether
    /// they are.
    pub fn stop_consuming(&self, timeout: Duration) -> bool {
        let deadline = Deadline::after(timeout);
        self.stop_taking();
        let consumers = self.inner.consumers.borrow().clone();
        consumers.iter().all(|consumer| consumer.wait(deadline.left()))
    }

    /// Takes no more requests, and waits for nothing.
    pub(crate) fn stop_taking(&self) {
        let consumers = self.inner.consumers.borrow().clone();
        consumers.iter().for_each(|consumer| consumer.stop());
    }

    /// Ends the connection. Calls under way fail. Requests in work go on, but what is not acknowledged goes back to the
    /// bus; use [`Connection::stop_consuming`] first.
    pub fn close(&self) {
        self.inner.consumers.borrow_mut().clear();
        self.inner.transport.close();
    }

    /// How its transport is.
    pub fn state(&self) -> State {
        self.inner.transport.state()
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The transport below.
    pub fn transport(&self) -> &Rc<dyn Transport> {
        &self.inner.transport
    }

    /// Counts, latencies and the depths of its consumers' queues, since it was made. On a broker it asks for the
    /// depths, and parks.
    ///
    /// # Errors
    /// Those of [`Transport::depth`].
    ///
    /// ```
    /// # let connection = greenloom_rpc::create_connection("memory://")?;
    /// let stats = connection.stats()?;
    /// assert_eq!(stats.client.calls.count, 0);
    /// println!("{stats}");
    /// # Ok::<(), greenloom_rpc::Error>(())
    /// ```
    pub fn stats(&self) -> Result<Stats, Error> {
        let counts = &self.inner.counts;
        let client = ClientStats {
            calls: counts.calls.borrow().latency(),
            failed: counts.failed.get(),
            timed_out: counts.timed_out.get(),
            undelivered: counts.undelivered.get(),
            waiting: self.inner.waiting(),
            casts: counts.casts.get(),
            resent: counts.resent.get(),
            late: counts.late.get(),
        };
        let consumers = self.inner.consumers.borrow().clone();
        let consumers = consumers.iter().map(|consumer| consumer.stats()).collect::<Result<_, _>>()?;
        Ok(Stats { state: self.state(), client, consumers })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.state()).field("options", &self.inner.options).finish()
    }
}
