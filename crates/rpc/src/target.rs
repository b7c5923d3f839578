//! Who a message is for.

use crate::transport::Address;

/// The exchange of targets that name none, as in oslo.messaging.
pub(crate) const EXCHANGE: &str = "openstack";

/// Who a message is for, and which interface of theirs is meant.
///
/// ```
/// use greenloom_rpc::Target;
/// let target = Target::topic("l3_agent").server("net-1").version("1.4");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Target {
    pub(crate) exchange: Option<String>,
    pub(crate) topic: String,
    pub(crate) server: Option<String>,
    pub(crate) fanout: bool,
    pub(crate) namespace: Option<String>,
    pub(crate) version: Option<String>,
}

impl Target {
    /// One of the servers of a topic.
    pub fn topic(topic: impl Into<String>) -> Target {
        Target { exchange: None, topic: topic.into(), server: None, fanout: false, namespace: None, version: None }
    }

    /// This server of the topic.
    pub fn server(mut self, server: impl Into<String>) -> Target {
        self.server = Some(server.into());
        self
    }

    /// All servers of the topic; only for casts.
    pub fn fanout(mut self) -> Target {
        self.fanout = true;
        self
    }

    /// An exchange other than the connection's.
    pub fn exchange(mut self, exchange: impl Into<String>) -> Target {
        self.exchange = Some(exchange.into());
        self
    }

    /// The namespace of the methods. Without one, those without one are meant.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Target {
        self.namespace = Some(namespace.into());
        self
    }

    /// The version of the interface that is needed, such as `1.4`. Without one, `1.0` is meant.
    pub fn version(mut self, version: impl Into<String>) -> Target {
        self.version = Some(version.into());
        self
    }

    /// Where its messages go on a bus.
    pub(crate) fn address(&self, default_exchange: &str) -> Address {
        let topic = self.topic.clone();
        if self.fanout {
            return Address::Fanout { topic };
        }
        let exchange = self.exchange.as_deref().unwrap_or(default_exchange).to_string();
        match &self.server {
            Some(server) => Address::Server { exchange, topic, server: server.clone() },
            None => Address::Topic { exchange, topic },
        }
    }
}
