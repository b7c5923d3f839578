//! TCP.
//!
//! Over 500 lines: one subject, from connecting to closing, with the same helpers.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{millis, pair, passes};
use greenloom::net::{self, ListenOptions, TcpListener, TcpStream};
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

fn waiting() -> usize {
    get_hub().io_waiting_count()
}

/// Fills the way from one end to the other, until a write has to wait.
fn fill(stream: &TcpStream) {
    stream.set_write_timeout(Some(millis(20))).unwrap();
    while (&*stream).write(&[0; 65536]).is_ok() {}
    stream.set_write_timeout(None).unwrap();
}

/// A listener whose backlog is full, so that connecting to it gets no answer; with what fills it.
fn unanswering() -> (TcpListener, Vec<TcpStream>) {
    let listener = ListenOptions::new().backlog(0).bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut connected = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(address, millis(50)) {
        connected.push(stream);
    }
    (listener, connected)
}

#[test]
fn what_is_written_is_read_in_order() {
    let (mut ours, mut theirs) = pair();
    let echo = spawn(move || {
        let mut buf = [0; 7];
        loop {
            match theirs.read(&mut buf).unwrap() {
                0 => return,
                n => theirs.write_all(&buf[..n]).unwrap(),
            }
        }
    });
    for round in 0..100u32 {
        ours.write_all(&round.to_be_bytes()).unwrap();
        let mut answer = [0; 4];
        ours.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_be_bytes(answer), round);
    }
    drop(ours);
    echo.wait().unwrap();
}

#[test]
fn others_run_while_one_reads() {
    let (ours, theirs) = pair();
    let reader = spawn(move || (&ours).read(&mut [0]).unwrap());
    yield_now();
    assert!(!reader.is_dead());
    assert_eq!(waiting(), 1);
    (&theirs).write_all(b"x").unwrap();
    assert_eq!(reader.wait().unwrap(), 1);
    assert_eq!(waiting(), 0);
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_read_behind_them() {
    let (ours, mut theirs) = pair();
    let mut buf = [0; 64];
    ours.set_read_timeout(Some(millis(1))).unwrap();
    assert!((&ours).read(&mut buf).is_err());
    ours.set_read_timeout(Some(millis(5_000))).unwrap();
    theirs.write_all(b"last").unwrap();
    drop(theirs);
    // Both have arrived before the hub looks.
    std::thread::sleep(millis(20));
    yield_now();
    assert_eq!((&ours).read(&mut buf).unwrap(), 4);
    assert_eq!((&ours).read(&mut buf).unwrap(), 0);
    assert_eq!((&ours).read(&mut buf).unwrap(), 0);
}

#[test]
fn half_closed_it_still_answers() {
    let (mut ours, mut theirs) = pair();
    let server = spawn(move || {
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        sleep(millis(5));
        theirs.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    ours.write_all(b"question").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "QUESTION");
    server.wait().unwrap();
    assert_eq!(ours.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn much_goes_both_ways_at_once_to_slow_readers() {
    const LENGTH: usize = 8 << 20;
    fn byte(index: usize) -> u8 {
        (index * 7 + index / 251) as u8
    }
    let (ours, theirs) = pair();
    let threads = [ours, theirs].map(|stream| {
        let (mut reader, mut writer) = stream.into_split();
        let read = spawn(move || {
            let (mut buf, mut total) = (vec![0; 100_000], 0);
            loop {
                let n = reader.read(&mut buf).unwrap();
                if n == 0 {
                    return total;
                }
                assert!(buf[..n].iter().enumerate().all(|(index, value)| *value == byte(total + index)));
                total += n;
                if total % 16 == 0 {
                    sleep(millis(1));
                }
            }
        });
        let written = spawn(move || {
            let bytes: Vec<u8> = (0..LENGTH).map(byte).collect();
            writer.write_all(&bytes).unwrap();
        });
        (read, written)
    });
    for (read, written) in threads {
        written.wait().unwrap();
        assert_eq!(read.wait().unwrap(), LENGTH);
    }
    assert_eq!(waiting(), 0);
}

#[test]
fn vectored_it_gathers_and_scatters() {
    let (mut ours, mut theirs) = pair();
    assert_eq!(ours.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]).unwrap(), 6);
    let (mut first, mut second) = ([0; 2], [0; 10]);
    let n = theirs.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]).unwrap();
    assert_eq!((n, &first, &second[..4]), (6, b"on", &b"etwo"[..]));
}

