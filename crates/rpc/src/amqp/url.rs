//! Where the broker is and how to talk to it, as a URL says it.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::reason::UrlError;

/// A broker, or several that stand for one another.
///
/// ```
/// use greenloom_rpc::amqp::Options;
///
/// let options: Options = "amqp://user:secret@first:5672,second/%2Fvhost?heartbeat=10".parse()?;
/// assert_eq!(options.brokers[1].port, 5672);
/// assert_eq!(options.brokers[1].user, "user");
/// assert_eq!(options.virtual_host, "/vhost");
/// # Ok::<(), greenloom_rpc::transport::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Tried one after another, beginning with any of them.
    pub brokers: Vec<Broker>,
    /// `/` by default.
    pub virtual_host: String,
    /// Whether to speak TLS (`amqps://`).
    pub tls: bool,
    /// The certificates to trust (`ssl_ca_file`), in PEM; those of the system if not set.
    pub ca_file: Option<String>,
    /// How long to wait for a connection to one host until the broker is ready for methods (`connection_timeout`, in
    /// seconds).
    pub connection_timeout: Duration,
    /// How often each side makes itself heard (`heartbeat` or `heartbeat_timeout_threshold`, in seconds). The smaller
    /// one of ours and the broker's wish counts; zero turns heartbeats off, as in oslo.messaging.
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
    /// Whether topics' queues and exchanges outlive the broker (`amqp_durable_queues`); if not, what is in them is lost
    /// when it stops. By default queues do where the broker wants it so, which RabbitMQ does from 4.0 on; before, and
    /// exchanges everywhere, they do not, as in oslo.messaging.
    pub durable: Option<bool>,
    /// Whether topics' queues and exchanges go when nobody uses them any more (`amqp_auto_delete`).
    pub auto_delete: bool,
    /// Whether topics' queues are quorum queues (`rabbit_quorum_queue`), which are durable.
    pub quorum: bool,
    /// After how many deliveries that failed a quorum queue gives a message up (`rabbit_quorum_delivery_limit`); zero
    /// leaves it to the broker.
    pub delivery_limit: u32,
    /// How many messages a quorum queue keeps in memory (`rabbit_quorum_max_memory_length`); zero leaves it to the
    /// broker.
    pub max_memory_length: u32,
    /// How many bytes of messages a quorum queue keeps in memory (`rabbit_quorum_max_memory_bytes`); zero leaves it to
    /// the broker.
    pub max_memory_bytes: u32,
    /// Whether queues of fanouts and replies are quorum queues, too (`rabbit_transient_quorum_queue`).
    pub transient_quorum: bool,
    /// After which time without a consumer the broker drops queues of fanouts and replies
    /// (`rabbit_transient_queues_ttl`, in seconds).
    pub transient_ttl: Duration,
}

impl Default for Topology {
    fn default() -> Topology {
        Topology {
            durable: None,
            auto_delete: false,
            quorum: false,
            delivery_limit: 0,
            max_memory_length: 0,
            max_memory_bytes: 0,
            transient_quorum: false,
            transient_ttl: Duration::from_secs(1800),
        }
    }
}

/// One broker.
#[derive(Clone, PartialEq)]
pub struct Broker {
    /// A name or an address; IPv6 without the brackets.
    pub name: String,
    /// 5672 by default, with TLS 5671.
    pub port: u16,
    /// `guest` by default.
    pub user: String,
    /// `guest` by default.
    pub password: String,
}

impl std::fmt::Debug for Broker {
    /// Without the password: it ends in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.name, self.port)
    }
}

impl std::str::FromStr for Options {
    type Err = UrlError;

