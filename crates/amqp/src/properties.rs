//! A content header: the size of a message's body, and its properties.

use super::table::Table;
use super::wire::{Field, Malformed, Reader, is_short};

/// The class of all content, `basic`.
const BASIC: u16 = 60;

macro_rules! properties {
    ($($(#[$doc:meta])* $bit:literal $name:ident: $type:ty;)*) => {
        /// What a message carries beside its body.
        ///
        /// ```
        /// use greenloom_amqp::Properties;
        ///
        /// let properties = Properties { content_type: Some("application/json".into()), ..Properties::persistent() };
        /// assert_eq!(properties.delivery_mode, Some(2));
        /// ```
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Properties {
            $($(#[$doc])* pub $name: Option<$type>,)*
            /// What came in their place, if they could not be read; nothing else is set then. It is sent as it is.
            pub unread: Option<Unread>,
        }

        impl Properties {
            fn read(from: &mut Reader<'_>) -> Result<Properties, Malformed> {
                let flags = u16::read(from)?;
                if flags & 1 != 0 {
                    return Err(Malformed("a content header with more flags than there are properties"));
                }
                Ok(Properties {
                    $($name: if flags & (1 << $bit) != 0 { Some(<$type as Property>::read(from)?) } else { None },)*
                    unread: None,
                })
            }

            fn put(&self, to: &mut Vec<u8>) {
                if let Some(unread) = &self.unread {
                    return to.extend_from_slice(&unread.bytes);
                }
                let mut flags = 0u16;
                $(flags |= (self.$name.is_some() as u16) << $bit;)*
                flags.put(to);
                $(if let Some(value) = &self.$name {
                    Property::put(value, to);
                })*
            }
        }
    };
}

properties! {
    /// The MIME type of the body.
    15 content_type: String;
    /// How the body is encoded.
    14 content_encoding: String;
    /// What else there is.
    13 headers: Table;
    /// 2 for one that outlives the broker, in a durable queue; 1 for one that does not.
    12 delivery_mode: u8;
    /// Up to the queue's `x-max-priority`.
    11 priority: u8;
    /// For the application.
    10 correlation_id: String;
    /// For the application.
    9 reply_to: String;
    /// After how many milliseconds the broker throws it away, in decimal digits.
    8 expiration: String;
    /// For the application.
    7 message_id: String;
    /// In seconds since 1970.
    6 timestamp: u64;
    /// For the application.
    5 kind: String;
    /// The broker compares it with the user that is logged in.
    4 user_id: String;
    /// For the application.
    3 app_id: String;
    /// Reserved by the specification.
    2 cluster_id: String;
}

impl Properties {
    /// Those of a message that outlives the broker, in a durable queue.
    pub fn persistent() -> Properties {
        Properties { delivery_mode: Some(2), ..Properties::default() }
    }

    /// What cannot be sent: the name of a property that is longer than 255 bytes.
    pub fn too_long(&self) -> Option<&'static str> {
        let texts = [
            ("content_type", &self.content_type),
            ("content_encoding", &self.content_encoding),
            ("correlation_id", &self.correlation_id),
            ("reply_to", &self.reply_to),
            ("expiration", &self.expiration),
            ("message_id", &self.message_id),
            ("kind", &self.kind),
            ("user_id", &self.user_id),
            ("app_id", &self.app_id),
            ("cluster_id", &self.cluster_id),
        ];
        texts.into_iter().find(|(_, text)| text.as_deref().is_some_and(|text| !is_short(text))).map(|(name, _)| name)
    }
}

/// Properties that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// What is wrong with them.
    pub problem: Malformed,
    /// What came, from the flags on.
    pub bytes: Vec<u8>,
}

trait Property: Sized {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;
    fn put(&self, to: &mut Vec<u8>);
}

impl Property for String {
    fn read(from: &mut Reader<'_>) -> Result<String, Malformed> {
        <&str>::read(from).map(str::to_owned)
    }

    fn put(&self, to: &mut Vec<u8>) {
        self.as_str().put(to);
    }
}

macro_rules! as_field {
    ($($type:ty)*) => {
        $(impl Property for $type {
            fn read(from: &mut Reader<'_>) -> Result<$type, Malformed> {
                Field::read(from)
            }

            fn put(&self, to: &mut Vec<u8>) {
                Field::put(self, to);
            }
        })*
    };
}

as_field!(Table u8 u64);

/// What comes between a method with content and its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// How many bytes of body follow, in frames of their own.
    pub body_size: u64,
    /// The properties.
    pub properties: Properties,
}

impl Header {
    /// Reads a header frame's payload. Properties that cannot be read are [kept unread](Properties::unread).
    ///
    /// # Errors
    /// [`Malformed`], for another class than `basic`.
    pub fn read(from: &mut Reader<'_>) -> Result<Header, Malformed> {
        if u16::read(from)? != BASIC {
            return Err(Malformed("a content header of an unknown class"));
        }
        // The weight, which nobody uses.
        u16::read(from)?;
        let body_size = Field::read(from)?;
        // What is wrong with them is this message's matter, and not the connection's: its frame is whole.
        let bytes = from.take(from.rest().len())?;
        let mut reader = Reader::new(bytes);
        let properties = Properties::read(&mut reader).and_then(|properties| reader.finish().map(|()| properties));
        let properties = properties.unwrap_or_else(|problem| Properties {
            unread: Some(Unread { problem, bytes: bytes.to_vec() }),
            ..Properties::default()
        });
        Ok(Header { body_size, properties })
    }

    /// Appends a header frame's payload.
    pub fn put(to: &mut Vec<u8>, body_size: u64, properties: &Properties) {
        BASIC.put(to);
        0u16.put(to);
        Field::put(&body_size, to);
        properties.put(to);
    }
}
