//! What every transport promises, held by the one in memory.

#[path = "../../greenloom/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::simulate;
use greenloom::{Hubs, hub::now, sleep, spawn};
use greenloom_rpc::memory::Bus;
use greenloom_rpc::open_transport;
use greenloom_rpc::transport::{Address, Incoming, Listener, Outgoing, State, Transport, TransportError};

const SECOND: Duration = Duration::from_secs(1);

fn topic() -> Address {
    Address::Topic { exchange: "x".into(), topic: "t".into() }
}

fn dead() -> Address {
    Address::Dead { topic: "t".into() }
}

fn send(transport: &dyn Transport, to: &Address, body: &str) {
    transport.send(to, Outgoing { body: body.as_bytes().into(), mandatory: true, ..Outgoing::default() }).unwrap();
}

fn text(incoming: &Incoming) -> String {
    String::from_utf8(incoming.body.to_vec()).unwrap()
}

/// The next message, if there is one within a second.
fn next(listener: &Rc<dyn Listener>) -> Option<Incoming> {
    greenloom::timeout(SECOND, || listener.next().unwrap()).ok()
}

/// Takes and acknowledges all that comes within a second after the last.
fn drain(listener: &Rc<dyn Listener>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(incoming) = next(listener) {
        all.push(text(&incoming));
        incoming.settle.ack().unwrap();
    }
    all
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn messages_come_in_the_order_in_which_they_were_sent() {
    simulate(|| {
        let transport = Bus::new().connect();
        let listener = transport.listen(&[topic()], 3).unwrap();
        names(0..20).iter().for_each(|name| send(&*transport, &topic(), name));
        assert_eq!(drain(&listener), names(0..20));
    });
}

#[test]
fn what_is_sent_while_nobody_listens_waits_in_the_queue() {
    simulate(|| {
        let transport = Bus::new().connect();
        transport.listen(&[topic()], 1).unwrap().stop();
        names(0..5).iter().for_each(|name| send(&*transport, &topic(), name));
        let depth = transport.depth(&topic()).unwrap().unwrap();
        assert_eq!((depth.queue.as_str(), depth.ready, depth.unsettled), ("t", 5, Some(0)));
        assert_eq!(drain(&transport.listen(&[topic()], 1).unwrap()), names(0..5));
        assert_eq!(transport.depth(&dead()).unwrap(), None);
    });
}

#[test]
fn no_more_than_prefetch_are_unsettled() {
    simulate(|| {
        let transport = Bus::new().connect();
        let listener = transport.listen(&[topic()], 2).unwrap();
        names(0..5).iter().for_each(|name| send(&*transport, &topic(), name));
        let (first, second) = (next(&listener).unwrap(), next(&listener).unwrap());
        assert!(next(&listener).is_none());
        second.settle.ack().unwrap();
        assert_eq!(text(&next(&listener).unwrap()), "2");
        drop(first);
    });
}

#[test]
fn listeners_of_a_queue_take_turns_and_one_that_is_full_is_passed_over() {
    simulate(|| {
        let transport = Bus::new().connect();
        let slow = transport.listen(&[topic()], 1).unwrap();
        let fast = transport.listen(&[topic()], 0).unwrap();
        names(0..6).iter().for_each(|name| send(&*transport, &topic(), name));
        let held = next(&slow).unwrap();
        assert_eq!(text(&held), "0");
        assert_eq!(drain(&fast), names(1..6));
    });
}

#[test]
fn what_is_dropped_comes_back_ahead_of_the_others_with_its_tries_counted() {
    simulate(|| {
        let transport = Bus::new().connect();
        let listener = transport.listen(&[topic()], 1).unwrap();
        names(0..3).iter().for_each(|name| send(&*transport, &topic(), name));
        for tries in 0..4 {
            let incoming = next(&listener).unwrap();
            assert_eq!((text(&incoming), incoming.tries, &*incoming.queue), ("0".into(), tries, "t"));
            drop(incoming);
        }
        assert_eq!(drain(&listener), names(0..3));
    });
}

#[test]
fn what_a_listener_had_goes_to_another_when_it_goes() {
    simulate(|| {
        let transport = Bus::new().connect();
        let first = transport.listen(&[topic()], 3).unwrap();
        names(0..5).iter().for_each(|name| send(&*transport, &topic(), name));
        let held = next(&first).unwrap();
        let second = transport.listen(&[topic()], 0).unwrap();
        assert_eq!(drain(&second), ["3", "4"]);
        drop(first);
        // What was only fetched was no try.
        for name in ["1", "2"] {
            let incoming = next(&second).unwrap();
            assert_eq!((text(&incoming).as_str(), incoming.tries), (name, 0));
            incoming.settle.ack().unwrap();
        }
        // What was handed out can still be settled.
        held.settle.ack().unwrap();
        assert!(next(&second).is_none());
    });
}

#[test]
fn a_retry_comes_again_behind_the_others() {
    simulate(|| {
        let transport = Bus::new().connect();
        let listener = transport.listen(&[topic()], 1).unwrap();
        names(0..2).iter().for_each(|name| send(&*transport, &topic(), name));
        next(&listener).unwrap().settle.retry().unwrap();
        next(&listener).unwrap().settle.ack().unwrap();
        let again = next(&listener).unwrap();
        assert_eq!((text(&again).as_str(), again.tries), ("0", 1));
    });
}

#[test]
fn what_is_buried_is_kept_with_the_reason() {
    simulate(|| {
        let transport = Bus::new().connect();
        let listener = transport.listen(&[topic()], 1).unwrap();
        send(&*transport, &topic(), "poison");
        next(&listener).unwrap().settle.bury("t", "tasted bad", None).unwrap();
        assert!(next(&listener).is_none());
        assert_eq!(transport.depth(&dead()).unwrap().unwrap().ready, 1);
        let undertaker = transport.listen(&[dead()], 1).unwrap();
        let found = next(&undertaker).unwrap();
        assert_eq!(
            (text(&found).as_str(), found.reason.as_deref(), &*found.queue),
            ("poison", Some("tasted bad"), "t.dead")
        );
    });
}

#[test]
fn what_hubs_share_expires_by_the_clock_of_who_sends() {
    let transport = open_transport("memory://clocks").unwrap();
    let listener = transport.listen(&[topic()], 1).unwrap();
    sleep(SECOND);
    // Its hub's clock begins now: by that of the bus, what follows would be late.
    let send = || {
        let transport = open_transport("memory://clocks").unwrap();
        // The first is with the listener at once, and keeps the others waiting.
        for (body, limit) in [("first", SECOND), ("late", Duration::ZERO), ("in time", SECOND * 9 / 10)] {
            let expires_at = Some(now() + limit);
            transport
                .send(&topic(), Outgoing { body: body.as_bytes().into(), expires_at, ..Outgoing::default() })
                .unwrap();
        }
    };
    std::thread::spawn(send).join().unwrap();
    assert_eq!(drain(&listener), ["first", "in time"]);
}

#[test]
fn what_has_expired_is_not_delivered() {
    simulate(|| {
        let transport = Bus::new().connect();
        let listener = transport.listen(&[topic()], 1).unwrap();
        send(&*transport, &topic(), "first");
        let brief = Outgoing {
            body: b"brief"[..].into(),
            expires_at: Some(now() + 2 * SECOND),
            mandatory: true,
            ..Outgoing::default()
        };
        transport.send(&topic(), brief).unwrap();
        send(&*transport, &topic(), "last");
        let first = next(&listener).unwrap();
        sleep(3 * SECOND);
        first.settle.ack().unwrap();
        assert_eq!(drain(&listener), ["last"]);
    });
}

#[test]
fn fanouts_reach_each_listener_and_their_queues_go_with_them() {
    simulate(|| {
        let transport = Bus::new().connect();
        let fanout = Address::Fanout { topic: "t".into() };
        let listeners: Vec<_> = (0..3).map(|_| transport.listen(std::slice::from_ref(&fanout), 0).unwrap()).collect();
        send(&*transport, &fanout, "all");
        listeners.iter().for_each(|listener| assert_eq!(drain(listener), ["all"]));
        drop(listeners);
        let nobody = Outgoing { mandatory: true, ..Outgoing::default() };
        assert!(matches!(transport.send(&fanout, nobody), Err(TransportError::Unroutable(_))));
        transport.send(&fanout, Outgoing::default()).unwrap();
    });
}

#[test]
fn a_reply_queue_goes_with_its_listener() {
    simulate(|| {
        let transport = Bus::new().connect();
        let queue = Address::Reply { queue: "reply_1".into() };
        let listener = transport.listen(std::slice::from_ref(&queue), 0).unwrap();
        send(&*transport, &queue, "answer");
        assert_eq!(drain(&listener), ["answer"]);
        drop(listener);
        assert!(matches!(transport.send(&queue, Outgoing::default()), Err(TransportError::Unroutable(_))));
    });
}

#[test]
fn replies_come_once_each_though_the_connection_is_cut() {
    simulate(|| {
        let bus = Bus::new();
        let (caller, server) = (bus.connect(), bus.connect());
        let listener = caller.listen_for_replies("replies").unwrap();
        let to = Address::Reply { queue: "replies".into() };
        let send_all = |range| names(range).iter().for_each(|name| send(&*server, &to, name));
        send_all(0..3);
        let first = listener.next().unwrap();
        // The others have been fetched and not handed out.
        bus.cut(SECOND);
        assert!(matches!(listener.next(), Err(TransportError::Disconnected(_))));
        assert!(server.wait_connected(2 * SECOND));
        send_all(3..5);
        assert_eq!((text(&first), drain(&listener)), ("0".into(), names(1..5)));
        drop(first);
        assert!(next(&listener).is_none());
    });
}

#[test]
fn a_listener_that_is_stopped_wakes_who_waits() {
    simulate(|| {
        let transport = Bus::new().connect();
        for close in [false, true] {
            let listener = transport.listen(&[topic()], 1).unwrap();
            let waiting = listener.clone();
            let waits = spawn(move || waiting.next().unwrap_err());
            sleep(SECOND);
            if close {
                transport.close()
            } else {
                listener.stop()
            }
            assert!(matches!(waits.wait().unwrap(), TransportError::Closed));
        }
        assert_eq!(transport.state(), State::Closed);
        assert!(matches!(transport.send(&topic(), Outgoing::default()), Err(TransportError::Closed)));
        assert!(transport.listen(&[topic()], 1).is_err() && !transport.wait_connected(SECOND));
    });
}

#[test]
fn closing_gives_back_what_was_handed_out() {
    simulate(|| {
        let bus = Bus::new();
        let (first, second) = (bus.connect(), bus.connect());
        let listener = first.listen(&[topic()], 2).unwrap();
        send(&*second, &topic(), "work");
        let held = next(&listener).unwrap();
        first.close();
        assert!(matches!(held.settle.ack(), Err(TransportError::Disconnected(_))));
        let again = next(&second.listen(&[topic()], 1).unwrap()).unwrap();
        assert_eq!((text(&again).as_str(), again.tries), ("work", 1));
    });
}

#[test]
fn a_full_queue_makes_the_sender_wait() {
    simulate(|| {
        let bus = Bus::with_limit(3);
        let transport = bus.connect();
        let listener = transport.listen(&[topic()], 1).unwrap();
        let sent = Rc::new(Cell::new(0));
        let (sender, counted) = (transport.clone(), sent.clone());
        let sending = spawn(move || {
            for name in names(0..6) {
                send(&*sender, &topic(), &name);
                counted.set(counted.get() + 1);
            }
        });
        sleep(SECOND);
        assert_eq!(sent.get(), 3);
        next(&listener).unwrap().settle.ack().unwrap();
        sleep(SECOND);
        assert_eq!(sent.get(), 4);
        // Neither a retry nor what comes back makes room.
        next(&listener).unwrap().settle.retry().unwrap();
        drop(next(&listener).unwrap());
        sleep(SECOND);
        assert_eq!(sent.get(), 4);
        assert_eq!(drain(&listener).len(), 5);
        sending.wait().unwrap();
        // A sender that is killed leaves no place taken.
        names(0..3).iter().for_each(|name| send(&*transport, &topic(), name));
        let sender = transport.clone();
        let killed = spawn(move || send(&*sender, &topic(), "never"));
        sleep(SECOND);
        killed.kill();
        assert_eq!(drain(&listener), names(0..3));
        names(0..3).iter().for_each(|name| send(&*transport, &topic(), name));
    });
}

#[test]
fn the_queue_of_dead_letters_keeps_the_newest() {
    simulate(|| {
        let transport = Bus::with_limit(3).connect();
        let listener = transport.listen(&[topic()], 1).unwrap();
        for name in names(0..5) {
            send(&*transport, &topic(), &name);
            next(&listener).unwrap().settle.bury("t", "why not", None).unwrap();
        }
        assert_eq!(drain(&transport.listen(&[dead()], 0).unwrap()), names(2..5));
    });
}

#[test]
fn a_cut_is_told_once_and_what_was_out_comes_again() {
    simulate(|| {
        let bus = Bus::new();
        let transport = bus.connect();
        let listener = transport.listen(&[topic()], 2).unwrap();
        names(0..3).iter().for_each(|name| send(&*transport, &topic(), name));
        let held = next(&listener).unwrap();
        bus.cut(5 * SECOND);
        assert_eq!(transport.state(), State::Reconnecting);
        assert!(matches!(transport.send(&topic(), Outgoing::default()), Err(TransportError::Disconnected(_))));
        assert!(matches!(held.settle.ack(), Err(TransportError::Disconnected(_))));
        assert!(matches!(listener.next(), Err(TransportError::Disconnected(_))));
        assert!(!transport.wait_connected(SECOND));
        assert!(transport.wait_connected(10 * SECOND));
        assert_eq!((now(), transport.state()), (5 * SECOND, State::Connected));
        let again = next(&listener).unwrap();
        assert_eq!((text(&again).as_str(), again.tries), ("0", 1));
        again.settle.ack().unwrap();
        assert_eq!(drain(&listener), names(1..3));
    });
}

#[test]
fn a_named_bus_is_shared_by_hubs_on_other_os_threads() {
    let hubs = Hubs::new(1).unwrap();
    let transport = open_transport("memory://between-hubs").unwrap();
    let listener = transport.listen(&[topic()], 4).unwrap();
    let sent = hubs.spawn(|| {
        let transport = open_transport("memory://between-hubs").unwrap();
        names(0..500).iter().for_each(|name| send(&*transport, &topic(), name));
    });
    for name in names(0..500) {
        let incoming = listener.next().unwrap();
        assert_eq!(text(&incoming), name);
        incoming.settle.ack().unwrap();
    }
    sent.wait().unwrap();
    assert!(open_transport("memory://another").unwrap().depth(&topic()).unwrap().is_none());
    assert!(open_transport("memory://").unwrap().depth(&topic()).unwrap().is_none());
}