    /// Reads `amqp://user:password@host:port,host:port/vhost?name=value&...`; `amqps` and oslo.messaging's `rabbit` are
    /// schemes too. A host without a user has that of the host before.
    fn from_str(url: &str) -> Result<Options, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| UrlError::NoScheme(url.to_owned()))?;
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" | "rabbit" => false,
            "amqps" => true,
            _ => return Err(UrlError::UnknownScheme(scheme.to_owned())),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tls = match query.split('&').filter_map(|pair| pair.strip_prefix("ssl=")).next_back() {
            Some(value) => match (tls, boolean("ssl", &decoded(value)?)?) {
                (true, false) => return Err(UrlError::TlsAndNone),
                (_, ssl) => ssl,
            },
            None => tls,
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let virtual_host = if path.is_empty() { "/".to_owned() } else { decoded(path)? };
        let mut options = Options {
            brokers: parse_brokers(hosts, tls)?,
            virtual_host,
            tls,
            ca_file: None,
            connection_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(60),
            frame_max: 128 * 1024,
            answer_timeout: Duration::from_secs(60),
            topology: Topology::default(),
        };
        let mut unused = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| UrlError::NoValue(pair.to_owned()))?;
            if UNUSED.contains(&name) {
                unused.push(name);
            } else {
                options.set(name, &decoded(value)?)?;
            }
        }
        if !unused.is_empty() {
            tracing::warn!(options = unused.join(", "), "options of oslo.messaging that have no meaning here");
        }
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<(), UrlError> {
        match name {
            "heartbeat" | "heartbeat_timeout_threshold" => self.heartbeat = seconds(name, value)?,
            "connection_timeout" => self.connection_timeout = seconds(name, value)?,
            "ssl_ca_file" => self.ca_file = Some(value.to_owned()),
            // It was looked at first, for the hosts' ports depend on it.
            "ssl" => {}
            "amqp_durable_queues" => self.topology.durable = Some(boolean(name, value)?),
            "amqp_auto_delete" => self.topology.auto_delete = boolean(name, value)?,
            "rabbit_quorum_queue" => self.topology.quorum = boolean(name, value)?,
            "rabbit_quorum_delivery_limit" => self.topology.delivery_limit = number(name, value)?,
            "rabbit_quorum_max_memory_length" => self.topology.max_memory_length = number(name, value)?,
            "rabbit_quorum_max_memory_bytes" => self.topology.max_memory_bytes = number(name, value)?,
            "rabbit_transient_quorum_queue" => self.topology.transient_quorum = boolean(name, value)?,
            "rabbit_transient_queues_ttl" => self.topology.transient_ttl = seconds(name, value)?,
            _ => return Err(UrlError::UnknownOption(name.to_owned())),
        }
        Ok(())
    }
}

/// Options of oslo.messaging's RabbitMQ driver, by their names, that have nothing to act on here. What they are for is
/// either done always (mandatory replies, heartbeats beside the work, backoff, the check of a host's name), or RabbitMQ
/// has given it up.
const UNUSED: &[&str] = &[
    "conn_pool_min_size",
    "conn_pool_ttl",
    "direct_mandatory_flag",
    "enable_cancel_on_failover",
    "heartbeat_in_pthread",
    "heartbeat_rate",
    "hostname",
    "kombu_compression",
    "kombu_failover_strategy",
    "kombu_missing_consumer_retry_timeout",
    "kombu_reconnect_delay",
    "kombu_reconnect_splay",
    "processname",
    "rabbit_ha_queues",
    "rabbit_interval_max",
    "rabbit_login_method",
    "rabbit_qos_prefetch_count",
    "rabbit_retry_backoff",
    "rabbit_retry_interval",
    "rabbit_stream_fanout",
    "rpc_conn_pool_size",
    "ssl_cert_file",
    "ssl_enforce_fips_mode",
    "ssl_enforce_hostname_verification",
    "ssl_key_file",
    "ssl_version",
    "use_queue_manager",
];

const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;

fn parse_brokers(hosts: &str, tls: bool) -> Result<Vec<Broker>, UrlError> {
    let (mut user, mut password) = ("guest".to_owned(), "guest".to_owned());
    let (mut parsed, several) = (Vec::new(), hosts.contains(','));
    for part in hosts.split(',') {
        let address = match part.rsplit_once('@') {
            Some((login, address)) => {
                let (name, secret) = login.split_once(':').unwrap_or((login, ""));
                (user, password) = (decoded(name)?, decoded(secret)?);
                address
            }
            None => part,
        };
        let (name, port) = parse_address(address, if tls { TLS_PORT } else { PORT })?;
        let name = match name {
            // One without a name is this machine, as RabbitMQ's own clients have it; in a list it is a slip.
            name if name.is_empty() && several => return Err(UrlError::Nameless),
            name if name.is_empty() => "localhost".to_owned(),
            name => name,
        };
        parsed.push(Broker { name, port, user: user.clone(), password: password.clone() });
    }
    Ok(parsed)
}

/// The name, which may be empty, and the port of `name`, `name:port`, `[IPv6]` or `[IPv6]:port`.
fn parse_address(address: &str, default: u16) -> Result<(String, u16), UrlError> {
    let (name, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or(UrlError::Unclosed)?;
            let name = decoded(name)?;
            let (digits, _zone) = name.split_once('%').unwrap_or((&name, ""));
            if digits.parse::<Ipv6Addr>().is_err() {
                return Err(UrlError::NoIpv6(name));
            }
            let port = rest.strip_prefix(':');
            let port = if rest.is_empty() { Some("") } else { port };
            (name, port.ok_or_else(|| UrlError::AfterBrackets(address.to_owned()))?)
        }
        None => {
            let (name, port) = address.split_once(':').unwrap_or((address, ""));
            if let Some(character) =
                name.chars().find(|&it| !(it.is_ascii_alphanumeric() || "-._~%!$&'()*+;=".contains(it)))
            {
                return Err(UrlError::BadCharacter { character, name: name.to_owned() });
            }
            (decoded(name)?, port)
        }
    };
    let port = match port {
        "" => Ok(default),
        port if port.bytes().all(|digit| digit.is_ascii_digit()) => port.parse().map_err(drop),
        _ => Err(()),
    };
    let port = port.ok().filter(|port| *port != 0);
    Ok((name, port.ok_or_else(|| UrlError::BadPort(address.to_owned()))?))
}

