//! What hubs have done, as OpenMetrics text.

use std::time::Duration;

use crate::page::tell_all;
pub use crate::page::{Family, Kind, Labels, Page, Source, add};
use crate::protocol::Hub;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric of each hub: its name, its kind, its unit, what it says, and what it is for one hub.
type Metric = (&'static str, Kind, &'static str, &'static str, fn(&Hub) -> Option<f64>);

const METRICS: &[Metric] = &[
    ("greenloom_green_threads", Kind::Gauge, "", "Green threads of the hub.", |hub| {
        hub.green_threads.map(|n| n as f64)
    }),
    ("greenloom_switches", Kind::Counter, "", "Switches to a green thread.", |hub| Some(hub.switches as f64)),
    ("greenloom_turns", Kind::Counter, "", "Looks at timers and I/O.", |hub| Some(hub.turns as f64)),
    ("greenloom_timers_fired", Kind::Counter, "", "Timers that have fired.", |hub| Some(hub.timers as f64)),
    ("greenloom_timer_lag_seconds", Kind::Gauge, "seconds", "How late the last timer was.", |hub| Some(hub.timer_lag)),
    ("greenloom_longest_timer_lag_seconds", Kind::Gauge, "seconds", "The most that a timer was late.", |hub| {
        Some(hub.longest_timer_lag)
    }),
    (
        "greenloom_longest_block_seconds",
        Kind::Gauge,
        "seconds",
        "The longest that what runs has kept the hub.",
        |hub| Some(hub.longest_block),
    ),
];

/// The text, with its end: what the hubs have done, and what else has [something to tell](add).
///
/// ```
/// use greenloom_inspect::{Hub, metrics};
///
/// let hub = Hub { os_thread: "main".into(), switches: 12, ..Hub::default() };
/// let text = metrics::text(&[hub]);
/// assert!(text.contains("greenloom_switches_total{hub=\"0\",thread_name=\"main\"} 12\n"));
/// assert!(text.ends_with("# EOF\n"));
/// ```
pub fn text(hubs: &[Hub]) -> String {
    text_within(hubs, Duration::ZERO)
}

/// As [`text()`], in an OS thread that may wait for hubs, at most for `patience`.
pub fn text_within(hubs: &[Hub], patience: Duration) -> String {
    let mut page = Page::default();
    for (name, kind, unit, help, value) in METRICS {
        let mut family = page.family(name, *kind, unit, help);
        for hub in hubs {
            if let Some(value) = value(hub) {
                family.sample(&[("hub", &hub.number.to_string()), ("thread_name", &hub.os_thread)], value);
            }
        }
    }
    tell_all(&mut page, patience);
    page.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_is_left_out() {
        let text = text(&[Hub::default()]);
        assert!(!text.contains("greenloom_green_threads{"), "{text}");
        assert!(text.contains("# UNIT greenloom_timer_lag_seconds seconds\n"), "{text}");
    }
}
