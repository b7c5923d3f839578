//! The examples do what they say: libraries that are generic over streams run on green sockets.

#[allow(dead_code)]
#[path = "../examples/chat.rs"]
mod chat;

#[allow(dead_code)]
#[path = "../examples/port_forwarder.rs"]
mod port_forwarder;

#[allow(dead_code)]
#[path = "../examples/tls_echo.rs"]
mod tls_echo;

#[allow(dead_code)]
#[path = "../examples/websocket_echo.rs"]
mod websocket_echo;

use std::rc::Rc;
use std::time::Duration;

use greenloom::codec::{Framed, Lines};
use greenloom::hub::now;
use greenloom::net::UnixStream;
use greenloom::sync::CancellationToken;
use greenloom::{GreenThread, get_hub, sleep, spawn, testing, timeout};

fn expected(clients: usize) -> Vec<String> {
    (0..clients).map(|number| format!("client {number}")).collect()
}

#[test]
fn rustls_runs_on_green_sockets() {
    assert_eq!(tls_echo::run(20).unwrap(), expected(20));
}

#[test]
fn tungstenite_runs_on_green_sockets() {
    assert_eq!(websocket_echo::run(20).unwrap(), expected(20));
}

#[test]
fn the_port_forwarder_passes_both_ways_on_and_drains() {
    use greenloom::{net, spawn};
    use std::io::{Read, Write};
    use std::net::Shutdown;

    let echo = net::listen("127.0.0.1:0").unwrap();
    let behind = echo.local_addr().unwrap().to_string();
    spawn(move || net::serve(&echo, 10, |stream, _| drop(std::io::copy(&mut &stream, &mut &stream))));
    let (server, address) = port_forwarder::start("127.0.0.1:0", behind).unwrap();
    let mut client = net::connect(address).unwrap();
    client.write_all(b"there and back").unwrap();
    let mut begun = [0; 5];
    client.read_exact(&mut begun).unwrap();
    let draining = spawn(move || server.shutdown(Duration::from_secs(20)));
    greenloom::yield_now();
    assert!(net::connect(address).is_err(), "it has stopped listening");
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " and back");
    let drained = draining.wait().unwrap();
    assert_eq!((drained.finished, drained.killed), (1, 0));
}

type Guest = Framed<UnixStream, Lines>;

/// One who takes a seat, and the green thread that serves it.
fn guest(room: &Rc<chat::Room>, stopping: &CancellationToken, name: &str) -> (Guest, GreenThread<std::io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (room, stopping) = (Rc::clone(room), stopping.clone());
    let served = spawn(move || room.seat(theirs.split(), &stopping));
    let mut guest = Framed::new(ours, Lines::new());
    guest.send(name).unwrap();
    // It has its seat when it hears that it has.
    assert_eq!(hears(&mut guest), format!("* {name} is here"));
    (guest, served)
}

/// The next line it hears, within an hour.
fn hears(guest: &mut Guest) -> String {
    timeout(Duration::from_secs(3600), || guest.receive()).expect("a line").unwrap().expect("no end")
}

#[test]
fn in_the_chat_all_hear_the_same_lines_in_the_same_order() {
    testing::explore(50, |_seed| {
        let (room, stopping) = (Rc::new(chat::Room::default()), CancellationToken::new());
        let (mut first, first_served) = guest(&room, &stopping, "first");
        let (mut second, second_served) = guest(&room, &stopping, "second");
        assert_eq!(hears(&mut first), "* second is here");
        for line in 0..5 {
            first.send(format!("line {line}")).unwrap();
            second.send(format!("line {line}")).unwrap();
        }
        let heard: Vec<_> = (0..10).map(|_| hears(&mut first)).collect();
        assert_eq!(heard, (0..10).map(|_| hears(&mut second)).collect::<Vec<_>>());
        for name in ["first", "second"] {
            let of: Vec<_> = heard.iter().filter(|line| line.starts_with(name)).collect();
            assert_eq!(of, (0..5).map(|n| format!("{name}: line {n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        }
        // One leaves, and the other is told.
        drop(second);
        assert_eq!(hears(&mut first), "* second is gone");
        second_served.wait().unwrap().unwrap();
        // The room closes.
        stopping.cancel();
        first_served.wait().unwrap().unwrap();
        assert!(matches!(first.receive(), Ok(None)));
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn in_the_chat_one_who_is_silent_for_ten_minutes_leaves_and_one_who_is_killed_is_gone() {
    testing::Simulation::new()
        .run(|| {
            let (room, stopping) = (Rc::new(chat::Room::default()), CancellationToken::new());
            let (mut talker, _served) = guest(&room, &stopping, "talker");
            let (_silent, served) = guest(&room, &stopping, "silent");
            let (_killed, killing) = guest(&room, &stopping, "killed");
            assert_eq!([hears(&mut talker), hears(&mut talker)], ["* silent is here", "* killed is here"]);
            sleep(chat::PATIENCE / 2);
            talker.send("hm").unwrap();
            assert_eq!(hears(&mut talker), "talker: hm");
            killing.kill();
            assert_eq!(hears(&mut talker), "* killed is gone");
            assert_eq!(hears(&mut talker), "* silent is gone");
            assert_eq!(now(), chat::PATIENCE);
            served.wait().unwrap().unwrap();
        })
        .unwrap();
}

#[test]
fn in_the_chat_one_who_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    testing::Simulation::new()
        .run(|| {
            let (room, stopping) = (Rc::new(chat::Room::default()), CancellationToken::new());
            let (mut slow, _slow_served) = guest(&room, &stopping, "slow");
            let (mut talker, _served) = guest(&room, &stopping, "talker");
            let said = 3_000;
            for n in 0..said {
                talker.send(format!("{n} {}", "x".repeat(900))).unwrap();
                assert!(hears(&mut talker).starts_with(&format!("talker: {n} ")));
            }
            let (mut heard, mut missed) = (0, 0);
            while heard + missed < said + 1 {
                let line = hears(&mut slow);
                match line.strip_prefix("* you missed ") {
                    Some(rest) => missed += rest.trim_end_matches(" lines").parse::<u32>().unwrap(),
                    None => heard += 1,
                }
            }
            assert!(missed > 0);
            assert_eq!(heard + missed, said + 1, "all that was said, and that the talker is here");
        })
        .unwrap();
}
