//! A hop through a queue of one: a producer and a consumer on one OS thread, where each item needs room made by the
//! other side.
//!
//! may has no bounded channel. It runs twice: with its unbounded channel as it comes, where the producer is never held
//! up and no switch is paid for most items; and with two such channels that hand one token back and forth, which is
//! what a queue of one costs there. The claim takes the better of the two.

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::{
    go, ours,
    stopwatch::{NS, nanoseconds},
};

pub const FIGURE: Figure = Figure {
    name: "hop",
    title: "Hop through a queue of 1",
    metric: Metric { key: NS, unit: Unit::Nanoseconds, what: "an item" },
    beside: &[],
    cores: ONE_CORE,
    repetitions: 9,
    contenders: &[
        Contender { name: OURS, measure: ours::hop },
        Contender { name: "may", measure: may_token },
        Contender { name: "tokio", measure: tokio },
        Contender { name: "go", measure: |scale| go::measure("hop", scale) },
        Contender { name: UNBOUNDED, measure: may_unbounded },
    ],
    claims: &[Claim {
        what: "hop through a queue of 1 / the best of may, tokio, Go",
        subject: OURS,
        metric: NS,
        against: Against::BestOf(&["may", UNBOUNDED, "tokio", "go"]),
        floor: Bound::Below(1.0),
        aim: Some(Bound::AtMost(0.7)),
    }],
};

const UNBOUNDED: &str = "may, unbounded";

fn may_token(scale: Scale) -> Result<Sample, Skip> {
    may::config().set_workers(1);
    Ok(nanoseconds(scale, |count| {
        let (there, arriving) = may::sync::mpsc::channel();
        let (back, returning) = may::sync::mpsc::channel();
        // Each turn of the loop is two hops.
        let producer = may::go!(move || {
            for item in 0..count / 2 {
                there.send(item).expect("the consumer is there");
                returning.recv().expect("the consumer is there");
            }
        });
        let consumer = may::go!(move || {
            for item in 0..count / 2 {
                assert_eq!(arriving.recv(), Ok(item));
                back.send(item).expect("the producer is there");
            }
        });
        producer.join().expect("the producer does not panic");
        consumer.join().expect("the consumer does not panic");
    }))
}

fn may_unbounded(scale: Scale) -> Result<Sample, Skip> {
    may::config().set_workers(1);
    Ok(nanoseconds(scale, |count| {
        let (sender, receiver) = may::sync::mpsc::channel();
        let producer = may::go!(move || (0..count).for_each(|item| sender.send(item).expect("the consumer is there")));
        let consumer = may::go!(move || (0..count).for_each(|item| assert_eq!(receiver.recv(), Ok(item))));
        producer.join().expect("the producer does not panic");
        consumer.join().expect("the consumer does not panic");
    }))
}

fn tokio(scale: Scale) -> Result<Sample, Skip> {
    let runtime = super::tokio_current_thread()?;
    Ok(nanoseconds(scale, |count| {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let producer = runtime.spawn(async move {
            for item in 0..count {
                sender.send(item).await.expect("the consumer is there");
            }
        });
        let consumer = runtime.spawn(async move {
            for item in 0..count {
                assert_eq!(receiver.recv().await, Some(item));
            }
        });
        runtime.block_on(async {
            producer.await.expect("the producer does not panic");
            consumer.await.expect("the consumer does not panic");
        });
    }))
}
