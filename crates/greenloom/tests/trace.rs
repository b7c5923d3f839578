//! The timeline says what green threads did: when each ran, what it waited for, and who woke it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use greenloom::instrument::{Event, Instrument, install};
use greenloom::queue::Queue;
use greenloom::testing::Simulation;
use greenloom::trace::timeline::{NoteKind, State, Track};
use greenloom::trace::{Recording, Timeline, record};
use greenloom::{Builder, Hubs, blocking, hub, sleep, yield_now};

fn named<'a>(timeline: &'a Timeline, name: &str) -> (u32, &'a Track) {
    let found = timeline.tracks().iter().zip(0..).find(|(track, _)| timeline.text(track.name) == name);
    found.map(|(track, number)| (number, track)).unwrap_or_else(|| panic!("no track {name:?}"))
}

fn states<'a>(timeline: &'a Timeline, track: &Track) -> Vec<(u64, State, &'a str)> {
    track.changes.iter().map(|change| (change.time, change.state, timeline.text(change.text))).collect()
}

/// What a program says of itself: who ran at which virtual time.
type Log = Arc<Mutex<Vec<(u64, String)>>>;

fn note(log: &Log, name: &str) {
    log.lock().unwrap().push((hub::now().as_nanos() as u64, name.into()));
}

/// Producers that sleep, and consumers that take from one queue, in the order that a seed chooses.
fn program(log: &Log) {
    let queue = Rc::new(Queue::new(2));
    let mut threads = Vec::new();
    for number in 0..4 {
        let (queue, log, name) = (queue.clone(), log.clone(), format!("producer {number}"));
        let thread = Builder::new().name(name.clone()).spawn(move || {
            for round in 0..5 {
                note(&log, &name);
                sleep(Duration::from_millis(7 * number + round));
                note(&log, &name);
                queue.put(round).unwrap();
            }
        });
        threads.push(thread.unwrap());
    }
    for number in 0..2 {
        let (queue, log, name) = (queue.clone(), log.clone(), format!("consumer {number}"));
        let thread = Builder::new().name(name.clone()).spawn(move || {
            for _ in 0..10 {
                queue.get().unwrap();
                note(&log, &name);
            }
        });
        threads.push(thread.unwrap());
    }
    threads.into_iter().for_each(|thread| thread.wait().unwrap());
}

/// Who ran, in the order of the timeline, at the times at which each began to run.
fn runs(timeline: &Timeline) -> Vec<(u64, u64, String)> {
    let mut runs = Vec::new();
    for track in timeline.tracks() {
        let ends = track.changes.iter().skip(1).map(|change| change.time).chain([timeline.end()]);
        for (change, end) in track.changes.iter().zip(ends) {
            if change.state == State::Running {
                runs.push((change.time, end, timeline.text(track.name).to_owned()));
            }
        }
    }
    runs
}

