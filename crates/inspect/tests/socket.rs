//! The socket, with a program that knows what a test tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use greenloom_inspect::protocol::{Ask, Trace};
use greenloom_inspect::traced::{self, Recorded};
use greenloom_inspect::{
    Client, Failure, Frame, Group, Hub, Program, Pulse, Server, Settings, Stacks, Thread, Whereabouts, place,
};
use greenloom_trace::{READY, Readers};
use rustix::process::{Pid, Signal, kill_process};

/// Has as many groups as it is told.
struct Told(usize);

/// What [`Told`] records: as long as it goes on, it has a strong reference.
struct Recording {
    readers: Readers,
    goes_on: Option<Arc<()>>,
}

static RECORDED: Mutex<Weak<()>> = Mutex::new(Weak::new());

fn is_recorded() -> bool {
    RECORDED.lock().unwrap().upgrade().is_some()
}

impl Recorded for Recording {
    fn read(&mut self, events: usize) -> Trace {
        traced::read(&mut self.readers, events, 1.0)
    }

    fn stop(&mut self) {
        self.goes_on = None;
    }
}

impl Program for Told {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        vec![Hub { os_thread: "main".into(), turns: 12, ..Hub::default() }]
    }

    fn stacks(&mut self) -> Stacks {
        let frame = Frame { file: "file.rs".repeat(10), line: 1, function: "function".into() };
        let group = Group { stack: vec![frame; 20], count: 1, ..Group::default() };
        Stacks { total: self.0 as u64, groups: vec![group; self.0], ..Stacks::default() }
    }

    fn kill(&mut self, thread: Thread) -> Result<String, String> {
        if thread.number == 7 { Ok(format!("{thread} was killed")) } else { Err(format!("there is no {thread}")) }
    }

    /// Has so many events in its ring, and as many more lost.
    fn record(&mut self, events: usize) -> Result<Box<dyn Recorded>, String> {
        if is_recorded() {
            return Err("it is recorded already".into());
        }
        let (writer, reader) = greenloom_trace::ring(events, "hub 0");
        (0..2 * events as u64).for_each(|number| writer.run(number, 7, READY));
        let mut readers = Readers::default();
        readers.push(reader);
        let goes_on = Arc::new(());
        *RECORDED.lock().unwrap() = Arc::downgrade(&goes_on);
        Ok(Box::new(Recording { readers, goes_on: Some(goes_on) }))
    }
}

/// A process has one socket, so one test after another has it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn whoever_asks_is_answered() {
    let _alone = alone();
    let _server = Server::start(Told(2), Settings::new()).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    assert_eq!((client.greeting().pid, client.greeting().language.as_str()), (std::process::id(), "rust"));
    assert_eq!(client.ask(Ask::Hubs).unwrap().hubs.unwrap()[0].turns, 12);
    assert_eq!(client.ask(Ask::Stacks).unwrap().stacks.unwrap().groups.len(), 2);
    assert!(client.ask(Ask::Metrics).unwrap().metrics.unwrap().ends_with("# EOF\n"));
    let kill = |number| Ask::Kill { thread: Thread { hub: 0, number } };
    assert_eq!(client.ask(kill(7)).unwrap().done.unwrap(), "0:7 was killed");
    assert!(matches!(client.ask(kill(8)), Err(Failure::Problem(problem)) if problem == "there is no 0:8"));
}

#[test]
fn a_line_that_is_no_request_is_answered_and_the_connection_goes_on() {
    let _alone = alone();
    let server = Server::start(Told(0), Settings::new()).unwrap();
    let mut stream = UnixStream::connect(server.path()).unwrap();
    // In pieces, and two at once.
    stream.write_all(b"{\"id\":1,").unwrap();
    stream.write_all(b"\"ask\":\"tea\"}\n{\"id\":2,\"ask\":\"hubs\"}\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("{\"greenloom\":1,"));
    assert!(lines.next().unwrap().contains("not a request: unknown variant `tea`"));
    assert!(lines.next().unwrap().starts_with("{\"id\":2,\"hubs\":"));
}

