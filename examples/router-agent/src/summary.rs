//! The summary, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::agent::{Counts, GivenUp, TRIES};

/// What a run came to.
pub struct Summary {
    /// What the server has heard.
    pub counts: Counts,
    /// How many updates each agent has ended.
    pub agents: BTreeMap<String, usize>,
    /// Lines that were no updates.
    pub bad_lines: usize,
    /// How many routers there were.
    pub routers: usize,
    /// How many workers, where they are this program's.
    pub workers: Option<usize>,
    /// How long it took.
    pub took: Duration,
    /// Whether it was stopped before the feed was done.
    pub stopped: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let seconds = self.took.as_secs_f64();
        let how = if self.stopped { "stopped after" } else { "done in" };
        writeln!(f, "Router agent: {how} {seconds:.1} s")?;
        let workers = self.workers.map_or(String::new(), |workers| format!(", {workers} workers"));
        writeln!(f, "  {:>6} updates for {} routers{workers}", counts.received, self.routers)?;
        let per_second = counts.applied as f64 / seconds.max(0.001);
        writeln!(f, "  {:>6} applied, {per_second:.0} a second", counts.applied)?;
        writeln!(f, "  {:>6} merged with the same update that was still waiting", counts.merged)?;
        writeln!(f, "  {:>6} retries", counts.retried)?;
        writeln!(f, "  {:>6} given up after {TRIES} tries{}", counts.given_up.len(), self.examples())?;
        if self.stopped {
            writeln!(f, "  {:>6} not begun or not finished", counts.received - counts.ended())?;
        }
        if self.agents.len() > 1 {
            self.agents.iter().try_for_each(|(name, ended)| writeln!(f, "  {ended:>6} by agent {name}"))?;
        }
        writeln!(f, "  {:>6} bad lines skipped", self.bad_lines)?;
        let (deepest, at) = counts.deepest;
        writeln!(f, "  {deepest:>6} waited when the queue was deepest, at {:.1} s", at.as_secs_f64())?;
        match &counts.slowest {
            Some((router, took)) => {
                write!(
                    f,
                    "  {:>6} was the slowest router: {:.2} s from an update's arrival to its end",
                    router,
                    took.as_secs_f64()
                )
            }
            None => write!(f, "    none was the slowest router: nothing was applied"),
        }
    }
}

impl Summary {
    fn examples(&self) -> String {
        let mut examples: Vec<String> = self
            .counts
            .given_up
            .iter()
            .take(3)
            .map(|given_up| {
                let GivenUp { line, update, problem } = given_up;
                format!("{} {} (line {line}, {problem})", update.router, update.change)
            })
            .collect();
        if self.counts.given_up.len() > examples.len() {
            examples.push("...".into());
        }
        if examples.is_empty() { String::new() } else { format!(": {}", examples.join(", ")) }
    }
}
