//! Channels under random operations, kills and timeouts, and random schedules from seeds: nothing is lost, doubled or
//! leaked, and nobody is left waiting. A failing seed is printed; `GREENLOOM_SEED` replays it.

#[path = "support/seeds.rs"]
mod seeds;

use std::cell::Cell;
use std::rc::Rc;

use greenloom::select::Select;
use greenloom::sync::{broadcast, oneshot, watch};
use greenloom::{JoinError, sleep, spawn, timeout};
use seeds::{Counted, MILLI, for_seeds_counted, harass, pause};

#[test]
fn a_oneshot_value_is_received_or_comes_back_or_goes_with_its_receiver() {
    #[derive(Default)]
    struct Fate {
        sent: Cell<bool>,
        returned: Cell<bool>,
        received: Cell<bool>,
        told_closed: Cell<bool>,
        receiver_left: Cell<bool>,
    }
    for_seeds_counted(|random, live| {
        let fates: Vec<Rc<Fate>> = (0..20).map(|_| Rc::default()).collect();
        let mut threads = Vec::new();
        for (number, fate) in fates.iter().enumerate() {
            let (sender, mut receiver) = oneshot::channel();
            let (random_of, fate_of, live) = (random.clone(), Rc::clone(fate), Rc::clone(live));
            threads.push(spawn(move || {
                pause(&random_of);
                if random_of.below(5) == 0 {
                    return;
                }
                match sender.send(Counted::new(number as u64, &live)) {
                    Ok(()) => fate_of.sent.set(true),
                    Err(_value) => fate_of.returned.set(true),
                }
            }));
            let (random, fate) = (random.clone(), Rc::clone(fate));
            let leaving = OnDrop(Some({
                let fate = Rc::clone(&fate);
                move || fate.receiver_left.set(true)
            }));
            threads.push(spawn(move || {
                // Behind the receiver: it is set when that has gone.
                let _leaving = leaving;
                let got = loop {
                    let got = match random.below(5) {
                        0 => break receiver.recv(),
                        1 => receiver.recv_timeout(MILLI * random.below(3) as u32),
                        2 => timeout(MILLI * random.below(3) as u32, || receiver.recv_timeout(MILLI * 9))
                            .unwrap_or(Err(oneshot::RecvError::Empty)),
                        3 => Select::new()
                            .oneshot(&mut receiver, |got| got)
                            .timeout(MILLI, || Err(oneshot::RecvError::Empty))
                            .wait(),
                        _ => receiver.try_recv(),
                    };
                    match got {
                        Err(oneshot::RecvError::Empty) if random.below(20) == 0 => return,
                        Err(oneshot::RecvError::Empty) => pause(&random),
                        got => break got,
                    }
                };
                match got {
                    Ok(value) => {
                        assert_eq!(value.number, number as u64);
                        fate.received.set(true);
                    }
                    Err(error) => {
                        assert_eq!(error, oneshot::RecvError::Closed);
                        fate.told_closed.set(true);
                    }
                }
            }));
        }
        harass(random, threads);
        for (number, fate) in fates.iter().enumerate() {
            assert!(fate.receiver_left.get());
            assert!(!fate.told_closed.get() || !fate.sent.get(), "{number} was sent, and its receiver told of none");
            assert!(!fate.received.get() || fate.sent.get(), "{number} was received and never sent");
            assert!(!fate.returned.get() || !fate.received.get(), "{number} came back and was received");
        }
    });
}

/// Calls its function when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