#[test]
fn a_line_without_an_end_closes_the_connection() {
    let _alone = alone();
    let server = Server::start(Told(0), Settings::new()).unwrap();
    let mut stream = UnixStream::connect(server.path()).unwrap();
    // The connection may be closed before all is written.
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    let mut told = String::new();
    let _ = stream.read_to_string(&mut told);
    assert!(told.lines().count() <= 1, "{told}");
    Client::connect(std::process::id()).unwrap().ask(Ask::Hubs).unwrap();
}

#[test]
fn one_that_does_not_take_its_answers_keeps_nobody_else_waiting() {
    let _alone = alone();
    let server = Server::start(Told(400), Settings::new()).unwrap();
    let mut lazy = UnixStream::connect(server.path()).unwrap();
    lazy.write_all("{\"id\":1,\"ask\":\"stacks\"}\n".repeat(30).as_bytes()).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    for _ in 0..20 {
        client.ask(Ask::Hubs).unwrap();
    }
    // It finds all of them, once it reads.
    let answers = BufReader::new(lazy).lines().skip(1).take(30).filter(|line| line.as_ref().unwrap().len() > 500_000);
    assert_eq!(answers.count(), 30);
}

#[test]
fn an_answer_that_is_too_large_is_a_problem_with_the_number() {
    let _alone = alone();
    let _server = Server::start(Told(5000), Settings::new()).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    let problem = client.ask(Ask::Stacks).unwrap_err().to_string();
    assert!(problem.contains("bytes, more than the 8388608"), "{problem}");
    client.ask(Ask::Hubs).unwrap();
}

#[test]
fn a_recording_is_read_in_pieces_and_what_was_lost_is_counted() {
    let _alone = alone();
    let _server = Server::start(Told(0), Settings::new()).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    client.ask(Ask::TraceStart { events: 1 << 18 }).unwrap();
    client.ask(Ask::TraceStop).unwrap();
    assert!(!is_recorded());
    let (mut events, mut dropped, mut answers, mut more) = (0, 0, 0, true);
    while more {
        let trace = client.ask(Ask::TraceRead).unwrap().trace.unwrap();
        events += trace.rings.iter().map(|ring| ring.events.len() / 4).sum::<usize>();
        dropped += trace.rings.iter().map(|ring| ring.dropped).sum::<u64>();
        (answers, more) = (answers + 1, trace.more);
    }
    assert_eq!(events as u64 + dropped, 1 << 19);
    assert!(events >= (1 << 18) - 1 && answers == 3, "{events} events in {answers} answers");
}

#[test]
fn a_recording_ends_with_the_one_that_follows_it() {
    let _alone = alone();
    let _server = Server::start(Told(0), Settings::new()).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    client.ask(Ask::TraceStart { events: 16 }).unwrap();
    let mut other = Client::connect(std::process::id()).unwrap();
    let refused = other.ask(Ask::TraceStart { events: 16 }).unwrap_err().to_string();
    assert_eq!(refused, "it is recorded already");
    let refused = other.ask(Ask::TraceRead).unwrap_err().to_string();
    assert!(refused.starts_with("no trace was begun here"), "{refused}");
    let refused = other.ask(Ask::TraceStart { events: 0 }).unwrap_err().to_string();
    assert!(refused.starts_with("the number of events is from 1 to"), "{refused}");
    assert!(is_recorded());
    drop(client);
    while is_recorded() {
        std::thread::yield_now();
    }
    other.ask(Ask::TraceStart { events: 16 }).unwrap();
}

