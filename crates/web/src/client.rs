//! A client: `ureq`'s agent on green sockets. The agent is ureq's own, with its pool of connections, redirects, proxies
//! and timeouts; what is here are the parts that it has for opening connections and for looking names up.
//!
//! ```
//! use greenloom::net;
//! use greenloom_web::{Body, Server, client, http::Response};
//!
//! let listener = net::listen("127.0.0.1:0")?;
//! let url = format!("http://{}/", listener.local_addr()?);
//! let _server = Server::start(listener, |_request| Response::new(Body::from("hello")))?;
//!
//! let agent = client::agent();
//! let text = agent.get(url).call().and_then(|mut response| response.body_mut().read_to_string());
//! assert_eq!(text.unwrap(), "hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! An agent may be used by many green threads at once, on several OS threads too: its pool goes with it.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::net::{TcpStream, ToSocketAddrs, UnixStream};
pub use ureq;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs};
#[cfg(feature = "tls")]
use ureq::unversioned::transport::RustlsConnector;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

/// An agent with ureq's default configuration.
pub fn agent() -> Agent {
    agent_with(Config::default())
}

/// An agent with a configuration of your own. Proxies that speak SOCKS are not supported.
///
/// ```
/// use greenloom_web::client::{self, ureq::Agent};
/// use std::time::Duration;
///
/// let config = Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build();
/// let agent = client::agent_with(config);
/// # drop(agent);
/// ```
pub fn agent_with(config: Config) -> Agent {
    let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector);
    #[cfg(feature = "tls")]
    let connector = connector.chain(RustlsConnector::default());
    Agent::with_parts(config, connector, Resolver)
}

/// An agent all of whose requests go to a Unix socket, whatever host they name.
///
/// ```no_run
/// use greenloom_web::client::{self, ureq};
///
/// let docker = client::unix_agent("/var/run/docker.sock", ureq::config::Config::default());
/// let version = docker.get("http://localhost/version").call()?.body_mut().read_to_string()?;
/// # Ok::<(), ureq::Error>(())
/// ```
pub fn unix_agent(path: impl Into<PathBuf>, config: Config) -> Agent {
    let connector = ().chain(UnixConnector { path: path.into() });
    #[cfg(feature = "tls")]
    let connector = connector.chain(RustlsConnector::default());
    Agent::with_parts(config, connector, NoResolver)
}

/// Looks names up as [`greenloom::net`] does, without blocking the hub.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resolver;

impl ureq::unversioned::resolver::Resolver for Resolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(Error::BadUri(format!("{uri} has no scheme or no host")));
        };
        let name = DefaultResolver::host_and_port(scheme, authority)
            .ok_or_else(|| Error::BadUri(format!("no port is known for {scheme}")))?;
        let found = match limit(timeout) {
            None => name.to_socket_addrs(),
            Some(limit) => {
                greenloom::timeout(limit, || name.to_socket_addrs()).map_err(|_| Error::Timeout(timeout.reason))?
            }
        };
        let family = config.ip_family();
        let mut addresses = self.empty();
        // As many as the type holds.
        family.keep_wanted(found?).take(16).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// Looks nothing up, for connections that need no address.
#[derive(Clone, Copy, Debug)]
struct NoResolver;

impl ureq::unversioned::resolver::Resolver for NoResolver {
    fn resolve(&self, _uri: &Uri, _config: &Config, _timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Opens green TCP connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, GreenTransport<TcpStream>>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(connected) = chained {
            return Ok(Some(Either::A(connected)));
        }
        check_tls(details)?;
        let stream = connect(details)?;
        stream.set_nodelay(details.config.no_delay())?;
        Ok(Some(Either::B(GreenTransport::new(stream, details.config))))
    }
}

/// Tries one address after the other; each gets its share of the time that is left.
fn connect(details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
    let until = limit(details.timeout).map(|limit| now().saturating_add(limit));
    let mut last = Error::HostNotFound;
    for (tried, address) in details.addrs.iter().enumerate() {
        let attempt = match until {
            None => TcpStream::connect(*address),
            Some(until) => {
                let share = until.saturating_sub(now()) / (details.addrs.len() - tried) as u32;
                if share.is_zero() {
                    return Err(Error::Timeout(details.timeout.reason));
                }
                TcpStream::connect_timeout(*address, share)
            }
        };
        last = match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && until.is_some() => {
                Error::Timeout(details.timeout.reason)
            }
            Err(error) => error.into(),
        };
    }
    Err(last)
}

/// Opens green connections to one Unix socket.
#[derive(Clone, Debug)]
pub struct UnixConnector {
    /// Where the socket is.
    pub path: PathBuf,
}

impl<In: Transport> Connector<In> for UnixConnector {
    type Out = Either<In, GreenTransport<UnixStream>>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(connected) = chained {
            return Ok(Some(Either::A(connected)));
        }
        check_tls(details)?;
        Ok(Some(Either::B(GreenTransport::new(UnixStream::connect(&self.path)?, details.config))))
    }
}

/// Without TLS, nothing meant to be secret goes out in the clear.
fn check_tls(details: &ConnectionDetails<'_>) -> Result<(), Error> {
    if details.needs_tls() && cfg!(not(feature = "tls")) {
        return Err(Error::Tls("https needs the feature `tls` of greenloom-web"));
    }
    Ok(())
}

/// A green stream as ureq wants it.
pub struct GreenTransport<S> {
    stream: S,
    buffers: LazyBuffers,
}

impl<S> GreenTransport<S> {
    fn new(stream: S, config: &Config) -> GreenTransport<S> {
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        GreenTransport { stream, buffers }
    }
}

impl<S: Green> Transport for GreenTransport<S> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.limit_writes(limit(timeout))?;
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(|error| error_of(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.limit_reads(limit(timeout))?;
        let buffer = self.buffers.input_append_buf();
        let amount = self.stream.read(buffer).map_err(|error| error_of(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.is_silent()
    }
}

impl<S> fmt::Debug for GreenTransport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GreenTransport")
    }
}

/// What both kinds of streams can do.
trait Green: Read + Write + Send + Sync + 'static {
    fn limit_reads(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn limit_writes(&self, timeout: Option<Duration>) -> io::Result<()>;
    /// Whether it is open and nothing has arrived: what arrives unasked is not the answer to the next request.
    fn is_silent(&self) -> bool;
}

impl Green for TcpStream {
    fn limit_reads(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn limit_writes(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }

    fn is_silent(&self) -> bool {
        // std's, which does not park: the descriptor does not block.
        would_block(self.as_std().peek(&mut [0]))
    }
}

impl Green for UnixStream {
    fn limit_reads(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn limit_writes(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }

    fn is_silent(&self) -> bool {
        // A read that finds something spoils the connection, which is not used again then.
        would_block(self.as_std().read(&mut [0]))
    }
}

fn would_block(read: io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// A time limit that has passed already is a short one: the operation is tried, as ureq's own transport has it.
fn limit(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|limit| *limit)
}

fn error_of(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}
