//! The plot: a panel a figure, a bar a contender, written as SVG by hand.
//!
//! A bar is as long as the median; a thin line reaches from the least to the greatest value, but not out of the panel.

use std::fmt::{self, Display, Formatter};

use crate::{
    figure::{OURS, Unit},
    harness::{Outcome, Series},
    machine::Machine,
    report::Spread,
};

const WIDTH: usize = 1040;
const MARGIN: usize = 24;
const GAP: usize = 32;
const COLUMNS: usize = 2;
const PANEL: usize = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;

/// Above the first panel, and below the last.
const HEADER: usize = 80;
const FOOTER: usize = 52;

/// Within a panel: its title, then one row a bar.
const TITLE: usize = 32;
const ROW: usize = 24;
const BAR: usize = 14;
const NAMES: usize = 186;
const VALUES: usize = 72;
const LONGEST: usize = PANEL - NAMES - VALUES;

const GREEN: &str = "#2f8f4e";
const GREY: &str = "#a9b4bd";
const INK: &str = "#1d2329";
const PALE_INK: &str = "#5d6872";

/// Draws all figures that have something to show.
pub fn draw(machine: &Machine, outcomes: &[Outcome]) -> String {
    let panels: Vec<Panel> = outcomes.iter().filter_map(Panel::of).collect();
    let mut body = String::new();
    let mut top = HEADER;
    for row in panels.chunks(COLUMNS) {
        for (column, panel) in row.iter().enumerate() {
            let left = MARGIN + column * (PANEL + GAP);
            body += &format!("<g transform=\"translate({left} {top})\">\n{panel}</g>\n");
        }
        top += row.iter().map(Panel::height).max().unwrap_or(0) + GAP;
    }
    let height = top + FOOTER - GAP;
    let header =
        Text { x: MARGIN, y: 34, size: 20, fill: INK, anchor: "start", bold: true, text: "greenloom beside its peers" };
    let legend = "median of interleaved repetitions; the thin line is their range";
    let legend = Text { x: MARGIN, y: 52, size: 12, fill: PALE_INK, anchor: "start", bold: false, text: legend };
    let versions: Vec<_> = machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let where_and_when =
        format!("{}, {} cores, {}, {}, {}", machine.cpu, machine.cores, machine.kernel, machine.rustc, machine.date);
    let footer = |y, text| Text { x: MARGIN, y, size: 11, fill: PALE_INK, anchor: "start", bold: false, text };
    let (first, second) = (footer(height - 30, &where_and_when), versions.join(", "));
    let second = footer(height - 14, &second);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{header}{legend}{body}{first}{second}</svg>\n"
    )
}

struct Panel<'a> {
    title: &'a str,
    what: &'a str,
    unit: Unit,
    bars: Vec<(&'a Series, Spread)>,
}

impl<'a> Panel<'a> {
    /// None if nobody has a value above zero.
    fn of(outcome: &'a Outcome) -> Option<Self> {
        let metric = &outcome.figure.metric;
        let bar = |series: &'a Series| Some((series, series.spread(metric.key)?));
        let bars: Vec<_> = outcome.series.iter().filter_map(bar).collect();
        let panel = Self { title: outcome.figure.title, what: metric.what, unit: metric.unit, bars };
        (panel.longest() > 0.0).then_some(panel)
    }

    /// The value at the panel's right end: the greatest one, unless an outlier would leave little of the bars.
    fn longest(&self) -> f64 {
        let greatest =
            |value: fn(&Spread) -> f64| self.bars.iter().map(|(_, spread)| value(spread)).fold(0.0, f64::max);
        greatest(|spread| spread.most).min(1.25 * greatest(|spread| spread.median))
    }

    fn height(&self) -> usize {
        TITLE + self.bars.len() * ROW
    }
}

impl Display for Panel<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let better = if self.unit.less_is_better() { "less is better" } else { "more is better" };
        let what = format!("{}; {better}", self.what);
        Text { x: 0, y: 8, size: 14, fill: INK, anchor: "start", bold: true, text: self.title }.fmt(out)?;
        Text { x: 0, y: 24, size: 11, fill: PALE_INK, anchor: "start", bold: false, text: &what }.fmt(out)?;
        let scale = LONGEST as f64 / self.longest();
        for (row, (series, spread)) in self.bars.iter().enumerate() {
            let name = series.contender.name;
            let middle = TITLE + row * ROW + ROW / 2;
            let length = |value: f64| (value * scale).min(LONGEST as f64);
            let fill = if name.starts_with(OURS) { GREEN } else { GREY };
            let end = NAMES as f64 + length(spread.most);
            Text { x: NAMES - 8, y: middle + 4, size: 12, fill: INK, anchor: "end", bold: fill == GREEN, text: name }
                .fmt(out)?;
            writeln!(
                out,
                "<rect x=\"{NAMES}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{fill}\"/>",
                middle - BAR / 2,
                length(spread.median),
            )?;
            writeln!(
                out,
                "<path d=\"M{:.1} {middle}H{end:.1}\" stroke=\"{INK}\" stroke-width=\"1\"/>",
                NAMES as f64 + length(spread.least),
            )?;
            let value = self.unit.show(spread.median);
            Text {
                x: end as usize + 6,
                y: middle + 4,
                size: 12,
                fill: INK,
                anchor: "start",
                bold: false,
                text: &value,
            }
            .fmt(out)?;
        }
        Ok(())
    }
}

struct Text<'a> {
    x: usize,
    y: usize,
    size: usize,
    fill: &'a str,
    anchor: &'a str,
    bold: bool,
    text: &'a str,
}

impl Display for Text<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let Self { x, y, size, fill, anchor, .. } = self;
        let weight = if self.bold { 600 } else { 400 };
        let text = self.text.replace('&', "&amp;").replace('<', "&lt;");
        writeln!(
            out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{fill}\" \
             text-anchor=\"{anchor}\">{text}</text>"
        )
    }
}