/// With `%41` as `A`.
fn decoded(text: &str) -> Result<String, UrlError> {
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
        bytes.push(byte.ok_or_else(|| UrlError::BadPercent(text.to_owned()))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| UrlError::NotUtf8(text.to_owned()))
}

fn seconds(name: &str, value: &str) -> Result<Duration, UrlError> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| bad_value(name, value, "a number of seconds"))
}

fn number(name: &str, value: &str) -> Result<u32, UrlError> {
    value.parse().map_err(|_| bad_value(name, value, "a number up to 4294967295"))
}

fn boolean(name: &str, value: &str) -> Result<bool, UrlError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(bad_value(name, value, "true or false")),
    }
}

fn bad_value(name: &str, value: &str, takes: &'static str) -> UrlError {
    UrlError::BadValue { name: name.to_owned(), value: value.to_owned(), takes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Options, String> {
        url.parse().map_err(|error: UrlError| error.to_string())
    }

    #[test]
    fn hosts_ports_users_and_virtual_hosts() {
        let options =
            parse("amqps://a:p%40ss@one,b:q@[::1]:7,three:8//x?heartbeat=2.5&amqp_durable_queues=True").unwrap();
        let hosts: Vec<_> = options.brokers.iter().map(|host| format!("{host:?} {}", host.password)).collect();
        assert_eq!(hosts, ["a@one:5671 p@ss", "b@::1:7 q", "b@three:8 q"]);
        assert_eq!(options.virtual_host, "/x");
        assert_eq!(options.heartbeat, Duration::from_millis(2500));
        assert!(options.tls && options.topology.durable == Some(true));
        for default in ["amqp://", "amqp:///", "rabbit://localhost/%2F", "amqp://guest:guest@localhost:5672//"] {
            let options = parse(default).unwrap();
            assert_eq!(
                (options.brokers[0].name.as_str(), options.virtual_host.as_str()),
                ("localhost", "/"),
                "{default}"
            );
        }
    }

    #[test]
    fn schemes_are_the_same_in_upper_case_and_ssl_changes_the_port() {
        assert!(parse("AMQPS://h").unwrap().tls);
        assert_eq!(parse("Rabbit://h").unwrap().brokers[0].port, 5672);
        let options = parse("rabbit://h,i:7/?ssl=1").unwrap();
        assert_eq!((options.tls, options.brokers[0].port, options.brokers[1].port), (true, 5671, 7));
        assert!(parse("amqps://h/?ssl=1").unwrap().tls);
        assert_eq!(parse("amqp://[fe80::1%25eth0]").unwrap().brokers[0].name, "fe80::1%eth0");
        assert_eq!(parse("amqp://:7/").unwrap().brokers[0].name, "localhost");
    }

    #[test]
    fn the_options_of_oslo_messaging_are_used_or_known() {
        let all: String = UNUSED.iter().map(|name| format!("{name}=1&")).collect();
        let options = parse(&format!(
            "rabbit://h/?{all}rabbit_transient_quorum_queue=true&rabbit_quorum_delivery_limit=7\
             &rabbit_quorum_max_memory_length=8&rabbit_quorum_max_memory_bytes=9&heartbeat_timeout_threshold=0"
        ))
        .unwrap();
        let Topology { transient_quorum, delivery_limit, max_memory_length, max_memory_bytes, .. } = options.topology;
        assert_eq!((transient_quorum, delivery_limit, max_memory_length, max_memory_bytes), (true, 7, 8, 9));
        assert!(options.heartbeat.is_zero());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (url, problem) in [
            ("localhost", "does not begin with a transport"),
            ("kafka://h", "\"kafka\" is none of"),
            ("amqp://h:99999", "no port"),
            ("amqp://h/?heartbeet=1", "\"heartbeet\" is no option"),
            ("amqp://h/?heartbeat=-1", "not a number of seconds"),
            ("amqp://h/%4", "two hexadecimal digits"),
            ("amqp://h/?ssl=maybe", "not true or false"),
            ("amqps://h/?ssl=0", "one asks for TLS"),
            ("amqp://h/#top", "a fragment"),
            ("amqp://a,,b/", "without a name among several"),
            ("amqp://a,/", "without a name among several"),
            ("amqp://[::1/", "without ]"),
            ("amqp://[::g]/", "no IPv6 address"),
            ("amqp://[]/", "no IPv6 address"),
            ("amqp://[::1]5672/", "follows the brackets"),
            ("amqp://::1/", "no port"),
            ("amqp://h:+5/", "no port"),
            ("amqp://h:0/", "no port"),
            ("amqp://a b/", "cannot be in a host's name"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