#[test]
fn a_watch_shows_no_older_value_after_a_newer_one_and_the_last_to_all() {
    for_seeds_counted(|random, live| {
        let (sender, first) = watch::channel(Counted::new(0, live));
        let last = Rc::new(Cell::new(0));
        let mut threads = Vec::new();
        let ended_in_order = Rc::new(Cell::new(0));
        for number in 0..8 {
            let (mut receiver, random) = (first.clone(), random.clone());
            let (last, ended_in_order) = (Rc::clone(&last), Rc::clone(&ended_in_order));
            threads.push(spawn(move || {
                let mut seen = 0;
                loop {
                    let changed = match random.below(5) {
                        0 => receiver.changed(),
                        1 => receiver.changed_timeout(MILLI * random.below(3) as u32),
                        2 => timeout(MILLI * random.below(3) as u32, || receiver.changed())
                            .unwrap_or(Err(watch::RecvError::TimedOut)),
                        3 => Select::new()
                            .changed(&mut receiver, |changed| changed)
                            .timeout(MILLI, || Err(watch::RecvError::TimedOut))
                            .wait(),
                        _ => receiver.wait_for(|value| value.number > seen).map(drop),
                    };
                    let now = receiver.borrow().number;
                    assert!(now >= seen, "{number} saw {now} after {seen}");
                    match changed {
                        Ok(()) => assert!(now > seen, "{number} was told of a change to {now}, which it had seen"),
                        Err(watch::RecvError::Closed) => break,
                        Err(error) => assert_eq!(error, watch::RecvError::TimedOut),
                    }
                    seen = now;
                    pause(&random);
                }
                assert_eq!(receiver.borrow().number, last.get(), "{number} has not seen the last value");
                ended_in_order.set(ended_in_order.get() + 1);
            }));
        }
        drop(first);
        let (sending, random_of, last_of, live) = (sender.clone(), random.clone(), Rc::clone(&last), Rc::clone(live));
        let producer = spawn(move || {
            for value in 1..=20 {
                pause(&random_of);
                if sending.send(Counted::new(value, &live)).is_ok() {
                    last_of.set(value);
                }
            }
        });
        sleep(MILLI * random.below(20) as u32);
        let killed = threads.iter().filter(|_| random.below(4) == 0).inspect(|thread| thread.kill()).count();
        producer.wait().unwrap();
        drop(sender);
        for thread in threads {
            assert!(matches!(thread.wait(), Ok(()) | Err(JoinError::Killed)));
        }
        assert!(ended_in_order.get() >= 8 - killed, "all that were not killed have seen the end");
    });
}

#[test]
fn a_broadcast_value_is_received_or_counted_as_missed_by_each_receiver() {
    for_seeds_counted(|random, live| {
        let capacity = 1 + random.below(6) as usize;
        let (sender, first) = broadcast::channel::<Counted>(capacity);
        let total = 30;
        let ended = Rc::new(Cell::new(0));
        let mut threads = Vec::new();
        for number in 0..6 {
            let (mut receiver, random, ended) = (first.resubscribe(), random.clone(), Rc::clone(&ended));
            threads.push(spawn(move || {
                // The number of the value that comes next.
                let mut next = 0;
                loop {
                    let got = match random.below(5) {
                        0 => receiver.recv(),
                        1 => receiver.recv_timeout(MILLI * random.below(3) as u32),
                        2 => timeout(MILLI * random.below(3) as u32, || receiver.recv())
                            .unwrap_or(Err(broadcast::RecvError::Empty)),
                        3 => Select::new()
                            .recv(&mut receiver, |got| got)
                            .timeout(MILLI, || Err(broadcast::RecvError::Empty))
                            .wait(),
                        _ => receiver.try_recv(),
                    };
                    match got {
                        Ok(value) => {
                            assert_eq!(value.number, next, "{number} gets each in its turn");
                            next += 1;
                        }
                        Err(broadcast::RecvError::Lagged(missed)) => next += missed,
                        Err(broadcast::RecvError::Closed) => break,
                        Err(error) => assert_eq!(error, broadcast::RecvError::Empty),
                    }
                    pause(&random);
                }
                assert_eq!(next, total, "{number} got or missed all");
                ended.set(ended.get() + 1);
            }));
        }
        drop(first);
        let (sending, random_of, live) = (sender.clone(), random.clone(), Rc::clone(live));
        let producer = spawn(move || {
            for value in 0..total {
                if random_of.below(2) == 0 {
                    pause(&random_of);
                }
                let kept = sending.len();
                assert!(kept <= capacity);
                // Without a receiver it comes back.
                let _ = sending.send(Counted::new(value, &live));
            }
        });
        sleep(MILLI * random.below(20) as u32);
        let killed = threads.iter().filter(|_| random.below(4) == 0).inspect(|thread| thread.kill()).count();
        producer.wait().unwrap();
        sleep(MILLI * 1000);
        assert!(sender.is_empty(), "values are kept that all have got who are left");
        drop(sender);
        for thread in threads {
            assert!(matches!(thread.wait(), Ok(()) | Err(JoinError::Killed)));
        }
        assert!(ended.get() >= 6 - killed, "all that were not killed have got everything");
    });
}
