//! What was once wrong.

use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use greenloom_hub::poller::{Events, Poller};
use greenloom_hub::{Cause, Core, Direction, MonotonicClock, Others, Sources};

#[test]
fn a_reused_fd_number_does_not_wake_an_old_waiter_nor_lose_the_new() {
    let mut core: Core<&str, ()> = Core::new(Rc::new(MonotonicClock::new())).unwrap();
    let (reader, _old_writer) = pipe().unwrap();
    let old = core.add_source(reader.as_fd()).unwrap();
    core.sources().would_block(old, Direction::Read);
    assert_eq!(core.sources().wait(old, Direction::Read, "old"), Ok(true));
    // Closed without a word to the core, and its number used again at once: no other test can take it in between.
    let (mut other, mut writer) = pipe().unwrap();
    let mut reader = OwnedFd::from(reader);
    rustix::io::dup2(&other, &mut reader).unwrap();
    let new = core.add_source(reader.as_fd()).unwrap();
    assert_ne!(old, new);
    core.sources().clear_ready(new, Direction::Read);
    assert_eq!(core.sources().wait(new, Direction::Read, "new"), Ok(true));
    // Forgetting the old one by its key leaves the new one registered.
    let told: Vec<_> = core.remove_source(old, Some(reader.as_fd())).into_iter().flatten().collect();
    assert_eq!(told, ["old"]);
    writer.write_all(b"x").unwrap();
    let mut fired = Vec::new();
    core.turn(Some(Others::MaySend), &mut fired).unwrap();
    assert_eq!(fired, [("new", Cause::Io)]);
    other.read_exact(&mut [0]).unwrap();
}

#[test]
fn urgent_data_makes_short_reads_prove_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (receiver, _) = listener.accept().unwrap();
    let (poller, mut sources, mut events) = (Poller::new().unwrap(), Sources::<()>::new(), Events::new());
    let key = sources.add(&poller, receiver.as_fd()).unwrap();
    sources.clear_ready(key, Direction::Read);
    assert!(!sources.is_ready(key, Direction::Read));
    rustix::net::send(&sender, b"x", rustix::net::SendFlags::OOB).unwrap();
    while !events.iter().any(|event| event.urgent) {
        poller.wait(Some(Duration::from_secs(5)), &mut events).unwrap();
        assert!(events.iter().next().is_some(), "urgent data is an event");
        events.iter().for_each(|event| sources.report(event, |()| {}));
    }
    sources.clear_ready(key, Direction::Read);
    assert!(sources.is_ready(key, Direction::Read), "what a short read has left is unknown");
    sources.would_block(key, Direction::Read);
    assert!(!sources.is_ready(key, Direction::Read), "an operation that was refused knows better");
}

#[test]
fn an_error_that_was_fetched_leaves_a_socket_that_can_be_waited_for() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(closed.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    drop(closed);
    let (poller, mut sources, mut events) = (Poller::new().unwrap(), Sources::<()>::new(), Events::new());
    let key = sources.add(&poller, socket.as_fd()).unwrap();
    socket.send(b"to nobody").unwrap();
    while !events.iter().any(|event| event.read_closed) {
        poller.wait(Some(Duration::from_secs(5)), &mut events).unwrap();
        events.iter().for_each(|event| sources.report(event, |()| {}));
    }
    socket.recv(&mut [0]).unwrap_err();
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    sources.would_block(key, Direction::Read);
    assert_eq!(sources.wait(key, Direction::Read, ()), Ok(true), "it would spin");
}
