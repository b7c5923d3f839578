//! The side that asks.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::queue::Reason;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{Connection, Inner};
use crate::context::Context;
use crate::deadline::Deadline;
use crate::envelope::{self, NewRequest, WantsAnswer};
use crate::error::Error;
use crate::failure::RemoteError;
use crate::id;
use crate::json;
use crate::packed;
use crate::replies::{Expected, Heard};
use crate::stats::count;
use crate::target::Target;
use crate::transport::{Address, Outgoing, TransportError};
use crate::version::{is_version, serves};

/// How long a call waits for its answer, as in oslo.messaging.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Calls methods of the servers of a target. Clones are cheap, and [`Client::prepare`] makes one that may be aimed
/// elsewhere.
///
/// ```
/// # use greenloom_rpc::{Client, Context, Endpoint, Failure, Fanout, Target, create_connection};
/// # let connection = create_connection("memory://")?;
/// # let sync = |_: &(), _: &Context, _: serde_json::Value| Ok(3);
/// # let endpoint = Endpoint::builder().version("1.4").method("sync", sync).build();
/// # connection.create_consumer("l3_agent", [endpoint], Fanout::Listen)?;
/// # connection.consume_in_threads()?;
/// # let host = connection.options().host.clone();
/// use serde_json::json;
/// use std::time::Duration;
///
/// let agents = Client::new(&connection, Target::topic("l3_agent").version("1.4"));
/// let count: u32 = agents.call("sync", &json!({"router": "r1"}))?;
/// agents.cast("sync", &json!({"router": "r2"}))?;
/// agents.prepare().fanout().cast("sync", &json!({"router": "r3"}))?;
/// let one = agents.prepare().server(&host).timeout(Duration::from_secs(5));
/// let count: u32 = one.call("sync", &json!({"router": "r4"}))?;
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "it asks nothing before `call` or `cast`"]
pub struct Client {
    connection: Rc<Inner>,
    target: Target,
    address: Address,
    timeout: Duration,
    monitor: Option<Duration>,
    resend: u32,
    version_cap: Option<String>,
    context: Option<Context>,
}

impl Client {
    /// A client of a target.
    pub fn new(connection: &Connection, target: Target) -> Client {
        let connection = Rc::clone(&connection.inner);
        let address = target.address(&connection.options.exchange);
        Client {
            connection,
            target,
            address,
            timeout: TIMEOUT,
            monitor: None,
            resend: 0,
            version_cap: None,
            context: None,
        }
    }

    /// Another client, to be changed by the methods below.
    pub fn prepare(&self) -> Client {
        self.clone()
    }

    /// Asks what is elsewhere.
    pub fn target(mut self, target: Target) -> Client {
        self.address = target.address(&self.connection.options.exchange);
        self.target = target;
        self
    }

    fn retarget(self, change: impl FnOnce(Target) -> Target) -> Client {
        let target = change(self.target.clone());
        self.target(target)
    }

    /// Asks this server of the topic.
    pub fn server(self, server: impl Into<String>) -> Client {
        self.retarget(|target| target.server(server))
    }

    /// Tells all servers of the topic; only for casts.
    pub fn fanout(self) -> Client {
        self.retarget(Target::fanout)
    }

    /// Methods of this namespace.
    pub fn namespace(self, namespace: impl Into<String>) -> Client {
        self.retarget(|target| target.namespace(namespace))
    }

    /// Methods of an interface of this version.
    pub fn version(self, version: impl Into<String>) -> Client {
        self.retarget(|target| target.version(version))
    }

    /// How long a call may take until its answer is there, and a cast until the bus has it, all that has to be done
    /// before included; by default a minute.
    pub fn timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    /// Lets the server tell twice in every `within` (whole seconds, at least one) that it still works on a call, which
    /// times out when that is not heard. For calls that may take long, with a long [`Client::timeout`].
    pub fn monitor(mut self, within: Duration) -> Client {
        self.monitor = Some(within);
        self
    }

    /// How often a message is sent again when the connection was lost before it was taken over, or before a call was
    /// answered, or could be; by default never. A server that got it twice works on it once, as long as it remembers;
    /// another server may work on it again.
    pub fn resend(mut self, times: u32) -> Client {
        self.resend = times;
        self
    }

