//! The core of the loop: the order of a turn, sources and their generations, the inbox, timers against a model.

use std::cell::Cell;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenloom_hub::{Cause, Choose, Clock, Core, Direction, MonotonicClock, Others, RunQueue, SourceKey, Time, Timers};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Virtual(Cell<Time>);

impl Clock for Virtual {
    fn now(&self) -> Time {
        self.0.get()
    }
    fn is_virtual(&self) -> bool {
        true
    }
    fn jump(&self, to: Time) {
        self.0.set(to);
    }
}

type TestCore = Core<&'static str, u32>;

fn core() -> (TestCore, Rc<Virtual>) {
    let clock = Rc::new(Virtual::default());
    (Core::new(clock.clone()).unwrap(), clock)
}

fn turn(core: &mut TestCore) -> Vec<(&'static str, Cause)> {
    let mut fired = Vec::new();
    core.turn(Some(Others::MaySend), &mut fired).unwrap();
    fired
}

/// A pipe whose reading end is registered and known to be empty.
fn waiting_pipe(core: &mut TestCore, work: &'static str) -> (PipeReader, PipeWriter, SourceKey) {
    let (reader, writer) = pipe().unwrap();
    let key = core.add_source(reader.as_fd()).unwrap();
    core.sources().clear_ready(key, Direction::Read);
    assert_eq!(core.sources().wait(key, Direction::Read, work), Ok(true));
    (reader, writer, key)
}

#[test]
fn a_turn_takes_timers_in_order_and_then_io() {
    let (mut core, clock) = core();
    let (_reader, mut writer, _) = waiting_pipe(&mut core, "io");
    writer.write_all(b"x").unwrap();
    for (work, seconds) in [("late", 2), ("first", 1), ("second", 1)] {
        core.add_timer(Time::ZERO + seconds * SECOND, work);
    }
    clock.jump(Time::ZERO + SECOND);
    let fired = turn(&mut core);
    assert_eq!(fired, [("first", Cause::Timer), ("second", Cause::Timer), ("io", Cause::Io)]);
    assert_eq!(core.timers.len(), 1);
}

#[test]
fn a_virtual_clock_jumps_only_when_nothing_else_can_happen() {
    let (mut core, clock) = core();
    let (_reader, mut writer, _) = waiting_pipe(&mut core, "io");
    writer.write_all(b"x").unwrap();
    core.add_timer(Time::ZERO + SECOND, "timer");
    assert_eq!(turn(&mut core), [("io", Cause::Io)]);
    assert_eq!(clock.now(), Time::ZERO);
    assert_eq!(turn(&mut core), []);
    assert_eq!(clock.now(), Time::ZERO + SECOND);
    assert_eq!(turn(&mut core), [("timer", Cause::Timer)]);
}

#[test]
fn a_core_with_nothing_to_wait_for_says_so_if_others_are_silent() {
    let (mut core, _) = core();
    let mut fired = Vec::new();
    assert!(!core.turn(Some(Others::Silent), &mut fired).unwrap());
    let (_reader, mut writer, _) = waiting_pipe(&mut core, "io");
    writer.write_all(b"x").unwrap();
    assert!(core.turn(Some(Others::Silent), &mut fired).unwrap());
    assert_eq!(fired, [("io", Cause::Io)]);
    assert!(!core.turn(Some(Others::Silent), &mut fired).unwrap());
}

#[test]
fn a_message_ends_the_wait() {
    let (mut core, _) = core();
    let inbox = Arc::clone(core.inbox());
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        inbox.send(7).unwrap();
    });
    assert_eq!(turn(&mut core), []);
    assert_eq!(core.inbox().take(), [7]);
    sender.join().unwrap();
    let left = core.inbox().close();
    assert!(left.is_empty());
    assert_eq!(core.inbox().send(8).unwrap_err().0, 8);
}

