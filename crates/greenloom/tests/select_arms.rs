//! The arms of a select beside queues and events: puts, channels, cancellation, ends, signals and readiness.

mod common;

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::{Log, Random, in_a_process_of_its_own, millis, on_os_threads, pair, settle, simulate};
use greenloom::net::{TcpListener, TcpStream, UnixStream};
use greenloom::queue::{Queue, Reason};
use greenloom::select::Select;
use greenloom::signal::{Signal, Signals};
use greenloom::sync::{CancellationToken, broadcast, oneshot, watch};
use greenloom::testing::explore;
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_put_goes_in_when_there_is_room_and_its_item_comes_back_when_it_does_not() {
    simulate(|| {
        let queue = Rc::new(Queue::new(1));
        let put = |item: &mut Option<u32>| Select::new().put(&queue, item, Some).timeout(millis(5), || None).wait();
        let mut item = Some(1);
        assert_eq!((put(&mut item), item), (Some(Ok(())), None));
        let mut item = Some(2);
        assert_eq!((put(&mut item), item), (None, Some(2)));
        assert_eq!(queue.waiting(), (0, 0));
        let getter = {
            let queue = queue.clone();
            spawn(move || {
                sleep(millis(1));
                queue.get()
            })
        };
        assert_eq!((put(&mut item), item), (Some(Ok(())), None));
        assert_eq!((getter.wait().unwrap(), queue.get()), (Ok(1), Ok(2)));
        queue.close();
        let mut item = Some(3);
        assert_eq!((put(&mut item), item), (Some(Err(Reason::Closed)), Some(3)));
    });
}

#[test]
fn a_put_that_waits_learns_of_the_close_with_its_item() {
    simulate(|| {
        let queue = Rc::new(Queue::new(0));
        let closer = queue.clone();
        spawn(move || {
            sleep(millis(1));
            closer.close()
        });
        let mut item = Some('x');
        let outcome = Select::new().put(&queue, &mut item, |outcome| outcome).wait();
        assert_eq!((outcome, item), (Err(Reason::Closed), Some('x')));
    });
}

#[test]
fn a_select_does_not_hand_an_item_to_itself() {
    simulate(|| {
        let channel = Rc::new(Queue::new(0));
        let mut item = Some(1);
        let outcome = Select::new()
            .put(&channel, &mut item, |_| "put")
            .get(&channel, |_| "got")
            .timeout(millis(3), || "neither")
            .wait();
        assert_eq!((outcome, item), ("neither", Some(1)));
        let mut item = Some(1);
        let outcome = Select::new()
            .get(&channel, |_| "got")
            .put(&channel, &mut item, |_| "put")
            .timeout(millis(3), || "neither")
            .wait();
        assert_eq!((outcome, item, channel.waiting()), ("neither", Some(1), (0, 0)));
    });
}

