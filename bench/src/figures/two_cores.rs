//! The same echo with more than one hub: a server with two OS threads and a client with two, which share two cores.
//!
//! Nobody pins a thread to one of the two: the system spreads them, for all contenders alike.

use super::echo;
use crate::figure::{Against, Bound, Claim, Contender, Figure, OURS, Sample, Scale, Skip, TWO_CORES};
use crate::{load, servers::Kind};

pub const FIGURE: Figure = Figure {
    name: "two-cores",
    title: "The same echo, two hubs, two cores for server and client",
    metric: echo::RPS,
    beside: echo::BESIDE,
    cores: TWO_CORES,
    repetitions: 7,
    contenders: &[
        Contender { name: OURS, measure: |scale| on_two_cores(scale, Kind::Ours) },
        Contender { name: "tokio", measure: |scale| on_two_cores(scale, Kind::Tokio) },
        Contender { name: "go", measure: |scale| on_two_cores(scale, Kind::Go) },
    ],
    claims: &[Claim {
        what: "echo requests/s, 2 hubs / tokio multi-thread",
        subject: OURS,
        metric: load::RPS,
        against: Against::BestOf(&["tokio"]),
        floor: Bound::AtLeast(1.0),
        aim: Some(Bound::AtLeast(1.2)),
    }],
};

fn on_two_cores(scale: Scale, kind: Kind) -> Result<Sample, Skip> {
    echo::on_cores(scale, kind, 0, &[0, 1], &[0, 1])
}