#[test]
fn no_message_is_lost_however_the_hub_sleeps() {
    let (mut core, _) = core();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let inbox = Arc::clone(core.inbox());
            std::thread::spawn(move || (0..5_000).for_each(|number| inbox.send(number).unwrap()))
        })
        .collect();
    let mut received = 0;
    while received < 20_000 {
        turn(&mut core);
        received += core.inbox().take().len();
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn waiting_twice_in_one_direction_is_busy() {
    let (mut core, _) = core();
    let (_reader, _writer, key) = waiting_pipe(&mut core, "first");
    assert!(core.sources().wait(key, Direction::Read, "second").is_err());
    assert_eq!(core.sources().stop_waiting(key, Direction::Read, |work| *work == "first"), Some("first"));
    assert_eq!(core.sources().wait(key, Direction::Read, "second"), Ok(true));
    assert_eq!(core.sources().waiting(), 1);
}

#[test]
fn a_removed_source_hands_back_who_waits() {
    let (mut core, _) = core();
    let (reader, _writer, key) = waiting_pipe(&mut core, "reader");
    let told: Vec<_> = core.remove_source(key, Some(reader.as_fd())).into_iter().flatten().collect();
    assert_eq!(told, ["reader"]);
    assert_eq!((core.sources().len(), core.sources().waiting()), (0, 0));
    // There is nothing to wait for on a source that is gone.
    assert_eq!(core.sources().wait(key, Direction::Read, "late"), Ok(false));
}

#[test]
fn readiness_is_an_edge_and_the_end_of_input_is_for_ever() {
    let (mut core, _) = core();
    let (mut reader, mut writer, key) = waiting_pipe(&mut core, "reader");
    writer.write_all(b"x").unwrap();
    assert_eq!(turn(&mut core), [("reader", Cause::Io)]);
    reader.read_exact(&mut [0]).unwrap();
    core.sources().clear_ready(key, Direction::Read);
    assert!(!core.sources().is_ready(key, Direction::Read));
    drop(writer);
    assert_eq!(core.sources().wait(key, Direction::Read, "reader"), Ok(true));
    assert_eq!(turn(&mut core), [("reader", Cause::Io)]);
    core.sources().clear_ready(key, Direction::Read);
    assert!(core.sources().is_ready(key, Direction::Read), "reading never blocks again");
}

#[test]
fn who_is_expected_to_be_readable_is_woken_once_and_may_wait_again() {
    let (mut core, _) = core();
    let (_reader, mut writer, key) = waiting_pipe(&mut core, "first");
    assert_eq!(core.sources().expect(key, Direction::Read), Some("first"));
    assert_eq!((core.sources().expect(key, Direction::Read), core.sources().waiting()), (None, 0));
    // There was nothing: the edge is still to come.
    assert!(core.sources().is_ready(key, Direction::Read));
    core.sources().would_block(key, Direction::Read);
    assert_eq!(core.sources().wait(key, Direction::Read, "again"), Ok(true));
    writer.write_all(b"x").unwrap();
    assert_eq!(turn(&mut core), [("again", Cause::Io)]);
    assert_eq!(core.sources().expect(SourceKey::from_bits(u64::MAX), Direction::Read), None);
}

#[test]
fn a_listener_is_told_as_long_as_there_is_something() {
    let (mut core, _) = core();
    let (mut reader, mut writer) = pipe().unwrap();
    let key = core.add_source(reader.as_fd()).unwrap();
    core.listen(key, reader.as_fd(), Direction::Read, Some(Box::new(|| "listener"))).unwrap();
    writer.write_all(b"x").unwrap();
    for _ in 0..3 {
        assert_eq!(turn(&mut core), [("listener", Cause::Io)]);
    }
    reader.read_exact(&mut [0]).unwrap();
    let busy = core.listen(key, reader.as_fd(), Direction::Read, Some(Box::new(|| "another")));
    assert_eq!(busy.unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    core.listen(key, reader.as_fd(), Direction::Read, None).unwrap();
    writer.write_all(b"x").unwrap();
    let mut fired = Vec::new();
    core.turn(None, &mut fired).unwrap();
    assert_eq!(fired, []);
}

#[test]
fn waits_are_exact_to_well_below_a_millisecond() {
    let mut core: TestCore = Core::new(Rc::new(MonotonicClock::new())).unwrap();
    let mut best = SECOND;
    for _ in 0..50 {
        let began = Instant::now();
        let at = core.clock().now() + Duration::from_micros(200);
        core.add_timer(at, "timer");
        while turn(&mut core).is_empty() {}
        let took = began.elapsed();
        assert!(took >= Duration::from_micros(200), "early: {took:?}");
        best = best.min(took);
    }
    assert!(best < Duration::from_micros(900), "the best of 50 waits of 200 us took {best:?}");
}

#[test]
fn timers_behave_as_a_sorted_list() {
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    let mut timers = Timers::new();
    let mut model: Vec<(Time, u64, greenloom_hub::TimerKey)> = Vec::new();
    let mut now = Time::ZERO;
    for round in 0..20_000u64 {
        match next(4) {
            0 | 1 => {
                let at = now + Duration::from_nanos(next(50));
                model.push((at, round, timers.add(at, round)));
            }
            2 if !model.is_empty() => {
                let (_, work, key) = model.remove(next(model.len() as u64) as usize);
                assert_eq!(timers.cancel(key), Some(work));
                assert_eq!(timers.cancel(key), None);
            }
            _ => {
                now = now + Duration::from_nanos(next(20));
                model.sort_by_key(|(at, added, _)| (*at, *added));
                let limit = timers.limit();
                while model.first().is_some_and(|(at, ..)| *at <= now) {
                    assert_eq!(timers.pop_due(now, limit), Some(model.remove(0).1));
                }
                assert_eq!(timers.pop_due(now, limit), None);
            }
        }
        assert_eq!(timers.len(), model.len());
    }
}

#[test]
fn a_timer_added_while_timers_fire_waits_for_the_next_turn() {
    let mut timers = Timers::new();
    timers.add(Time::ZERO, 1);
    let limit = timers.limit();
    assert_eq!(timers.pop_due(Time::ZERO, limit), Some(1));
    timers.add(Time::ZERO, 2);
    assert_eq!(timers.pop_due(Time::ZERO, limit), None);
    assert_eq!(timers.pop_due(Time::ZERO, timers.limit()), Some(2));
}

#[test]
fn ready_work_is_fifo_unless_somebody_chooses() {
    struct Last;
    impl Choose for Last {
        fn choose(&mut self, ready: usize) -> usize {
            ready - 1
        }
    }
    let mut queue = RunQueue::new();
    (0..3).for_each(|number| queue.push(number));
    assert_eq!([queue.pop(), queue.pop()], [Some(0), Some(1)]);
    queue.set_choose(Some(Box::new(Last)));
    (3..5).for_each(|number| queue.push(number));
    assert_eq!([queue.pop(), queue.pop(), queue.pop(), queue.pop()], [Some(4), Some(3), Some(2), None]);
}
