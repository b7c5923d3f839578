//! Where the broker is and how to talk to it, as a URL says it.

use std::time::Duration;

use super::error::Error;

/// A broker, or several that stand for one another.
///
/// ```
/// use greenloom_rpc::amqp::Options;
///
/// let options: Options = "amqp://user:secret@first:5672,second/%2Fvhost?heartbeat=10".parse()?;
/// assert_eq!(options.hosts[1].port, 5672);
/// assert_eq!(options.hosts[1].user, "user");
/// assert_eq!(options.virtual_host, "/vhost");
/// # Ok::<(), greenloom_rpc::amqp::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Tried one after another, beginning with any of them.
    pub hosts: Vec<Host>,
    /// `/` by default.
    pub virtual_host: String,
    /// Whether to speak TLS (`amqps://`).
    pub tls: bool,
    /// The certificates to trust (`ssl_ca_file`), in PEM; those of the system if not set.
    pub ca_file: Option<String>,
    /// How long to wait for a connection to one host until the broker is ready for methods (`connection_timeout`, in seconds).
    pub connection_timeout: Duration,
    /// How often each side makes itself heard (`heartbeat` or `heartbeat_timeout_threshold`, in seconds). The smaller one of ours and the
    /// broker's wish counts; zero leaves it to the broker.
    pub heartbeat: Duration,
    /// The largest frame to agree to, in bytes.
    pub frame_max: u32,
    /// How long to wait for the broker's answer to a method, and for its word that it has a message.
    pub answer_timeout: Duration,
    /// How queues and exchanges are declared.
    pub topology: Topology,
}

/// How queues and exchanges are declared: as oslo.messaging's options of the same names say. Both sides must agree, or
/// the broker refuses.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Topology {
    /// Whether topics' queues and exchanges outlive the broker (`amqp_durable_queues`). Not by default, as in oslo.messaging: then what
    /// is in them is lost when the broker stops.
    pub durable: bool,
    /// Whether topics' queues and exchanges go when nobody uses them any more (`amqp_auto_delete`).
    pub auto_delete: bool,
    /// Whether topics' queues are quorum queues (`rabbit_quorum_queue`), which are durable.
    pub quorum: bool,
    /// After which time without a consumer the broker drops queues of fanouts and replies (`rabbit_transient_queues_ttl`, in
    /// seconds).
    pub transient_ttl: Duration,
}

impl Default for Topology {
    fn default() -> Topology {
        Topology { durable: false, auto_delete: false, quorum: false, transient_ttl: Duration::from_secs(1800) }
    }
}

/// One broker.
#[derive(Clone, PartialEq)]
pub struct Host {
    /// A name or an address; IPv6 without the brackets.
    pub name: String,
    /// 5672 by default, with TLS 5671.
    pub port: u16,
    /// `guest` by default.
    pub user: String,
    /// `guest` by default.
    pub password: String,
}

impl std::fmt::Debug for Host {
    /// Without the password: it ends in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.name, self.port)
    }
}

impl std::str::FromStr for Options {
    type Err = Error;

    /// Reads `amqp://user:password@host:port,host:port/vhost?name=value&...`; `amqps` and oslo.messaging's `rabbit` are schemes
    /// too. A host without a user has that of the host before.
    fn from_str(url: &str) -> Result<Options, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let tls = match scheme {
            "amqp" | "rabbit" => false,
            "amqps" => true,
            _ => return Err(bad(&format!("{scheme:?} is none of amqp, amqps, rabbit"))),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let virtual_host = if path.is_empty() { "/".to_owned() } else { decoded(path)? };
        let mut options = Options {
            hosts: parse_hosts(hosts, tls)?,
            virtual_host,
            tls,
            ca_file: None,
            connection_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(60),
            frame_max: 128 * 1024,
            answer_timeout: Duration::from_secs(60),
            topology: Topology::default(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| bad(&format!("{pair:?} is not name=value")))?;
            options.set(name, &decoded(value)?)?;
        }
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "heartbeat" | "heartbeat_timeout_threshold" => self.heartbeat = seconds(name, value)?,
            "connection_timeout" => self.connection_timeout = seconds(name, value)?,
            "ssl_ca_file" => self.ca_file = Some(value.to_owned()),
            "ssl" => self.tls = boolean(name, value)?,
            "amqp_durable_queues" => self.topology.durable = boolean(name, value)?,
            "amqp_auto_delete" => self.topology.auto_delete = boolean(name, value)?,
            "rabbit_quorum_queue" => self.topology.quorum = boolean(name, value)?,
            "rabbit_transient_queues_ttl" => self.topology.transient_ttl = seconds(name, value)?,
            _ => return Err(bad(&format!("{name:?} is no option"))),
        }
        Ok(())
    }
}

