//! Casts that wait in a queue of RabbitMQ's, worked on and acknowledged by one agent on one core.
//!
//! One peer is lapin on tokio, with a task for each cast that reads it and acknowledges it, and nothing else. The other
//! is the Python that agents are written in today: oslo.messaging's server with its eventlet executor, eventlet's
//! monkey-patching, and an endpoint that counts (`bench/python/oslo_agent.py`). All get the same messages,
//! published before the clock runs; it runs from the moment the agent begins to listen until its last message is worked
//! on. What the agent's process has used of its core is shown beside: the broker wants a core, too.

use std::cell::Cell;
use std::collections::HashMap;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloom::queue::Queue;
use greenloom_rpc::transport::Address;
use greenloom_rpc::{Client, Endpoint, Fanout, Options, Target};

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::{rabbit, sys::cpu_time};

pub const FIGURE: Figure = Figure {
    name: "rabbit-casts",
    title: "Casts over RabbitMQ, worked on by one agent on one core",
    metric: Metric { key: RATE, unit: Unit::PerSecond, what: "casts" },
    beside: &[Metric { key: CPU, unit: Unit::Microseconds, what: "the agent's CPU a cast" }],
    cores: ONE_CORE,
    repetitions: 5,
    contenders: &[
        Contender { name: OURS, measure: ours },
        Contender { name: LAPIN, measure: lapin },
        Contender { name: OSLO, measure: oslo },
    ],
    claims: &[
        Claim {
            what: "casts/s / lapin on tokio",
            subject: OURS,
            metric: RATE,
            against: Against::BestOf(&[LAPIN]),
            floor: Bound::AtLeast(1.0),
            aim: Some(Bound::AtLeast(1.3)),
        },
        Claim {
            what: "casts/s / oslo.messaging's server with eventlet",
            subject: OURS,
            metric: RATE,
            against: Against::BestOf(&[OSLO]),
            floor: Bound::AtLeast(5.0),
            aim: None,
        },
    ],
};

const LAPIN: &str = "lapin, tokio";
const OSLO: &str = "oslo.messaging, eventlet";
const RATE: &str = "casts_per_s";
const CPU: &str = "cpu_us";
const PATIENCE: Duration = Duration::from_secs(60);

/// Fills the queue of a topic with so many casts.
fn fill(topic: &str, casts: u64) -> Result<(), Skip> {
    let connection = Options::default().connect(&rabbit::url()?).map_err(failed)?;
    let address = Address::Topic { exchange: connection.options().exchange.clone(), topic: topic.to_owned() };
    connection.transport().listen(&[address], 1).map_err(failed)?.stop();
    let client = Client::new(&connection, Target::topic(topic));
    let next = Rc::new(Cell::new(0));
    let senders: Vec<_> = (0..50)
        .map(|_| {
            let (client, next) = (client.clone(), Rc::clone(&next));
            greenloom::spawn(move || {
                while next.get() < casts {
                    let number = next.replace(next.get() + 1);
                    client.cast("update", &HashMap::from([("number", number)]))?;
                }
                Ok::<(), greenloom_rpc::Error>(())
            })
        })
        .collect();
    for sender in senders {
        sender.wait().map_err(failed)?.map_err(failed)?;
    }
    connection.close();
    Ok(())
}

fn ours(scale: Scale) -> Result<Sample, Skip> {
    let (topic, casts) = (rabbit::name("casts"), scale.pick(20_000, 1_000));
    fill(&topic, casts)?;
    let agent = Options::default().connect(&rabbit::url()?).map_err(failed)?;
    let (seen, done) = (Cell::new(0), Rc::new(Queue::new(1)));
    let tell = Rc::clone(&done);
    let update = move |_: &(), _: &greenloom_rpc::Context, _: HashMap<String, u64>| {
        seen.set(seen.get() + 1);
        if seen.get() == casts {
            let _ = tell.try_put(());
        }
        Ok(())
    };
    let (began, used) = (Instant::now(), cpu_time(std::process::id())?);
    agent
        .create_consumer(&topic, [Endpoint::builder().method("update", update).build()], Fanout::Ignore)
        .map_err(failed)?;
    agent.consume_in_threads().map_err(failed)?;
    done.get_timeout(PATIENCE).map_err(failed)?;
    let (took, used) = (began.elapsed(), cpu_time(std::process::id())? - used);
    agent.stop_consuming(PATIENCE);
    agent.close();
    Ok(sample(casts, took.as_secs_f64(), used.as_secs_f64()))
}

fn lapin(scale: Scale) -> Result<Sample, Skip> {
    let (topic, casts) = (rabbit::name("casts"), scale.pick(20_000, 1_000));
    fill(&topic, casts)?;
    let used = cpu_time(std::process::id())?;
    let took = rabbit::lapin_agent(&rabbit::url()?, &topic, casts as usize)?;
    Ok(sample(casts, took, (cpu_time(std::process::id())? - used).as_secs_f64()))
}

fn oslo(scale: Scale) -> Result<Sample, Skip> {
    let python = std::env::var("GREENLOOM_OSLO_PYTHON")
        .map_err(|_| Skip::absent("no Python with oslo.messaging; `make bench-rpc` makes one"))?;
    let (topic, casts) = (rabbit::name("casts"), scale.pick(4_000, 500));
    fill(&topic, casts)?;
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/python/oslo_agent.py");
    let url = rabbit::url()?.replace("amqp://", "rabbit://");
    let output = Command::new(python).args(["-W", "ignore", agent, &url, &topic, &casts.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.trim().split_once(' ').and_then(|(took, used)| Some((took.parse().ok()?, used.parse().ok()?)));
    let (took, used) = figures.ok_or_else(|| failed(String::from_utf8_lossy(&output.stderr)))?;
    Ok(sample(casts, took, used))
}

fn sample(casts: u64, took: f64, used: f64) -> Sample {
    Sample::from([(RATE.to_owned(), casts as f64 / took), (CPU.to_owned(), used / casts as f64 * 1e6)])
}

fn failed(error: impl std::fmt::Display) -> Skip {
    Skip::failed(error.to_string())
}
