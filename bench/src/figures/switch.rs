//! The symmetric switch with a value: two greenlets that switch to each other, against the bare asymmetric pairs it
//! could be built on.
//!
//! One operation is one symmetric switch for us (half of a round trip), and one resume with its suspend for the peers:
//! each hands a value over and lets the other side run.

use std::hint::black_box;

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::{
    ours,
    stopwatch::{NS, nanoseconds},
};

pub const FIGURE: Figure = Figure {
    name: "switch",
    title: "Symmetric switch with a value",
    metric: Metric { key: NS, unit: Unit::Nanoseconds, what: "a switch" },
    beside: &[],
    cores: ONE_CORE,
    repetitions: 9,
    contenders: &[
        Contender { name: OURS, measure: ours::switch },
        Contender { name: "corosensei", measure: corosensei },
        Contender { name: "generator", measure: generator },
    ],
    claims: &[Claim {
        what: "symmetric switch / corosensei's bare resume + suspend",
        subject: OURS,
        metric: NS,
        against: Against::BestOf(&["corosensei"]),
        floor: Bound::AtMost(3.0),
        aim: Some(Bound::AtMost(1.5)),
    }],
};

fn corosensei(scale: Scale) -> Result<Sample, Skip> {
    let mut coroutine = corosensei::Coroutine::<u64, u64, ()>::new(|yielder, mut value| {
        loop {
            value = yielder.suspend(value + 1);
        }
    });
    Ok(nanoseconds(scale, |count| {
        let mut value = 0;
        for _ in 0..count {
            value = coroutine.resume(value).as_yield().expect("the coroutine never returns");
        }
        assert_eq!(black_box(value), count);
    }))
}

fn generator(scale: Scale) -> Result<Sample, Skip> {
    let mut generator = generator::Gn::<u64>::new_scoped(|mut scope| {
        let mut value = 0;
        // There is no value once it is cancelled.
        while let Some(next) = scope.yield_(value + 1) {
            value = next;
        }
        0
    });
    // Up to its first yield.
    generator.resume();
    Ok(nanoseconds(scale, |count| {
        let mut value = 0;
        for _ in 0..count {
            value = generator.send(value);
        }
        assert_eq!(black_box(value), count);
    }))
}
