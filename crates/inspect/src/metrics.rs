//! What hubs have done, as OpenMetrics text.

use std::fmt::{Display, Write};

use crate::protocol::Hub;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric of each hub: its name, its kind, its unit, what it says, and what it is for one hub.
type Metric = (&'static str, &'static str, &'static str, &'static str, fn(&Hub) -> Option<f64>);

const METRICS: &[Metric] = &[
    ("greenloom_green_threads", "gauge", "", "Green threads of the hub.", |hub| hub.green_threads.map(|n| n as f64)),
    ("greenloom_switches", "counter", "", "Switches to a green thread.", |hub| Some(hub.switches as f64)),
    ("greenloom_turns", "counter", "", "Looks at timers and I/O.", |hub| Some(hub.turns as f64)),
    ("greenloom_timers_fired", "counter", "", "Timers that have fired.", |hub| Some(hub.timers as f64)),
    ("greenloom_timer_lag_seconds", "gauge", "seconds", "How late the last timer was.", |hub| Some(hub.timer_lag)),
    ("greenloom_longest_timer_lag_seconds", "gauge", "seconds", "The most that a timer was late.", |hub| {
        Some(hub.longest_timer_lag)
    }),
    ("greenloom_longest_block_seconds", "gauge", "seconds", "The longest that what runs has kept the hub.", |hub| {
        Some(hub.longest_block)
    }),
];

/// The text, with its end.
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
    let mut text = String::new();
    for (name, kind, unit, help, value) in METRICS {
        line(&mut text, format_args!("# TYPE {name} {kind}"));
        if !unit.is_empty() {
            line(&mut text, format_args!("# UNIT {name} {unit}"));
        }
        line(&mut text, format_args!("# HELP {name} {help}"));
        let suffix = if *kind == "counter" { "_total" } else { "" };
        for hub in hubs {
            if let Some(value) = value(hub) {
                let thread = escaped(&hub.os_thread);
                let number = hub.number;
                line(&mut text, format_args!("{name}{suffix}{{hub=\"{number}\",thread_name=\"{thread}\"}} {value}"));
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn line(text: &mut String, words: impl Display) {
    writeln!(text, "{words}").expect("a string takes what it is given");
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped_and_what_is_not_counted_is_left_out() {
        let hub = Hub { os_thread: "a\"b\\c\nd".into(), ..Hub::default() };
        let text = text(&[hub]);
        assert!(text.contains(r#"thread_name="a\"b\\c\nd"} 0"#), "{text}");
        assert!(!text.contains("greenloom_green_threads{"), "{text}");
        assert!(text.contains("# UNIT greenloom_timer_lag_seconds seconds\n"), "{text}");
    }
}