    /// The version of the interface that all servers are known to have, while some are newer. Asking for more is an
    /// error.
    pub fn version_cap(mut self, version: impl Into<String>) -> Client {
        self.version_cap = Some(version.into());
        self
    }

    /// Whether a version lies within the [cap](Client::version_cap).
    pub fn can_send_version(&self, version: &str) -> bool {
        self.version_cap.as_deref().is_none_or(|cap| serves(cap, version) == Some(true))
    }

    /// Sends this context along. Without one, each message has a fresh one. A method that calls on passes on the
    /// context it got.
    pub fn context(mut self, context: &Context) -> Client {
        self.context = Some(context.clone());
        self
    }

    /// Calls a method and parks until it is answered. Its arguments are what serde makes a JSON object of: a struct, a
    /// map, or `()` for none.
    ///
    /// # Errors
    /// - [`Error::Remote`] with the other side's error; a method that does not exist is one of kind `NoSuchMethod`, a
    ///   version that nobody has one of kind `UnsupportedVersion`.
    /// - [`Error::Timeout`].
    /// - [`Error::Transport`]: [`Unroutable`](TransportError::Unroutable) if nobody has ever listened there,
    ///   [`Disconnected`](TransportError::Disconnected) if the connection was lost meanwhile and the call is not to be
    ///   [resent](Client::resend).
    /// - [`Error::Arguments`] for arguments that are no JSON object, [`Error::Json`] for what cannot be written as JSON
    ///   and for an answer of another type.
    /// - [`Error::CallOfAll`] for a fanout, [`Error::NoVersion`] and [`Error::BeyondCap`] for the version.
    pub fn call<R: DeserializeOwned>(&self, method: &str, args: &(impl Serialize + ?Sized)) -> Result<R, Error> {
        if self.target.fanout {
            return Err(Error::CallOfAll { method: method.to_owned(), topic: self.target.topic.clone() });
        }
        let counts = &self.connection.counts;
        let began = now();
        let answer = self.ask(method, args, Deadline::from(began, self.timeout));
        match &answer {
            Ok(_) => counts.calls.borrow_mut().add(now() - began),
            Err(Error::Remote(_)) => {
                counts.calls.borrow_mut().add(now() - began);
                count(&counts.failed);
            }
            Err(Error::Timeout { .. }) => count(&counts.timed_out),
            Err(Error::Transport(_)) => count(&counts.undelivered),
            Err(_) => {}
        }
        let answer = answer?;
        Ok(json::from_str(answer.as_deref().unwrap_or("null"))?)
    }

    /// Sends a request that is not answered; parks until the bus has taken it over.
    ///
    /// # Errors
    /// As [`Client::call`], without those of the other side. After [`Error::Timeout`], the bus may have it or not.
    pub fn cast(&self, method: &str, args: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let message = self.request(method, args, None)?;
        let deadline = Deadline::after(self.timeout);
        let mut left = self.resend;
        loop {
            let outgoing = Outgoing {
                body: Arc::clone(&message),
                expires_at: None,
                until: Some(deadline.at()),
                mandatory: !self.target.fanout,
            };
            match self.connection.transport.send(&self.address, outgoing) {
                Ok(()) => break,
                Err(TransportError::Disconnected(_)) if self.may_try_again(&mut left, deadline) => {
                    count(&self.connection.counts.resent);
                }
                Err(error) => {
                    count(&self.connection.counts.undelivered);
                    return Err(self.late_or(error, method, deadline));
                }
            }
        }
        count(&self.connection.counts.casts);
        Ok(())
    }

    /// That the caller's limit is over, if that is what kept the transport.
    fn late_or(&self, error: TransportError, method: &str, deadline: Deadline) -> Error {
        match error {
            TransportError::TimedOut(_) if deadline.is_over() => self.late(method),
            error => error.into(),
        }
    }

    fn late(&self, method: &str) -> Error {
        Error::Timeout { method: method.to_owned(), address: self.address.to_string(), after: self.timeout }
    }

    /// Waits for a connection after one was lost, if there is a try left.
    fn may_try_again(&self, left: &mut u32, deadline: Deadline) -> bool {
        let may = *left > 0 && self.connection.transport.wait_connected(deadline.left());
        *left -= u32::from(may);
        may
    }

