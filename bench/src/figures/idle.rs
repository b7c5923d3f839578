//! What ten thousand idle connections cost the 64 busy ones.

use super::echo;
use crate::figure::{Against, Bound, Claim, Contender, Figure, OURS, Sample, Scale, Skip, TWO_CORES};
use crate::{load, servers::Kind, sys};

pub const FIGURE: Figure = Figure {
    name: "idle",
    title: "64 busy connections beside 10,000 idle ones",
    metric: echo::RPS,
    beside: echo::BESIDE,
    cores: TWO_CORES,
    repetitions: 7,
    contenders: &[
        Contender { name: OURS, measure: |scale| beside_idle(scale, Kind::Ours) },
        Contender { name: NO_IDLE, measure: |scale| echo::on_one_core(scale, Kind::Ours, 0) },
        Contender { name: "bare epoll", measure: |scale| beside_idle(scale, Kind::Bare) },
        Contender { name: "bare epoll, no idle", measure: |scale| echo::on_one_core(scale, Kind::Bare, 0) },
    ],
    claims: &[Claim {
        what: "requests/s beside 10,000 idle / with no idle ones",
        subject: OURS,
        metric: load::RPS,
        against: Against::BestOf(&[NO_IDLE]),
        floor: Bound::AtLeast(0.95),
        aim: None,
    }],
};

const NO_IDLE: &str = "greenloom, no idle";

/// Beside the idle and the busy connections, a process has some files of its own.
const SPARE_FILES: usize = 100;

fn beside_idle(scale: Scale, kind: Kind) -> Result<Sample, Skip> {
    let idle = scale.pick(10_000, 2_000);
    let limit = sys::raise_open_files()?;
    if limit < (idle + echo::BUSY + SPARE_FILES) as u64 {
        return Err(Skip::absent(format!("the hard limit of open files is {limit}")));
    }
    echo::on_one_core(scale, kind, idle)
}
