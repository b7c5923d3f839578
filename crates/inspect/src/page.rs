//! A page of OpenMetrics text as it is written, and those that have something to write on it.

use std::fmt::{Display, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What kind of value a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is as it is at the moment.
    Gauge,
    /// How many of what was measured were no larger than this and that.
    Histogram,
}

/// The text, as far as it is written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// A metric, whose samples follow.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'a str,
    kind: Kind,
}

/// The labels of a sample, by name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// Begins a metric: its name, what kind it is, its unit, which its name ends with, or nothing, and what it says.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, unit: &str, help: &str) -> Family<'a> {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# TYPE {name} {word}"));
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
        Family { page: self, name, kind }
    }

    /// The text, with its end.
    pub fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    fn line(&mut self, words: impl Display) {
        writeln!(self.text, "{words}").expect("a string takes what it is given");
    }
}

impl Family<'_> {
    /// A value of a counter or a gauge.
    pub fn sample(&mut self, labels: Labels<'_>, value: f64) {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.write(suffix, labels, None, value);
    }

    /// A histogram: up to which value there were how many, how large they were in all, and how many there were.
    pub fn histogram(&mut self, labels: Labels<'_>, up_to: &[(f64, u64)], sum: f64, count: u64) {
        for (limit, count) in up_to {
            self.write("_bucket", labels, Some(&limit.to_string()), *count as f64);
        }
        self.write("_bucket", labels, Some("+Inf"), count as f64);
        self.write("_sum", labels, None, sum);
        self.write("_count", labels, None, count as f64);
    }

    fn write(&mut self, suffix: &str, labels: Labels<'_>, up_to: Option<&str>, value: f64) {
        let up_to = up_to.map(|limit| ("le", limit));
        let labels = labels.iter().copied().chain(up_to);
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let name = self.name;
        self.page.line(format_args!("{name}{suffix}{labels} {value}"));
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// One that has metrics of its own. It may wait for hubs, at most for so long; what is not known then it tells as it
/// was known last.
pub type Source = fn(&mut Page, Duration);

static SOURCES: Mutex<Vec<Source>> = Mutex::new(Vec::new());

/// Adds one, for as long as the process lives, so that what stands above the hubs is told in the same place as they
/// are, and nobody here needs to know it.
pub fn add(source: Source) {
    SOURCES.lock().unwrap_or_else(PoisonError::into_inner).push(source);
}

/// Has all of them write.
pub(crate) fn tell_all(page: &mut Page, patience: Duration) {
    let sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    sources.iter().for_each(|source| source(page, patience));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped_and_each_kind_has_its_suffix() {
        let mut page = Page::default();
        page.family("a", Kind::Counter, "", "A.").sample(&[("b", "x\"y\\z\nw")], 2.0);
        page.family("c_seconds", Kind::Histogram, "seconds", "C.").histogram(&[], &[(0.5, 1)], 2.5, 3);
        let expected = "# TYPE a counter\n# HELP a A.\na_total{b=\"x\\\"y\\\\z\\nw\"} 2\n\
                        # TYPE c_seconds histogram\n# UNIT c_seconds seconds\n# HELP c_seconds C.\n\
                        c_seconds_bucket{le=\"0.5\"} 1\nc_seconds_bucket{le=\"+Inf\"} 3\n\
                        c_seconds_sum 2.5\nc_seconds_count 3\n# EOF\n";
        assert_eq!(page.end(), expected);
    }
}
