//! The plot: a panel a figure, a bar a contender, written as SVG by hand.
//!
//! A bar is as long as the median; a thin line reaches from the least to the greatest value, but not out of the panel.

use std::fmt::{self, Display, Formatter};

use crate::{figure, report::Spread};

const WIDTH: usize = 1040;
const MARGIN: usize = 24;
const GAP: usize = 32;
const COLUMNS: usize = 2;
const PANEL: usize = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;

/// Above the first panel, below the last, and a line below that.
const HEADER: usize = 80;
const FOOTER: usize = 20;
const LINE: usize = 16;

/// Within a panel: its title, then one row a bar.
const TITLE: usize = 32;
const ROW: usize = 24;
const BAR: usize = 14;
const NAMES: usize = 186;
const VALUES: usize = 72;
const LONGEST: usize = PANEL - NAMES - VALUES;

/// How the names begin of contenders that are ours, in this program and in Python.
const OURS: [&str; 2] = [figure::OURS, "ours"];

const GREEN: &str = "#2f8f4e";
const GREY: &str = "#a9b4bd";
const INK: &str = "#1d2329";
const PALE_INK: &str = "#5d6872";

pub struct Plot {
    pub title: String,
    pub panels: Vec<Panel>,
    /// Lines of text below the panels.
    pub taken_on: Vec<String>,
}

/// A figure.
pub struct Panel {
    pub title: String,
    /// What the values are.
    pub what: String,
    pub bars: Vec<Bar>,
}

/// What a contender showed.
pub struct Bar {
    pub name: String,
    pub spread: Spread,
    /// The median, as people write it.
    pub value: String,
}

impl Display for Plot {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let rows = self.panels.chunks(COLUMNS);
        let below = |row: &[Panel]| row.iter().map(Panel::height).max().unwrap_or(0) + GAP;
        let last = HEADER + rows.clone().map(below).sum::<usize>() - GAP;
        let height = last + FOOTER + LINE * self.taken_on.len();
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>"
        )?;
        let text = |y, size, fill, bold, text| Text { x: MARGIN, y, size, fill, anchor: "start", bold, text };
        text(34, 20, INK, true, &self.title).fmt(out)?;
        text(52, 12, PALE_INK, false, "median of interleaved repetitions; the thin line is their range").fmt(out)?;
        let mut top = HEADER;
        for row in rows {
            for (column, panel) in row.iter().enumerate() {
                let left = MARGIN + column * (PANEL + GAP);
                writeln!(out, "<g transform=\"translate({left} {top})\">\n{panel}</g>")?;
            }
            top += below(row);
        }
        for (line, words) in self.taken_on.iter().enumerate() {
            text(last + FOOTER + 2 + line * LINE, 11, PALE_INK, false, words).fmt(out)?;
        }
        writeln!(out, "</svg>")
    }
}

impl Panel {
    /// The value at the panel's right end: the greatest one, unless an outlier would leave little of the bars.
    pub fn longest(&self) -> f64 {
        let greatest = |value: fn(&Spread) -> f64| self.bars.iter().map(|bar| value(&bar.spread)).fold(0.0, f64::max);
        greatest(|spread| spread.most).min(1.25 * greatest(|spread| spread.median))
    }

    fn height(&self) -> usize {
        TITLE + self.bars.len() * ROW
    }
}

impl Display for Panel {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        Text { x: 0, y: 8, size: 14, fill: INK, anchor: "start", bold: true, text: &self.title }.fmt(out)?;
        Text { x: 0, y: 24, size: 11, fill: PALE_INK, anchor: "start", bold: false, text: &self.what }.fmt(out)?;
        let scale = LONGEST as f64 / self.longest();
        for (row, Bar { name, spread, value }) in self.bars.iter().enumerate() {
            let middle = TITLE + row * ROW + ROW / 2;
            let length = |value: f64| (value * scale).min(LONGEST as f64);
            let fill = if OURS.iter().any(|ours| name.starts_with(ours)) { GREEN } else { GREY };
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
            let x = end as usize + 6;
            Text { x, y: middle + 4, size: 12, fill: INK, anchor: "start", bold: false, text: value }.fmt(out)?;
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
