//! The exchange by lapin on tokio.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind, Result};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{BODY, EXCHANGE, EXPIRATION, PREFETCH, failed, name, sample, url};
use crate::figure::{Sample, Skip};

/// On tokio's current-thread runtime.
pub fn lapin(callers: usize, warm_up: Duration, window: Duration) -> std::result::Result<Sample, Skip> {
    on(tokio::runtime::Builder::new_current_thread().enable_all().build(), callers, warm_up, window)
}

/// On tokio's multi-threaded runtime, with a worker for each core.
pub fn lapin_on_threads(callers: usize, warm_up: Duration, window: Duration) -> std::result::Result<Sample, Skip> {
    on(tokio::runtime::Builder::new_multi_thread().enable_all().build(), callers, warm_up, window)
}

fn on(
    runtime: io::Result<tokio::runtime::Runtime>,
    callers: usize,
    warm_up: Duration,
    window: Duration,
) -> std::result::Result<Sample, Skip> {
    let url = url()?;
    let calls = runtime?.block_on(measure(&url, callers, warm_up, window)).map_err(failed)?;
    sample(calls, window)
}

/// Both stay as long as the connection.
struct End {
    _connection: Connection,
    channel: Channel,
    consumer: Option<Consumer>,
}

async fn open(url: &str, queue: &str) -> Result<End> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let flags = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), flags, FieldTable::default()).await?;
    let (exchange, topic) = (ExchangeDeclareOptions::default(), ExchangeKind::Topic);
    channel.exchange_declare(EXCHANGE.into(), topic, exchange, FieldTable::default()).await?;
    let binding = QueueBindOptions::default();
    channel.queue_bind(queue.into(), EXCHANGE.into(), queue.into(), binding, FieldTable::default()).await?;
    let consumer = channel
        .basic_consume(queue.into(), "bench".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    Ok(End { _connection: connection, channel, consumer: Some(consumer) })
}

fn json() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
}

async fn send(channel: &Channel, exchange: &str, to: &str, properties: BasicProperties) -> Result<()> {
    let flags = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish(exchange.into(), to.into(), flags, &BODY, properties).await?.await?;
    assert!(confirm.is_ack() && confirm.take_message().is_none());
    Ok(())
}

async fn answer(channel: Channel, request: Delivery) -> Result<()> {
    let properties = match request.properties.correlation_id() {
        Some(id) => json().with_correlation_id(id.clone()),
        None => json(),
    };
    let to = request.properties.reply_to().clone().expect("requests say where to");
    send(&channel, "", to.as_str(), properties).await?;
    request.ack(BasicAckOptions::default()).await?;
    Ok(())
}

/// A request as oslo.messaging and greenloom write it.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "oslo.message")]
    message: String,
}

#[derive(Deserialize)]
struct Cast {
    method: String,
    args: HashMap<String, u64>,
}

/// An agent that takes so many casts from a queue: each is read, worked on by a task of its own, and acknowledged. It
/// has no names of methods, no versions and no duplicates. Returns what it took, in seconds.
pub fn agent(url: &str, queue: &str, casts: usize) -> std::result::Result<f64, Skip> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(take(url, queue, casts)).map_err(failed)?;
    Ok(began.elapsed().as_secs_f64())
}

async fn take(url: &str, queue: &str, casts: usize) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let mut casted = channel
        .basic_consume(queue.into(), "bench".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..casts {
        let Some(cast) = casted.next().await.transpose()? else { break };
        under_way.spawn(async move {
            let envelope: Envelope = serde_json::from_slice(&cast.data).expect("it is an envelope");
            let request: Cast = serde_json::from_str(&envelope.message).expect("it is a cast");
            assert!(request.method == "update" && request.args.contains_key("number"));
            cast.ack(BasicAckOptions::default()).await.expect("the channel is open");
        });
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
    connection.close(200, "done".into()).await
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

async fn measure(url: &str, callers: usize, warm_up: Duration, window: Duration) -> Result<Vec<Duration>> {
    let (requests, replies) = (name("requests"), name("replies"));
    let mut server = open(url, &requests).await?;
    let mut served = server.consumer.take().expect("it was opened with one");
    let channel = server.channel.clone();
    tokio::spawn(async move {
        while let Some(Ok(request)) = served.next().await {
            tokio::spawn(answer(channel.clone(), request));
        }
    });
    let mut client = open(url, &replies).await?;
    let mut heard = client.consumer.take().expect("it was opened with one");
    let waiting = Waiting::default();
    let hears = Arc::clone(&waiting);
    tokio::spawn(async move {
        while let Some(Ok(answer)) = heard.next().await {
            let number = answer.properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
            let waits = number.and_then(|number: u64| hears.lock().expect("nobody panics with it").remove(&number));
            if let Some(waits) = waits {
                let _ = waits.send(());
            }
            answer.ack(BasicAckOptions::default()).await.expect("the channel is open");
        }
    });

    let begin = Instant::now() + warm_up;
    let end = begin + window;
    let numbers = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (channel, waiting, numbers) = (client.channel.clone(), Arc::clone(&waiting), Arc::clone(&numbers));
            let (requests, replies) = (requests.clone(), replies.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                loop {
                    let began = Instant::now();
                    if began >= end {
                        return took;
                    }
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let (waits, answered) = oneshot::channel();
                    waiting.lock().expect("nobody panics with it").insert(number, waits);
                    let properties = json()
                        .with_expiration(EXPIRATION.into())
                        .with_correlation_id(number.to_string().into())
                        .with_reply_to(replies.as_str().into());
                    send(&channel, EXCHANGE, &requests, properties).await.expect("the server's queue is there");
                    answered.await.expect("it is answered");
                    if began >= begin {
                        took.push(began.elapsed());
                    }
                }
            })
        })
        .collect();
    let mut calls = Vec::new();
    for caller in callers {
        calls.extend(caller.await.expect("no caller panics"));
    }
    Ok(calls)
}
