//! The guide describes each counter as the table does.

use std::fs;

use greenloom_inspect::counters::{COUNTERS, Counter};
use greenloom_inspect::metrics::Kind;

#[test]
fn the_guide_has_the_table_of_counters() {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/inspect.md")).unwrap();
    let row = |counter: &Counter| {
        let suffix = if counter.kind == Kind::Counter { "_total" } else { "" };
        let heading = counter.heading.map(|heading| format!("`{heading}`")).unwrap_or_default();
        format!("| `{}{suffix}` | {heading} | {} |\n", counter.metric, counter.says.trim_end_matches('.'))
    };
    let table: String = COUNTERS.iter().map(row).collect();
    // An empty cell has one space.
    let table = table.replace("|  |", "| |");
    assert!(guide.contains(&table), "docs/inspect.md is to have\n{table}");
}
