//! The client of the echo figures: keep-alive connections, one request in flight on each, and of every response the
//! status, the length and the body checked. All responses of a server are as long as its first.
//!
//! One epoll loop a core. The clock is read once a response, which ends one latency and starts the next.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

use crate::{
    figure::{Sample, Skip},
    http::{REQUEST, is_response, response_length},
    servers::Server,
    sys,
};

/// Requests answered in a second.
pub const RPS: &str = "rps";
/// Median and 99th percentile of the latency, in microseconds.
pub const P50: &str = "p50_us";
pub const P99: &str = "p99_us";
/// CPU time of the server for one request, in microseconds.
pub const SERVER_CPU: &str = "server_cpu_us";
/// Share of the client's cores that the client used: near 1, the client is the limit and not the server.
pub const CLIENT_BUSY: &str = "client_busy";

/// What the client does.
pub struct Load<'a> {
    /// Connections that always have a request in flight.
    pub busy: usize,
    /// Connections that have had one request answered, and then stay silent.
    pub idle: usize,
    /// Where the client runs; one thread each.
    pub cores: &'a [usize],
    pub warm_up: Duration,
    pub window: Duration,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const DONE: u8 = 2;

/// Puts the load on the server, and measures for the length of the window.
pub fn measure(server: &Server, load: &Load) -> Result<Sample, Skip> {
    sys::pin(load.cores)?;
    let length = first_length(server.address)?;
    let idle = open_idle(server.address, load.idle, length)?;
    let phase = AtomicU8::new(WARMING);
    let threads = load.cores.len();
    let sample = thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| run_client(server.address, load.busy / threads, length, &phase)))
            .collect();
        let observed = observe(server, load, &phase);
        // Whatever happened, the clients must end.
        phase.store(DONE, Ordering::Relaxed);
        let outcomes: Vec<_> =
            clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect();
        let observed = observed?;
        let mut latencies = outcomes.into_iter().collect::<io::Result<Vec<_>>>()?.concat();
        summary(&observed, &mut latencies, threads)
    })?;
    drop(idle);
    Ok(sample)
}

/// What was seen from outside while the clients ran.
struct Observed {
    elapsed: Duration,
    server_cpu: Duration,
    client_cpu: Duration,
}

fn observe(server: &Server, load: &Load, phase: &AtomicU8) -> io::Result<Observed> {
    let own = std::process::id();
    thread::sleep(load.warm_up);
    let (server_before, client_before) = (sys::cpu_time(server.pid())?, sys::cpu_time(own)?);
    let start = Instant::now();
    phase.store(MEASURING, Ordering::Relaxed);
    thread::sleep(load.window);
    let elapsed = start.elapsed();
    // Before the clients are told to end: the CPU time of a thread that has ended is no longer counted.
    let (server_cpu, client_cpu) = (sys::cpu_time(server.pid())? - server_before, sys::cpu_time(own)? - client_before);
    phase.store(DONE, Ordering::Relaxed);
    Ok(Observed { elapsed, server_cpu, client_cpu })
}

fn summary(observed: &Observed, latencies: &mut [u32], threads: usize) -> Result<Sample, Skip> {
    if latencies.is_empty() {
        return Err(Skip::failed("no request was answered"));
    }
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let percentile = |share: f64| f64::from(latencies[((count - 1.0) * share) as usize]) / 1000.0;
    let seconds = observed.elapsed.as_secs_f64();
    Ok(Sample::from([
        (RPS.to_owned(), count / seconds),
        (P50.to_owned(), percentile(0.5)),
        (P99.to_owned(), percentile(0.99)),
        (SERVER_CPU.to_owned(), observed.server_cpu.as_secs_f64() * 1e6 / count),
        (CLIENT_BUSY.to_owned(), observed.client_cpu.as_secs_f64() / (seconds * threads as f64)),
    ]))
}

/// Room for one response, and more.
const ROOM: usize = 1024;

/// How long the server's first response is.
fn first_length(address: SocketAddr) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(REQUEST)?;
    let (mut response, mut arrived) = ([0; ROOM], 0);
    loop {
        match response_length(&response[..arrived]) {
            Some(length) if length < ROOM && arrived < length => {}
            Some(length) if length == arrived && is_response(&response[..arrived]) => return Ok(length),
            None if arrived < ROOM => {}
            _ => return Err(wrong_response()),
        }
        arrived += match stream.read(&mut response[arrived..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => count,
        };
    }
}

fn open_idle(address: SocketAddr, count: usize, length: usize) -> io::Result<Vec<TcpStream>> {
    let mut response = vec![0; length];
    let mut open = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(REQUEST)?;
        stream.read_exact(&mut response)?;
        if is_response(&response) { Ok(stream) } else { Err(wrong_response()) }
    };
    (0..count).map(|_| open()).collect()
}

/// One epoll loop over `count` connections. Returns the latencies of the measuring phase, in nanoseconds.
fn run_client(address: SocketAddr, count: usize, length: usize, phase: &AtomicU8) -> io::Result<Vec<u32>> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(count);
    for token in 0..count {
        let connection = Connection::open(address, length)?;
        epoll::add(&epoll, &connection.stream, EventData::new_u64(token as u64), EventFlags::IN | EventFlags::ET)?;
        connections.push(connection);
    }
    for connection in &mut connections {
        connection.send(Instant::now())?;
    }
    let now_and_then = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let mut latencies = Vec::with_capacity(1 << 20);
    let mut events: Vec<Event> = Vec::with_capacity(256);
    loop {
        sys::wait(&epoll, &mut events, Some(&now_and_then))?;
        let phase = phase.load(Ordering::Relaxed);
        if phase == DONE {
            return Ok(latencies);
        }
        for event in &events {
            let latency = connections[event.data.u64() as usize].progress()?;
            if phase == MEASURING {
                latencies.extend(latency);
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    response: [u8; ROOM],
    /// Bytes of the response that have arrived, and that there are.
    arrived: usize,
    length: usize,
}

impl Connection {
    fn open(address: SocketAddr, length: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, sent: Instant::now(), response: [0; ROOM], arrived: 0, length })
    }

    fn send(&mut self, now: Instant) -> io::Result<()> {
        self.sent = now;
        self.arrived = 0;
        // With nothing else in flight the socket has room for the whole request.
        self.stream.write_all(REQUEST)
    }

    /// Reads what has arrived. At the end of a response, returns its latency and sends the next request.
    fn progress(&mut self) -> io::Result<Option<u32>> {
        // One byte more than expected, so that an answer that is too long shows, and a read of all that came is a short
        // one.
        match self.stream.read(&mut self.response[self.arrived..=self.length]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.arrived += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.arrived < self.length {
            return Ok(None);
        }
        if self.arrived > self.length || !is_response(&self.response[..self.length]) {
            return Err(wrong_response());
        }
        let now = Instant::now();
        let latency = now - self.sent;
        self.send(now)?;
        Ok(Some(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX)))
    }
}

fn wrong_response() -> io::Error {
    io::Error::other("the server sent something else than the response")
}
