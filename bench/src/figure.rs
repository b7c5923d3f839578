//! The vocabulary of figures: what a figure is made of, and what a measurement finds.
//!
//! A figure is data: its contenders, and the claims that are judged on their samples. A contender's function runs in a
//! process of its own and measures once; repeating, interleaving and judging are the harness's and the report's. Which
//! figures there are is not known here.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

/// One row of the comparison, and one panel of the plot.
pub struct Figure {
    /// How it is called on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// The metric that the plot shows and that contenders are ranked by.
    pub metric: Metric,
    /// Further metrics, shown beside it.
    pub beside: &'static [Metric],
    /// Where it runs, unless a contender says otherwise.
    pub cores: &'static [usize],
    pub repetitions: usize,
    pub contenders: &'static [Contender],
    pub claims: &'static [Claim],
}

/// The first core serves the machine's interrupts more often.
pub const ONE_CORE: &[usize] = &[1];
pub const TWO_CORES: &[usize] = &[0, 1];

/// One value of a sample.
pub struct Metric {
    /// Its key in the sample.
    pub key: &'static str,
    pub unit: Unit,
    pub what: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    Seconds,
    Bytes,
    PerSecond,
    /// A number of things.
    Count,
    /// A share of a whole.
    Share,
}

/// Somebody who does the work of a figure.
pub struct Contender {
    pub name: &'static str,
    pub measure: fn(Scale) -> Result<Sample, Skip>,
}

/// The contender that is ours, in every figure.
pub const OURS: &str = "greenloom";

/// What one measurement found: values by their metric's key.
pub type Sample = BTreeMap<String, f64>;

/// Something that is held to a floor, and has an aim beyond it.
pub struct Claim {
    pub what: &'static str,
    /// The contender that is judged.
    pub subject: &'static str,
    pub metric: &'static str,
    pub against: Against,
    pub floor: Bound,
    pub aim: Option<Bound>,
}

/// What the subject's value is divided by, repetition by repetition, before it is compared with the bounds.
pub enum Against {
    /// The one of these contenders with the best median.
    BestOf(&'static [&'static str]),
    /// Nothing: the bounds are in the metric's unit.
    Itself,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
}

/// How much to do: a full measurement or a smoke test.
#[derive(Clone, Copy)]
pub struct Scale {
    pub quick: bool,
}

impl Scale {
    pub fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Why there is no sample.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Skip {
    /// This machine lacks something; that is no fault.
    Absent(String),
    Failed(String),
}

impl Skip {
    pub fn absent(reason: impl Into<String>) -> Self {
        Self::Absent(reason.into())
    }

    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<io::Error> for Skip {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Figure {
    pub fn contender(&self, name: &str) -> Option<&Contender> {
        self.contenders.iter().find(|contender| contender.name == name)
    }
}

impl Metric {
    /// A sample's value, with its unit.
    pub fn show(&self, sample: &Sample) -> String {
        sample.get(self.key).map_or("?".to_owned(), |&value| self.unit.show(value))
    }
}

impl Unit {
    /// A value as people write it.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds if value >= 1000.0 => format!("{:.1} us", value / 1000.0),
            Unit::Nanoseconds => format!("{value:.1} ns"),
            Unit::Microseconds => format!("{value:.1} us"),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Bytes if value >= 1024.0 => format!("{:.2} KiB", value / 1024.0),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::PerSecond => format!("{:.1} k/s", value / 1000.0),
            Unit::Count if value.fract() == 0.0 => format!("{value}"),
            Unit::Count => format!("{value:.2}"),
            Unit::Share => format!("{:.0}%", value * 100.0),
        }
    }

    /// Whether a smaller value is a better one.
    pub fn less_is_better(self) -> bool {
        self != Unit::PerSecond
    }
}

impl Bound {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(limit) => value <= limit,
            Bound::Below(limit) => value < limit,
            Bound::AtLeast(limit) => value >= limit,
            Bound::Above(limit) => value > limit,
        }
    }

    pub fn limit(self) -> f64 {
        match self {
            Bound::AtMost(limit) | Bound::Below(limit) | Bound::AtLeast(limit) | Bound::Above(limit) => limit,
        }
    }
}
