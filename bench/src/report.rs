//! From samples to what people read: medians, ratios, verdicts; a table for the terminal and JSON to keep.

use std::{io, path::Path};

use serde::Serialize;

use crate::{
    figure::{Against, Bound, Claim, Figure, Metric, Sample, Skip, Unit},
    harness::{self, Outcome, Series},
    machine::Machine,
};

/// Smallest, middle and largest of some values.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { least, median, most })
    }
}

impl Series {
    pub fn spread(&self, key: &str) -> Option<Spread> {
        self.found(key).map(|found| found.spread)
    }

    fn found(&self, key: &str) -> Option<Found> {
        Found::of(self.samples.iter().filter_map(|sample| Some((*sample.get(key)?, harness::undisturbed(sample)))))
    }
}

/// What the samples say about something.
struct Found {
    spread: Spread,
    /// Whether it rests on disturbed samples, because there are no others.
    disturbed: bool,
}

impl Found {
    /// Of values, each with whether it is an undisturbed one.
    fn of(values: impl Iterator<Item = (f64, bool)>) -> Option<Self> {
        let values: Vec<_> = values.collect();
        let undisturbed = values.iter().filter(|(_, undisturbed)| *undisturbed).map(|(value, _)| *value).collect();
        let all = || Spread::of(values.iter().map(|(value, _)| *value).collect());
        match Spread::of(undisturbed) {
            Some(spread) => Some(Self { spread, disturbed: false }),
            None => Some(Self { spread: all()?, disturbed: true }),
        }
    }
}

impl Outcome {
    fn series(&self, contender: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.contender.name == contender)
    }
}

/// How a claim stands.
#[derive(Serialize)]
pub struct Verdict {
    pub claim: &'static str,
    /// The subject's median, with its unit.
    pub ours: String,
    /// Who it was compared with, and their median.
    pub peer: Option<String>,
    /// The median over the repetitions of ours divided by theirs; without a peer, of ours.
    pub found: Option<f64>,
    pub floor: String,
    pub aim: Option<String>,
    pub standing: Standing,
    /// Whether it rests on measurements that others disturbed.
    pub disturbed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Aim,
    Pass,
    Short,
    Unknown,
}

/// Judges every claim of a figure.
pub fn judge(outcome: &Outcome) -> Vec<Verdict> {
    outcome.figure.claims.iter().map(|claim| judge_claim(outcome, claim)).collect()
}

fn judge_claim(outcome: &Outcome, claim: &Claim) -> Verdict {
    let metric = metric(outcome.figure, claim.metric);
    let subject = outcome.series(claim.subject).expect("a claim's subject is a contender");
    let (found, peer) = match claim.against {
        Against::Itself => (subject.found(metric.key), None),
        Against::BestOf(names) => {
            let best = best(outcome, metric, names);
            (best.and_then(|best| ratio(subject, best, metric.key)), best)
        }
    };
    let disturbed = found.as_ref().is_some_and(|found| found.disturbed);
    let found = found.map(|found| found.spread.median);
    let name_and_value = |series: &Series| format!("{} {}", series.contender.name, median(series, metric));
    // A ratio is shown as such, a bare value in its unit.
    let unit = if matches!(claim.against, Against::Itself) { Some(metric.unit) } else { None };
    Verdict {
        claim: claim.what,
        ours: median(subject, metric),
        peer: peer.map(name_and_value),
        found,
        floor: bound(claim.floor, unit),
        aim: claim.aim.map(|aim| bound(aim, unit)),
        standing: found.map_or(Standing::Unknown, |found| standing(claim, found)),
        disturbed,
    }
}

fn metric<'a>(figure: &'a Figure, key: &str) -> &'a Metric {
    let mut all = figure.beside.iter().chain([&figure.metric]);
    all.find(|metric| metric.key == key).expect("a claim's metric is one of the figure's")
}

fn best<'a>(outcome: &'a Outcome, metric: &Metric, names: &[&str]) -> Option<&'a Series> {
    let median = |series: &Series| series.spread(metric.key).map(|spread| spread.median);
    let present = names.iter().filter_map(|name| outcome.series(name)).filter(|series| median(series).is_some());
    let by_median = |a: &&Series, b: &&Series| median(a).unwrap_or(f64::NAN).total_cmp(&median(b).unwrap_or(f64::NAN));
    if metric.unit.less_is_better() { present.min_by(by_median) } else { present.max_by(by_median) }
}

/// Ours divided by theirs, repetition by repetition: what slows the machine for a while slows both.
fn ratio(ours: &Series, theirs: &Series, key: &str) -> Option<Found> {
    let ratio = |(ours, theirs): (&Sample, &Sample)| {
        let undisturbed = harness::undisturbed(ours) && harness::undisturbed(theirs);
        Some((ours.get(key)? / theirs.get(key)?, undisturbed))
    };
    Found::of(ours.samples.iter().zip(&theirs.samples).filter_map(ratio))
}

fn standing(claim: &Claim, found: f64) -> Standing {
    match (claim.floor.holds(found), claim.aim.is_some_and(|aim| aim.holds(found))) {
        (false, _) => Standing::Short,
        (true, true) => Standing::Aim,
        (true, false) => Standing::Pass,
    }
}

