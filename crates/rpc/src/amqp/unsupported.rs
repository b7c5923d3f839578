//! What cannot be sent, or not to this broker.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What cannot be done, however often it is tried: the protocol, the broker or this build has no way for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Unsupported {
    /// A name is longer than the 255 bytes that the protocol has for it.
    LongName(String),
    /// A property of a message is longer than 255 bytes.
    LongProperty(&'static str),
    /// A message's properties do not fit a frame.
    Properties {
        /// The largest frame that was agreed on, in bytes.
        frame_max: u32,
    },
    /// A table has tables in it that go too deep.
    Nesting,
    /// All channels that the broker allows are open, and none was closed in time.
    Channels {
        /// How many that are.
        channel_max: u16,
    },
    /// The broker offers no SASL PLAIN, which is the only way to log in here.
    Login,
    /// The URL asks for TLS, and this build has none.
    Tls,
    /// The certificates to trust cannot be read.
    Certificates {
        /// The file.
        file: String,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::LongName(name) => write!(f, "a name of more than 255 bytes: {name:?}"),
            Unsupported::LongProperty(name) => write!(f, "the property {name} is longer than 255 bytes"),
            Unsupported::Properties { frame_max } => {
                write!(f, "properties of more than the {frame_max} bytes of a frame")
            }
            Unsupported::Nesting => f.write_str("a table is nested too deeply"),
            Unsupported::Channels { channel_max } => write!(f, "more than {channel_max} channels"),
            Unsupported::Login => f.write_str("the broker does not offer SASL PLAIN"),
            Unsupported::Tls => f.write_str("this build has no TLS: the feature \"tls\" is off"),
            Unsupported::Certificates { file, .. } => write!(f, "cannot read the certificates in {file}"),
        }
    }
}

impl Error for Unsupported {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Unsupported::Certificates { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
