//! Side-by-side benchmarks of greenloom and its peers.
//!
//! One binary plays every part. Started by a person it is the driver: it starts itself again for each measurement, so
//! that every runtime gets a fresh process. Those copies are started as `measure` (one contender of one figure, once)
//! or `serve` (an echo server).
//!
//! | module | what it is |
//! |---|---|
//! | `cli` | the command line |
//! | `figure` | what a figure is made of: metrics, contenders, claims, samples |
//! | `figures` | what is measured, one file a figure |
//! | `harness` | interleaved repetitions, each in a subprocess |
//! | `others` | how much everybody else used the machine meanwhile |
//! | `stopwatch` | nanoseconds an operation, inside such a process |
//! | `ours` | every use of greenloom |
//! | `servers`, `listen`, `http`, `load` | the echo: servers of the peers, where they listen, messages, client |
//! | `rabbit` | an exchange over RabbitMQ, by us and by lapin |
//! | `go` | building and calling the Go contenders |
//! | `sys`, `machine` | what the kernel is asked: core pinning, memory, CPU time; what machine this is |
//! | `report` | the verdicts as a table, and the raw numbers as JSON |
//! | `kept`, `plot` | raw numbers that were kept, drawn as SVG; those of Python's comparisons, too |

#![forbid(unsafe_code)]

mod cli;
mod figure;
mod figures;
mod go;
mod harness;
mod http;
mod kept;
mod listen;
mod load;
mod machine;
mod others;
mod ours;
mod plot;
mod rabbit;
mod report;
mod servers;
mod stopwatch;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse(std::env::args().skip(1)) {
        Ok(command) => cli::run(command),
        Err(complaint) => {
            eprintln!("bench: {complaint}\n\n{}", cli::HELP);
            ExitCode::from(2)
        }
    }
}