#[test]
fn selects_that_put_and_get_on_both_ends_lose_and_double_nothing() {
    explore(200, |seed| {
        let mut random = Random::new(seed);
        let capacity = usize::try_from(random.below(2)).unwrap();
        let queues: Rc<[Queue<u32>; 2]> = Rc::new([Queue::new(capacity), Queue::new(capacity)]);
        let (put, got) = (Log::new(), Log::new());
        let putters: Vec<_> = (0..3u32)
            .map(|number| {
                let (queues, put, limit) = (queues.clone(), put.clone(), millis(1 + random.below(3)));
                spawn(move || {
                    for step in 0..6 {
                        let mut item = Some(number * 10 + step);
                        let value = number * 10 + step;
                        while item.is_some() {
                            let mut second = Some(100 + value);
                            let _ = timeout(limit, || {
                                Select::new()
                                    .put(&queues[0], &mut item, |_| ())
                                    .put(&queues[1], &mut second, |_| ())
                                    .timeout(millis(2), || ())
                                    .wait()
                            });
                            if item.is_none() {
                                put.push(value);
                            }
                            if second.is_none() {
                                put.push(100 + value);
                            }
                            yield_now();
                        }
                    }
                })
            })
            .collect();
        let getters: Vec<_> = (0..2)
            .map(|_| {
                let (queues, got, limit) = (queues.clone(), got.clone(), millis(1 + random.below(3)));
                spawn(move || {
                    loop {
                        let next = timeout(limit, || {
                            Select::new().get(&queues[1], |item| item).get(&queues[0], |item| item).wait()
                        });
                        match next {
                            Ok(Ok(item)) => got.push(item),
                            Ok(Err(_)) => return,
                            Err(_) => {}
                        }
                    }
                })
            })
            .collect();
        sleep(millis(random.below(4)));
        getters[0].kill();
        putters.into_iter().for_each(|putter| putter.wait().unwrap());
        sleep(millis(50));
        queues.iter().for_each(Queue::close);
        drop(getters.into_iter().map(|getter| getter.wait()).collect::<Vec<_>>());
        let mut left: Vec<u32> = queues.iter().flat_map(|queue| queue.iter()).collect();
        let (mut put, mut got) = (put.take(), got.take());
        got.append(&mut left);
        put.sort_unstable();
        got.sort_unstable();
        assert_eq!(put, got);
        assert_eq!(queues[0].waiting(), (0, 0));
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn selects_on_several_os_threads_lose_and_double_nothing() {
    let (there, back) = (Arc::new(Queue::new(0)), Arc::new(Queue::new(0)));
    on_os_threads(2, |number| {
        let (mine, theirs) = if number == 0 { (&there, &back) } else { (&back, &there) };
        let (mut next, mut sum, mut received) = (1u64, 0u64, 0);
        while next <= 2_000 || received < 2_000 {
            let mut item = (next <= 2_000).then_some(next);
            let before = item;
            let select = Select::new().get(theirs, |item: Result<u64, _>| item.ok());
            let select = if item.is_some() { select.put(mine, &mut item, |_| None) } else { select };
            if let Some(item) = select.timeout(LONG, || panic!("stuck")).wait() {
                sum += item;
                received += 1;
            }
            next += u64::from(before.is_some() && item.is_none());
        }
        assert_eq!(sum, 2_000 * 2_001 / 2);
    });
}

#[test]
fn a_cancellation_the_end_of_a_green_thread_and_each_channel_can_come_first() {
    simulate(|| {
        let (token, (one, mut oneshot)) = (CancellationToken::new(), oneshot::channel());
        let ((level, mut watching), (news, mut reading)) = (watch::channel(0), broadcast::channel(2));
        let short = spawn(|| sleep(millis(5)));
        let long = spawn(|| sleep(LONG));
        let mut next = |token: &CancellationToken, thread| {
            Select::new()
                .cancelled(token, || "cancelled".to_string())
                .end(thread, || "end".to_string())
                .oneshot(&mut oneshot, |value| format!("{value:?}"))
                .changed(&mut watching, |value| format!("changed {value:?}"))
                .recv(&mut reading, |value| format!("news {value:?}"))
                .timeout(millis(50), || "late".to_string())
                .wait()
        };
        assert_eq!(next(&token, &short), "end");
        assert_eq!(next(&token, &short), "end", "one that has ended is there already");
        assert_eq!(next(&token, &long), "late");
        one.send(1).unwrap();
        assert_eq!(next(&token, &long), "Ok(1)");
        let mut next = || {
            Select::new()
                .cancelled(&token, || "cancelled".to_string())
                .changed(&mut watching, |value| format!("changed {value:?}"))
                .recv(&mut reading, |value| format!("news {value:?}"))
                .timeout(millis(50), || "late".to_string())
                .wait()
        };
        level.send(4).unwrap();
        (1..=3).for_each(|n| assert_eq!(news.send(n), Ok(1)));
        assert_eq!(next(), "changed Ok(())");
        assert_eq!(next(), "news Err(Lagged(1))");
        assert_eq!(next(), "news Ok(2)");
        let canceller = {
            let token = token.clone();
            spawn(move || token.cancel())
        };
        assert_eq!(next(), "news Ok(3)");
        canceller.wait().unwrap();
        assert_eq!(next(), "cancelled");
        assert!(long.unlink(long.link(|_| ())));
        long.kill();
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn what_comes_during_a_kill_or_a_timeout_of_a_select_stays_for_the_next() {
    explore(150, |seed| {
        let mut random = Random::new(seed);
        let ((one, mut value), (news, mut reading)) = (oneshot::channel(), broadcast::channel(8));
        let ends = spawn(|| sleep(millis(2)));
        let delays = [random.below(4), random.below(4)].map(millis);
        let first = spawn(move || {
            sleep(delays[0]);
            one.send(1).unwrap()
        });
        let second = spawn(move || {
            sleep(delays[1]);
            news.send(2).unwrap();
            sleep(millis(9))
        });
        let (mut got, mut rounds) = ((None, None), 0);
        while got.0.is_none() || got.1.is_none() {
            rounds += 1;
            assert!(rounds < 1_000, "something was lost: {got:?}");
            let limit = millis(1 + random.below(2));
            let next = timeout(limit, || {
                let select = Select::new().recv(&mut reading, |news| (0, news.ok()));
                let select = if got.0.is_none() { select.oneshot(&mut value, |value| (1, value.ok())) } else { select };
                if rounds % 2 == 0 { select.end(&ends, || (2, None)) } else { select }.wait()
            });
            match next {
                Ok((0, news)) => got.1 = got.1.or(news),
                Ok((1, value)) => got.0 = value,
                _ => sleep(millis(1)),
            }
        }
        assert_eq!(got, (Some(1), Some(2)));
        first.wait().unwrap();
        second.kill();
        ends.wait().unwrap();
    });
}

#[test]
fn sockets_are_waited_for_beside_other_things() {
    let (mut client, server) = pair();
    let stop = CancellationToken::new();
    let next = |stream: &TcpStream| {
        Select::new()
            .cancelled(&stop, || "stop")
            .readable(stream, |ready| if ready.is_ok() { "readable" } else { "error" })
            .timeout(millis(10), || "late")
            .wait()
    };
    assert_eq!(next(&server), "late");
    client.write_all(b"x").unwrap();
    assert_eq!(next(&server), "readable");
    assert_eq!(next(&server), "readable", "as long as nobody reads");
    let mut byte = [0; 8];
    assert_eq!(std::io::Read::read(&mut &server, &mut byte).unwrap(), 1);
    assert_eq!(next(&server), "late", "it was read");
    let writer = spawn(move || {
        sleep(millis(2));
        client.write_all(b"y").unwrap();
        client
    });
    let later = Select::new().readable(&server, |_| "readable").timeout(LONG, || "late").wait();
    assert_eq!(later, "readable");
    assert_eq!(std::io::Read::read(&mut &server, &mut byte).unwrap(), 1);
    let client = writer.wait().unwrap();
    let canceller = {
        let stop = stop.clone();
        spawn(move || stop.cancel())
    };
    assert_eq!(next(&server), "stop");
    canceller.wait().unwrap();
    drop(client);
    assert_eq!(Select::new().readable(&server, |_| "end").timeout(LONG, || "late").wait(), "end");
    assert_eq!(Select::new().writable(&server, |_| "writable").wait(), "writable");
    assert_eq!((get_hub().io_waiting_count(), get_hub().timers_count()), (0, 0));
}

#[test]
fn a_listener_and_a_full_pipe_are_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let is_there = |limit| Select::new().readable(&listener, |_| true).timeout(limit, || false).wait();
    assert!(!is_there(millis(2)));
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(is_there(LONG));

    let (ours, theirs) = UnixStream::pair().unwrap();
    while rustix_send(&ours) {}
    let has_room = |limit| Select::new().writable(&ours, |_| true).timeout(limit, || false).wait();
    assert!(!has_room(millis(2)));
    let reader = spawn(move || std::io::copy(&mut &theirs, &mut std::io::sink()));
    assert!(has_room(LONG));
    drop(ours);
    reader.wait().unwrap().unwrap();
}

/// Writes what fits without waiting; whether anything did.
fn rustix_send(stream: &UnixStream) -> bool {
    (&mut stream.as_std()).write(&[0; 4096]).is_ok()
}

#[test]
fn a_second_green_thread_that_waits_to_read_is_an_error_in_its_arm() {
    let (_client, server) = pair();
    let server = Rc::new(server);
    let first = {
        let server = server.clone();
        spawn(move || std::io::Read::read(&mut &*server, &mut [0]))
    };
    yield_now();
    let kind = Select::new().readable(&*server, |ready| ready.map_err(|error| error.kind())).wait();
    assert_eq!(kind, Err(std::io::ErrorKind::ResourceBusy));
    first.kill();
    assert_eq!(get_hub().io_waiting_count(), 0);
}

#[test]
fn signals_are_waited_for_beside_other_things() {
    let output = in_a_process_of_its_own("helper_signals").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_signals() {
    let signals = Signals::new([Signal::USR1, Signal::HUP]).unwrap();
    let next = |limit| Select::new().signal(&signals, |signal| Some(signal.unwrap())).timeout(limit, || None).wait();
    // SAFETY: sends a signal that is asked for to this very process.
    let raise = |signal: Signal| assert_eq!(unsafe { libc::kill(libc::getpid(), signal.number()) }, 0);
    assert_eq!(next(millis(2)), None);
    raise(Signal::HUP);
    assert_eq!(next(LONG), Some(Signal::HUP));
    assert_eq!(next(millis(2)), None, "a signal counts once");
    let later = spawn(move || {
        sleep(millis(5));
        raise(Signal::USR1)
    });
    assert_eq!(next(LONG), Some(Signal::USR1));
    later.wait().unwrap();
    raise(Signal::HUP);
    assert_eq!(signals.wait().unwrap(), Signal::HUP, "what a select has left, a wait gets");
    assert_eq!(next(millis(2)), None);
    settle();
}
