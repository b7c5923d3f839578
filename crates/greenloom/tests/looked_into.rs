//! What `greenloom stacks`, `metrics` and `kill` see of a Rust program.
//!
//! The tests of a process share its socket and see each other's green threads, so each knows its own by a name.

mod common;

use std::cell::Cell;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::ChildStderr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;

use common::{millis, program};
use greenloom::net::{TcpListener, TcpStream};
use greenloom::sync::{Event, Mutex, Semaphore};
use greenloom::trace::Timeline;
use greenloom::{Builder, GreenThread, Hubs, JoinError, inspect, sleep, spawn, spawn_n, yield_now};
use greenloom_inspect::protocol::{Answer, Ask};
use greenloom_inspect::{Client, Frame, Group, Stacks, State, Thread, Waits};

/// Asks this process from an OS thread of its own, and parks until the answer has come.
fn ask(ask: Ask) -> Result<Answer, String> {
    let (answer, here) = (Arc::new(Event::new()), std::process::id());
    let tell = Arc::clone(&answer);
    inspect::serve().unwrap();
    std::thread::spawn(move || {
        let answer = Client::connect(here).and_then(|mut client| client.ask(ask));
        tell.send(answer.map_err(|failure| failure.to_string())).unwrap();
    });
    answer.wait().unwrap()
}

fn stacks() -> Stacks {
    ask(Ask::Stacks).unwrap().stacks.unwrap()
}

/// The groups whose name has that in it.
fn groups_of(stacks: &Stacks, name: &str) -> Vec<Group> {
    let is_it = |group: &&Group| group.name.as_ref().is_some_and(|of_group| of_group.contains(name));
    stacks.groups.iter().filter(is_it).cloned().collect()
}

#[test]
fn they_are_grouped_by_what_they_wait_for_and_where_they_were_spawned() {
    let semaphore = Rc::new(Semaphore::new(0));
    let waits = |semaphore: Rc<Semaphore>| move || drop(semaphore.acquire());
    let waiters: Vec<_> = (0..30).map(|_| spawn(waits(Rc::clone(&semaphore)))).collect();
    let place = format!("spawned at {}:{}:", file!(), line!() - 1);
    let sleepers: Vec<_> = (0..20)
        .map(|_| Builder::new().name("a sleeper of the first test").spawn(|| sleep(millis(1_000_000))).unwrap())
        .collect();
    yield_now();
    let seen = stacks();
    let [group] = &groups_of(&seen, &place)[..] else { panic!("{seen:?}") };
    assert_eq!((group.count, group.state, group.waits_for.as_deref()), (30, State::Waits, Some("semaphore")));
    assert!(group.examples[0].number < group.examples[1].number, "the oldest first: {group:?}");
    let [group] = &groups_of(&seen, "a sleeper of the first test")[..] else { panic!("{seen:?}") };
    assert_eq!((group.count, group.waits_for.as_deref()), (20, Some("sleep")));
    sleepers.iter().for_each(|sleeper| {
        sleeper.kill();
    });
    waiters.iter().for_each(|waiter| {
        waiter.kill();
    });
}

fn named(name: &'static str, f: impl FnOnce() + 'static) -> GreenThread<()> {
    Builder::new().name(name).spawn(f).unwrap()
}

/// The oldest green thread of a name, and at what it waits.
fn waits_of(seen: &Stacks, name: &str) -> (Thread, Waits) {
    let [group] = &groups_of(seen, name)[..] else { panic!("{name}: {seen:?}") };
    assert!(group.age.is_some(), "{group:?}");
    (group.examples[0], group.waits.clone().unwrap_or_default())
}

#[test]
fn two_that_wait_for_each_other_are_named() {
    inspect::serve().unwrap();
    let locks = Rc::new((Mutex::new(()), Mutex::new(())));
    let (first, second) = (Rc::clone(&locks), locks);
    let threads = [
        named("has the one", move || {
            let _one = first.0.lock();
            yield_now();
            drop(first.1.lock());
        }),
        named("has the other", move || {
            let _other = second.1.lock();
            yield_now();
            drop(second.0.lock());
        }),
    ];
    let awaited = threads[0].greenlet().id();
    (0..5).for_each(|_| yield_now());
    let seen = stacks();
    let ((one, waits), (other, _)) = (waits_of(&seen, "has the one"), waits_of(&seen, "has the other"));
    let circle =
        format!("deadlock: {one} waits for a semaphore that {other} has, {other} waits for a semaphore that {one} has");
    assert!(seen.hints.contains(&circle), "{:?}", seen.hints);
    assert_eq!((waits.holder, waits.waiters, one.number), (Some(other), 1, awaited));
    let info = ask(Ask::Thread { thread: one }).unwrap().thread.unwrap();
    assert_eq!((info.name.as_deref(), info.waiters.as_slice()), (Some("has the one"), &[other][..]));
    assert_eq!(info.waits.unwrap().holder, Some(other));
    let gone = ask(Ask::Thread { thread: Thread { hub: 99, number: 1 } }).unwrap_err();
    assert_eq!(gone, "there is no green thread 99:1: it may have ended");
    threads.iter().for_each(|thread| {
        thread.kill();
    });
}