    /// Sends a call, and again where that was chosen, and waits for its answer.
    fn ask(
        &self,
        method: &str,
        args: &(impl Serialize + ?Sized),
        deadline: Deadline,
    ) -> Result<Option<Box<str>>, Error> {
        let mut left = self.resend;
        let replies = loop {
            match self.connection.replies(deadline) {
                Err(TransportError::Disconnected(_)) if self.may_try_again(&mut left, deadline) => {}
                replies => break replies.map_err(|error| self.late_or(error, method, deadline))?,
            }
        };
        let expected = replies.expect();
        let monitor = self.monitor.map(|within| within.as_secs().max(1));
        let wants = WantsAnswer { msg_id: &expected.msg_id, reply_q: &replies.queue, monitor };
        let message = self.request(method, args, Some(wants))?;
        loop {
            let outgoing = Outgoing {
                body: Arc::clone(&message),
                expires_at: Some(deadline.at()),
                until: Some(deadline.at()),
                mandatory: true,
            };
            let sent = self.connection.transport.send(&self.address, outgoing);
            let sent = sent.map_err(|error| self.late_or(error, method, deadline));
            match sent.and_then(|()| self.wait_for(&expected, method, deadline)) {
                Err(Error::Transport(TransportError::Disconnected(_))) if self.may_try_again(&mut left, deadline) => {
                    count(&self.connection.counts.resent);
                }
                other => return other,
            }
        }
    }

    fn wait_for(&self, expected: &Expected, method: &str, deadline: Deadline) -> Result<Option<Box<str>>, Error> {
        let mut last = None;
        loop {
            let until = self.monitor.map_or(deadline, |within| deadline.min(Deadline::after(within)));
            match expected.heard.get_deadline(until.at()) {
                Ok(Heard::Answer { failure: Some(failure), .. }) => {
                    return Err(Error::Remote(RemoteError::from_json(&failure)));
                }
                // An older oslo.messaging sends the result first, and that it was the end after it.
                Ok(Heard::Answer { result, ending, .. }) => {
                    last = result.or(last);
                    if ending {
                        return Ok(last);
                    }
                }
                Ok(Heard::Lost(reason)) => return Err(TransportError::Disconnected(reason).into()),
                Err(Reason::Empty) => return Err(self.late(method)),
                Err(refused) => return Err(Error::CannotWait(refused)),
            }
        }
    }

    /// A request as it is to be sent.
    fn request(
        &self,
        method: &str,
        args: &(impl Serialize + ?Sized),
        answer: Option<WantsAnswer<'_>>,
    ) -> Result<Arc<[u8]>, Error> {
        let Target { namespace, version, .. } = &self.target;
        self.check_version(version.as_deref())?;
        let args = json::to_string(args)?;
        let args = match &*args {
            "null" => "{}",
            args if args.starts_with('{') => args,
            _ => return Err(Error::Arguments { method: method.to_owned() }),
        };
        let fresh;
        let context = match &self.context {
            Some(given) => given,
            None => {
                fresh = Context::new();
                &fresh
            }
        };
        tracing::debug!(request_id = context.request_id(), method, address = %self.address, "asking");
        // A call has a name that nobody else has, and its copies share it.
        let named;
        let unique_id = match &answer {
            Some(wants) => wants.msg_id,
            None => {
                named = id::unique();
                &*named
            }
        };
        let request = NewRequest {
            method,
            args,
            namespace: namespace.as_deref(),
            version: version.as_deref(),
            context,
            unique_id,
            answer,
        };
        Ok(match self.connection.transport.is_wire() {
            true => envelope::seal(&request.encode()).into(),
            false => packed::request(&request),
        })
    }

    fn check_version(&self, version: Option<&str>) -> Result<(), Error> {
        let version = version.unwrap_or("1.0");
        if !is_version(version) {
            return Err(Error::NoVersion(version.to_owned()));
        }
        if self.can_send_version(version) {
            return Ok(());
        }
        Err(Error::BeyondCap { version: version.to_owned(), cap: self.version_cap.clone().unwrap_or_default() })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("target", &self.target).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
