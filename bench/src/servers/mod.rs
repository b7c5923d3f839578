//! Echo servers, one file a runtime, and how a measurement starts one in a process of its own.
//!
//! Each server binds a port of its own choice, announces it on its standard output and serves until it is killed. All
//! of them read and answer in the same manner: bytes into an [`Inbox`](crate::http::Inbox), one
//! [`RESPONSE`](crate::http::RESPONSE) for each whole request, Nagle's algorithm off. The two that speak HTTP/1.1
//! answer the same request with the same body, and a head of their own.

mod bare;
mod hyper;
mod may;
mod monoio;
mod tokio;

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::{
    figure::Skip,
    go,
    listen::{ANNOUNCEMENT, ANY_PORT},
    ours, sys,
};

/// Whose server to start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Bare,
    Tokio,
    May,
    Monoio,
    Go,
    OursHttp,
    Hyper,
}

const NAMES: [(Kind, &str); 8] = [
    (Kind::Ours, "greenloom"),
    (Kind::Bare, "bare"),
    (Kind::Tokio, "tokio"),
    (Kind::May, "may"),
    (Kind::Monoio, "monoio"),
    (Kind::Go, "go"),
    (Kind::OursHttp, "greenloom-http"),
    (Kind::Hyper, "hyper"),
];

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(known, _)| *known == self).expect("every kind is in NAMES").1
    }
}

/// Serves in this process, on `threads` OS threads, until it is killed.
pub fn serve(kind: Kind, threads: usize) -> io::Result<()> {
    // A server must not outlive the measurement that started it, even one that crashes.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::raise_open_files()?;
    match kind {
        Kind::Ours => ours::serve(threads),
        Kind::Bare => bare::serve(),
        Kind::Tokio => tokio::serve(threads),
        Kind::May => may::serve(threads),
        Kind::Monoio => monoio::serve(),
        Kind::OursHttp => ours::serve_http(),
        Kind::Hyper => hyper::serve(),
        Kind::Go => Err(io::Error::other("the Go server is a program of its own")),
    }
}

/// A server in a process of its own; it is killed when this is dropped.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server on these cores, one thread a core, and moves the calling thread to them for the time it takes.
    pub fn start(kind: Kind, cores: &[usize]) -> Result<Self, Skip> {
        sys::pin(cores)?;
        let mut command = command(kind, cores.len())?;
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().expect("stdout is piped");
        // Made before the announcement is read, so that a server that fails is reaped as well.
        let mut server = Self { process, address: ANY_PORT };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix(ANNOUNCEMENT).and_then(|address| address.parse().ok());
        server.address = address.ok_or_else(|| Skip::failed(format!("the {} server did not start", kind.name())))?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the server is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(kind: Kind, threads: usize) -> Result<Command, Skip> {
    if kind == Kind::Go {
        return go::command("serve", threads);
    }
    let mut command = sys::this_program();
    command.args(["serve", kind.name(), &threads.to_string()]);
    Ok(command)
}