#[test]
fn a_seeded_simulation_is_told_as_it_was() {
    for seed in 0..20 {
        let log = Log::default();
        let writing = log.clone();
        let run = move || record(|| program(&writing)).1;
        let timeline = Simulation::new().seed(seed).run(run).unwrap();
        let runs = runs(&timeline);
        let log = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!(log.len(), 4 * 5 * 2 + 20);
        for (time, name) in log {
            assert!(
                runs.iter().any(|(from, to, who)| *who == name && *from <= time && time <= *to),
                "seed {seed}: {name} was seen at {time}, and the timeline has it run elsewhere"
            );
        }
        // The longest sleeps: 0 + 1 + 2 + 3 + 4 and five times 21 ms.
        assert_eq!(timeline.end(), 115_000_000, "seed {seed}");
        for number in 0..4 {
            let (_, track) = named(&timeline, &format!("producer {number}"));
            let slept: u64 = track
                .changes
                .windows(2)
                .filter(|pair| timeline.text(pair[0].text) == "sleep")
                .map(|pair| pair[1].time - pair[0].time)
                .sum();
            assert_eq!(slept, (10 + 35 * number) * 1_000_000, "seed {seed}, producer {number}");
            assert_eq!(track.changes.last().unwrap().state, State::Ended);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let run = || {
        let timeline = Simulation::new().seed(7).run(|| record(|| program(&Log::default())).1).unwrap();
        // The hub's number is the process's count of hubs.
        format!("{:?}", (timeline.tracks(), timeline.arrows(), timeline.notes()))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_recording_of_the_process_leaves_a_simulation_as_it_is() {
    let _alone = alone();
    let run = |recorded: bool| {
        let log = Log::default();
        let writing = log.clone();
        let body = move || {
            // From elsewhere while the simulation is under way: its hub would get a message.
            let elsewhere = || thread::spawn(|| Recording::start().unwrap()).join().unwrap();
            let recording = recorded.then(elsewhere);
            program(&writing);
            recording.map(Recording::finish)
        };
        let timeline = Simulation::new().seed(7).run(body).unwrap();
        (std::mem::take(&mut *log.lock().unwrap()), timeline)
    };
    let (plain, _) = run(false);
    let (recorded, timeline) = run(true);
    assert_eq!(recorded, plain);
    let timeline = timeline.unwrap();
    assert!(timeline.tracks().iter().all(|track| !timeline.text(track.name).starts_with("producer")));
}

#[test]
fn a_wake_has_an_arrow_from_the_one_that_woke() {
    let ((), timeline) = record(|| {
        let queue = Rc::new(Queue::unbounded());
        let source = queue.clone();
        let taker = Builder::new().name("taker").spawn(move || source.get().unwrap()).unwrap();
        yield_now();
        let giver = Builder::new().name("giver").spawn(move || queue.put(5).unwrap()).unwrap();
        assert_eq!(taker.wait().unwrap(), 5);
        giver.wait().unwrap();
    });
    let ((taker, life), (giver, _)) = (named(&timeline, "taker"), named(&timeline, "giver"));
    let arrow = timeline.arrows().iter().find(|arrow| arrow.to == taker).unwrap();
    assert_eq!((arrow.from, arrow.by), (Some(giver), greenloom::trace::timeline::Wake::Thread));
    let told: Vec<_> = states(&timeline, life).into_iter().map(|(_, state, text)| (state, text)).collect();
    use State::*;
    let told_waits = told.iter().find(|(state, _)| *state == Waiting).unwrap().1;
    assert!(told_waits.contains("queue"), "{told:?}");
    let order: Vec<State> = told.iter().map(|(state, _)| *state).collect();
    assert_eq!(order, [Ready, Running, Waiting, Ready, Running, Ended]);
}

#[test]
fn timers_io_and_other_os_threads_are_told_apart() {
    use std::io::{Read, Write};
    let ((), timeline) = record(|| {
        Builder::new().name("sleeper").spawn(|| sleep(Duration::from_millis(1))).unwrap().wait().unwrap();
        let listener = greenloom::net::listen("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let read = move || listener.accept().unwrap().0.read_exact(&mut [0]).unwrap();
        let reader = Builder::new().name("reader").spawn(read).unwrap();
        // It has come to its read, and waits.
        yield_now();
        peer.write_all(b"x").unwrap();
        reader.wait().unwrap();
        let event = Arc::new(greenloom::sync::Event::new());
        let told = event.clone();
        let waiter = Builder::new().name("waiter").spawn(move || told.wait().unwrap()).unwrap();
        yield_now();
        thread::spawn(move || event.send(()).unwrap());
        waiter.wait().unwrap();
    });
    use greenloom::trace::timeline::Wake::{Elsewhere, Io, Timer};
    for (name, by) in [("sleeper", Timer), ("reader", Io), ("waiter", Elsewhere)] {
        let (track, _) = named(&timeline, name);
        let arrow = timeline.arrows().iter().rfind(|arrow| arrow.to == track).unwrap();
        assert_eq!(arrow.by, by, "{name}");
    }
}

#[test]
fn a_blocking_call_is_told_with_its_time_in_line() {
    let ((), timeline) = record(|| {
        let caller = Builder::new().name("caller").spawn(|| {
            blocking::run(|| thread::sleep(Duration::from_millis(20))).unwrap();
        });
        caller.unwrap().wait().unwrap();
    });
    let (track, life) = named(&timeline, "caller");
    let ran = timeline.notes().iter().find(|note| note.kind == NoteKind::BlockingRan).unwrap();
    assert!(ran.track == Some(track) && ran.value >= 20_000, "{ran:?}");
    assert!(timeline.notes().iter().any(|note| note.kind == NoteKind::BlockingQueued && note.track == Some(track)));
    assert!(
        states(&timeline, life).iter().any(|(_, state, text)| (*state, *text) == (State::Waiting, "blocking call"))
    );
}

#[test]
fn a_late_timer_is_told_with_its_lag() {
    let ((), timeline) = record(|| {
        let blocker = greenloom::spawn(|| thread::sleep(Duration::from_millis(30)));
        sleep(Duration::from_millis(1));
        blocker.wait().unwrap();
    });
    let lag = timeline.notes().iter().filter(|note| note.kind == NoteKind::TimerLag).map(|note| note.value).max();
    assert!(lag.unwrap() >= 25_000, "{lag:?}");
}

#[test]
fn who_was_there_before_is_shown_with_what_it_waits_for() {
    let sleeper = Builder::new().name("early").spawn(|| sleep(Duration::from_secs(99))).unwrap();
    yield_now();
    let ((), timeline) = record(|| sleep(Duration::from_millis(1)));
    let (_, life) = named(&timeline, "early");
    assert_eq!(states(&timeline, life).last().unwrap().1, State::Waiting);
    assert_eq!(states(&timeline, life).last().unwrap().2, "sleep");
    sleeper.kill();
}

/// A process has one recording at a time, and its tests run side by side.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn all_hubs_are_recorded_and_one_recording_is_made_at_a_time() {
    let _alone = alone();
    let hubs = Hubs::new(2).unwrap();
    let recording = Recording::start().unwrap();
    let error = Recording::start().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("finish that one first"), "{error}");
    let work = |number: u64| move || greenloom::sleep(Duration::from_millis(number));
    (0..4).map(|number| hubs.spawn(work(number))).collect::<Vec<_>>().into_iter().for_each(|remote| {
        remote.wait().unwrap();
    });
    let timeline = recording.finish();
    let mut seen: Vec<u32> = timeline.arrows().iter().map(|arrow| timeline.tracks()[arrow.to as usize].hub).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 2, "{seen:?}");
    drop(Recording::start().unwrap());
}

#[test]
fn a_hub_that_is_made_meanwhile_takes_part() {
    let _alone = alone();
    let recording = Recording::start().unwrap();
    let work = || Builder::new().name("on a new hub").spawn(|| ()).unwrap().wait().unwrap();
    thread::Builder::new().name("late".into()).spawn(work).unwrap().join().unwrap();
    let timeline = recording.finish();
    assert_eq!(named(&timeline, "on a new hub").1.changes.last().unwrap().state, State::Ended);
}

#[test]
fn a_reader_follows_a_recording_and_a_ring_that_was_too_small_says_so() {
    let _alone = alone();
    let followed = thread::spawn(|| {
        greenloom::get_hub();
        let recording = Recording::with_capacity(8).unwrap();
        let mut timeline = Timeline::new("followed");
        recording.read_into(&mut timeline);
        (0..100).for_each(|_| greenloom::spawn(|| ()).wait().unwrap());
        recording.read_into(&mut timeline);
        timeline
    });
    let timeline = followed.join().unwrap();
    assert!(timeline.dropped() > 100, "{}", timeline.dropped());
    assert!(timeline.notes().iter().any(|note| note.kind == NoteKind::Lost));
}

#[test]
fn an_instrument_goes_on_to_be_told_while_a_trace_is_recorded() {
    #[derive(Default)]
    struct Spawns(Cell<usize>, RefCell<Vec<u64>>);
    impl Instrument for Spawns {
        fn event(&self, event: &Event<'_>) {
            if let Event::Spawn { greenlet } = event {
                self.0.set(self.0.get() + 1);
                self.1.borrow_mut().push(greenlet.id());
            }
        }
    }
    let spawns = Rc::new(Spawns::default());
    install(Some(spawns.clone()));
    let ((), timeline) = record(|| greenloom::spawn(|| ()).wait().unwrap());
    greenloom::spawn(|| ()).wait().unwrap();
    install(None);
    assert_eq!(spawns.0.get(), 2);
    assert!(timeline.tracks().iter().any(|track| u64::from(track.id) == spawns.1.borrow()[0]));
}
