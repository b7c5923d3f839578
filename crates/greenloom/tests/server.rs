//! Servers that are shut down in order, and copying both ways.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use common::{millis, pair};
use greenloom::io::copy_bidirectional;
use greenloom::net::{self, Server, TcpListener, TcpStream, UnixStream};
use greenloom::select::Select;
use greenloom::sync::CancellationToken;
use greenloom::{get_hub, inspect, sleep, spawn, timeout, yield_now};

const LONG: Duration = Duration::from_secs(20);

fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = net::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Echoes until the client or the server ends.
fn echo(mut stream: TcpStream, stopping: &CancellationToken) {
    let mut bytes = [0; 64];
    loop {
        let goes_on = Select::new().cancelled(stopping, || false).readable(&stream, |ready| ready.is_ok()).wait();
        if !goes_on {
            return;
        }
        match stream.read(&mut bytes) {
            Ok(count @ 1..) if stream.write_all(&bytes[..count]).is_ok() => {}
            _ => return,
        }
    }
}

fn ask(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
}

#[test]
fn a_shutdown_drains_handlers_that_listen_to_it_and_refuses_new_connections() {
    let (listener, address) = listen();
    let server = Server::start(listener, 10, |stream, _from, stopping| echo(stream, stopping)).unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| net::connect(address).unwrap()).collect();
    clients.iter_mut().for_each(ask);
    drop(clients.pop());
    while server.stats().finished == 0 {
        sleep(millis(1));
    }
    assert_eq!((server.stats().accepted, server.stats().active), (3, 2));
    let drained = server.shutdown(LONG);
    assert_eq!((drained.finished, drained.killed), (2, 0));
    server.wait().unwrap();
    assert!(net::connect(address).is_err());
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.finished, stats.active, stats.killed, stats.panicked), (3, 3, 0, 0, 0));
    assert_eq!(server.shutdown(Duration::ZERO), drained_nothing());
}

fn drained_nothing() -> net::Drained {
    let (listener, _) = listen();
    let server = Server::start(listener, 1, |_: TcpStream, _, _| ()).unwrap();
    server.shutdown(LONG)
}

#[test]
fn what_does_not_end_in_time_is_killed_and_a_panic_is_counted() {
    let (listener, address) = listen();
    let unwound = Rc::new(Cell::new(0));
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let counts = unwound.clone();
    let server = Server::start(listener, 10, move |mut stream: TcpStream, _from, _stopping| {
        let _counts = Counts(counts.clone());
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_ne!(byte[0], b'!', "a bang");
        stream.write_all(&byte).unwrap();
        sleep(Duration::from_secs(600));
    })
    .unwrap();
    let mut stuck = net::connect(address).unwrap();
    stuck.write_all(b"x").unwrap();
    stuck.read_exact(&mut [0]).unwrap();
    let mut bad = net::connect(address).unwrap();
    bad.write_all(b"!").unwrap();
    assert_eq!(bad.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.stats().panicked, 1);
    let drained = server.shutdown(millis(5));
    assert_eq!((drained.finished, drained.killed, unwound.get()), (0, 1, 2));
    assert_eq!((server.stats().active, get_hub().timers_count()), (0, 0));
}

#[test]
fn a_shutdown_that_is_timed_out_leaves_the_handlers_for_the_next() {
    let (listener, address) = listen();
    let server = Server::start(listener, 2, |mut stream: TcpStream, _from, _stopping| {
        let _ = stream.read(&mut [0]);
    })
    .unwrap();
    let client = net::connect(address).unwrap();
    while server.stats().active == 0 {
        sleep(millis(1));
    }
    assert!(timeout(millis(2), || server.shutdown(LONG)).is_err());
    assert_eq!(server.stats().active, 1);
    drop(client);
    assert_eq!((server.shutdown(LONG).killed, server.stats().finished), (0, 1));
}

#[test]
fn no_more_than_the_limit_are_served_at_once() {
    let (listener, address) = listen();
    let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (inside, peak) = (running.clone(), most.clone());
    let server = Server::start(listener, 2, move |mut stream: TcpStream, _from, _stopping| {
        inside.set(inside.get() + 1);
        peak.set(peak.get().max(inside.get()));
        sleep(millis(2));
        let _ = stream.write_all(b"x");
        inside.set(inside.get() - 1);
    })
    .unwrap();
    let clients: Vec<_> =
        (0..6).map(|_| spawn(move || net::connect(address).unwrap().read_exact(&mut [0]).unwrap())).collect();
    clients.into_iter().for_each(|client| client.wait().unwrap());
    assert_eq!((most.get(), running.get()), (2, 0));
    assert_eq!(server.shutdown(LONG).killed, 0);
    assert_eq!(server.stats().accepted, 6);
}

#[test]
fn a_server_that_is_dropped_leaves_nothing() {
    yield_now();
    let before = inspect::green_threads().len();
    let (listener, address) = listen();
    let server = Server::start(listener, 2, |stream, _from, stopping| echo(stream, stopping)).unwrap();
    let stopping = server.stopping().clone();
    let mut client = net::connect(address).unwrap();
    ask(&mut client);
    drop(server);
    assert!(stopping.is_cancelled());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(net::connect(address).is_err());
    yield_now();
    assert_eq!((inspect::green_threads().len().max(before), get_hub().io_waiting_count()), (before, 0));

    // Before it has begun.
    let (listener, address) = listen();
    let server = Server::start(listener, 2, |stream, _from, stopping| echo(stream, stopping)).unwrap();
    assert_eq!(server.shutdown(LONG).killed, 0);
    server.wait().unwrap();
    assert!(net::connect(address).is_err());
    let (listener, _) = listen();
    let error = Server::start(listener, 0, |_: TcpStream, _, _| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn both_ways_are_copied_until_each_has_ended() {
    let ((mut client, left), (right, mut server)) = (pair(), UnixStream::pair().unwrap());
    let proxy = spawn(move || copy_bidirectional(&left, &right));
    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "request", "its end is passed on while the other way is open");
    let answer = vec![b'a'; 1 << 20];
    let sends = spawn(move || server.write_all(&answer));
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    sends.wait().unwrap().unwrap();
    assert_eq!(bytes.len(), 1 << 20);
    assert_eq!(proxy.wait().unwrap().unwrap(), (7, 1 << 20));
    assert_eq!(get_hub().io_waiting_count(), 0);
}

#[test]
fn an_error_in_one_way_ends_the_other_too() {
    let ((client, left), (right, mut server)) = (pair(), UnixStream::pair().unwrap());
    let proxy = spawn(move || copy_bidirectional(&left, &right));
    yield_now();
    // Unread data at the close makes a reset, which ends the way to the client while the other one waits.
    server.write_all(&[0; 64 * 1024]).unwrap();
    while client.peek(&mut [0]).unwrap() == 0 {}
    drop(client);
    let error = timeout(LONG, || proxy.wait()).expect("it hangs").unwrap().unwrap_err();
    assert!(error.raw_os_error().is_some(), "{error}");
    drop(server);
    assert_eq!(get_hub().io_waiting_count(), 0);
}

#[test]
fn one_that_is_killed_while_it_copies_leaves_nobody_behind() {
    let ((mut client, left), (right, mut server)) = (pair(), pair());
    let proxy = spawn(move || copy_bidirectional(&left, &right));
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    proxy.kill();
    yield_now();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    assert_eq!(get_hub().io_waiting_count(), 0);
}
