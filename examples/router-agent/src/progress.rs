//! Live progress: one line that is written over on a terminal, a line a second elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use greenloom::hub::now;
use greenloom::sleep;

use crate::agent::Counts;

/// Shows progress until it is killed; of how many, if that is known.
pub fn show(counts: impl Fn() -> Counts, expected: Option<usize>) {
    let began = now();
    let on_terminal = io::stderr().is_terminal();
    let of = expected.map_or(String::new(), |expected| format!(" of {expected}"));
    loop {
        sleep(if on_terminal { Duration::from_millis(100) } else { Duration::from_secs(1) });
        let counts = counts();
        let line = format!(
            "{:5.1} s  {:>5}{of} done, {:>4} waiting, {} retried, {} given up",
            (now() - began).as_secs_f64(),
            counts.ended(),
            counts.waiting,
            counts.retried,
            counts.given_up.len(),
        );
        let mut out = io::stderr().lock();
        // Progress that cannot be shown is no reason to stop.
        let _ = if on_terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }
}

/// Clears the line on a terminal.
pub fn clear() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