#[test]
fn more_than_a_few_are_refused_with_the_reason() {
    let _alone = alone();
    let _server = Server::start(Told(0), Settings::new()).unwrap();
    let connect = || Client::connect(std::process::id());
    let clients: Vec<_> = (0..16).map(|_| connect().unwrap()).collect();
    assert!(connect().unwrap_err().to_string().starts_with("16 others look already"));
    drop(clients);
    // The server learns of their end by and by.
    while connect().is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn the_socket_is_its_user_s_alone_and_goes_with_the_server() {
    let _alone = alone();
    let server = Server::start(Told(0), Settings::new()).unwrap();
    let path = server.path().to_owned();
    let mode = |path: &std::path::Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    drop(server);
    assert!(!path.exists());
    let failure = Client::connect(std::process::id()).unwrap_err();
    assert!(failure.to_string().contains("start it with GREENLOOM_INSPECT=1"), "{failure}");
}

#[test]
fn what_a_process_that_is_gone_has_left_is_removed() {
    let _alone = alone();
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let stale = place::folder().unwrap().join(child.id().to_string());
    drop(UnixListener::bind(&stale).unwrap());
    assert!(matches!(Client::connect(child.id()), Err(Failure::NoProcess(pid)) if pid == child.id()));
    let _server = Server::start(Told(0), Settings::new()).unwrap();
    assert!(!stale.exists());
}

#[test]
fn another_version_and_the_end_of_the_program_are_told() {
    let _alone = alone();
    let path = place::folder().unwrap().join(std::process::id().to_string());
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let greets = |version: u32| {
        format!("{{\"greenloom\":{version},\"version\":\"9\",\"pid\":1,\"language\":\"rust\",\"program\":\"\"}}\n")
    };
    let connect = || std::thread::spawn(|| Client::connect(std::process::id()));
    let client = connect();
    listener.accept().unwrap().0.write_all(greets(2).as_bytes()).unwrap();
    let failure = client.join().unwrap().unwrap_err().to_string();
    assert!(failure.contains("speaks version 2 of the protocol, this program version 1"), "{failure}");

    let client = connect();
    let mut stream = listener.accept().unwrap().0;
    stream.write_all(greets(1).as_bytes()).unwrap();
    let mut client = client.join().unwrap().unwrap();
    drop(stream);
    assert!(matches!(client.ask(Ask::Hubs), Err(Failure::Ended(_))));
    std::fs::remove_file(&path).unwrap();
}

/// Runs a test of this file as a program of its own. It has said that it is ready.
fn program(name: &str, variables: &[(&str, &std::path::Path)]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.ends_with("ready")).unwrap();
    child
}

/// Not a test of its own: another process that serves a socket of this name, until it is told to end.
#[test]
#[ignore = "a program of another test"]
fn a_process_that_serves_a_socket() {
    let _listener = UnixListener::bind(std::env::var_os("GREENLOOM_TEST_SOCKET").unwrap()).unwrap();
    println!("ready");
    std::io::stdin().lines().next();
}

/// Not a test of its own: a process that can be looked into, until it is told to end.
#[test]
#[ignore = "a program of another test"]
fn a_process_that_can_be_looked_into() {
    let _server = Server::start(Told(0), Settings::new()).unwrap();
    println!("ready");
    std::io::stdin().lines().next();
}

