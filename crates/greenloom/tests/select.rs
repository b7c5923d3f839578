//! Select: which arm is taken, that no other loses anything, and what a kill and a timeout leave behind.

mod common;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::{Log, Random, millis, on_os_threads, settle, simulate};
use greenloom::hub::now;
use greenloom::queue::{PriorityQueue, Queue, Reason};
use greenloom::select::Select;
use greenloom::sync::Event;
use greenloom::testing::explore;
use greenloom::{GreenThread, get_hub, sleep, spawn, timeout, yield_now};

#[derive(Debug, PartialEq)]
enum Came {
    Left(Result<u32, Reason>),
    Right(Result<u32, Reason>),
    Sent(u32),
    Late,
}

#[derive(Clone)]
struct Sources {
    left: Rc<Queue<u32>>,
    right: Rc<PriorityQueue<u32>>,
    event: Rc<Event<u32>>,
}

impl Sources {
    fn new(capacity: usize) -> Sources {
        Sources {
            left: Rc::new(Queue::new(capacity)),
            right: Rc::new(PriorityQueue::new(capacity)),
            event: Rc::new(Event::new()),
        }
    }

    fn select(&self) -> Select<'_, Came> {
        Select::new()
            .get(&self.left, Came::Left)
            .get(&self.right, Came::Right)
            .event(&self.event, |sent| Came::Sent(sent.unwrap()))
    }

    fn spawn_select(&self, log: &Log<Came>) -> GreenThread<()> {
        let (sources, log) = (self.clone(), log.clone());
        spawn(move || log.push(sources.select().wait()))
    }

    /// How many stand in the lines of the queues.
    fn in_line(&self) -> usize {
        self.left.waiting().1 + self.right.waiting().1
    }
}

#[test]
fn of_what_is_there_the_first_arm_is_taken_and_the_others_are_left_alone() {
    simulate(|| {
        let sources = Sources::new(2);
        sources.right.put(2).unwrap();
        assert_eq!(sources.select().wait(), Came::Right(Ok(2)));
        sources.right.put(2).unwrap();
        sources.left.put(1).unwrap();
        sources.event.send(3).unwrap();
        assert_eq!(sources.select().wait(), Came::Left(Ok(1)));
        assert_eq!(sources.select().wait(), Came::Right(Ok(2)));
        assert_eq!(sources.select().wait(), Came::Sent(3));
        assert_eq!(now(), Duration::ZERO);
        assert_eq!(sources.in_line(), 0);
    });
}

#[test]
fn the_first_that_comes_is_taken() {
    simulate(|| {
        let (sources, log) = (Sources::new(0), Log::new());
        let _select = sources.spawn_select(&log);
        settle();
        assert_eq!(sources.in_line(), 2);
        sources.right.put(5).unwrap();
        settle();
        assert_eq!(log.take(), [Came::Right(Ok(5))]);
        assert_eq!(sources.in_line(), 0);

        let _select = sources.spawn_select(&log);
        settle();
        sources.event.send(6).unwrap();
        sources.event.reset();
        settle();
        assert_eq!(log.take(), [Came::Sent(6)], "a reset takes nothing from one that was woken");
    });
}

#[test]
fn only_one_of_several_queues_hands_an_item_over() {
    simulate(|| {
        let (sources, log) = (Sources::new(0), Log::new());
        let _select = sources.spawn_select(&log);
        settle();
        sources.left.try_put(1).unwrap();
        // Still in the line, but not for an item any more.
        assert!(sources.right.try_put(2).is_err());
        sources.event.send(3).unwrap();
        settle();
        assert_eq!(log.take(), [Came::Left(Ok(1))]);
    });
}

#[test]
fn selects_and_gets_stand_in_one_line() {
    simulate(|| {
        let (sources, log, got) = (Sources::new(0), Log::new(), Log::new());
        let first = sources.spawn_select(&log);
        settle();
        let getter = {
            let (left, got) = (sources.left.clone(), got.clone());
            spawn(move || got.push(left.get().unwrap()))
        };
        settle();
        sources.left.put(1).unwrap();
        sources.left.put(2).unwrap();
        settle();
        assert_eq!((log.take(), got.take()), (vec![Came::Left(Ok(1))], vec![2]));
        assert!(first.is_dead() && getter.is_dead());
    });
}

#[test]
fn a_select_takes_from_one_who_waits_to_put() {
    simulate(|| {
        let sources = Sources::new(0);
        let putter = {
            let right = sources.right.clone();
            spawn(move || right.put(4))
        };
        settle();
        assert_eq!(sources.select().wait(), Came::Right(Ok(4)));
        putter.wait().unwrap().unwrap();
    });
}

#[test]
fn a_timeout_is_an_arm() {
    simulate(|| {
        let sources = Sources::new(0);
        assert_eq!(sources.select().timeout(millis(5), || Came::Late).wait(), Came::Late);
        assert_eq!((now(), sources.in_line(), get_hub().timers_count()), (millis(5), 0, 0));
        sources.event.send(1).unwrap();
        assert_eq!(sources.select().timeout(Duration::ZERO, || Came::Late).wait(), Came::Sent(1));
        assert_eq!(Select::new().timeout(millis(5), || 7).wait(), 7);
        assert_eq!(now(), millis(10));
    });
}