#[test]
fn a_permit_that_was_not_given_back_is_named_and_a_pool_that_is_all_taken() {
    inspect::serve().unwrap();
    let (leaked, pool) = (Rc::new(Semaphore::new(1)), Rc::new(Semaphore::new(2)));
    let (leaks, victim) = (Rc::clone(&leaked), leaked);
    named("leaks", move || leaks.acquire().forget()).wait().unwrap();
    let mut threads = vec![named("is the leak's victim", move || drop(victim.acquire()))];
    for _ in 0..4 {
        let pool = Rc::clone(&pool);
        threads.push(named("takes of the pool", move || {
            let _place = pool.acquire();
            sleep(millis(1_000_000));
        }));
    }
    yield_now();
    let seen = stacks();
    let (_, waits) = waits_of(&seen, "is the leak's victim");
    let hint = format!("semaphore {} was not given back: the green thread that took it last has ended", waits.object);
    assert!(seen.hints.iter().any(|found| found.starts_with(&hint)), "{:?}", seen.hints);
    assert!(
        seen.hints.iter().any(|found| found.ends_with(": all 2 are taken, and 2 wait for one")),
        "{:?}",
        seen.hints
    );
    threads.iter().for_each(|thread| {
        thread.kill();
    });
}

#[test]
fn a_socket_is_told_with_its_peer_and_a_timer_with_what_is_left_of_it() {
    inspect::serve().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let threads = [
        named("reads", move || drop(std::io::Read::read(&mut stream, &mut [0]))),
        named("takes a rest", || sleep(millis(500_000))),
    ];
    yield_now();
    let seen = stacks();
    let (_, waits) = waits_of(&seen, "reads");
    assert!(waits.detail.ends_with(&format!(" to read, peer {address}")), "{waits:?}");
    let (_, waits) = waits_of(&seen, "takes a rest");
    assert!(waits.due_in.is_some_and(|due| 400.0 < due && due <= 500.0), "{waits:?}");
    drop(accepted);
    threads[1].kill();
}

#[test]
fn one_that_waits_for_the_end_of_another_says_for_whose() {
    inspect::serve().unwrap();
    let sleeper = named("is waited for", || sleep(millis(1_000_000)));
    let (awaited, victim) = (sleeper.greenlet().id(), sleeper.greenlet().clone());
    let waiter = named("waits for the end", move || drop(sleeper.wait()));
    yield_now();
    let (_, waits) = waits_of(&stacks(), "waits for the end");
    assert_eq!(waits.holder.map(|holder| holder.number), Some(awaited));
    drop(victim);
    waiter.kill();
}

/// The functions of a stack that are this file's, innermost first.
fn functions(stack: &[Frame]) -> Vec<String> {
    let here = |frame: &&Frame| frame.file.ends_with(file!()) && frame.line > 0;
    stack.iter().filter(here).map(|frame| frame.function.clone()).collect()
}

#[inline(never)]
fn takes_a_nap() {
    sleep(millis(1_000_000));
    std::hint::black_box(());
}

#[inline(never)]
fn calls_one_that_naps() {
    takes_a_nap();
    std::hint::black_box(());
}

#[test]
#[cfg_attr(
    any(not(any(target_arch = "x86_64", target_arch = "aarch64")), greenloom_switch = "trampoline"),
    ignore = "the portable switch does not say where it has left the registers"
)]
fn a_stack_has_the_functions_from_what_waits_to_what_was_spawned() {
    let name = "naps two calls deep";
    let threads: Vec<_> = (0..3).map(|_| named(name, calls_one_that_naps)).collect();
    yield_now();
    let seen = stacks();
    let [group] = &groups_of(&seen, name)[..] else { panic!("{seen:?}") };
    assert_eq!((group.count, group.stack[0].function.as_str()), (3, "greenloom::sleep::sleep"), "{group:?}");
    let expected = ["looked_into::takes_a_nap", "looked_into::calls_one_that_naps"];
    assert_eq!(functions(&group.stack), expected, "{group:?}");
    assert_eq!(group.stack.last().unwrap().function, expected[1], "{group:?}");
    // Of one alone it is the same, and a look leaves no trace in it.
    for _ in 0..3 {
        let info = ask(Ask::Thread { thread: group.examples[1] }).unwrap().thread.unwrap();
        assert_eq!((&info.stack, info.waits_for.as_deref()), (&group.stack, Some("sleep")));
    }
    threads.iter().for_each(|thread| {
        thread.kill();
    });
    // The OS thread's own waits for the answer, right here.
    let root = ask(Ask::Thread { thread: Thread { hub: group.examples[0].hub, number: 0 } }).unwrap().thread.unwrap();
    let itself = "looked_into::a_stack_has_the_functions_from_what_waits_to_what_was_spawned";
    assert_eq!(functions(&root.stack)[..2], ["looked_into::ask", itself], "{root:?}");
}

