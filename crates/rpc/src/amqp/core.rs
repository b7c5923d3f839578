//! What the parts of a connection share: the frames that wait for the writer, the limits, who gets what comes in, and
//! the end.
//!
//! Channels are known here only as [`Port`]s, so that a channel may know this and this need not know channels.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::{Event, Semaphore};

use greenloom_amqp::{
    Malformed, Method,
    frame::{self, FramePayload},
};

use super::error::Error;
use super::stream::Stream;
use super::unsupported::Unsupported;
use crate::deadline::Deadline;
use crate::reason::Awaited;

/// How many bytes may wait for the socket before publishers do.
const HIGH_WATER: usize = 256 * 1024;

/// What takes in the frames of one channel number.
pub(super) trait Port {
    /// Handles what has come in. Never parks.
    fn handle(&self, core: &Core, payload: FramePayload<'_>) -> Result<(), Malformed>;

    /// The end of the connection, with what all waiters get.
    fn end(&self, error: &Error);

    /// Tells the broker what is acknowledged and it does not know.
    fn tell_acks(&self, core: &Core);
}

/// What the users of a connection and of its channels hold, in contrast to its green threads. With the last one it
/// ends.
pub(super) struct Handle {
    pub core: Rc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // It must not park, so the broker's answer is not waited for.
        self.core.say_goodbye();
        self.core.end(Error::Closed);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub channel_max: u16,
    pub frame_max: u32,
    /// Zero for none.
    pub heartbeat: Duration,
    pub answer_timeout: Duration,
    /// Whether the broker still wants queues that are neither durable nor one connection's alone.
    pub takes_transient: bool,
}

pub(super) struct Core {
    pub stream: Stream,
    pub limits: Limits,
    /// Frames that wait for the writer.
    pub out: RefCell<Vec<u8>>,
    pub writer_waits: Cell<bool>,
    pub wake_writer: Event<()>,
    /// Sent when waiting publishers should look again.
    pub passable: Event<()>,
    /// Channel `n` is at `n - 1`.
    ports: RefCell<Vec<Option<Rc<dyn Port>>>>,
    /// Channels that may still be opened.
    numbers: Semaphore,
    pub ended: RefCell<Option<Error>>,
    pub end: Event<()>,
    pub blocked: RefCell<Option<String>>,
    /// Whether something was read since the heart last looked.
    pub heard: Cell<bool>,
    /// Whether something was written since the heart last looked.
    pub spoke: Cell<bool>,
    said_goodbye: Cell<bool>,
}

impl Core {
    pub fn new(stream: Stream, limits: Limits) -> Core {
        Core {
            stream,
            limits,
            out: RefCell::default(),
            writer_waits: Cell::new(false),
            wake_writer: Event::new(),
            passable: Event::new(),
            ports: RefCell::default(),
            numbers: Semaphore::new(limits.channel_max.into()),
            ended: RefCell::default(),
            end: Event::new(),
            blocked: RefCell::default(),
            heard: Cell::new(true),
            spoke: Cell::new(true),
            said_goodbye: Cell::new(false),
        }
    }

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

    /// Parks while the broker blocks publishers, or too much waits for the socket, at most for `limit`.
    pub fn wait_passable(&self, limit: Duration) -> Result<(), Error> {
        if self.is_passable() {
            return self.check();
        }
        let deadline = Deadline::after(limit.min(self.limits.answer_timeout));
        while !self.is_passable() {
            self.passable.reset();
            if deadline.is_over() || self.passable.wait_timeout(deadline.left()).is_err() {
                return Err(Error::TimedOut(Awaited::Passage));
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

    /// A number for another channel. Parks while as many are open as the broker allows; one that is closed counts until
    /// the broker has heard of it.
    pub fn free_number(&self) -> Result<u16, Error> {
        match self.numbers.acquire_timeout(self.limits.answer_timeout) {
            Some(permit) => permit.forget(),
            None => return Err(Unsupported::Channels { channel_max: self.limits.channel_max }.into()),
        }
        self.check()?;
        let ports = self.ports.borrow();
        // There is a permit for each number.
        Ok(ports.iter().position(Option::is_none).unwrap_or(ports.len()) as u16 + 1)
    }

    /// Gives a channel what comes in with its number.
    pub fn enrol(&self, id: u16, port: Rc<dyn Port>) {
        let (index, mut ports) = (usize::from(id) - 1, self.ports.borrow_mut());
        if index == ports.len() {
            ports.push(None);
        }
        ports[index] = Some(port);
    }

    /// The number of a channel is free again.
    pub fn strike_off(&self, id: u16) {
        let mut ports = self.ports.borrow_mut();
        // Once, however often the broker says so.
        if ports.get_mut(usize::from(id) - 1).and_then(Option::take).is_some() {
            self.numbers.release();
        }
    }

    pub fn port(&self, id: u16) -> Result<Rc<dyn Port>, Malformed> {
        let ports = self.ports.borrow();
        let port = ports.get(id as usize - 1).and_then(Option::as_ref);
        port.cloned().ok_or(Malformed("a frame on a channel that is not open"))
    }

    /// The end, with what all waiters get. Only the first reason counts.
    pub fn end(&self, error: Error) {
        if self.ended.borrow().is_some() {
            return;
        }
        // When both sides part in order, the writer sends the last words first.
        if !matches!(error, Error::Connection { .. } | Error::Closed) {
            self.stream.close();
        }
        *self.ended.borrow_mut() = Some(error.clone());
        let ports = std::mem::take(&mut *self.ports.borrow_mut());
        ports.into_iter().flatten().for_each(|port| port.end(&error));
        let _ = self.wake_writer.send(());
        let _ = self.passable.send(());
        (0..self.numbers.waiting()).for_each(|_| self.numbers.release());
        let _ = self.end.send(());
    }

    pub fn say_goodbye(&self) {
        if self.ended.borrow().is_none() && !self.said_goodbye.replace(true) {
            let ports: Vec<_> = self.ports.borrow().iter().flatten().cloned().collect();
            ports.iter().for_each(|port| port.tell_acks(self));
            self.push_method(0, &Method::ConnectionClose { code: 200, text: "goodbye".into(), class: 0, method: 0 });
        }
    }
}
