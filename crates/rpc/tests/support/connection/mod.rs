//! Frames against states: a connection with two channels, a broker that says anything, and a model that knows what has
//! to come of it.
//!
//! A program is text of three characters a step: what is done, on which channel, and a number. Lower and upper case
//! differ, spaces do not matter, and any bytes are a program.
//!
//! | step | the broker says |
//! |---|---|
//! | `d` `D` | a delivery begins: for the consumer of that number; with that number as its tag |
//! | `r` | message of that number comes back |
//! | `h` `b` | the header of a message of that size; a piece of so many bytes |
//! | `a` `A` `n` `N` | message of that number is confirmed, or not taken; with a capital, all up to it |
//! | `z` | the consumer of that number is cancelled |
//! | `c` `k` | the channel is closed; what was closed is closed |
//! | `x` `X` `l` `u` `p` | close, close-ok, blocked, unblocked, heartbeat: on channel 0 |
//! | `q` `m` `g` | an answer that nobody waits for; a method of clients'; one that does not exist |
//!
//! | step | the client does |
//! |---|---|
//! | `T` `R` | takes a message and acknowledges it; gives it back |
//! | `P` | publishes a message |
//! | `C` | drops the channel with its consumer |
//! | `s` | is sent all that follows in pieces of that size |

use std::io::Write;
use std::time::Duration;

use broker::{Broker, frame};
use greenloom::net::TcpListener;
use greenloom::{sleep, spawn, timeout};
use greenloom_rpc::amqp::{Channel, Confirm, Connection, Consumer, Delivery, Error, Message, Options, Properties};
use model::{ChannelModel, End, Model, Outcome, Stage, Start};

mod broker;
mod model;

const PATIENCE: Duration = Duration::from_secs(20);
/// The channel on which the client asks whether all before was handled. The broker says nothing else there.
const ASIDE: u16 = 3;
/// How many messages a channel has published when the program begins.
const PUBLISHED: u64 = 4;

/// Runs a program.
///
/// # Panics
/// If something comes of it that the model does not say.
pub fn run(program: &[u8]) {
    let program: Vec<u8> = program.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let steps = program.chunks_exact(3).map(|step| (step[0], u16::from(step[1] & 3), u64::from(step[2] & 15)));
    let mut session = Session::begin();
    for (what, channel, number) in steps {
        if session.model.end.is_some() {
            break;
        }
        match what {
            b's' => session.piece = number as usize + 1,
            b'T' | b'R' | b'P' | b'C' if matches!(channel, 1 | 2) => session.client(what, channel, number),
            _ => session.broker_says(what, channel, number),
        }
    }
    session.finish();
}

/// What the client holds of a channel.
struct Held {
    channel: Option<Channel>,
    consumer: Option<Consumer>,
    confirms: Vec<Confirm>,
}

struct Session {
    broker: Broker,
    connection: Connection,
    aside: Channel,
    held: [Held; 2],
    model: Model,
    frames: Vec<u8>,
    piece: usize,
    filler: u8,
}

impl Session {
    fn begin() -> Session {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://127.0.0.1:{}/?heartbeat=0", listener.local_addr().unwrap().port());
        let client = spawn(move || {
            let options: Options = url.parse().unwrap();
            let connection = Connection::open(&options.brokers[0], &options).unwrap();
            let held = [1, 2].map(|_| {
                let channel = connection.open_channel().unwrap();
                channel.confirm_select().unwrap();
                let consumer = channel.consume("q").unwrap();
                Held { channel: Some(channel), consumer: Some(consumer), confirms: Vec::new() }
            });
            let aside = connection.open_channel().unwrap();
            aside.inspect_queue("q").unwrap();
            (connection, held, aside)
        });
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut broker = Broker { stream, bytes: Vec::new() };
        broker.shake_hands();
        let fresh = || ChannelModel { consumed: true, ..ChannelModel::default() };
        let mut model = Model { channels: [fresh(), fresh()], blocked: false, end: None };
        broker.serve(|said| model.hear(said)).unwrap();
        broker.answer_aside();
        let (connection, held, aside) = client.wait().unwrap();
        let (frames, piece, filler) = (Vec::new(), usize::MAX, 0);
        let mut session = Session { broker, connection, aside, held, model, frames, piece, filler };
        for channel in [1, 2] {
            (0..PUBLISHED).for_each(|_| session.publish(channel));
        }
        session
    }

    fn publish(&mut self, channel: u16) {
        let it = self.model.channel(channel);
        it.published += 1;
        it.pending.insert(it.published, false);
        let held = &mut self.held[usize::from(channel) - 1];
        let (properties, body) = (&Properties::default(), &[][..]);
        let message = Message { exchange: "", routing_key: "q", mandatory: true, properties, body };
        held.confirms.push(held.channel.as_ref().unwrap().publish(message).unwrap());
    }