#[test]
fn what_is_peeked_stays() {
    let (ours, theirs) = pair();
    let peeker = spawn(move || {
        let mut buf = [0; 8];
        assert_eq!(ours.peek(&mut buf).unwrap(), 2);
        assert_eq!(ours.peek(&mut buf).unwrap(), 2);
        (&ours).read(&mut buf).unwrap()
    });
    yield_now();
    (&theirs).write_all(b"hi").unwrap();
    assert_eq!(peeker.wait().unwrap(), 2);
}

#[test]
fn options_are_kept() {
    let (stream, _other) = pair();
    stream.set_nodelay(true).unwrap();
    assert!(stream.nodelay().unwrap());
    assert_eq!(stream.keepalive().unwrap(), None);
    stream.set_keepalive(Some(Duration::from_secs(9))).unwrap();
    stream.set_keepalive_probes(Duration::from_secs(3), 4).unwrap();
    assert_eq!(stream.keepalive().unwrap(), Some(Duration::from_secs(9)));
    stream.set_keepalive(None).unwrap();
    assert_eq!(stream.keepalive().unwrap(), None);
    stream.set_read_timeout(Some(millis(1_500))).unwrap();
    assert_eq!(stream.read_timeout(), Some(millis(1_500)));
    assert_eq!(stream.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_second_reader_is_told_that_there_is_one() {
    let (ours, theirs) = pair();
    let ours = Rc::new(ours);
    let first = spawn({
        let ours = ours.clone();
        move || (&*ours).read(&mut [0; 4]).unwrap()
    });
    yield_now();
    let error = (&*ours).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("another green thread waits"), "{error}");
    // The first is not disturbed, and writing is another matter.
    (&*ours).write_all(b"x").unwrap();
    (&theirs).write_all(b"abc").unwrap();
    assert_eq!(first.wait().unwrap(), 3);
}

#[test]
fn a_read_times_out_and_can_be_tried_again() {
    let (ours, theirs) = pair();
    ours.set_read_timeout(Some(millis(20))).unwrap();
    for _ in 0..2 {
        let started = Instant::now();
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() >= millis(20));
        assert_eq!(waiting(), 0);
    }
    (&theirs).write_all(b"x").unwrap();
    assert_eq!((&ours).read(&mut [0]).unwrap(), 1);
}