#[test]
fn many_are_looked_at_while_others_run() {
    let name = "one of very many";
    let threads: Vec<_> =
        (0..20_000).map(|_| Builder::new().name(name).spawn(|| sleep(millis(1_000_000))).unwrap()).collect();
    let turns = Rc::new(Cell::new(0));
    let counts = Rc::clone(&turns);
    let busy = spawn(move || {
        loop {
            counts.set(counts.get() + 1);
            yield_now();
        }
    });
    yield_now();
    let before = turns.get();
    let seen = stacks();
    let [group] = &groups_of(&seen, name)[..] else { panic!("{seen:?}") };
    assert_eq!(group.count, 20_000);
    assert!(turns.get() > before);
    busy.kill();
    threads.iter().for_each(|thread| {
        thread.kill();
    });
}

#[test]
fn a_hub_that_is_blocked_is_named_and_the_others_answer() {
    let hubs = Hubs::new(1).unwrap();
    let (unblock, blocked) = channel::<()>();
    let (begun, has_begun) = channel();
    let remote = hubs.spawn(move || {
        begun.send(()).unwrap();
        let _ = blocked.recv();
    });
    has_begun.recv().unwrap();
    let here = Builder::new().name("not blocked").spawn(|| sleep(millis(1_000_000))).unwrap();
    yield_now();
    let seen = stacks();
    assert!(seen.problems.iter().any(|problem| problem.contains("(hub-0) has not answered")), "{:?}", seen.problems);
    assert_eq!(groups_of(&seen, "not blocked").len(), 1);
    let waits: Vec<_> = ask(Ask::Hubs).unwrap().hubs.unwrap();
    assert!(waits.iter().any(|hub| hub.os_thread == "hub-0" && !hub.waits), "{waits:?}");
    drop(unblock);
    remote.wait().unwrap();
    here.kill();
}

#[test]
fn what_it_does_is_followed_from_outside() {
    let hubs = Hubs::new(1).unwrap();
    let mut timeline = Timeline::new("test");
    inspect::serve().unwrap();
    let here = std::process::id();
    let following = std::thread::spawn(move || {
        let mut client = Client::connect(here).unwrap();
        client.ask(Ask::TraceStart { events: 1 << 16 }).unwrap();
        let refused = Client::connect(here).unwrap().ask(Ask::TraceStart { events: 1 }).unwrap_err().to_string();
        assert_eq!(refused, "a trace of this process is being recorded already; finish that one first");
        // Until the sleepers of both hubs were seen.
        while !["followed here", "followed there"].iter().all(|name| is_seen(&timeline, name)) {
            read(&mut client, &mut timeline);
        }
        client.ask(Ask::TraceStop).unwrap();
        while read(&mut client, &mut timeline) {}
        timeline
    });
    let nap = |name: &str| Builder::new().name(name).spawn(|| sleep(millis(1))).unwrap().wait().unwrap();
    while !following.is_finished() {
        hubs.spawn(move || nap("followed there")).wait().unwrap();
        nap("followed here");
    }
    let timeline = following.join().unwrap();
    let track = timeline.tracks().iter().find(|track| timeline.text(track.name) == "followed here").unwrap();
    assert!(track.changes.iter().any(|change| timeline.text(change.text) == "sleep"), "{track:?}");
    assert_eq!(timeline.dropped(), 0);
    drop(greenloom::trace::Recording::start().unwrap());
}

fn is_seen(timeline: &Timeline, name: &str) -> bool {
    timeline.tracks().iter().any(|track| timeline.text(track.name) == name && track.changes.len() > 2)
}

/// Reads what there is; whether there is more.
fn read(client: &mut Client, timeline: &mut Timeline) -> bool {
    let trace = client.ask(Ask::TraceRead).unwrap().trace.unwrap();
    trace.rings.into_iter().for_each(|ring| timeline.add(&ring.into()));
    trace.more
}