/// Prints what every contender of a figure showed.
pub fn print_figure(outcome: &Outcome) {
    let samples = || outcome.series.iter().flat_map(|series| &series.samples);
    let disturbed = samples().filter(|sample| !harness::undisturbed(sample)).count();
    if disturbed > 0 {
        println!("  ~ {disturbed} of {} measurements were disturbed by other work on this machine", samples().count());
    }
    for series in &outcome.series {
        let figure = outcome.figure;
        let name = series.contender.name;
        if let Some(spread) = series.spread(figure.metric.key) {
            let unit = figure.metric.unit;
            let range = format!("[{} .. {}]", unit.show(spread.least), unit.show(spread.most));
            print!("  {name:<26} {:>11} {} {range:<22}", unit.show(spread.median), figure.metric.what);
            for metric in figure.beside {
                print!("  {} {}", median(series, metric), metric.what);
            }
            println!();
        }
        match &series.skipped {
            Some(Skip::Absent(reason)) => println!("  {name:<26} skipped: {reason}"),
            Some(Skip::Failed(reason)) => println!("  {name:<26} FAILED: {reason}"),
            None => {}
        }
    }
}

/// Prints the claims, with floor, aim and standing.
pub fn print_verdicts(verdicts: &[Verdict]) {
    println!("\n{:<56} {:>11}  {:<26} {:>6}  {:<11} {:<11} standing", "claim", "ours", "peer", "ratio", "floor", "aim");
    for verdict in verdicts {
        let Verdict { claim, ours, peer, found, floor, aim, standing, disturbed } = verdict;
        let ratio = found.filter(|_| peer.is_some()).map_or("".to_owned(), |ratio| format!("{ratio:.2}x"));
        let peer = peer.as_deref().unwrap_or("");
        let aim = aim.as_deref().unwrap_or("");
        let standing = format!("{}{}", standing.word(), if *disturbed { ", but disturbed" } else { "" });
        println!("{claim:<56} {ours:>11}  {peer:<26} {ratio:>6}  {floor:<11} {aim:<11} {standing}");
    }
}

impl Standing {
    pub fn word(self) -> &'static str {
        match self {
            Standing::Aim => "PASS, aim reached",
            Standing::Pass => "PASS",
            Standing::Short => "short",
            Standing::Unknown => "no figure",
        }
    }
}

/// Whether a contender broke, which is not the same as one that this machine cannot run.
pub fn anyone_failed(outcomes: &[Outcome]) -> bool {
    outcomes.iter().flat_map(|outcome| &outcome.series).any(|series| matches!(series.skipped, Some(Skip::Failed(_))))
}

fn median(series: &Series, metric: &Metric) -> String {
    series.spread(metric.key).map_or("-".to_owned(), |spread| metric.unit.show(spread.median))
}

fn bound(bound: Bound, unit: Option<Unit>) -> String {
    let limit = unit.map_or_else(|| format!("{}x", bound.limit()), |unit| unit.show(bound.limit()));
    match bound {
        Bound::AtMost(_) => format!("<= {limit}"),
        Bound::Below(_) => format!("< {limit}"),
        Bound::AtLeast(_) => format!(">= {limit}"),
        Bound::Above(_) => format!("> {limit}"),
    }
}

/// Keeps everything that was measured.
pub fn write_json(
    path: &Path,
    machine: &Machine,
    quick: bool,
    outcomes: &[Outcome],
    verdicts: &[Verdict],
) -> io::Result<()> {
    let kept = Kept { machine, quick, figures: outcomes.iter().map(KeptFigure::of).collect(), claims: verdicts };
    let mut text = serde_json::to_string_pretty(&kept)?;
    text.push('\n');
    std::fs::write(path, text)
}

#[derive(Serialize)]
struct Kept<'a> {
    machine: &'a Machine,
    quick: bool,
    figures: Vec<KeptFigure<'a>>,
    claims: &'a [Verdict],
}

#[derive(Serialize)]
struct KeptFigure<'a> {
    name: &'a str,
    title: &'a str,
    contenders: Vec<KeptSeries<'a>>,
}

#[derive(Serialize)]
struct KeptSeries<'a> {
    name: &'a str,
    /// In the order of the repetitions.
    samples: &'a [Sample],
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a Skip>,
}

impl<'a> KeptFigure<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let kept = |series: &'a Series| KeptSeries {
            name: series.contender.name,
            samples: &series.samples,
            skipped: series.skipped.as_ref(),
        };
        Self {
            name: outcome.figure.name,
            title: outcome.figure.title,
            contenders: outcome.series.iter().map(kept).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).expect("there are values");
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.5, 4.0));
        assert!(Spread::of(Vec::new()).is_none());
    }

    #[test]
    fn disturbed_samples_count_only_where_there_are_no_others() {
        let found = |values: &[(f64, bool)]| Found::of(values.iter().copied()).expect("there are values");
        let mixed = found(&[(9.0, false), (1.0, true), (9.0, false)]);
        assert_eq!((mixed.spread.median, mixed.disturbed), (1.0, false));
        let disturbed = found(&[(9.0, false), (8.0, false), (7.0, false)]);
        assert_eq!((disturbed.spread.median, disturbed.disturbed), (8.0, true));
    }

    #[test]
    fn a_value_on_the_floor_holds_only_where_the_floor_is_inclusive() {
        assert!(Bound::AtMost(3.0).holds(3.0) && Bound::AtLeast(3.0).holds(3.0));
        assert!(!Bound::Below(3.0).holds(3.0) && !Bound::Above(3.0).holds(3.0));
    }
}
