//! The HTTP-shaped echo: 64 keep-alive connections, the server on one core and the client on the other.
//!
//! The client's cost for a request is near a good server's, so the client's core may be the limit. `client_busy` tells;
//! the server's CPU time for a request, beside it, ranks servers whatever the client does.

use std::time::Duration;

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, OURS, Sample, Scale, Skip, TWO_CORES, Unit};
use crate::{
    load::{self, Load},
    servers::{Kind, Server},
};

pub const FIGURE: Figure = Figure {
    name: "echo",
    title: "HTTP-shaped echo, 64 connections, one core",
    metric: RPS,
    beside: BESIDE,
    cores: TWO_CORES,
    repetitions: 7,
    contenders: &[
        Contender { name: OURS, measure: |scale| on_one_core(scale, Kind::Ours, 0) },
        Contender { name: "bare epoll", measure: |scale| on_one_core(scale, Kind::Bare, 0) },
        Contender { name: "tokio", measure: |scale| on_one_core(scale, Kind::Tokio, 0) },
        Contender { name: "may", measure: |scale| on_one_core(scale, Kind::May, 0) },
        Contender { name: "go", measure: |scale| on_one_core(scale, Kind::Go, 0) },
        Contender { name: "monoio", measure: |scale| on_one_core(scale, Kind::Monoio, 0) },
    ],
    claims: &[
        Claim {
            what: "echo requests/s / a bare epoll loop",
            subject: OURS,
            metric: load::RPS,
            against: Against::BestOf(&["bare epoll"]),
            floor: Bound::AtLeast(0.95),
            aim: Some(Bound::AtLeast(1.0)),
        },
        Claim {
            what: "echo requests/s / the best of tokio, may, Go",
            subject: OURS,
            metric: load::RPS,
            against: Against::BestOf(&["tokio", "may", "go"]),
            floor: Bound::Above(1.0),
            aim: None,
        },
    ],
};

pub const RPS: Metric = Metric { key: load::RPS, unit: Unit::PerSecond, what: "requests/s" };

pub const BESIDE: &[Metric] = &[
    Metric { key: load::P50, unit: Unit::Microseconds, what: "median latency" },
    Metric { key: load::P99, unit: Unit::Microseconds, what: "99th percentile" },
    Metric { key: load::SERVER_CPU, unit: Unit::Microseconds, what: "server CPU a request" },
    Metric { key: load::CLIENT_BUSY, unit: Unit::Share, what: "client busy" },
];

/// Connections with a request in flight.
pub const BUSY: usize = 64;

/// The server on core 0 and the client on core 1, with so many idle connections beside the busy ones.
pub fn on_one_core(scale: Scale, kind: Kind, idle: usize) -> Result<Sample, Skip> {
    on_cores(scale, kind, idle, &[0], &[1])
}

pub fn on_cores(
    scale: Scale,
    kind: Kind,
    idle: usize,
    server_cores: &[usize],
    client_cores: &[usize],
) -> Result<Sample, Skip> {
    let server = Server::start(kind, server_cores)?;
    let load = Load {
        busy: BUSY,
        idle,
        cores: client_cores,
        warm_up: Duration::from_millis(scale.pick(300, 100)),
        window: Duration::from_millis(scale.pick(1500, 400)),
    };
    load::measure(&server, &load)
}
