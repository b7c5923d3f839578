//! Raw figures that were kept, by this program or by Python's comparisons, as panels of a plot.
//!
//! What a figure is called, and what its values are, stands here for Python's, whose files have short names.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    figures,
    harness::{Outcome, Series},
    machine::Machine,
    plot::{Bar, Panel, Plot},
    report::Spread,
};

/// All figures of some files; what they were taken on is said of the last one.
pub fn plot(title: &str, files: &[PathBuf]) -> io::Result<Plot> {
    let mut plot = Plot { title: title.to_owned(), panels: Vec::new(), taken_on: Vec::new() };
    for file in files {
        let kept: Kept = serde_json::from_slice(&fs::read(file)?)?;
        plot.panels.extend(kept.panels()?);
        plot.taken_on = kept.taken_on();
    }
    Ok(plot)
}

/// One file. Maps keep the file's order.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    /// As [`write_json`](crate::report::write_json) has it.
    Ours { machine: Machine, figures: Vec<OurFigure> },
    /// As `keep` of `python/turns.py` has it: by a figure's name.
    Python {
        #[serde(flatten)]
        interpreter: Interpreter,
        figures: Map<String, Value>,
    },
    /// As `python/greenlets.py` has it: turns by contender, each with several values.
    Greenlets {
        #[serde(flatten)]
        interpreter: Interpreter,
        turns: Map<String, Value>,
    },
}

#[derive(Deserialize)]
struct OurFigure {
    name: String,
    contenders: Vec<OurSeries>,
}

#[derive(Deserialize)]
struct OurSeries {
    name: String,
    samples: Vec<BTreeMap<String, f64>>,
}

/// What Python's figures were taken on.
#[derive(Deserialize)]
struct Interpreter {
    interpreter: String,
    processors: usize,
    machine: String,
}

/// Of Python's figures those with a unit and turns are drawn.
#[derive(Deserialize)]
struct PythonFigure {
    unit: String,
    turns: Map<String, Value>,
}

impl Kept {
    fn panels(&self) -> io::Result<Vec<Panel>> {
        Ok(match self {
            Kept::Ours { figures, .. } => figures.iter().filter_map(|figure| Panel::of(&figure.outcome()?)).collect(),
            Kept::Python { figures, .. } => {
                let drawn = figures.iter().filter(|(name, one)| *name != "epoll_ctl" && one.get("turns").is_some());
                drawn.map(|(name, one)| python_panel(name, &read(one)?)).collect::<io::Result<_>>()?
            }
            Kept::Greenlets { turns, .. } => {
                let switches = |turns: &Value| -> io::Result<_> {
                    let turns: Vec<Map<String, Value>> = read(turns)?;
                    Ok(turns.into_iter().filter_map(|mut turn| turn.remove("switch_pair_ns")).collect())
                };
                let turns = turns.iter().map(|(who, turns)| Ok((who.clone(), switches(turns)?)));
                let turns = turns.collect::<io::Result<_>>()?;
                vec![python_panel("switch", &PythonFigure { unit: "ns".to_owned(), turns })?]
            }
        })
    }

    /// Lines of text.
    fn taken_on(&self) -> Vec<String> {
        match self {
            Kept::Ours { machine: Machine { cpu, cores, kernel, rustc, date, versions, .. }, .. } => {
                let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
                vec![format!("{cpu}, {cores} cores, {kernel}, {rustc}, {date}"), versions.join(", ")]
            }
            Kept::Python { interpreter, .. } | Kept::Greenlets { interpreter, .. } => {
                let Interpreter { interpreter, processors, machine } = interpreter;
                vec![format!("{interpreter}, {processors} cores, {machine}")]
            }
        }
    }
}

fn read<'de, T: Deserialize<'de>>(value: &'de Value) -> io::Result<T> {
    T::deserialize(value).map_err(io::Error::from)
}

impl OurFigure {
    /// None if there is no such figure any more.
    fn outcome(&self) -> Option<Outcome> {
        let figure = figures::named(&self.name)?;
        let series = |kept: &OurSeries| {
            let contender = figure.contender(&kept.name)?;
            Some(Series { contender, samples: kept.samples.clone(), skipped: None })
        };
        Some(Outcome { figure, series: self.contenders.iter().filter_map(series).collect() })
    }
}

