//! A broker made of a script: it speaks AMQP as RabbitMQ does until the script has it do something else. It runs on OS
//! threads of its own, one for each connection.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use greenloom_rpc::amqp::frame::{Frame, FramePayload, decode};
use greenloom_rpc::amqp::{Bit, Method, Properties, Table};

/// What a client has published.
#[derive(Clone, Debug)]
pub struct Published {
    pub channel: u16,
    pub tag: u64,
    pub exchange: String,
    pub routing_key: String,
    pub properties: Properties,
    pub body: Vec<u8>,
}

/// Whether the broker still does the usual.
#[derive(PartialEq, Eq)]
pub enum Then {
    Usual,
    Nothing,
}

type OnMethod = dyn Fn(&mut Peer, u16, &Method<'_>) -> Then + Send + Sync;
type OnPublish = dyn Fn(&mut Peer, &Published) -> Then + Send + Sync;

/// What is different from a broker that is well.
pub struct Script {
    pub method: Box<OnMethod>,
    pub publish: Box<OnPublish>,
    pub channel_max: u16,
    pub heartbeat: u16,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            method: Box::new(|_, _, _| Then::Usual),
            publish: Box::new(|_, _| Then::Usual),
            channel_max: 2047,
            heartbeat: 60,
        }
    }
}

/// Who consumes a queue.
#[derive(Clone)]
struct Consumer {
    writer: Writer,
    channel: u16,
    tag: String,
    next: Arc<Mutex<u64>>,
}

type Writer = Arc<Mutex<TcpStream>>;

#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub channels: AtomicUsize,
    /// The most that were open at a time on one connection.
    pub most_channels: AtomicUsize,
    pub published: Mutex<Vec<Published>>,
    pub tuned: Mutex<Vec<u16>>,
    consumers: Mutex<HashMap<String, Consumer>>,
    writers: Mutex<Vec<Writer>>,
}

#[derive(Clone)]
pub struct Broker {
    pub port: u16,
    pub seen: Arc<Seen>,
}

impl Broker {
    pub fn start(script: Script) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Broker { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let (seen, script) = (Arc::clone(&broker.seen), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                seen.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || Peer::serve(stream.unwrap(), seen, &script));
            }
        });
        broker
    }

    pub fn url(&self, query: &str) -> String {
        format!("amqp://127.0.0.1:{}/?{query}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn channels(&self) -> usize {
        self.seen.channels.load(Ordering::SeqCst)
    }

    /// What was published to a routing key.
    pub fn published(&self, routing_key: &str) -> Vec<Published> {
        let published = self.seen.published.lock().unwrap();
        published.iter().filter(|published| published.routing_key == routing_key).cloned().collect()
    }

    /// Hands a message to who consumes a queue. Returns whether somebody does.
    pub fn deliver(&self, queue: &str, properties: &[u8], body: &[u8]) -> bool {
        deliver(&self.seen, queue, properties, body)
    }

    /// Closes the channel on which a queue is consumed. Returns whether it is.
    pub fn close_consuming_channel(&self, queue: &str, code: u16, text: &str) -> bool {
        let mut consumers = self.seen.consumers.lock().unwrap();
        let Some(consumer) = consumers.get(queue).cloned() else { return false };
        let same = |it: &Consumer| it.channel == consumer.channel && Arc::ptr_eq(&it.writer, &consumer.writer);
        consumers.retain(|_, it| !same(it));
        drop(consumers);
        let close = Method::ChannelClose { code, text: text.into(), class: 0, method: 0 };
        consumer.writer.lock().unwrap().write_all(&method(consumer.channel, close)).is_ok()
    }

    /// Says something to who consumes a queue.
    pub fn say_to_consumer(&self, queue: &str, bytes: &[u8]) {
        let consumer = self.seen.consumers.lock().unwrap().get(queue).cloned().unwrap();
        consumer.writer.lock().unwrap().write_all(bytes).unwrap();
    }

    /// Ends all connections.
    pub fn hang_up_all(&self) {
        for writer in self.seen.writers.lock().unwrap().drain(..) {
            let _ = writer.lock().unwrap().shutdown(std::net::Shutdown::Both);
        }
    }

    /// Whether somebody consumes a queue.
    pub fn is_consumed(&self, queue: &str) -> bool {
        self.seen.consumers.lock().unwrap().contains_key(queue)
    }
}

