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
//! Frames are appended to one buffer, and the writer takes all of it each time it gets its turn: what green threads publish in
//! one turn of the hub leaves in one system call. The reader never waits for anybody but the socket, so a slow consumer
//! delays neither confirms nor heartbeats; what it has to keep is bounded by the consumers' prefetch.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::Event;
use greenloom::{Builder, hub, timeout};

use super::channel::{Channel, ChannelState};
use super::error::Error;
use super::frame::{self, Frame, MIN_FRAME, PROTOCOL_HEADER, Payload};
use super::method::{Bit, Method};
use super::stream::Stream;
use super::table::Table;
use super::url::{Host, Options};
use super::wire::Malformed;

/// How many bytes may wait for the socket before publishers do.
const HIGH_WATER: usize = 256 * 1024;
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
    pub fn open(host: &Host, options: &Options) -> Result<Connection, Error> {
        let shaken = timeout(options.connection_timeout, || shake_hands(host, options));
        let (inner, buffer) = shaken.map_err(|_| Error::TimedOut("the connection"))??;
        let inner = Rc::new(inner);
        let connection = Connection(Rc::new(Handle { inner: Rc::clone(&inner) }));
        let reader = Rc::clone(&inner);
        start("amqp reader", move || reader.read(buffer))?;
        let writer = Rc::clone(&inner);
        start("amqp writer", move || writer.write())?;
        if !inner.limits.heartbeat.is_zero() {
            start("amqp heart", move || inner.beat())?;
        }
        Ok(connection)
    }

    /// Opens a channel. Parks until the broker has answered.
    ///
    /// # Errors
    /// Those of the connection; [`Error::Unsupported`] when there are as many as the broker allows.
    pub fn open_channel(&self) -> Result<Channel, Error> {
        Channel::open(self)
    }

    /// Why it has ended; `None` as long as it has not.
    pub fn ended(&self) -> Option<Error> {
        self.inner().ended.borrow().clone()
    }

    /// Parks until it has ended and returns why.
    pub fn wait_ended(&self) -> Error {
        let inner = self.inner();
        // It can only be refused, and then there is nothing to wait with.
        let _ = inner.end.wait();
        inner.ended.borrow().clone().unwrap_or(Error::Closed)
    }

    /// Why the broker takes no more messages from here; `None` as long as it does. It says so when it is short of memory or disk.
    pub fn blocked(&self) -> Option<String> {
        self.inner().blocked.borrow().clone()
    }

    /// Ends it in order: what was sent before arrives. Parks until the broker has answered, at most two seconds.
    pub fn close(&self) {
        let inner = self.inner();
        inner.say_goodbye();
        let _ = inner.end.wait_timeout(CLOSE_TIMEOUT);
        inner.end(Error::Closed);
    }

    /// Ends it without waiting for the broker's answer.
    pub(super) fn hang_up(&self) {
        self.inner().say_goodbye();
        self.inner().end(Error::Closed);
    }

    pub(super) fn inner(&self) -> &Rc<Inner> {
        &self.0.inner
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

/// What its users hold, in contrast to its green threads.
struct Handle {
    inner: Rc<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // It must not park, so the broker's answer is not waited for.
        self.inner.say_goodbye();
        self.inner.end(Error::Closed);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub channel_max: u16,
    pub frame_max: u32,
    /// Zero for none.
    pub heartbeat: Duration,
    pub answer_timeout: Duration,
}

pub(super) struct Inner {
    stream: Stream,
    pub limits: Limits,
    /// Frames that wait for the writer.
    out: RefCell<Vec<u8>>,
    writer_waits: Cell<bool>,
    wake_writer: Event<()>,
    /// Sent when those who wait to publish should look again.
    passable: Event<()>,
    /// Channel `n` is at `n - 1`.
    channels: RefCell<Vec<Option<Rc<ChannelState>>>>,
    ended: RefCell<Option<Error>>,
    end: Event<()>,
    blocked: RefCell<Option<String>>,
    /// Whether something was read since the heart last looked.
    heard: Cell<bool>,
    /// Whether something was written since the heart last looked.
    spoke: Cell<bool>,
    said_goodbye: Cell<bool>,
}

impl Inner {
    /// Appends a method for the writer. Does not wait.
    pub fn push_method(&self, channel: u16, method: &Method<'_>) {
        self.push(|out| frame::put_method(out, channel, method));
    }

    /// Appends frames for the writer. Does not wait.
    pub fn push(&self, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.out.borrow_mut());
        if self.writer_waits.take() {
            let _ = self.wake_writer.send(());
        }
    }

    /// Parks while the broker blocks publishers, or too much waits for the socket.
    pub fn wait_passable(&self) -> Result<(), Error> {
        if self.is_passable() {
            return self.check();
        }
        let deadline = hub::now() + self.limits.answer_timeout;
        while !self.is_passable() {
            self.passable.reset();
            let left = deadline.saturating_sub(hub::now());
            if left.is_zero() || self.passable.wait_timeout(left).is_err() {
                return Err(Error::TimedOut("the broker to take messages"));
            }
        }
        self.check()
    }

    fn is_passable(&self) -> bool {
        // At the end everybody passes, to meet the reason.
        (self.out.borrow().len() < HIGH_WATER && self.blocked.borrow().is_none()) || self.ended.borrow().is_some()
    }

    pub fn check(&self) -> Result<(), Error> {
        self.ended.borrow().clone().map_or(Ok(()), Err)
    }

    /// Gives a new channel a number.
    pub fn enrol(&self, make: impl FnOnce(u16) -> Rc<ChannelState>) -> Result<Rc<ChannelState>, Error> {
        self.check()?;
        let mut channels = self.channels.borrow_mut();
        let free = channels.iter().position(Option::is_none).unwrap_or(channels.len());
        if free >= self.limits.channel_max.into() {
            return Err(Error::Unsupported(format!("more than {} channels", self.limits.channel_max)));
        }
        let state = make(free as u16 + 1);
        if free == channels.len() {
            channels.push(None);
        }
        channels[free] = Some(Rc::clone(&state));
        Ok(state)
    }

    /// The number of a channel is free again.
    pub fn strike_off(&self, id: u16) {
        if let Some(channel) = self.channels.borrow_mut().get_mut(id as usize - 1) {
            *channel = None;
        }
    }

    fn channel(&self, id: u16) -> Result<Rc<ChannelState>, Malformed> {
        let channels = self.channels.borrow();
        let channel = channels.get(id as usize - 1).and_then(Option::as_ref);
        channel.cloned().ok_or(Malformed("a frame on a channel that is not open"))
    }

    /// The end, with what everybody who waits gets. Only the first reason counts.
    fn end(&self, error: Error) {
        if self.ended.borrow().is_some() {
            return;
        }
        // When both sides part in order, the writer sends the last words first.
        if !matches!(error, Error::Connection { .. } | Error::Closed) {
            self.stream.close();
        }
        *self.ended.borrow_mut() = Some(error.clone());
        let channels = std::mem::take(&mut *self.channels.borrow_mut());
        channels.into_iter().flatten().for_each(|channel| channel.end(&error));
        let _ = self.wake_writer.send(());
        let _ = self.passable.send(());
        let _ = self.end.send(());
    }

    fn say_goodbye(&self) {
        if self.ended.borrow().is_none() && !self.said_goodbye.replace(true) {
            let channels: Vec<_> = self.channels.borrow().iter().flatten().cloned().collect();
            channels.iter().for_each(|channel| channel.tell_acks(self));
            self.push_method(0, &Method::ConnectionClose { code: 200, text: "goodbye", class: 0, method: 0 });
        }
    }

    fn write(&self) {
        let mut batch = Vec::new();
        loop {
            std::mem::swap(&mut batch, &mut *self.out.borrow_mut());
            if !batch.is_empty() {
                self.spoke.set(true);
                if let Err(error) = self.stream.write_all(&batch) {
                    self.end(error.into());
                }
                batch.clear();
                batch.shrink_to(KEPT_BUFFER);
                let _ = self.passable.send(());
                continue;
            }
            if self.ended.borrow().is_some() {
                return self.stream.close();
            }
            self.wake_writer.reset();
            self.writer_waits.set(true);
            if self.wake_writer.wait().is_err() {
                return self.end(Error::Closed);
            }
        }
    }

    fn read(&self, mut buffer: Buffer) {
        let ended = loop {
            if let Err(error) = self.take_in(&mut buffer) {
                break error;
            }
            match self.stream.read(buffer.space()) {
                Ok(0) => break hung_up(),
                Ok(length) => buffer.filled(length),
                Err(error) => break error.into(),
            }
            self.heard.set(true);
        };
        if self.ended.borrow().is_none() {
            tracing::debug!(reason = %ended, "the connection to the broker ended");
        }
        self.end(ended);
    }

    /// Handles all frames that are complete.
    fn take_in(&self, buffer: &mut Buffer) -> Result<(), Error> {
        while let Some((frame, length)) = frame::decode(buffer.bytes(), self.limits.frame_max)? {
            self.handle(frame)?;
            buffer.consume(length);
        }
        Ok(())
    }

    fn handle(&self, Frame { channel, payload }: Frame<'_>) -> Result<(), Error> {
        if channel != 0 {
            return Ok(self.channel(channel)?.handle(self, payload)?);
        }
        let method = match payload {
            Payload::Heartbeat => return Ok(()),
            Payload::Method(method) => method,
            _ => return Err(Malformed("content on channel 0").into()),
        };
        match method {
            Method::ConnectionClose { code, text, .. } => {
                self.push_method(0, &Method::ConnectionCloseOk {});
                Err(Error::Connection { code, text: text.to_owned() })
            }
            Method::ConnectionCloseOk {} => Err(Error::Closed),
            Method::ConnectionBlocked { reason } => {
                tracing::warn!(reason, "the broker takes no more messages for now");
                *self.blocked.borrow_mut() = Some(reason.to_owned());
                Ok(())
            }
            Method::ConnectionUnblocked {} => {
                tracing::info!("the broker takes messages again");
                *self.blocked.borrow_mut() = None;
                let _ = self.passable.send(());
                Ok(())
            }
            _ => Err(Malformed("an unexpected method on channel 0").into()),
        }
    }

    /// Looks four times in two heartbeats, so that a dead peer is noticed after two and a half at the latest.
    fn beat(&self) {
        let mut silent = 0;
        while self.end.wait_timeout(self.limits.heartbeat / 2).is_err() {
            silent = if self.heard.take() { 0 } else { silent + 1 };
            if silent > 4 {
                return self.end(Error::Silent);
            }
            if !self.spoke.take() {
                self.push(frame::put_heartbeat);
            }
        }
    }
}

