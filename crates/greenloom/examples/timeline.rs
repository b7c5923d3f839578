//! A timeline of producers and consumers at one queue, on virtual time: `cargo run --example timeline -- out.html`.
//!
//! Each argument is a file that is written: a page if it ends in `.html`, else for Perfetto's UI. What the program says
//! of itself is printed, so that it can be compared. `--events N` makes it go on until about N events were recorded,
//! quietly; `--real` has it run in real time and work for it.

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloom::queue::Queue;
use greenloom::testing::Simulation;
use greenloom::{Builder, hub, sleep, trace};

fn say(name: &str, what: &str) {
    println!("{} {name} {what}", hub::now().as_nanos());
}

/// Four producers that sleep and put, and two consumers that take, and then compute for so long.
fn producers_and_consumers(rounds: u64, work: Duration, quiet: bool) {
    let queue = Rc::new(Queue::new(2));
    let producer = |number: u64| {
        let (queue, name) = (queue.clone(), format!("producer-{number}"));
        Builder::new().name(name.clone()).spawn(move || {
            for round in 0..rounds {
                sleep(Duration::from_micros(1_000 * number + round % 700));
                if !quiet {
                    say(&name, "puts");
                }
                queue.put(round).expect("the queue stays open");
            }
        })
    };
    let consumer = |number: u64| {
        let (queue, name) = (queue.clone(), format!("consumer-{number}"));
        Builder::new().name(name.clone()).spawn(move || {
            for _ in 0..2 * rounds {
                queue.get().expect("the queue stays open");
                if !quiet {
                    say(&name, "took");
                }
                let began = Instant::now();
                while began.elapsed() < work {}
            }
        })
    };
    let threads: Vec<_> = (1..=4).map(producer).chain((1..=2).map(consumer)).collect();
    for thread in threads {
        thread.expect("there is memory for six stacks").wait().expect("none of them fails");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut files, mut events, mut real) = (Vec::new(), None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--events" => events = Some(arguments.next().ok_or("--events needs a number")?.parse::<u64>()?),
            "--real" => real = true,
            _ => files.push(argument),
        }
    }
    // A round is about 36 events.
    let (rounds, quiet) = events.map_or((5, false), |events| (events / 36, true));
    let work = if real { Duration::from_micros(400) } else { Duration::ZERO };
    let run = move || trace::record(|| producers_and_consumers(rounds, work, quiet)).1;
    let timeline = if real { run() } else { Simulation::new().seed(14).run(run)? };
    for file in files {
        timeline.save(file)?;
    }
    eprintln!("{} events, {} dropped", timeline.events(), timeline.dropped());
    Ok(())
}