fn parse_hosts(hosts: &str, tls: bool) -> Result<Vec<Host>, Error> {
    let (mut user, mut password) = ("guest".to_owned(), "guest".to_owned());
    let mut parsed = Vec::new();
    for part in hosts.split(',') {
        let address = match part.rsplit_once('@') {
            Some((login, address)) => {
                let (name, secret) = login.split_once(':').unwrap_or((login, ""));
                (user, password) = (decoded(name)?, decoded(secret)?);
                address
            }
            None => part,
        };
        let (name, port) = parse_address(address, if tls { 5671 } else { 5672 })?;
        parsed.push(Host { name, port, user: user.clone(), password: password.clone() });
    }
    Ok(parsed)
}

fn parse_address(address: &str, default: u16) -> Result<(String, u16), Error> {
    let (name, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or_else(|| bad("an address in [ without ]"))?;
            (name, rest.strip_prefix(':').unwrap_or(rest))
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let port = if port.is_empty() { Ok(default) } else { port.parse() };
    let port = port.map_err(|_| bad(&format!("{address:?} has no port that is a number up to 65535")))?;
    Ok((if name.is_empty() { "localhost".to_owned() } else { decoded(name)? }, port))
}

/// With `%41` as `A`.
fn decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte =
            digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| bad(&format!("a % without two hexadecimal digits in {text:?}")))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad(&format!("{text:?} is not UTF-8")))
}

fn seconds(name: &str, value: &str) -> Result<Duration, Error> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| bad(&format!("{name}={value} is not a number of seconds")))
}

fn boolean(name: &str, value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(bad(&format!("{name}={value} is neither true nor false"))),
    }
}

fn bad(problem: &str) -> Error {
    Error::Url(format!("bad AMQP URL: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Options, String> {
        url.parse().map_err(|error: Error| error.to_string())
    }

    #[test]
    fn hosts_ports_users_and_virtual_hosts() {
        let options =
            parse("amqps://a:p%40ss@one,b:q@[::1]:7,three:8//x?heartbeat=2.5&amqp_durable_queues=True").unwrap();
        let hosts: Vec<_> = options.hosts.iter().map(|host| format!("{host:?} {}", host.password)).collect();
        assert_eq!(hosts, ["a@one:5671 p@ss", "b@::1:7 q", "b@three:8 q"]);
        assert_eq!(options.virtual_host, "/x");
        assert_eq!(options.heartbeat, Duration::from_millis(2500));
        assert!(options.tls && options.topology.durable);
        for default in ["amqp://", "amqp:///", "rabbit://localhost/%2F", "amqp://guest:guest@localhost:5672//"] {
            let options = parse(default).unwrap();
            assert_eq!(
                (options.hosts[0].name.as_str(), options.virtual_host.as_str()),
                ("localhost", "/"),
                "{default}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (url, problem) in [
            ("localhost", "no scheme"),
            ("kafka://h", "\"kafka\" is none of"),
            ("amqp://h:99999", "no port"),
            ("amqp://h/?heartbeet=1", "\"heartbeet\" is no option"),
            ("amqp://h/?heartbeat=-1", "not a number of seconds"),
            ("amqp://h/%4", "two hexadecimal digits"),
            ("amqp://h/?ssl=maybe", "neither true nor false"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
