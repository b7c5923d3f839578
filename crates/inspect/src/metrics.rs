//! What hubs have done, as OpenMetrics text.

use std::time::Duration;

use crate::counters::COUNTERS;
use crate::page::tell_all;
pub use crate::page::{Family, Kind, Labels, Page, Source, add};
use crate::protocol::Hub;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    for counter in COUNTERS {
        let unit = if counter.is_time { "seconds" } else { "" };
        let mut family = page.family(counter.metric, counter.kind, unit, counter.says);
        for hub in hubs {
            if let Some(value) = (counter.value)(hub) {
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
