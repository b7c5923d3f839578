//! Unix sockets and pipes.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use common::millis;
use greenloom::net::{UnixDatagram, UnixListener, UnixStream, serve};
use greenloom::pipe::pipe;
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

/// A path that is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("greenloom-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn streams_connect_by_path_and_are_served() {
    let place = Place::new("served");
    let listener = Rc::new(UnixListener::bind(&place.0).unwrap());
    let accepting = listener.clone();
    let server = spawn(move || {
        serve(&*accepting, 10, |stream, _| {
            std::io::copy(&mut &stream, &mut &stream).unwrap();
        })
    });
    for number in 0..5u8 {
        let mut stream = UnixStream::connect(&place.0).unwrap();
        stream.write_all(&[number]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [number]);
    }
    listener.close();
    server.wait().unwrap().unwrap();
    assert_eq!(UnixStream::connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_shutdown_ends_the_wait_of_who_writes_and_reads_there() {
    let (one, _other) = UnixStream::pair().unwrap();
    let one = Rc::new(one);
    let (writer, reader) = (Rc::clone(&one), Rc::clone(&one));
    let writes = spawn(move || (&*writer).write_all(&[0; 4 << 20]));
    let reads = spawn(move || (&*reader).read(&mut [0]));
    sleep(millis(2));
    one.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(timeout(millis(1000), || writes.wait()).unwrap().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    one.shutdown(std::net::Shutdown::Read).unwrap();
    assert_eq!(timeout(millis(1000), || reads.wait()).unwrap().unwrap().unwrap(), 0);
}

#[test]
fn abstract_names_work() {
    let name = format!("greenloom-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let client = UnixStream::connect_addr(&address).unwrap();
    listener.accept().unwrap();
    assert_eq!(client.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
}

#[test]
fn nobody_there_is_an_error() {
    let place = Place::new("nobody");
    assert_eq!(UnixStream::connect(&place.0).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn connecting_waits_while_the_backlog_is_full() {
    let place = Place::new("full");
    let listener = UnixListener::bind(&place.0).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let path = place.0.clone();
            spawn(move || UnixStream::connect(path).unwrap())
        })
        .collect();
    sleep(millis(5));
    assert!(clients.iter().any(|client| !client.is_dead()));
    for _ in 0..6 {
        listener.accept().unwrap();
    }
    for client in clients {
        client.wait().unwrap();
    }
}

#[test]
fn a_pair_carries_much_both_ways() {
    const LENGTH: usize = 2 << 20;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let echo = spawn(move || std::io::copy(&mut &theirs, &mut &theirs).unwrap());
    let (mut reader, mut writer) = ours.into_split();
    let writing = spawn(move || writer.write_all(&vec![3; LENGTH]).unwrap());
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(all.len() == LENGTH && all.iter().all(|byte| *byte == 3));
    writing.wait().unwrap();
    assert_eq!(echo.wait().unwrap(), LENGTH as u64);
}

#[test]
fn the_second_waiter_is_refused_and_a_kill_leaves_nothing() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    let waiting = ours.clone();
    let first = spawn(move || (&*waiting).read(&mut [0]).unwrap());
    yield_now();
    assert_eq!((&*ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::ResourceBusy);
    first.kill();
    assert_eq!(get_hub().io_waiting_count(), 0);
    (&theirs).write_all(b"x").unwrap();
    assert_eq!((&*ours).read(&mut [0]).unwrap(), 1);
}

#[test]
fn datagrams_wait_for_room() {
    let place = Place::new("datagrams");
    let receiver = UnixDatagram::bind(&place.0).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_write_timeout(Some(millis(20))).unwrap();
    let mut sent = 0u32;
    while sender.send_to(&sent.to_be_bytes(), &place.0).is_ok() {
        sent += 1;
    }
    assert_eq!(sender.send_to(b"", &place.0).unwrap_err().kind(), ErrorKind::TimedOut);
    sender.set_write_timeout(None).unwrap();
    let path = place.0.clone();
    let last = spawn(move || sender.send_to(&sent.to_be_bytes(), path).unwrap());
    sleep(millis(5));
    assert!(!last.is_dead());
    for number in 0..=sent {
        let mut buf = [0; 4];
        assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
        assert_eq!(u32::from_be_bytes(buf), number);
    }
    last.wait().unwrap();
}

#[test]
fn connected_datagrams_wait_for_room() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let sender = spawn(move || {
        for number in 0..2_000u32 {
            ours.send(&number.to_be_bytes()).unwrap();
        }
    });
    for number in 0..2_000u32 {
        let mut buf = [0; 4];
        theirs.recv_from(&mut buf).unwrap();
        assert_eq!(u32::from_be_bytes(buf), number);
    }
    sender.wait().unwrap();
}

#[test]
fn receiving_datagrams_ends_when_it_is_shut_down() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let ours = Rc::new(ours);
    let receiver = Rc::clone(&ours);
    let receiver = spawn(move || receiver.recv(&mut [0; 4]).unwrap());
    yield_now();
    theirs.send(b"last").unwrap();
    ours.shutdown(Shutdown::Read).unwrap();
    assert_eq!(receiver.wait().unwrap(), 4, "what came before is there");
    assert_eq!(ours.recv(&mut [0; 4]).unwrap(), 0);
    let (length, from) = ours.recv_from(&mut [0; 4]).unwrap();
    assert!(length == 0 && from.is_unnamed());
}

#[test]
fn a_pipe_carries_more_than_it_holds_and_ends() {
    const LENGTH: usize = 1 << 20;
    let (mut reader, mut writer) = pipe().unwrap();
    let writing = spawn(move || writer.write_all(&vec![9; LENGTH]).unwrap());
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), LENGTH);
    writing.wait().unwrap();
}

#[test]
fn a_pipe_that_nobody_reads_is_broken() {
    let (reader, mut writer) = pipe().unwrap();
    drop(reader);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_pipe_can_be_waited_for_with_a_timeout_and_closed() {
    let (reader, writer) = pipe().unwrap();
    reader.set_read_timeout(Some(millis(10))).unwrap();
    assert_eq!((&reader).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    reader.set_read_timeout(None).unwrap();
    assert!(timeout(millis(10), || (&reader).read(&mut [0])).is_err());
    let reader = Rc::new(reader);
    let waiting = reader.clone();
    let thread = spawn(move || (&*waiting).read(&mut [0]).unwrap_err().kind());
    yield_now();
    reader.close();
    assert_eq!(thread.wait().unwrap(), ErrorKind::NotConnected);
    drop(writer);
}
