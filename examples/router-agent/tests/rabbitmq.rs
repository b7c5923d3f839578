//! The program as several processes on RabbitMQ. `make test-rpc` starts the broker.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn bus() -> String {
    let folder: PathBuf = std::env::var("GREENLOOM_RABBITMQ").expect("this test runs through `make test-rpc`").into();
    let ports = std::fs::read_to_string(folder.join("ports")).unwrap();
    let port = ports.lines().find_map(|line| line.strip_prefix("AMQP=")).unwrap();
    format!("amqp://guest:guest@127.0.0.1:{port}/")
}

fn program(role: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_router-agent"));
    command.args(["--transport", &bus(), "--role", role]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An agent, ended with the test if that fails.
struct Agent(Child);

impl Agent {
    /// Starts one; it works when it shows its first line of progress.
    fn start(name: &str) -> Agent {
        let mut agent = Agent(program("agent").args(["--name", name]).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(agent.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("waiting"), "{line}");
        agent
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn feed(name: &str, count: usize) -> PathBuf {
    let lines: String = (0..count).map(|number| format!("r{number} normal set-gateway {number}\n")).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, lines).unwrap();
    path
}

/// The number before `what` in a summary.
fn number(summary: &str, what: &str) -> usize {
    let line = summary.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what:?} in:\n{summary}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn agents_share_the_work_and_one_that_dies_leaves_it_to_the_others() {
    let (mut dies, mut restarts, mut stops) = (Agent::start("dies"), Agent::start("restarts"), Agent::start("stops"));
    let server = program("server").arg("--feed").arg(feed("rabbitmq.feed", 3000)).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    dies.signal("-KILL");
    restarts.signal("-HUP");
    let output = server.wait_with_output().unwrap();
    let (summary, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{summary}{errors}");
    assert_eq!((number(&summary, "updates for"), number(&summary, "applied")), (3000, 3000));
    let shares = ["dies", "restarts", "stops"].map(|name| number(&summary, &format!("by agent {name}")));
    assert_eq!(shares.iter().sum::<usize>(), 3000, "{summary}");
    assert!(shares.iter().all(|share| *share > 0) && shares[0] < shares[2], "{summary}");
    assert!(!dies.0.wait().unwrap().success());
    for agent in [&mut restarts, &mut stops] {
        agent.signal("-TERM");
        assert!(agent.0.wait().unwrap().success());
    }
}