#[test]
fn a_closed_queue_is_an_outcome() {
    simulate(|| {
        let (sources, log) = (Sources::new(0), Log::new());
        let _select = sources.spawn_select(&log);
        settle();
        sources.right.close();
        settle();
        assert_eq!(log.take(), [Came::Right(Err(Reason::Closed))]);
        sources.left.close();
        assert_eq!(sources.select().wait(), Came::Left(Err(Reason::Closed)));
    });
}

#[test]
fn an_item_on_its_way_to_a_select_that_is_killed_goes_to_the_next() {
    simulate(|| {
        let (sources, log) = (Sources::new(1), Log::new());
        let first = sources.spawn_select(&log);
        let second = sources.spawn_select(&log);
        let third = sources.spawn_select(&log);
        settle();
        second.kill();
        assert_eq!(sources.in_line(), 4);
        sources.left.put(1).unwrap();
        first.kill();
        settle();
        assert_eq!(log.take(), [Came::Left(Ok(1))]);
        assert!(third.is_dead());
        assert_eq!(sources.in_line(), 0);
    });
}

#[test]
fn a_timeout_scope_around_a_select_leaves_every_line() {
    simulate(|| {
        let sources = Sources::new(1);
        assert!(timeout(millis(1), || sources.select().wait()).is_err());
        assert_eq!((sources.in_line(), get_hub().timers_count()), (0, 0));
        sources.left.put(1).unwrap();
        assert_eq!(sources.left.len(), 1);
    });
}

#[test]
fn what_is_made_of_an_item_may_block_with_every_line_left() {
    simulate(|| {
        let (sources, other) = (Sources::new(1), Rc::new(Queue::<u32>::new(0)));
        let select = {
            let (sources, other) = (sources.clone(), other.clone());
            spawn(move || {
                Select::new()
                    .get(&sources.left, |_| sleep(millis(10)))
                    .get(&other, |_| unreachable!("the left one comes first"))
                    .wait();
            })
        };
        settle();
        sources.left.put(1).unwrap();
        settle();
        assert!(!select.is_dead());
        assert!(other.is_full() && other.try_put(1).is_err());
        select.wait().unwrap();
    });
}

#[test]
fn many_queues_can_be_selected_from() {
    simulate(|| {
        let queues: Vec<_> = (0..100).map(|_| Queue::new(1)).collect();
        for number in [99, 0, 50] {
            queues[number].put(()).unwrap();
            let mut select = Select::new();
            for (index, queue) in queues.iter().enumerate() {
                select = select.get(queue, move |item| (index, item));
            }
            assert_eq!(select.wait(), (number, Ok(())));
        }
    });
}

/// Selects over two queues, with kills and timeouts, get each item once; what they do not get stays.
fn conserves(seed: u64) {
    let mut random = Random::new(seed);
    let (sources, got) = (Sources::new(random.below(3) as usize), Log::new());
    let selects: Vec<_> = (0..30)
        .map(|_| {
            let (sources, got) = (sources.clone(), got.clone());
            let patience = Duration::from_micros(random.below(10));
            spawn(move || match sources.select().timeout(patience, || Came::Late).wait() {
                Came::Left(item) | Came::Right(item) => got.push(item.unwrap()),
                Came::Sent(_) => unreachable!("nothing is sent"),
                Came::Late => {}
            })
        })
        .collect();
    let mut put = Vec::new();
    for item in 0..40 {
        let accepted = if random.below(2) == 0 {
            sources.left.try_put(item).is_ok()
        } else {
            sources.right.put_timeout(item, Duration::from_micros(random.below(3))).is_ok()
        };
        if accepted {
            put.push(item);
        }
        match random.below(5) {
            0 => yield_now(),
            1 => sleep(Duration::from_micros(1)),
            2 => selects[random.below(30) as usize].kill(),
            _ => {}
        }
    }
    for select in selects {
        let _ = select.wait();
    }
    assert_eq!((sources.in_line(), get_hub().timers_count()), (0, 0));
    let mut got = got.take();
    got.extend(std::iter::from_fn(|| sources.left.try_get().ok()));
    got.extend(std::iter::from_fn(|| sources.right.try_get().ok()));
    got.sort_unstable();
    assert_eq!(got, put);
}

#[test]
fn each_item_goes_to_one_select_or_stays_under_any_schedule() {
    explore(300, conserves);
}

#[test]
fn selects_between_os_threads_get_every_item_once() {
    const ITEMS: u32 = 3_000;
    let (left, right) = (Arc::new(Queue::new(1)), Arc::new(Queue::new(0)));
    let got = std::sync::Mutex::new(Vec::new());
    on_os_threads(4, |number| match number {
        0 => (0..ITEMS).for_each(|item| left.put(item).unwrap()),
        1 => (ITEMS..2 * ITEMS).for_each(|item| right.put(item).unwrap()),
        _ => {
            while got.lock().unwrap().len() < 2 * ITEMS as usize {
                let item = Select::new()
                    .get(&left, Result::ok)
                    .get(&right, Result::ok)
                    .timeout(Duration::from_micros(50), || None)
                    .wait();
                got.lock().unwrap().extend(item);
            }
        }
    });
    let mut got = got.into_inner().unwrap();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..2 * ITEMS));
    assert_eq!((left.waiting(), right.waiting()), ((0, 0), (0, 0)));
}