/// A method's frame.
pub fn method(channel: u16, method: Method<'_>) -> Vec<u8> {
    bytes(Frame { channel, payload: FramePayload::Method(method) })
}

pub fn bytes(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// A frame of any kind and content.
pub fn raw_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend_from_slice(&channel.to_be_bytes());
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

/// A content header with the bytes of its properties, from the flags on.
pub fn raw_header(channel: u16, body_size: usize, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend_from_slice(&(body_size as u64).to_be_bytes());
    payload.extend_from_slice(properties);
    raw_frame(2, channel, &payload)
}

fn deliver(seen: &Seen, queue: &str, properties: &[u8], body: &[u8]) -> bool {
    let Some(consumer) = seen.consumers.lock().unwrap().get(queue).cloned() else { return false };
    let delivery = {
        let mut next = consumer.next.lock().unwrap();
        *next += 1;
        *next
    };
    let start = Method::BasicDeliver {
        tag: consumer.tag.as_str(),
        delivery,
        redelivered: Bit::default(),
        exchange: "".into(),
        routing_key: queue.into(),
    };
    let mut out = method(consumer.channel, start);
    out.extend(raw_header(consumer.channel, body.len(), properties));
    if !body.is_empty() {
        out.extend(raw_frame(3, consumer.channel, body));
    }
    consumer.writer.lock().unwrap().write_all(&out).is_ok()
}

/// The broker's end of a connection.
pub struct Peer {
    pub seen: Arc<Seen>,
    writer: Writer,
    /// Channels that the broker has closed and of which it ignores all until the client has heard that.
    closing: HashSet<u16>,
    open: HashSet<u16>,
    /// How many messages came in on a channel with confirms.
    tags: HashMap<u16, u64>,
    /// Deliveries are counted for each channel.
    deliveries: HashMap<u16, Arc<Mutex<u64>>>,
    queues: Vec<String>,
}

impl Peer {
    pub fn say(&self, bytes: &[u8]) {
        // A client that is gone is found out by the read.
        let _ = self.writer.lock().unwrap().write_all(bytes);
    }

    pub fn close_channel(&mut self, channel: u16, code: u16, text: &str) {
        self.closing.insert(channel);
        self.say(&method(channel, Method::ChannelClose { code, text: text.into(), class: 60, method: 40 }));
        self.forget(channel);
    }

    pub fn hang_up(&self) {
        let _ = self.writer.lock().unwrap().shutdown(std::net::Shutdown::Both);
    }

    pub fn deliver(&self, queue: &str, properties: &[u8], body: &[u8]) -> bool {
        deliver(&self.seen, queue, properties, body)
    }

    fn forget(&mut self, channel: u16) {
        self.tags.remove(&channel);
        self.deliveries.remove(&channel);
        let me = Arc::clone(&self.writer);
        let mine = |consumer: &Consumer| consumer.channel == channel && Arc::ptr_eq(&consumer.writer, &me);
        self.seen.consumers.lock().unwrap().retain(|_, consumer| !mine(consumer));
    }

    fn serve(stream: TcpStream, seen: Arc<Seen>, script: &Script) {
        let writer = Arc::new(Mutex::new(stream.try_clone().unwrap()));
        seen.writers.lock().unwrap().push(Arc::clone(&writer));
        let mut peer = Peer {
            seen,
            writer,
            closing: HashSet::new(),
            open: HashSet::new(),
            tags: HashMap::new(),
            deliveries: HashMap::new(),
            queues: Vec::new(),
        };
        let mut input = Input { stream, bytes: Vec::new() };
        if input.stream.read_exact(&mut [0; 8]).is_err() {
            return;
        }
        let properties = Cow::Owned(Table::new());
        let start = Method::ConnectionStart { major: 0, minor: 9, properties, mechanisms: b"PLAIN", locales: b"en_US" };
        if (script.method)(&mut peer, 0, &start) == Then::Usual {
            peer.say(&method(0, start));
        }
        peer.talk(&mut input, script);
        let me = Arc::clone(&peer.writer);
        peer.seen.consumers.lock().unwrap().retain(|_, consumer| !Arc::ptr_eq(&consumer.writer, &me));
    }

    fn talk(&mut self, input: &mut Input, script: &Script) {
        let mut content: Option<Published> = None;
        let mut missing = 0;
        while let Some(bytes) = input.next() {
            let (Frame { channel, payload }, _) = decode(&bytes, u32::MAX).unwrap().unwrap();
            match payload {
                FramePayload::Method(Method::BasicPublish { exchange, routing_key, .. }) => {
                    let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
                    let (properties, body) = (Properties::default(), Vec::new());
                    content = Some(Published { channel, tag: 0, exchange, routing_key, properties, body });
                }
                FramePayload::Method(said) => self.method(channel, &said, script),
                FramePayload::Header(header) => {
                    let content = content.as_mut().unwrap();
                    (content.properties, missing) = (header.properties, header.body_size as usize);
                }
                FramePayload::Body(piece) => {
                    missing -= piece.len();
                    content.as_mut().unwrap().body.extend_from_slice(piece);
                }
                FramePayload::Heartbeat => {}
            }
            let is_whole = missing == 0 && !matches!(bytes[0], 1 | 8);
            if let Some(mut published) = content.take_if(|_| is_whole)
                && !self.closing.contains(&published.channel)
            {
                let tag = self.tags.entry(published.channel).or_default();
                *tag += 1;
                published.tag = *tag;
                self.seen.published.lock().unwrap().push(published.clone());
                if (script.publish)(self, &published) == Then::Usual {
                    self.ack(&published);
                }
            }
        }
    }

    pub fn ack(&self, published: &Published) {
        let ack = Method::BasicAck { delivery: published.tag, multiple: Bit::default() };
        self.say(&method(published.channel, ack));
    }

    fn method(&mut self, channel: u16, said: &Method<'_>, script: &Script) {
        if self.closing.contains(&channel) {
            if matches!(said, Method::ChannelCloseOk {} | Method::ChannelClose { .. }) {
                self.closing.remove(&channel);
                self.open.remove(&channel);
            }
            return;
        }
        if let Method::ConnectionTuneOk { heartbeat, .. } = said {
            self.seen.tuned.lock().unwrap().push(*heartbeat);
        }
        if (script.method)(self, channel, said) == Then::Nothing {
            return;
        }
        let answer = match said {
            Method::ConnectionStartOk { .. } => Method::ConnectionTune {
                channel_max: script.channel_max,
                frame_max: 131_072,
                heartbeat: script.heartbeat,
            },
            Method::ConnectionOpen { .. } => Method::ConnectionOpenOk { reserved: "" },
            Method::ConnectionClose { .. } => Method::ConnectionCloseOk {},
            Method::ChannelOpen { .. } => {
                self.open.insert(channel);
                self.seen.channels.fetch_add(1, Ordering::SeqCst);
                self.seen.most_channels.fetch_max(self.open.len(), Ordering::SeqCst);
                Method::ChannelOpenOk { reserved: b"" }
            }
            Method::ChannelClose { .. } => {
                self.open.remove(&channel);
                self.forget(channel);
                Method::ChannelCloseOk {}
            }
            Method::ExchangeDeclare { .. } => Method::ExchangeDeclareOk {},
            Method::QueueDeclare { queue, .. } => {
                self.queues.push((*queue).to_owned());
                Method::QueueDeclareOk { queue, messages: 0, consumers: 0 }
            }
            Method::QueueBind { .. } => Method::QueueBindOk {},
            Method::BasicQos { .. } => Method::BasicQosOk {},
            Method::ConfirmSelect { .. } => Method::ConfirmSelectOk {},
            Method::BasicConsume { queue, tag, .. } => {
                let next = Arc::clone(self.deliveries.entry(channel).or_default());
                let (writer, tag) = (Arc::clone(&self.writer), (*tag).to_owned());
                // Whoever hears of the consumer by the answer finds it here.
                let seen = Arc::clone(&self.seen);
                let mut consumers = seen.consumers.lock().unwrap();
                self.say(&method(channel, Method::BasicConsumeOk { tag: &tag }));
                consumers.insert((*queue).to_owned(), Consumer { writer, channel, tag, next });
                return;
            }
            _ => return,
        };
        self.say(&method(channel, answer));
    }
}

struct Input {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Input {
    /// The next frame, or nothing when the client is gone.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((_, length)) = decode(&self.bytes, u32::MAX).unwrap() {
                return Some(self.bytes.drain(..length).collect());
            }
            let mut buf = [0; 65536];
            match self.stream.read(&mut buf) {
                Ok(length @ 1..) => self.bytes.extend_from_slice(&buf[..length]),
                _ => return None,
            }
        }
    }
}