fn hung_up() -> Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the broker hung up").into()
}

fn start(name: &str, body: impl FnOnce() + 'static) -> Result<(), Error> {
    Builder::new().name(name).spawn(body).map(drop).map_err(|error| io::Error::other(error).into())
}

/// What was read and not yet handled.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// For frames of up to `frame_max` bytes, with room to read several small ones at once.
    fn new(frame_max: u32) -> Buffer {
        Buffer { bytes: vec![0; 2 * frame_max as usize], start: 0, end: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// Where to read to. There is always room: an unfinished frame takes less than half of the buffer.
    fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end > self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    fn filled(&mut self, length: usize) {
        self.end += length;
    }
}

fn shake_hands(host: &Host, options: &Options) -> Result<(Inner, Buffer), Error> {
    let stream = Stream::connect(host, options)?;
    let mut talk = Handshake { stream, buffer: Buffer::new(options.frame_max.max(MIN_FRAME)) };
    talk.stream.write_all(PROTOCOL_HEADER)?;
    talk.hear(|method| match method {
        Method::ConnectionStart { mechanisms, .. } if mechanisms.split(|&byte| byte == b' ').any(|m| m == b"PLAIN") => {
            Ok(())
        }
        Method::ConnectionStart { .. } => Err(Error::Unsupported("the broker does not offer SASL PLAIN".to_owned())),
        _ => Err(out_of_order()),
    })?;
    let login = format!("\0{}\0{}", host.user, host.password);
    let properties = std::borrow::Cow::Owned(client_properties());
    talk.say(&Method::ConnectionStartOk {
        properties,
        mechanism: "PLAIN",
        response: login.as_bytes(),
        locale: "en_US",
    })?;
    let limits = talk.hear(|method| match method {
        Method::ConnectionTune { channel_max, frame_max, heartbeat } => {
            Ok(agree(options, channel_max, frame_max, heartbeat))
        }
        _ => Err(out_of_order()),
    })?;
    talk.say(&Method::ConnectionTuneOk {
        channel_max: limits.channel_max,
        frame_max: limits.frame_max,
        // Rounded up, as a smaller one would be none.
        heartbeat: limits.heartbeat.as_secs_f64().ceil() as u16,
    })?;
    talk.say(&Method::ConnectionOpen {
        virtual_host: &options.virtual_host,
        reserved_1: "",
        reserved_2: Bit::default(),
    })?;
    talk.hear(|method| match method {
        Method::ConnectionOpenOk { .. } => Ok(()),
        _ => Err(out_of_order()),
    })?;
    let Handshake { stream, buffer } = talk;
    // A peer that takes nothing for so long is as good as gone, even where there are no heartbeats.
    stream.set_write_timeout(limits.answer_timeout)?;
    let inner = Inner {
        stream,
        limits,
        out: RefCell::default(),
        writer_waits: Cell::new(false),
        wake_writer: Event::new(),
        passable: Event::new(),
        channels: RefCell::default(),
        ended: RefCell::default(),
        end: Event::new(),
        blocked: RefCell::default(),
        heard: Cell::new(true),
        spoke: Cell::new(true),
        said_goodbye: Cell::new(false),
    };
    Ok((inner, buffer))
}

struct Handshake {
    stream: Stream,
    buffer: Buffer,
}

impl Handshake {
    fn say(&self, method: &Method<'_>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        frame::put_method(&mut bytes, 0, method);
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Parks until there is a method and hands it over.
    fn hear<R>(&mut self, take: impl FnOnce(Method<'_>) -> Result<R, Error>) -> Result<R, Error> {
        let frame_max = self.buffer.bytes.len() as u32 / 2;
        // Each turn either returns or reads; decoding again after a read is cheap enough for a handshake.
        while frame::decode(self.buffer.bytes(), frame_max)?.is_none() {
            match self.stream.read(self.buffer.space())? {
                0 => return Err(hung_up()),
                length => self.buffer.filled(length),
            }
        }
        let (frame, length) = frame::decode(self.buffer.bytes(), frame_max)?.ok_or_else(out_of_order)?;
        let result = match frame.payload {
            Payload::Method(Method::ConnectionClose { code, text, .. }) => {
                Err(Error::Connection { code, text: text.to_owned() })
            }
            Payload::Method(method) => take(method),
            _ => Err(out_of_order()),
        };
        self.buffer.consume(length);
        result
    }
}

fn out_of_order() -> Error {
    Malformed("a method out of order in the handshake").into()
}

fn agree(options: &Options, channel_max: u16, frame_max: u32, heartbeat: u16) -> Limits {
    let theirs = Duration::from_secs(heartbeat.into());
    Limits {
        channel_max: if channel_max == 0 { u16::MAX } else { channel_max },
        frame_max: if frame_max == 0 { options.frame_max } else { options.frame_max.min(frame_max) }.max(MIN_FRAME),
        heartbeat: match (options.heartbeat.is_zero(), theirs.is_zero()) {
            (true, _) => theirs,
            (false, true) => options.heartbeat,
            (false, false) => options.heartbeat.min(theirs),
        },
        answer_timeout: options.answer_timeout,
    }
}

fn client_properties() -> Table {
    let capabilities = [
        "publisher_confirms",
        "consumer_cancel_notify",
        "basic.nack",
        "connection.blocked",
        "authentication_failure_close",
    ];
    let capabilities = capabilities.into_iter().fold(Table::new(), |table, name| table.with(name, true));
    let program = std::env::args().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    Table::new()
        .with("product", "greenloom")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("platform", "Rust")
        .with("connection_name", format!("{program}:{}", std::process::id()).as_str())
        .with("capabilities", capabilities)
}
