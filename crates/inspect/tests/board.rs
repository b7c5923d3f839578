//! The example board for Grafana asks for metrics that there are.

use std::collections::BTreeSet;
use std::fs;

use greenloom_inspect::{Hub, metrics};

#[test]
fn the_board_shows_every_metric_and_asks_for_no_other() {
    let board = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&board).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let asked: BTreeSet<String> = panels
        .iter()
        .map(|panel| panel["targets"][0]["expr"].as_str().unwrap())
        .map(|expression| {
            let begin = expression.find("greenloom_").unwrap();
            expression[begin..].split('{').next().unwrap().to_owned()
        })
        .collect();
    let text = metrics::text(&[Hub { green_threads: Some(1), ..Hub::default() }]);
    let told: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('{').next().unwrap().to_owned())
        .collect();
    assert_eq!(asked, told);
}
