//! One connection to one broker, from the handshake to its end. It is not made again: that is [`Link`](super::Link)'s.
//!
//! ```text
//!   publishers, acknowledgements, declarations          consumers, confirms, answers
//!                 | append frames                                   ^ queues and events
//!                 v                                                 |
//!               out ---- the writer ----> socket ----> the reader --+
//!                          ^
//!                        the heart: a heartbeat when nothing was written, the end when nothing was read
//! ```
//!
//! Frames are appended to one buffer, and the writer takes all of it each time it gets its turn: what green threads
//! publish in one turn of the hub leaves in one system call. The reader never waits for anybody but the socket, so a
//! slow consumer delays neither confirms nor heartbeats; what it has to keep is bounded by the consumers' prefetch.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use greenloom::{Builder, Chain, timeout};

use greenloom_amqp::{
    Malformed, Method,
    frame::{self, Frame, FramePayload},
};

use super::channel::Channel;
use super::core::{Core, Handle};
use super::error::Error;
use super::handshake::{Buffer, hung_up, shake_hands};
use super::url::{Broker, Options};
use crate::reason::Awaited;

/// A buffer that a burst has made larger is given back.
const KEPT_BUFFER: usize = 1024 * 1024;
/// How long an orderly end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a broker. Clones are of the same one; when the last one and all its channels are gone, it ends.
#[derive(Clone)]
pub struct Connection(Rc<Handle>);

impl Connection {
    /// Connects to one host and logs in. Parks meanwhile, at most for `options.connection_timeout`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::TimedOut`]; [`Error::Connection`] for a wrong password (403) or virtual host (530).
    pub fn open(host: &Broker, options: &Options) -> Result<Connection, Error> {
        let shaken = timeout(options.connection_timeout, || shake_hands(host, options));
        let (stream, limits, buffer) = shaken.map_err(|_| Error::TimedOut(Awaited::Connection))??;
        let core = Rc::new(Core::new(stream, limits));
        let connection = Connection(Rc::new(Handle { core: Rc::clone(&core) }));
        let reader = Rc::clone(&core);
        start("amqp reader", move || read(&reader, buffer))?;
        let writer = Rc::clone(&core);
        start("amqp writer", move || write(&writer))?;
        if !limits.heartbeat.is_zero() {
            start("amqp heart", move || beat(&core))?;
        }
        Ok(connection)
    }

    /// Opens a channel. Parks until the broker has answered, and while as many are open as it allows.
    ///
    /// # Errors
    /// Those of the connection; [`Error::Unsupported`] when none of those is closed within `options.answer_timeout`.
    pub fn open_channel(&self) -> Result<Channel, Error> {
        Channel::open(&self.0)
    }

    /// Why it has ended; `None` as long as it has not.
    pub fn ended(&self) -> Option<Error> {
        self.core().ended.borrow().clone()
    }

    /// Parks until it has ended and returns why.
    pub fn wait_ended(&self) -> Error {
        let core = self.core();
        // It can only be refused, and then there is nothing to wait with.
        let _ = core.end.wait();
        core.ended.borrow().clone().unwrap_or(Error::Closed)
    }

    /// Whether queues that are neither durable nor exclusive are as good as others to this broker.
    pub(super) fn takes_transient(&self) -> bool {
        self.core().limits.takes_transient
    }

    /// Why the broker takes no more messages from here; `None` as long as it does. It says so when it is short of
    /// memory or disk.
    pub fn blocked(&self) -> Option<String> {
        self.core().blocked.borrow().clone()
    }

    /// Ends it in order: what was sent before arrives. Parks until the broker has answered, at most two seconds.
    pub fn close(&self) {
        let core = self.core();
        core.say_goodbye();
        let _ = core.end.wait_timeout(CLOSE_TIMEOUT);
        core.end(Error::Closed);
    }

    /// Ends it without waiting for the broker's answer.
    pub(super) fn hang_up(&self) {
        self.core().say_goodbye();
        self.core().end(Error::Closed);
    }

    fn core(&self) -> &Rc<Core> {
        &self.0.core
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ended", &self.ended()).finish_non_exhaustive()
    }
}
fn write(core: &Core) {
    let mut batch = Vec::new();
    loop {
        std::mem::swap(&mut batch, &mut *core.out.borrow_mut());
        if !batch.is_empty() {
            core.spoke.set(true);
            if let Err(error) = core.stream.write_all(&batch) {
                core.end(error.into());
            }
            batch.clear();
            batch.shrink_to(KEPT_BUFFER);
            let _ = core.passable.send(());
            continue;
        }
        if core.ended.borrow().is_some() {
            return core.stream.close();
        }
        core.wake_writer.reset();
        core.writer_waits.set(true);
        if core.wake_writer.wait().is_err() {
            return core.end(Error::Closed);
        }
    }
}

fn read(core: &Core, mut buffer: Buffer) {
    let ended = loop {
        if let Err(error) = take_in(core, &mut buffer) {
            break error;
        }
        match core.stream.read(buffer.space()) {
            Ok(0) => break hung_up(),
            Ok(length) => buffer.filled(length),
            Err(error) => break error.into(),
        }
        core.heard.set(true);
    };
    if core.ended.borrow().is_none() {
        tracing::debug!(reason = %Chain(&ended), "the connection to the broker ended");
    }
    core.end(ended);
}

/// Handles all frames that are complete.
fn take_in(core: &Core, buffer: &mut Buffer) -> Result<(), Error> {
    while let Some((frame, length)) = frame::decode(buffer.bytes(), core.limits.frame_max)? {
        handle(core, frame)?;
        buffer.consume(length);
    }
    Ok(())
}

fn handle(core: &Core, Frame { channel, payload }: Frame<'_>) -> Result<(), Error> {
    if channel != 0 {
        return Ok(core.port(channel)?.handle(core, payload)?);
    }
    let method = match payload {
        FramePayload::Heartbeat => return Ok(()),
        FramePayload::Method(method) => method,
        _ => return Err(Malformed("content on channel 0").into()),
    };
    match method {
        Method::ConnectionClose { code, text, .. } => {
            core.push_method(0, &Method::ConnectionCloseOk {});
            Err(Error::Connection { code, text: text.into_owned() })
        }
        Method::ConnectionCloseOk {} => Err(Error::Closed),
        Method::ConnectionBlocked { reason } => {
            tracing::warn!(%reason, "the broker takes no more messages for now");
            *core.blocked.borrow_mut() = Some(reason.into_owned());
            Ok(())
        }
        Method::ConnectionUnblocked {} => {
            tracing::info!("the broker takes messages again");
            *core.blocked.borrow_mut() = None;
            let _ = core.passable.send(());
            Ok(())
        }
        _ => Err(Malformed("an unexpected method on channel 0").into()),
    }
}

/// Looks four times in two heartbeats, so that a dead peer is noticed after two and a half at the latest.
fn beat(core: &Core) {
    let mut silent = 0;
    while core.end.wait_timeout(core.limits.heartbeat / 2).is_err() {
        silent = if core.heard.take() { 0 } else { silent + 1 };
        if silent > 4 {
            return core.end(Error::Silent);
        }
        if !core.spoke.take() {
            core.push(frame::put_heartbeat);
        }
    }
}

fn start(name: &str, body: impl FnOnce() + 'static) -> Result<(), Error> {
    Builder::new().name(name).spawn(body).map(drop).map_err(|error| io::Error::other(error).into())
}
