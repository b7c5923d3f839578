//! What the figures were taken on: the machine, and the versions of all that took part.

use std::{collections::BTreeMap, fs, process::Command, thread};

use serde::{Deserialize, Serialize};

/// Named in the results and under the plot.
#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    /// Processes that wanted to run when the measuring began: above 0.5 or so, somebody else was at work.
    pub load: f64,
    pub rustc: String,
    pub versions: BTreeMap<String, String>,
}

const PEERS: [&str; 5] = ["corosensei", "generator", "may", "monoio", "tokio"];

impl Machine {
    /// Looks around; `go` is the version of Go, where there is one.
    pub fn here(go: Option<String>) -> Self {
        let mut versions: BTreeMap<_, _> =
            PEERS.iter().filter_map(|peer| Some(((*peer).to_owned(), locked_version(peer)?))).collect();
        versions.extend(go.map(|go| ("go".to_owned(), go.trim_start_matches("go").to_owned())));
        versions.insert("greenloom".to_owned(), output("git", &["describe", "--always", "--dirty"]));
        Self {
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_gib: field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)).map_or(0, |kib| kib >> 20),
            kernel: output("uname", &["-sr"]),
            load: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok())
                .unwrap_or(0.0),
            rustc: output("rustc", &["--version"]),
            versions,
        }
    }
}

/// What Cargo's lock file pins a peer to.
fn locked_version(peer: &str) -> Option<String> {
    let entry = include_str!("../Cargo.lock")
        .split("[[package]]")
        .find(|entry| entry.contains(&format!("name = \"{peer}\"\n")))?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}

/// The first value of a `name : value` file of the kernel.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.parse().ok()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map_or_else(unknown, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}
