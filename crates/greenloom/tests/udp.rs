//! UDP.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::ErrorKind;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use common::millis;
use greenloom::net::UdpSocket;
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

const SECOND: Duration = Duration::from_secs(1);

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[test]
fn datagrams_keep_their_bounds_and_say_where_they_come_from() {
    let (server, client) = (socket(), socket());
    let (to, from) = (server.local_addr().unwrap(), client.local_addr().unwrap());
    let receiver = spawn(move || {
        let mut buf = [0; 100];
        (0..3)
            .map(|_| server.recv_from(&mut buf).map(|(n, from)| (buf[..n].to_vec(), from)).unwrap())
            .collect::<Vec<_>>()
    });
    yield_now();
    for datagram in [&b"one"[..], b"", b"three"] {
        client.send_to(datagram, to).unwrap();
    }
    let expected = [&b"one"[..], b"", b"three"].map(|datagram| (datagram.to_vec(), from));
    assert_eq!(receiver.wait().unwrap(), expected);
}

#[test]
fn connected_it_needs_no_address() {
    let (server, client) = (socket(), socket());
    client.connect(server.local_addr().unwrap()).unwrap();
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    client.send(b"ping").unwrap();
    let mut buf = [0; 8];
    assert_eq!(server.peek(&mut buf).unwrap(), 4);
    assert_eq!(server.peek_from(&mut buf).unwrap(), (4, client.local_addr().unwrap()));
    assert_eq!(server.recv(&mut buf).unwrap(), 4);
    server.send_to(b"pong!", client.local_addr().unwrap()).unwrap();
    assert_eq!(client.recv(&mut buf).unwrap(), 5);
}

#[test]
fn receiving_ends_when_it_is_shut_down() {
    for waits in [false, true] {
        let (socket, peer) = (Rc::new(socket()), socket());
        socket.connect(peer.local_addr().unwrap()).unwrap();
        let shut = Rc::clone(&socket);
        let shut = spawn(move || shut.shutdown(Shutdown::Read).unwrap());
        if !waits {
            shut.wait().unwrap();
        }
        let buf = &mut [0; 4];
        assert_eq!(timeout(10 * SECOND, || socket.recv(buf)).unwrap().unwrap(), 0);
        assert_eq!(timeout(10 * SECOND, || socket.peek(buf)).unwrap().unwrap(), 0);
        // As of std, for want of an address.
        assert_eq!(socket.recv_from(buf).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_peer_that_is_not_there_is_an_error_of_the_next_receive() {
    let gone = socket().local_addr().unwrap();
    let client = socket();
    client.connect(gone).unwrap();
    client.send(b"x").unwrap();
    assert_eq!(client.recv(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn receiving_times_out_and_is_cancelled_without_a_trace() {
    let socket = Rc::new(socket());
    socket.set_read_timeout(Some(millis(10))).unwrap();
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    socket.set_read_timeout(None).unwrap();
    assert!(timeout(millis(10), || socket.recv(&mut [0])).is_err());
    let waiting = socket.clone();
    let killed = spawn(move || waiting.recv(&mut [0]).is_ok());
    yield_now();
    killed.kill();
    assert_eq!(get_hub().io_waiting_count(), 0);
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    assert_eq!(socket.recv(&mut [0]).unwrap(), 1);
}

#[test]
fn closing_wakes_who_waits() {
    let socket = Rc::new(socket());
    let waiting = socket.clone();
    let receiver = spawn(move || waiting.recv(&mut [0]).unwrap_err().kind());
    yield_now();
    socket.close();
    assert_eq!(receiver.wait().unwrap(), ErrorKind::NotConnected);
}

#[test]
fn one_that_never_waits_lets_others_run() {
    let socket = socket();
    let me = socket.local_addr().unwrap();
    let done = Rc::new(std::cell::Cell::new(false));
    let timer = done.clone();
    get_hub().schedule_call_global(millis(2), move || timer.set(true));
    // Each send finds room, since the rest is thrown away.
    while !done.get() {
        socket.send_to(b"x", me).unwrap();
    }
    sleep(millis(1));
}

/// An error is fetched once, and the socket is as good as before: waiting on it must not become a loop that waits for
/// nobody.
#[test]
fn a_socket_whose_peer_was_not_there_waits_again() {
    let gone = socket().local_addr().unwrap();
    let client = socket();
    client.connect(gone).unwrap();
    client.set_read_timeout(Some(millis(20))).unwrap();
    let mut buf = [0; 8];
    assert_eq!(client.recv(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
    client.send(b"x").unwrap();
    assert_eq!(client.recv(&mut buf).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(client.recv(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
}
