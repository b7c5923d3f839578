//! HTTP/1.1 by whole servers: parsed, answered with a date, under limits and timeouts. 64 keep-alive connections, the
//! server on one core and the client on the other.

use super::echo::{BESIDE, RPS, on_one_core};
use crate::figure::{Against, Bound, Claim, Contender, Figure, OURS, TWO_CORES};
use crate::{load, servers::Kind};

pub const FIGURE: Figure = Figure {
    name: "http",
    title: "HTTP/1.1 hello, 64 connections, one core",
    metric: RPS,
    beside: BESIDE,
    cores: TWO_CORES,
    repetitions: 7,
    contenders: &[
        Contender { name: OURS, measure: |scale| on_one_core(scale, Kind::OursHttp, 0) },
        Contender { name: "hyper on tokio", measure: |scale| on_one_core(scale, Kind::Hyper, 0) },
    ],
    claims: &[Claim {
        what: "HTTP/1.1 requests/s / hyper on tokio, current-thread",
        subject: OURS,
        metric: load::RPS,
        against: Against::BestOf(&["hyper on tokio"]),
        floor: Bound::AtLeast(1.0),
        aim: Some(Bound::AtLeast(1.15)),
    }],
};
