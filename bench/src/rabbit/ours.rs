//! The exchange by greenloom: by its AMQP client alone, and by its services with all that they do.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloom::queue::Queue;
use greenloom::spawn;
use greenloom_rpc::amqp::{
    Channel, Connection, Delivery, Error, ExchangeFlags, Message, Options, Properties, QueueFlags, Table,
};
use greenloom_rpc::{Client, Endpoint, Fanout, Target};

use super::{BODY, EXCHANGE, EXPIRATION, PREFETCH, failed, name, sample, url};
use crate::figure::{Sample, Skip};

const PATIENCE: Duration = Duration::from_secs(30);

/// The exchange as lapin's contender makes it.
pub fn client(callers: usize, warm_up: Duration, window: Duration) -> Result<Sample, Skip> {
    let requests = name("requests");
    let server = open(&url()?, &requests).map_err(failed)?;
    let served = server.consume(&requests).map_err(failed)?;
    spawn(move || {
        while let Ok(request) = served.next(PATIENCE) {
            let server = server.clone();
            spawn(move || answer(&server, request));
        }
    });
    let replies = name("replies");
    let caller = Rc::new(Caller {
        channel: open(&url()?, &replies).map_err(failed)?,
        requests,
        replies,
        waiting: RefCell::default(),
    });
    let heard = caller.channel.consume(&caller.replies).map_err(failed)?;
    let hears = Rc::clone(&caller);
    spawn(move || {
        while let Ok(answer) = heard.next(PATIENCE) {
            let number = answer.properties.correlation_id.as_deref().and_then(|id| id.parse().ok());
            if let Some(waits) = number.and_then(|number: u64| hears.waiting.borrow_mut().remove(&number)) {
                let _ = waits.try_put(());
            }
            answer.ack().expect("the channel is open");
        }
    });
    let call = Rc::new(move |number| caller.call(number).expect("it is answered"));
    measure(callers, warm_up, window, call)
}

fn open(url: &str, queue: &str) -> Result<Channel, Error> {
    let options: Options = url.parse()?;
    let channel = Connection::open(&options.brokers[0], &options)?.open_channel()?;
    channel.confirm_select()?;
    channel.set_prefetch(PREFETCH)?;
    channel.declare_queue(queue, QueueFlags { auto_delete: true, ..QueueFlags::default() }, &Table::new())?;
    channel.declare_exchange(EXCHANGE, "topic", ExchangeFlags::default())?;
    channel.bind_queue(queue, EXCHANGE, queue)?;
    Ok(channel)
}

fn answer(server: &Channel, request: Delivery) {
    let correlation_id = request.properties.correlation_id.clone();
    let to = request.properties.reply_to.clone().expect("requests say where to");
    let properties = Properties { correlation_id, ..json() };
    send(server, "", &to, &properties).expect("the caller waits");
    request.ack().expect("the channel is open");
}

fn json() -> Properties {
    Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        priority: Some(0),
        ..Properties::persistent()
    }
}

fn send(channel: &Channel, exchange: &str, to: &str, properties: &Properties) -> Result<(), Error> {
    channel.publish(Message { exchange, routing_key: to, mandatory: true, properties, body: &BODY })?.wait(PATIENCE)
}

struct Caller {
    channel: Channel,
    requests: String,
    replies: String,
    waiting: RefCell<HashMap<u64, Rc<Queue<()>>>>,
}

impl Caller {
    fn call(&self, number: u64) -> Result<(), Error> {
        let answered = Rc::new(Queue::new(1));
        self.waiting.borrow_mut().insert(number, Rc::clone(&answered));
        let properties = Properties {
            correlation_id: Some(number.to_string()),
            reply_to: Some(self.replies.clone()),
            expiration: Some(EXPIRATION.to_owned()),
            ..json()
        };
        send(&self.channel, EXCHANGE, &self.requests, &properties)?;
        answered.get_timeout(PATIENCE).map_err(|_| Error::Closed)
    }
}

/// The same by a service: with oslo.messaging's envelopes, JSON, names and versions, duplicates known, and two
/// connections a side.
pub fn service(callers: usize, warm_up: Duration, window: Duration) -> Result<Sample, Skip> {
    let options = || greenloom_rpc::Options::new().workers(100);
    let (topic, server) = (name("service"), options().connect(&url()?).map_err(failed)?);
    let endpoint = Endpoint::builder().method("echo", |_, _, text: HashMap<String, String>| Ok(text)).build();
    server.create_consumer(&topic, [endpoint], Fanout::Ignore).map_err(failed)?;
    server.consume_in_threads().map_err(failed)?;
    let connection = options().connect(&url()?).map_err(failed)?;
    let client = Client::new(&connection, Target::topic(topic)).timeout(PATIENCE);
    let text = HashMap::from([("text".to_owned(), "x".repeat(80))]);
    let call = move |_| {
        let answer: HashMap<String, String> = client.call("echo", &text).expect("it is answered");
        assert_eq!(answer, text);
    };
    measure(callers, warm_up, window, Rc::new(call))
}

/// Has so many callers call without a pause, and keeps what the calls of `window` took.
fn measure(
    callers: usize,
    warm_up: Duration,
    window: Duration,
    call: Rc<impl Fn(u64) + 'static>,
) -> Result<Sample, Skip> {
    let begin = Instant::now() + warm_up;
    let end = begin + window;
    let callers: Vec<_> = (0..callers as u64)
        .map(|caller| {
            let call = Rc::clone(&call);
            spawn(move || {
                let mut took = Vec::new();
                for number in 0.. {
                    let began = Instant::now();
                    if began >= end {
                        break;
                    }
                    call(caller << 32 | number);
                    if began >= begin {
                        took.push(began.elapsed());
                    }
                }
                took
            })
        })
        .collect();
    let mut calls = Vec::new();
    for caller in callers {
        calls.extend(caller.wait().map_err(failed)?);
    }
    sample(calls, window)
}