#[test]
fn a_process_that_is_stopped_is_told_so_and_answers_when_it_goes_on() {
    let mut child = program("a_process_that_can_be_looked_into", &[]);
    let pid = child.id();
    let send = |signal| kill_process(Pid::from_child(&child), signal).unwrap();
    let is_stopped =
        |failure: Failure| assert!(matches!(failure, Failure::Stopped(stopped) if stopped == pid), "{failure}");
    let mut client = Client::connect(pid).unwrap();
    send(Signal::STOP);
    // It stops a little later.
    is_stopped((0..).find_map(|_| client.ask(Ask::Hubs).err()).unwrap());
    is_stopped(Client::connect(pid).unwrap_err());
    // Until so many have connected and given up that there is no place for another one.
    let path = place::candidates(pid).into_iter().find(|path| path.exists()).unwrap();
    while place::connect(&path).is_ok() {}
    is_stopped(Client::connect(pid).unwrap_err());
    send(Signal::CONT);
    loop {
        match Client::connect(pid) {
            Ok(mut client) => break assert!(client.ask(Ask::Hubs).unwrap().hubs.is_some()),
            // Those before are let go of first.
            Err(failure) => assert!(matches!(failure, Failure::Io(..) | Failure::Problem(_)), "{failure}"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A program that cannot say what its hubs have done.
struct Faulty;

impl Program for Faulty {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        panic!("a fault")
    }

    fn stacks(&mut self) -> Stacks {
        Stacks::default()
    }

    fn kill(&mut self, _: Thread) -> Result<String, String> {
        Err("it is not killed".into())
    }
}

#[test]
fn whoever_asks_when_nobody_serves_any_more_is_refused_at_once() {
    let _alone = alone();
    let _server = Server::start(Faulty, Settings::new()).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    assert!(matches!(client.ask(Ask::Hubs), Err(Failure::Ended(_))));
    let failure = Client::connect(std::process::id()).unwrap_err();
    assert!(matches!(failure, Failure::NotServed(_)), "{failure}");
}

/// A program with 40 hubs that do not move. It notes how many it is asked for at once.
struct Stuck;

static ASKED_FOR: Mutex<Vec<usize>> = Mutex::new(Vec::new());

impl Program for Stuck {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        (0..40).map(|number| Hub { number, ..Hub::default() }).collect()
    }

    fn stacks(&mut self) -> Stacks {
        Stacks::default()
    }

    fn kill(&mut self, _: Thread) -> Result<String, String> {
        Err("it is not killed".into())
    }

    fn pulses(&mut self) -> Vec<Pulse> {
        (0..40).map(|hub| Pulse { hub, ..Pulse::default() }).collect()
    }

    fn whereabouts(&mut self, pulses: &[Pulse], _: Instant) -> Vec<Whereabouts> {
        ASKED_FOR.lock().unwrap().push(pulses.len());
        let told = |pulse: &Pulse| Whereabouts { said: vec![format!("it is {}", pulse.hub)], backtrace: Vec::new() };
        pulses.iter().map(told).collect()
    }
}

#[test]
fn hubs_that_do_not_move_are_looked_at_together() {
    let _alone = alone();
    let _server = Server::start(Stuck, Settings::new().watchdog(Some(Duration::from_millis(1)))).unwrap();
    let mut client = Client::connect(std::process::id()).unwrap();
    let hubs = loop {
        let hubs = client.ask(Ask::Hubs).unwrap().hubs.unwrap();
        if hubs.iter().all(|hub| hub.blocked.is_some()) {
            break hubs;
        }
    };
    assert_eq!(*ASKED_FOR.lock().unwrap(), [40]);
    for hub in hubs {
        assert_eq!(hub.whereabouts, Some(format!("it is {}", hub.number)));
    }
}

#[test]
fn sockets_of_processes_that_are_not_seen_from_here_are_left_alone() {
    let _alone = alone();
    // Of numbers that no process here has, and that this one has: in another container they are others'.
    let folder = place::folder().unwrap();
    let (theirs, ours) = (folder.join("2000000001"), folder.join(std::process::id().to_string()));
    let [mut one, mut other] = [&theirs, &ours].map(|path| {
        let _ = std::fs::remove_file(path);
        program("a_process_that_serves_a_socket", &[("GREENLOOM_TEST_SOCKET", path)])
    });
    let refused = Server::start(Told(0), Settings::new()).unwrap_err();
    assert!(refused.to_string().contains("is served by another process with this one's number"), "{refused}");
    assert!(theirs.exists() && ours.exists());
    // Nor is it taken for this process's.
    assert!(matches!(Client::connect(std::process::id()), Err(Failure::NotServed(_))));
    for child in [&mut one, &mut other] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let _server = Server::start(Told(0), Settings::new()).unwrap();
    assert!(!theirs.exists());
    Client::connect(std::process::id()).unwrap().ask(Ask::Hubs).unwrap();
}

#[test]
fn a_process_that_has_ended_and_was_not_waited_for_is_told_so() {
    let mut child = Command::new("true").spawn().unwrap();
    while !place::is_zombie(child.id()) {
        std::thread::yield_now();
    }
    assert!(place::exists(child.id()));
    assert!(matches!(Client::connect(child.id()), Err(Failure::Ended(pid)) if pid == child.id()));
    child.wait().unwrap();
    assert!(!place::exists(child.id()) && !place::is_zombie(child.id()));
}