#[test]
fn a_write_times_out_and_goes_on_when_there_is_room() {
    let (ours, theirs) = pair();
    fill(&ours);
    ours.set_write_timeout(Some(millis(20))).unwrap();
    assert_eq!((&ours).write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(waiting(), 0);
    ours.set_write_timeout(Some(millis(5_000))).unwrap();
    let drain = spawn(move || {
        let mut buf = vec![0; 1 << 20];
        while (&theirs).read(&mut buf).unwrap() > 0 {}
    });
    (&ours).write_all(b"x").unwrap();
    drop(ours);
    drain.wait().unwrap();
}

#[test]
fn accepting_times_out() {
    let listener = net::listen("127.0.0.1:0").unwrap();
    listener.set_timeout(Some(millis(10))).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    let client = net::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
}

#[test]
fn connecting_to_nobody_is_refused() {
    let address = net::listen("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(net::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(waiting(), 0);
}

#[test]
fn of_several_addresses_the_first_that_accepts_is_taken() {
    let refusing = net::listen("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = net::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = net::connect(&[refusing, address][..]).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert_eq!(net::connect(&[][..]).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn connecting_times_out_when_nobody_answers() {
    let (listener, connected) = unanswering();
    let started = Instant::now();
    let error = TcpStream::connect_timeout(listener.local_addr().unwrap(), millis(60)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(started.elapsed() >= millis(60) && started.elapsed() < millis(900));
    assert_eq!(waiting(), 0);
    drop(connected);
}

#[test]
fn killed_in_the_middle_of_an_operation_it_leaves_nothing_behind() {
    let (listener, _connected) = unanswering();
    let unanswering = listener.local_addr().unwrap();
    let (ours, theirs) = pair();
    fill(&ours);
    let (ours, quiet) = (Rc::new(ours), Rc::new(net::listen("127.0.0.1:0").unwrap()));
    let (reading, writing, accepting) = (ours.clone(), ours.clone(), quiet.clone());
    let threads = [
        spawn(move || drop((&*reading).read(&mut [0]))),
        spawn(move || drop((&*writing).write(&[0]))),
        spawn(move || drop(accepting.accept())),
        spawn(move || drop(TcpStream::connect(unanswering))),
    ];
    yield_now();
    assert_eq!(waiting(), 4);
    for thread in threads {
        thread.kill();
        assert!(thread.is_dead());
        assert!(thread.wait().is_err());
    }
    assert_eq!(waiting(), 0);
    // Others can wait in their places.
    (&theirs).write_all(b"x").unwrap();
    assert_eq!((&*ours).read(&mut [0]).unwrap(), 1);
    let client = spawn({
        let address = quiet.local_addr().unwrap();
        move || net::connect(address).unwrap()
    });
    quiet.accept().unwrap();
    client.wait().unwrap();
}

#[test]
fn a_timeout_around_an_operation_unwinds_it() {
    let (ours, theirs) = pair();
    assert!(timeout(millis(10), || (&ours).read(&mut [0])).is_err());
    assert_eq!(waiting(), 0);
    (&theirs).write_all(b"x").unwrap();
    assert_eq!(timeout(millis(5_000), || (&ours).read(&mut [0])).unwrap().unwrap(), 1);
}

#[test]
fn killed_after_it_was_woken_it_does_not_take_away_the_next_ones_place() {
    let (ours, theirs) = pair();
    let ours = Rc::new(ours);
    let (reading, next) = (ours.clone(), ours.clone());
    let first = spawn(move || (&*reading).read(&mut [0]).unwrap());
    let next = spawn(move || {
        sleep(millis(1));
        (&*next).read_exact(&mut [0]).unwrap();
        (&*next).read(&mut [0]).unwrap()
    });
    spawn(move || {
        sleep(millis(2));
        first.kill();
    });
    yield_now();
    (&theirs).write_all(b"x").unwrap();
    // At its next turn the hub makes them ready in this order: the second reader, the killer, and, by the byte, the
    // first.
    std::thread::sleep(millis(5));
    sleep(millis(5));
    assert_eq!(waiting(), 1);
    (&theirs).write_all(b"y").unwrap();
    assert_eq!(next.wait().unwrap(), 1);
}

#[test]
fn closing_wakes_who_waits_with_an_error() {
    let (ours, theirs) = pair();
    fill(&ours);
    let ours = Rc::new(ours);
    let (reading, writing) = (ours.clone(), ours.clone());
    let reader = spawn(move || (&*reading).read(&mut [0]).unwrap_err().kind());
    let writer = spawn(move || (&*writing).write(&[0]).unwrap_err().kind());
    yield_now();
    ours.close();
    assert_eq!(waiting(), 0);
    assert_eq!(reader.wait().unwrap(), ErrorKind::NotConnected);
    assert_eq!(writer.wait().unwrap(), ErrorKind::NotConnected);
    assert_eq!((&*ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(ours.is_closed());
    // The other end sees it at once, not only with the drop.
    let mut buf = vec![0; 1 << 20];
    while matches!((&theirs).read(&mut buf), Ok(n) if n > 0) {}
}

#[test]
fn closing_a_listener_ends_accept_and_refuses_clients() {
    let listener = Rc::new(net::listen("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let accepting = listener.clone();
    let accept = spawn(move || accepting.accept().unwrap_err().kind());
    yield_now();
    listener.close();
    assert_eq!(accept.wait().unwrap(), ErrorKind::NotConnected);
    assert_eq!(net::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn notify_close_wakes_who_waits_with_an_error() {
    let (ours, _theirs) = pair();
    let fd = ours.as_raw_fd();
    let reader = spawn(move || (&ours).read(&mut [0]).unwrap_err().kind());
    yield_now();
    get_hub().notify_close(fd);
    assert_eq!(reader.wait().unwrap(), ErrorKind::NotConnected);
}

#[test]
fn a_reused_number_does_not_wake_an_old_waiter() {
    let (ours, theirs) = pair();
    let number = ours.as_raw_fd();
    assert!(timeout(millis(1), || (&ours).read(&mut [0])).is_err());
    // It is registered, and an event for it is under way when it closes.
    (&theirs).write_all(b"old").unwrap();
    drop(ours);
    // The lowest number that is free is used again, unless another test was quicker.
    let (new, peer) = pair();
    let (new, peer) = if peer.as_raw_fd() == number { (peer, new) } else { (new, peer) };
    let reader = spawn(move || {
        let mut buf = [0; 8];
        let n = (&new).read(&mut buf).unwrap();
        buf[..n].to_vec()
    });
    sleep(millis(10));
    drop(theirs);
    sleep(millis(10));
    assert!(!reader.is_dead());
    (&peer).write_all(b"new").unwrap();
    assert_eq!(reader.wait().unwrap(), b"new");
}

#[test]
fn a_thousand_connections_are_served_side_by_side() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let listener = net::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(move || {
        net::serve(&listener, 2_000, |stream, _| {
            std::io::copy(&mut &stream, &mut &stream).unwrap();
        })
    });
    let clients: Vec<_> = (0..1_000u32)
        .map(|number| {
            spawn(move || {
                let mut stream = net::connect(address).unwrap();
                for round in 0..3 {
                    let sent = (number * 10 + round).to_be_bytes();
                    stream.write_all(&sent).unwrap();
                    let mut got = [0; 4];
                    stream.read_exact(&mut got).unwrap();
                    assert_eq!(got, sent);
                }
            })
        })
        .collect();
    for client in clients {
        client.wait().unwrap();
    }
    server.kill();
    sleep(millis(10));
    assert_eq!(waiting(), 0);
}

#[test]
fn serve_keeps_to_its_limit_and_outlives_a_panic() {
    let listener = Rc::new(net::listen("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let (running, most) = (Rc::new(std::cell::Cell::new(0)), Rc::new(std::cell::Cell::new(0)));
    let (accepting, highest) = (listener.clone(), most.clone());
    let server = spawn(move || {
        net::serve(&*accepting, 3, move |mut stream, _| {
            running.set(running.get() + 1);
            highest.set(highest.get().max(running.get()));
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            sleep(millis(2));
            running.set(running.get() - 1);
            assert_ne!(byte[0], 5, "the fifth client's handler panics, as it should");
            stream.write_all(&byte).unwrap();
        })
    });
    let clients: Vec<_> = (0..12u8)
        .map(|number| {
            spawn(move || {
                let mut stream = net::connect(address).unwrap();
                stream.write_all(&[number]).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                answer
            })
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let expected = if number == 5 { vec![] } else { vec![number as u8] };
        assert_eq!(client.wait().unwrap(), expected);
    }
    assert_eq!(most.get(), 3);
    listener.close();
    server.wait().unwrap().unwrap();
}

#[test]
fn a_stream_moves_between_hubs() {
    let (ours, theirs) = pair();
    // Registered here, in both directions of use.
    ours.set_read_timeout(Some(millis(1))).unwrap();
    assert!((&ours).read(&mut [0]).is_err());
    ours.set_read_timeout(Some(millis(5_000))).unwrap();
    let (sender, receiver) = mpsc::channel();
    let other = std::thread::spawn(move || {
        sender.send(()).unwrap();
        let mut buf = [0; 4];
        (&ours).read_exact(&mut buf).unwrap();
        (&ours).write_all(&buf).unwrap();
        assert_eq!(get_hub().io_waiting_count(), 0);
        ours
    });
    receiver.recv().unwrap();
    std::thread::sleep(millis(20));
    (&theirs).write_all(b"ping").unwrap();
    let mut buf = [0; 4];
    (&theirs).read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"ping");
    let ours = other.join().unwrap();
    // The other hub has ended with its OS thread; the stream comes back.
    let reader = spawn(move || {
        let mut buf = [0; 4];
        (&ours).read_exact(&mut buf).unwrap();
        buf
    });
    yield_now();
    (&theirs).write_all(b"back").unwrap();
    assert_eq!(&reader.wait().unwrap(), b"back");
}

#[test]
fn the_halves_of_a_stream_live_on_two_hubs() {
    const LENGTH: usize = 4 << 20;
    let (ours, theirs) = pair();
    let (mut reader, mut writer) = ours.into_split();
    let echo = spawn(move || std::io::copy(&mut &theirs, &mut &theirs).unwrap());
    let writing = std::thread::spawn(move || {
        for _ in 0..LENGTH / 4096 {
            writer.write_all(&[7; 4096]).unwrap();
        }
    });
    let mut total = 0;
    let mut buf = vec![0; 10_000];
    loop {
        match reader.read(&mut buf).unwrap() {
            0 => break,
            n => total += n,
        }
    }
    assert_eq!(total, LENGTH);
    writing.join().unwrap();
    assert_eq!(echo.wait().unwrap(), LENGTH as u64);
}

#[test]
fn closing_from_another_os_thread_wakes_who_waits() {
    let (ours, _theirs) = pair();
    let ours = std::sync::Arc::new(ours);
    let closing = ours.clone();
    let other = std::thread::spawn(move || {
        std::thread::sleep(millis(20));
        closing.close();
    });
    assert_eq!((&*ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::NotConnected);
    other.join().unwrap();
}

#[test]
fn two_hubs_accept_at_one_port() {
    let first = ListenOptions::new().reuse_port(true).bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let second = ListenOptions::new().reuse_port(true).bind(address).unwrap();
    let (sender, receiver) = mpsc::channel();
    for (number, listener) in [first, second].into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                stream.unwrap().write_all(b"x").unwrap();
                if sender.send(number).is_err() {
                    return;
                }
            }
        });
    }
    for _ in 0..64 {
        net::connect(address).unwrap().read_exact(&mut [0]).unwrap();
    }
    let accepted: Vec<_> = receiver.iter().take(64).collect();
    assert!(accepted.contains(&0) && accepted.contains(&1));
}

#[test]
fn waiting_in_the_hub_is_refused() {
    let (ours, _theirs) = pair();
    let (sender, receiver) = mpsc::channel();
    get_hub().schedule_call_global(Duration::ZERO, move || {
        sender.send((&ours).read(&mut [0]).unwrap_err().kind()).unwrap();
    });
    sleep(millis(5));
    assert_eq!(receiver.recv().unwrap(), ErrorKind::Unsupported);
}

#[test]
fn std_gets_a_blocking_stream_back() {
    let (ours, mut theirs) = pair();
    ours.set_read_timeout(Some(millis(1))).unwrap();
    assert!((&ours).read(&mut [0]).is_err());
    let mut std = ours.into_std().unwrap();
    let other = std::thread::spawn(move || {
        std::thread::sleep(millis(10));
        theirs.write_all(b"x").unwrap();
    });
    assert_eq!(std.read(&mut [0]).unwrap(), 1);
    other.join().unwrap();
    let green = TcpStream::from_std(std).unwrap();
    assert_eq!((&green).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_clone_is_the_same_connection() {
    let (ours, theirs) = pair();
    let clone = ours.try_clone().unwrap();
    let reader = spawn(move || (&clone).read(&mut [0]).unwrap());
    yield_now();
    drop(ours);
    (&theirs).write_all(b"x").unwrap();
    assert_eq!(reader.wait().unwrap(), 1);
}

#[test]
fn under_any_schedule_each_client_gets_its_answer() {
    greenloom::testing::explore(20, |_seed| {
        let listener = Rc::new(net::listen("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let accepting = listener.clone();
        let server = spawn(move || {
            net::serve(&*accepting, 2, |stream, _| {
                std::io::copy(&mut &stream, &mut &stream).unwrap();
            })
        });
        let clients: Vec<_> = (0..6u8)
            .map(|number| {
                spawn(move || {
                    let mut stream = net::connect(address).unwrap();
                    stream.write_all(&[number; 100]).unwrap();
                    let mut answer = [0; 100];
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [number; 100]);
                })
            })
            .collect();
        for client in clients {
            client.wait().unwrap();
        }
        listener.close();
        server.wait().unwrap().unwrap();
    });
}

#[test]
fn out_of_descriptors_accept_says_so_and_serve_pauses() {
    let text = passes("helper_out_of_descriptors");
    assert_eq!(text.matches("cannot accept connections for now").count(), 1, "{text}");
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_out_of_descriptors() {
    let listener = Rc::new(net::listen("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let client = spawn(move || std::net::TcpStream::connect(address).unwrap());
    let client = client.wait().unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let lowered = rustix::process::Rlimit { current: Some(64), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, lowered).unwrap();
    let mut stat = std::fs::File::open("/proc/self/stat").unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    let error = listener.accept().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()), "{error}");

    let accepting = listener.clone();
    let server = spawn(move || {
        net::serve(&*accepting, 10, |mut stream, _| {
            stream.write_all(b"hello").unwrap();
        })
    });
    let started = Instant::now();
    let before = cpu_time(&mut stat);
    sleep(millis(300));
    assert!(cpu_time(&mut stat) - before < started.elapsed() / 4, "it spins");
    assert!(!server.is_dead());
    drop(hoard);
    let mut text = String::new();
    TcpStream::from_std(client).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    listener.close();
    server.wait().unwrap().unwrap();
}

/// The processor time this process has taken.
fn cpu_time(file: &mut std::fs::File) -> Duration {
    let mut stat = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut stat).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