    fn broker_says(&mut self, what: u8, channel: u16, number: u64) {
        // All that is said aside is asked for.
        if channel == ASIDE {
            return;
        }
        self.filler = self.filler.wrapping_add(1);
        let next = if channel == 0 { 1 } else { self.model.channel(channel).tag + 1 };
        let returned = match channel {
            0 => None,
            _ => match &self.model.channel(channel).content {
                Some((Start::Return { number }, ..)) => Some(*number),
                _ => None,
            },
        };
        let Some(frame) = frame(what, channel, number, next, returned, self.filler) else { return };
        self.frames.extend(frame);
        self.model.say(what, channel, number, self.filler);
    }

    /// Sends what the broker has to say, and has the client handle it.
    fn catch_up(&mut self) {
        for piece in self.frames.chunks(self.piece.min(self.frames.len()).max(1)) {
            // A client that has heard enough hangs up.
            if self.broker.stream.write_all(piece).is_err() {
                break;
            }
            if self.piece != usize::MAX {
                sleep(Duration::ZERO);
            }
        }
        self.frames.clear();
        // What is asked a second time is asked when all was handled.
        for _ in 0..2 {
            if self.model.end.is_some() {
                return;
            }
            let aside = self.aside.clone();
            let asked = spawn(move || aside.inspect_queue("q"));
            self.broker.serve(|said| self.model.hear(said)).expect("the client is there");
            self.broker.answer_aside();
            asked.wait().unwrap().expect("the connection lives");
        }
    }

    fn client(&mut self, what: u8, channel: u16, _: u64) {
        self.catch_up();
        let open = self.model.channel(channel).stage == Stage::Open;
        match what {
            b'P' if open && !self.model.blocked => self.publish(channel),
            b'P' => {}
            b'C' => {
                let held = &mut self.held[usize::from(channel) - 1];
                (held.consumer, held.channel) = (None, None);
                let it = self.model.channel(channel);
                if it.stage == Stage::Open {
                    it.stage = Stage::Closing;
                    it.end(|| Outcome::Dropped);
                }
            }
            _ => self.take(channel, what == b'T'),
        }
    }

    fn take(&mut self, channel: u16, acknowledge: bool) {
        let held = &self.held[usize::from(channel) - 1];
        let Some(consumer) = &held.consumer else { return };
        let it = &mut self.model.channels[usize::from(channel) - 1];
        assert_eq!(consumer.ready(), it.ready.len(), "what waits to be taken");
        let Some((tag, body)) = it.ready.pop_front() else { return };
        let delivery: Delivery = consumer.next(Duration::ZERO).unwrap();
        assert_eq!(*delivery.body, *body);
        if acknowledge {
            it.acknowledged.insert(tag);
            delivery.ack().unwrap();
        } else {
            delivery.requeue().unwrap();
        }
    }

    fn finish(mut self) {
        self.catch_up();
        if self.model.end.is_none() {
            for it in &self.model.channels {
                assert_eq!(it.heard_closes, it.closes, "each end is acknowledged");
            }
        }
        let _ = self.broker.stream.shutdown(std::net::Shutdown::Write);
        let ended = timeout(PATIENCE, || self.connection.wait_ended()).expect("the connection ends");
        let as_said = match self.model.end {
            None => matches!(ended, Error::Io(_)),
            Some(End::Malformed) => matches!(ended, Error::Malformed(_)),
            Some(End::Closed) => matches!(ended, Error::Connection { code: 320, .. }),
            Some(End::Parted) => matches!(ended, Error::Closed),
        };
        assert!(as_said, "{ended} instead of {:?}", self.model.end);
        for (held, it) in self.held.iter().zip(&self.model.channels) {
            for (number, confirm) in (1..).zip(&held.confirms) {
                let outcome = confirm.wait(Duration::ZERO);
                let as_said = match (it.outcomes.get(&number), &outcome) {
                    (None, Err(error)) => error.to_string() == ended.to_string(),
                    (Some(Outcome::Confirmed), Ok(()))
                    | (Some(Outcome::Nacked), Err(Error::Nacked))
                    | (Some(Outcome::Returned), Err(Error::Unroutable { .. }))
                    | (Some(Outcome::ChannelClosed), Err(Error::Channel { code: 406, .. }))
                    | (Some(Outcome::Dropped), Err(Error::Closed)) => true,
                    _ => false,
                };
                assert!(as_said, "message {number}: {outcome:?} instead of {:?}", it.outcomes.get(&number));
            }
            if let Some(consumer) = &held.consumer {
                assert!(consumer.next(Duration::ZERO).is_err(), "nothing is taken after the end");
            }
            assert!(held.channel.as_ref().is_none_or(|channel| channel.ended().is_some()));
        }
        // What it said last was AMQP, too.
        while let Some(said) = self.broker.next() {
            self.model.hear(&said);
        }
    }
}
