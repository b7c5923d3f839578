//! The methods that this client sends or understands.
//!
//! A method borrows its strings: from its user when it is sent, from the frame when it comes in, so that the hot ones
//! (publish, deliver, ack) cost no allocation.

use std::borrow::Cow;

use super::table::Table;
use super::wire::{Field, Malformed, Reader, bits};

bits! {
    /// Of [`Method::ExchangeDeclare`].
    ExchangeBits { passive = 0, durable = 1, auto_delete = 2, internal = 3, nowait = 4 }
    /// Of [`Method::QueueDeclare`].
    QueueBits { passive = 0, durable = 1, exclusive = 2, auto_delete = 3, nowait = 4 }
    /// Of [`Method::QueueDelete`].
    DeleteBits { if_unused = 0, if_empty = 1, nowait = 2 }
    /// Of [`Method::BasicConsume`].
    ConsumeBits { no_local = 0, no_ack = 1, exclusive = 2, nowait = 3 }
    /// Of [`Method::BasicPublish`].
    PublishBits { mandatory = 0, immediate = 1 }
    /// Of [`Method::BasicNack`].
    NackBits { multiple = 0, requeue = 1 }
    /// Of methods with a single flag.
    Bit { set = 0 }
}

macro_rules! methods {
    ($($class:literal $number:literal $name:ident { $($field:ident: $type:ty),* })*) => {
        /// A method, with the fields of the specification; those that it reserves are left out of the documentation.
        #[allow(missing_docs, reason = "named as the specification names them")]
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Method<'a> {
            $($name { $($field: $type),* },)*
        }

        impl<'a> Method<'a> {
            pub(super) fn read(from: &mut Reader<'a>) -> Result<Method<'a>, Malformed> {
                Ok(match (u16::read(from)?, u16::read(from)?) {
                    $(($class, $number) => Method::$name { $($field: <$type>::read(from)?),* },)*
                    _ => return Err(Malformed("a method that this client does not know")),
                })
            }

            pub(super) fn put(&self, to: &mut Vec<u8>) {
                match self {
                    $(Method::$name { $($field),* } => {
                        u16::put(&$class, to);
                        u16::put(&$number, to);
                        $($field.put(to);)*
                    })*
                }
            }
        }
    };
}

methods! {
    10 10 ConnectionStart { major: u8, minor: u8, properties: Cow<'a, Table>, mechanisms: &'a [u8], locales: &'a [u8] }
    10 11 ConnectionStartOk { properties: Cow<'a, Table>, mechanism: &'a str, response: &'a [u8], locale: &'a str }
    10 30 ConnectionTune { channel_max: u16, frame_max: u32, heartbeat: u16 }
    10 31 ConnectionTuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 }
    10 40 ConnectionOpen { virtual_host: &'a str, reserved_1: &'a str, reserved_2: Bit }
    10 41 ConnectionOpenOk { reserved: &'a str }
    10 50 ConnectionClose { code: u16, text: Cow<'a, str>, class: u16, method: u16 }
    10 51 ConnectionCloseOk { }
    10 60 ConnectionBlocked { reason: Cow<'a, str> }
    10 61 ConnectionUnblocked { }
    20 10 ChannelOpen { reserved: &'a str }
    20 11 ChannelOpenOk { reserved: &'a [u8] }
    20 40 ChannelClose { code: u16, text: Cow<'a, str>, class: u16, method: u16 }
    20 41 ChannelCloseOk { }
    40 10 ExchangeDeclare {
        reserved: u16, exchange: &'a str, kind: &'a str, bits: ExchangeBits, arguments: Cow<'a, Table>
    }
    40 11 ExchangeDeclareOk { }
    40 20 ExchangeDelete { reserved: u16, exchange: &'a str, bits: DeleteBits }
    40 21 ExchangeDeleteOk { }
    50 10 QueueDeclare { reserved: u16, queue: &'a str, bits: QueueBits, arguments: Cow<'a, Table> }
    50 11 QueueDeclareOk { queue: &'a str, messages: u32, consumers: u32 }
    50 20 QueueBind {
        reserved: u16, queue: &'a str, exchange: &'a str, routing_key: &'a str, nowait: Bit, arguments: Cow<'a, Table>
    }
    50 21 QueueBindOk { }
    50 40 QueueDelete { reserved: u16, queue: &'a str, bits: DeleteBits }
    50 41 QueueDeleteOk { messages: u32 }
    60 10 BasicQos { size: u32, count: u16, global: Bit }
    60 11 BasicQosOk { }
    60 20 BasicConsume { reserved: u16, queue: &'a str, tag: &'a str, bits: ConsumeBits, arguments: Cow<'a, Table> }
    60 21 BasicConsumeOk { tag: &'a str }
    60 30 BasicCancel { tag: &'a str, nowait: Bit }
    60 31 BasicCancelOk { tag: &'a str }
    60 40 BasicPublish { reserved: u16, exchange: &'a str, routing_key: &'a str, bits: PublishBits }
    60 50 BasicReturn { code: u16, text: Cow<'a, str>, exchange: Cow<'a, str>, routing_key: Cow<'a, str> }
    60 60 BasicDeliver {
        tag: &'a str, delivery: u64, redelivered: Bit, exchange: Cow<'a, str>, routing_key: Cow<'a, str>
    }
    60 80 BasicAck { delivery: u64, multiple: Bit }
    60 90 BasicReject { delivery: u64, requeue: Bit }
    60 120 BasicNack { delivery: u64, bits: NackBits }
    85 10 ConfirmSelect { nowait: Bit }
    85 11 ConfirmSelectOk { }
}