impl Panel {
    /// None if nobody has a value above zero.
    fn of(outcome: &Outcome) -> Option<Self> {
        let metric = &outcome.figure.metric;
        let bar = |series: &Series| {
            let spread = series.spread(metric.key)?;
            Some(Bar { name: series.contender.name.to_owned(), spread, value: metric.unit.show(spread.median) })
        };
        let bars: Vec<_> = outcome.series.iter().filter_map(bar).collect();
        let what = what(metric.what, metric.unit.less_is_better());
        let panel = Self { title: outcome.figure.title.to_owned(), what, bars };
        (panel.longest() > 0.0).then_some(panel)
    }
}

fn python_panel(name: &str, PythonFigure { unit, turns }: &PythonFigure) -> io::Result<Panel> {
    let bar = |(who, turns): (&String, &Value)| {
        // A turn that failed has no value.
        let values: Vec<Option<f64>> = read(turns)?;
        let spread = Spread::of(values.into_iter().flatten().collect());
        Ok(spread.map(|spread| Bar { name: who.clone(), spread, value: three_digits(spread.median) }))
    };
    let bars = turns.iter().filter_map(|turns| bar(turns).transpose()).collect::<io::Result<_>>()?;
    let what = if unit == "/s" { what("a second", false) } else { what(unit, true) };
    Ok(Panel { title: python_title(name).to_owned(), what, bars })
}

fn what(metric: &str, less_is_better: bool) -> String {
    format!("{metric}; {} is better", if less_is_better { "less" } else { "more" })
}

/// The title of one of Python's figures, whose names are short.
fn python_title(name: &str) -> &str {
    match name {
        "switch" => "switch to a greenlet and back",
        "sleep" => "eventlet.sleep(0)",
        "spawn" => "spawn and wait",
        "pool" => "GreenPool.spawn_n",
        "hop" => "hop through a queue",
        "round_trip" => "round trip over a socketpair",
        "raw" => "socket loop, 64 connections",
        "wsgi" => "wsgi.server, hello",
        "idle_raw" => "an idle connection of a socket loop",
        "idle_wsgi" => "an idle connection of wsgi.server",
        "nameko" => "nameko, a call over RabbitMQ",
        "celery" => "Celery, a task over RabbitMQ",
        "oslo" => "oslo.messaging, a cast over RabbitMQ",
        name => name,
    }
}

/// A value with its first three digits, or as a whole number with commas.
fn three_digits(value: f64) -> String {
    if value < 100.0 {
        let before_the_point = value.abs().log10().floor().max(-9.0) as i32 + 1;
        let text = format!("{value:.*}", (3 - before_the_point).max(0) as usize);
        return if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    }
    let digits = format!("{value:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_or_are_whole_numbers_with_commas() {
        let cases = [(0.0123456, "0.0123"), (1.0, "1"), (9.999, "10"), (12.345, "12.3"), (0.0, "0"), (99.96, "100")];
        for (value, shown) in cases.into_iter().chain([(123.4, "123"), (1234.5, "1,234"), (1_234_567.8, "1,234,568")]) {
            assert_eq!(three_digits(value), shown);
        }
    }

    #[test]
    fn figures_of_python_are_panels_in_the_files_order() {
        let text = r#"{"interpreter": "Python 3", "machine": "m", "processors": 2, "load": [1], "figures": {
            "spawn": {"unit": "ns", "turns": {"stock": [3, null, 5], "ours": [1, 2]}},
            "more": {"ratio": 2}, "epoll_ctl": {"unit": "calls", "turns": {"ours": [1]}},
            "hop": {"unit": "/s", "turns": {"ours": [7], "stock": [null]}}}}"#;
        let kept: Kept = serde_json::from_str(text).expect("a file of Python's");
        let panels = kept.panels().expect("with figures");
        let shown: Vec<_> = panels
            .iter()
            .map(|panel| {
                let bars: Vec<_> = panel.bars.iter().map(|bar| format!("{} {}", bar.name, bar.value)).collect();
                format!("{} ({}): {}", panel.title, panel.what, bars.join(", "))
            })
            .collect();
        let wanted = [
            "spawn and wait (ns; less is better): stock 4, ours 1.5",
            "hop through a queue (a second; more is better): ours 7",
        ];
        assert_eq!(shown, wanted);
        assert_eq!(kept.taken_on(), ["Python 3, 2 cores, m"]);
    }
}
