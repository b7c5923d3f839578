//! System calls of an echo server in its steady state, counted by strace: none of them registers a descriptor again.
//!
//! monoio is left out: a request on io_uring is not a system call that could be counted.

use std::{
    io,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::echo;
use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, OURS, Sample, Scale, Skip, TWO_CORES, Unit};
use crate::{
    load::{self, Load},
    servers::{Kind, Server},
};

pub const FIGURE: Figure = Figure {
    name: "syscalls",
    title: "System calls of the echo, steady state",
    metric: Metric { key: CALLS, unit: Unit::Count, what: "calls a request" },
    beside: &[
        Metric { key: EPOLL_CTL, unit: Unit::Count, what: "epoll_ctl in all" },
        Metric { key: READS, unit: Unit::Count, what: "reads a request" },
        Metric { key: WAITS, unit: Unit::Count, what: "polls a request" },
    ],
    cores: TWO_CORES,
    repetitions: 1,
    contenders: &[
        Contender { name: OURS, measure: |scale| count(scale, Kind::Ours) },
        Contender { name: "bare epoll", measure: |scale| count(scale, Kind::Bare) },
        Contender { name: "tokio", measure: |scale| count(scale, Kind::Tokio) },
        Contender { name: "may", measure: |scale| count(scale, Kind::May) },
        Contender { name: "go", measure: |scale| count(scale, Kind::Go) },
    ],
    claims: &[Claim {
        what: "epoll_ctl calls in steady state",
        subject: OURS,
        metric: EPOLL_CTL,
        against: Against::Itself,
        floor: Bound::AtMost(0.0),
        aim: None,
    }],
};

const CALLS: &str = "calls_per_request";
const EPOLL_CTL: &str = "epoll_ctl";
const READS: &str = "reads_per_request";
const WAITS: &str = "polls_per_request";

fn count(scale: Scale, kind: Kind) -> Result<Sample, Skip> {
    let server = Server::start(kind, &[0])?;
    let window = Duration::from_millis(scale.pick(1500, 500));
    // The load lasts from before strace attaches until after it has left.
    let margin = Duration::from_millis(500);
    let load = Load { busy: echo::BUSY, idle: 0, cores: &[1], warm_up: margin, window: window + 2 * margin };
    let (summary, outcome) = thread::scope(|scope| {
        let tracing = scope.spawn(|| {
            thread::sleep(2 * margin);
            trace(server.pid(), window)
        });
        let outcome = load::measure(&server, &load);
        (tracing.join().expect("tracing does not panic"), outcome)
    });
    outcome?;
    sample(&summary?)
}

/// Attaches strace to every thread of the process for a while, and returns its table.
fn trace(pid: u32, window: Duration) -> Result<String, Skip> {
    let strace = Command::new("strace")
        .args(["--summary-only", "--follow-forks", "--attach", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| Skip::absent("no `strace` command"))?;
    thread::sleep(window);
    let id = Pid::from_child(&strace);
    kill_process(id, Signal::INT).map_err(io::Error::from)?;
    let Output { stderr, .. } = strace.wait_with_output()?;
    let table = String::from_utf8_lossy(&stderr).into_owned();
    if table.contains("Operation not permitted") {
        return Err(Skip::absent("strace may not attach to a process here"));
    }
    Ok(table)
}

/// Reads the columns "calls" and "syscall" of strace's table.
fn sample(table: &str) -> Result<Sample, Skip> {
    let calls: Vec<(&str, f64)> = table.lines().filter_map(row).collect();
    let sum =
        |names: &[&str]| calls.iter().filter(|(name, _)| names.contains(name)).fold(0.0, |sum, (_, count)| sum + count);
    // Each request is answered by one write.
    let requests = sum(&["write", "writev", "sendto", "sendmsg"]);
    if requests == 0.0 {
        return Err(Skip::failed(format!("strace saw no request being answered: {}", table.trim())));
    }
    Ok(Sample::from([
        (CALLS.to_owned(), calls.iter().map(|(_, count)| count).sum::<f64>() / requests),
        (READS.to_owned(), sum(&["read", "readv", "recvfrom", "recvmsg"]) / requests),
        (WAITS.to_owned(), sum(&["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"]) / requests),
        (EPOLL_CTL.to_owned(), sum(&["epoll_ctl"])),
    ]))
}

/// One row: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn row(line: &str) -> Option<(&str, f64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let name = *fields.last()?;
    let calls = fields.get(3)?.parse().ok()?;
    (fields.len() >= 5 && name != "total" && fields[0].parse::<f64>().is_ok()).then_some((name, calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_and_without_errors_are_read_and_the_rest_is_not() {
        assert_eq!(row(" 52.97    0.022371           1     21009       113 recvfrom"), Some(("recvfrom", 21009.0)));
        assert_eq!(row(" 45.37    0.019163           0     20896           sendto"), Some(("sendto", 20896.0)));
        assert_eq!(row("100.00    0.042236           0     44000       113 total"), None);
        assert_eq!(row("------ ----------- ----------- --------- --------- ----------------"), None);
        assert_eq!(row("% time     seconds  usecs/call     calls    errors syscall"), None);
    }
}
