//! A call over `memory://`: arguments and answer as JSON, through queues, a pool of workers and acknowledgements.
//!
//! tokio's contender is what a program without a message bus would write: a channel to a task that serves, and one back
//! for each call, with the same arguments and answers as JSON. It has no acknowledgements, no timeout, no names and no
//! pool.

use std::{rc::Rc, time::Duration};

use greenloom_rpc::{Client, Connection, Endpoint, Fanout, Options, Target};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::stopwatch::{NS, nanoseconds};

pub const FIGURE: Figure = Figure {
    name: "calls",
    title: "Call over memory://",
    metric: Metric { key: NS, unit: Unit::Nanoseconds, what: "a call" },
    beside: &[],
    cores: ONE_CORE,
    repetitions: 7,
    contenders: &[Contender { name: OURS, measure: ours }, Contender { name: CHANNELS, measure: channels }],
    claims: &[Claim {
        what: "call over memory:// / two tokio channels and JSON",
        subject: OURS,
        metric: NS,
        against: Against::BestOf(&[CHANNELS]),
        floor: Bound::AtMost(2.0),
        aim: Some(Bound::AtMost(1.2)),
    }],
};

const CHANNELS: &str = "tokio, channels and JSON";

#[derive(Serialize, Deserialize)]
pub struct Update {
    router: String,
    number: u64,
}

impl Update {
    pub fn new(number: u64) -> Update {
        Update { router: "r1".into(), number }
    }
}

/// A server on a bus of this thread, and a client of it; both stay as long as the connection.
pub fn served() -> Result<(Connection, Client), Skip> {
    let failed = |error: greenloom_rpc::Error| Skip::failed(greenloom::Chain(&error).to_string());
    let connection = Options::default().connect("memory://").map_err(failed)?;
    let endpoint = Endpoint::builder().method("update", |_, _, Update { number, .. }| Ok(number)).build();
    connection.create_consumer("bench", [endpoint], Fanout::Ignore).map_err(failed)?;
    connection.consume_in_threads().map_err(failed)?;
    let client = Client::new(&connection, Target::topic("bench")).timeout(Duration::from_secs(60));
    Ok((connection, client))
}

fn ours(scale: Scale) -> Result<Sample, Skip> {
    let (_connection, client) = served()?;
    let client = Rc::new(client);
    Ok(nanoseconds(scale, |count| {
        for number in 0..count {
            let answer: u64 = client.call("update", &Update::new(number)).expect("it is served");
            assert_eq!(answer, number);
        }
    }))
}

fn channels(scale: Scale) -> Result<Sample, Skip> {
    let runtime = super::tokio_current_thread()?;
    Ok(nanoseconds(scale, |count| {
        let (calls, mut called) = mpsc::channel::<(Vec<u8>, oneshot::Sender<Vec<u8>>)>(64);
        runtime.spawn(async move {
            while let Some((request, answer)) = called.recv().await {
                tokio::spawn(async move {
                    let update: Update = serde_json::from_slice(&request).expect("it is one");
                    let _ = answer.send(serde_json::to_vec(&update.number).expect("a number is JSON"));
                });
            }
        });
        runtime.block_on(async {
            for number in 0..count {
                let (answer, answered) = oneshot::channel();
                let request = serde_json::to_vec(&Update::new(number)).expect("it is JSON");
                calls.send((request, answer)).await.expect("it is served");
                let answer = answered.await.expect("it is answered");
                assert_eq!(serde_json::from_slice::<u64>(&answer).expect("a number"), number);
            }
        });
    }))
}
