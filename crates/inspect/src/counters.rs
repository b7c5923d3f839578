//! What is counted of a hub: the one place where each counter is described, for the metrics, for `greenloom top`, for
//! the line of text, and for the guide.

use crate::page::Kind;
use crate::protocol::Hub;

/// A counter of a hub.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Counter {
    /// Its name among the metrics, which ends with its unit.
    pub metric: &'static str,
    /// What kind of metric it is.
    pub kind: Kind,
    /// Whether it is a time in seconds; else it is a number.
    pub is_time: bool,
    /// What it says.
    pub says: &'static str,
    /// The heading of its column in `greenloom top`, if it has one: of a counter, how much more there is each second.
    pub heading: Option<&'static str>,
    /// What it is called in the line of a hub, if it is there.
    pub word: Option<&'static str>,
    /// What it is for one hub, where it is counted.
    pub value: fn(&Hub) -> Option<f64>,
}

/// All of them, in the order in which they are shown.
pub const COUNTERS: &[Counter] = &[
    Counter {
        metric: "greenloom_green_threads",
        kind: Kind::Gauge,
        is_time: false,
        says: "Green threads of the hub.",
        heading: None,
        word: Some("green threads"),
        value: |hub| hub.green_threads.map(|count| count as f64),
    },
    Counter {
        metric: "greenloom_switches",
        kind: Kind::Counter,
        is_time: false,
        says: "Switches to a green thread.",
        heading: Some("SWITCHES/S"),
        word: Some("switches"),
        value: |hub| Some(hub.switches as f64),
    },
    Counter {
        metric: "greenloom_turns",
        kind: Kind::Counter,
        is_time: false,
        says: "Looks at timers and I/O.",
        heading: None,
        word: Some("turns"),
        value: |hub| Some(hub.turns as f64),
    },
    Counter {
        metric: "greenloom_timers_fired",
        kind: Kind::Counter,
        is_time: false,
        says: "Timers that have fired.",
        heading: None,
        word: None,
        value: |hub| Some(hub.timers as f64),
    },
    Counter {
        metric: "greenloom_timer_lag_seconds",
        kind: Kind::Gauge,
        is_time: true,
        says: "How late the last timer was.",
        heading: Some("LAG"),
        word: None,
        value: |hub| Some(hub.timer_lag),
    },
    Counter {
        metric: "greenloom_longest_timer_lag_seconds",
        kind: Kind::Gauge,
        is_time: true,
        says: "The most that a timer was late.",
        heading: Some("MAX LAG"),
        word: Some("longest timer lag"),
        value: |hub| Some(hub.longest_timer_lag),
    },
    Counter {
        metric: "greenloom_longest_block_seconds",
        kind: Kind::Gauge,
        is_time: true,
        says: "The longest that what runs has kept the hub.",
        heading: Some("MAX BLOCK"),
        word: Some("longest block"),
        value: |hub| Some(hub.longest_block),
    },
];

impl Counter {
    /// What it is for a hub in words, where that has it in its line.
    ///
    /// ```
    /// use greenloom_inspect::{Hub, counters::COUNTERS};
    ///
    /// let hub = Hub { switches: 12, longest_block: 0.0064, ..Hub::default() };
    /// let said: Vec<_> = COUNTERS.iter().filter_map(|counter| counter.said(&hub)).collect();
    /// assert_eq!((&*said[0], &*said[3]), ("12 switches", "longest block 6.4 ms"));
    /// ```
    pub fn said(&self, hub: &Hub) -> Option<String> {
        let (word, value) = (self.word?, (self.value)(hub)?);
        Some(if self.is_time { format!("{word} {}", milliseconds(value)) } else { format!("{value} {word}") })
    }
}

/// Seconds as counters are shown.
pub fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}