#[test]
fn one_that_is_killed_from_outside_unwinds() {
    struct Dropped(Rc<Cell<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = Rc::new(Cell::new(false));
    let guard = Dropped(Rc::clone(&dropped));
    let victim = Builder::new()
        .name("the victim")
        .spawn(move || {
            let _guard = guard;
            sleep(millis(1_000_000))
        })
        .unwrap();
    yield_now();
    let thread = groups_of(&stacks(), "the victim")[0].examples[0];
    let said = ask(Ask::Kill { thread }).unwrap().done.unwrap();
    assert_eq!(said, format!("green thread {thread} unwinds"));
    assert!(matches!(victim.wait(), Err(JoinError::Killed)) && dropped.get());
    let gone = ask(Ask::Kill { thread }).unwrap_err();
    assert_eq!(gone, format!("there is no green thread {thread}: it may have ended"));
    let root = Thread { hub: thread.hub, number: 0 };
    assert!(ask(Ask::Kill { thread: root }).is_err());
    assert!(ask(Ask::Kill { thread: Thread { hub: 4_000_000, number: 1 } }).is_err());
}

#[test]
fn one_that_has_not_begun_is_shown_and_can_be_killed() {
    let later = Builder::new().name("begins later").spawn_after(millis(1_000_000), || ()).unwrap();
    let group = &groups_of(&stacks(), "begins later")[0];
    assert_eq!(group.waits_for.as_deref(), Some("spawn_after"));
    ask(Ask::Kill { thread: group.examples[0] }).unwrap();
    assert!(matches!(later.wait(), Err(JoinError::Killed)));
}

#[test]
fn metrics_have_each_hub() {
    yield_now();
    let text = ask(Ask::Metrics).unwrap().metrics.unwrap();
    assert!(text.contains("# TYPE greenloom_switches counter\n") && text.contains("thread_name="), "{text}");
}

/// Not a test of its own: what the next ones look into.
#[test]
#[ignore = "a program that others look into"]
fn a_program() {
    if std::env::var_os("GREENLOOM_TEST_FORKS").is_some() {
        greenloom::get_hub();
        // SAFETY: the child goes on with the one OS thread that it has.
        let child = unsafe { libc::fork() };
        Builder::new()
            .name(if child == 0 { "in the child" } else { "in the parent" })
            .spawn(|| sleep(millis(1_000_000)))
            .unwrap();
        sleep(millis(1));
        // In one piece: both processes write to the same pipe.
        std::io::stderr().write_all(format!("forked {child}\n").as_bytes()).unwrap();
    }
    spawn_n(|| eprintln!("ready"));
    sleep(millis(1_000_000));
}

/// Runs it until `body` is done with it, which gets the lines of its standard error.
fn with_program(variables: &[(&str, &str)], body: impl FnOnce(u32, Lines<BufReader<ChildStderr>>)) {
    let mut child = program("a_program", variables);
    body(child.id(), BufReader::new(child.stderr.take().unwrap()).lines());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_environment_opens_the_socket_and_names_a_signal_that_dumps_all_stacks() {
    with_program(&[("GREENLOOM_DUMP_SIGNAL", "USR1")], |pid, lines| {
        let mut lines = lines.map(Result::unwrap);
        lines.find(|line| line == "ready").unwrap();
        // SAFETY: a signal to a child that waits to be told to end.
        assert_eq!(unsafe { libc::kill(pid.cast_signed(), libc::SIGUSR1) }, 0);
        assert_eq!(lines.next().unwrap(), format!("greenloom: process {pid}"));
        assert!(lines.next().unwrap().starts_with("hub 0"));
    });
}

#[test]
fn the_child_of_a_fork_has_a_socket_of_its_own() {
    with_program(&[("GREENLOOM_INSPECT", "1"), ("GREENLOOM_TEST_FORKS", "1")], |pid, lines| {
        let forked: Vec<i32> =
            lines.map(Result::unwrap).filter_map(|line| line.strip_prefix("forked ")?.parse().ok()).take(2).collect();
        let child = *forked.iter().max().unwrap();
        let stacks = |pid: u32| Client::connect(pid).unwrap().ask(Ask::Stacks).unwrap().stacks.unwrap();
        let (in_child, in_parent) = (stacks(child.cast_unsigned()), stacks(pid));
        // SAFETY: the signal ends the child of the child, which nobody waits for.
        assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
        assert_eq!((groups_of(&in_child, "in the child").len(), in_child.problems.len()), (1, 0), "{in_child:?}");
        assert_eq!((groups_of(&in_parent, "in the parent").len(), in_parent.problems.len()), (1, 0), "{in_parent:?}");
        assert!(groups_of(&in_parent, "in the child").is_empty());
    });
}

#[test]
fn the_os_thread_that_serves_leaves_signals_to_the_program() {
    inspect::serve().unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let mut named = tasks.filter(|task| std::fs::read_to_string(task.join("comm")).unwrap() == "greenloom-inspe\n");
    let status = std::fs::read_to_string(named.next().unwrap().join("status")).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
    let is_blocked = |signal: libc::c_int| blocked >> (signal - 1) & 1 == 1;
    assert!([libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGUSR1].into_iter().all(is_blocked), "{blocked:x}");
    assert!(!is_blocked(libc::SIGSEGV), "{blocked:x}");
}
