//! What was once wrong: first the faults that users of eventlet have lived with, each as a test that it is not ours,
//! then our own.
//!
//! Over 500 lines: it is one file, however long, as somebody who meets a fault looks here whether it is an old one.

use std::cell::{Cell, RefCell};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

mod common;

use common::{millis, pair, passes, simulate};
use greenloom::greenlet::{self, Current, Greenlet};
use greenloom::hub::{Direction, HubGone, Timer, trampoline};
use greenloom::instrument::{Event as What, Instrument, install};
use greenloom::net::{TcpStream, UnixStream};

use greenloom::hub::now;
use greenloom::pool::GreenPool;
use greenloom::process::Command;
use greenloom::queue::{LightQueue, Queue, Reason};
use greenloom::select::Select;
use greenloom::sync::{CappedSemaphore, Condvar, Event, EventError, Mutex, RwLock, Semaphore};
use greenloom::{
    Builder, Chain, GreenThread, Hub, JoinError, JoinSet, Refused, SpawnError, blocking, get_hub, getcurrent, inspect,
    sleep, spawn, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_wait_that_was_interrupted_leaves_no_timer_for_the_next_one() {
    simulate(|| {
        let event = Event::<()>::new();
        assert!(timeout(SECOND / 10, || event.wait_timeout(SECOND)).is_err());
        assert_eq!(get_hub().timers_count(), 0);
        let began = now();
        assert!(matches!(event.wait_timeout(2 * SECOND), Err(EventError::TimedOut)));
        assert_eq!(now() - began, 2 * SECOND);
    });
}

#[test]
fn waiters_are_woken_in_the_order_in_which_they_came() {
    simulate(|| {
        let (event, queue) = (Rc::new(Event::new()), Rc::new(LightQueue::new(1)));
        let order: Rc<RefCell<Vec<u32>>> = Rc::default();
        queue.put(99).unwrap();
        for number in 0..6 {
            let (event, order) = (event.clone(), order.clone());
            drop(spawn(move || {
                event.wait().unwrap();
                order.borrow_mut().push(number);
            }));
            let queue = queue.clone();
            drop(spawn(move || queue.put(number).unwrap()));
        }
        yield_now();
        event.send(()).unwrap();
        let got: Vec<u32> = (0..7).map(|_| queue.get().unwrap()).collect();
        yield_now();
        assert_eq!(got, [99, 0, 1, 2, 3, 4, 5]);
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn killing_an_unstarted_one_gives_its_place_in_the_pool_back() {
    simulate(|| {
        let pool = GreenPool::new(2);
        let threads: Vec<_> = (0..2).map(|_| pool.spawn(|| ())).collect();
        assert_eq!(pool.free(), 0);
        threads.iter().for_each(|thread| thread.kill());
        assert_eq!((pool.free(), pool.running()), (2, 0));
        pool.waitall();
    });
}

#[test]
fn making_a_pool_larger_lets_those_who_wait_in() {
    simulate(|| {
        let pool = GreenPool::new(1);
        let ran = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (pool, ran) = (pool.clone(), ran.clone());
            drop(spawn(move || {
                pool.spawn_n(move || {
                    ran.set(ran.get() + 1);
                    sleep(60 * SECOND);
                });
            }));
        }
        sleep(SECOND);
        assert_eq!((ran.get(), pool.waiting()), (1, 2));
        pool.resize(3);
        sleep(SECOND);
        assert_eq!((ran.get(), pool.waiting(), pool.free()), (3, 0, 0));
        pool.resize(1);
        sleep(60 * SECOND);
        assert_eq!((pool.running(), pool.free(), pool.size()), (0, 1, 1));
    });
}

#[test]
fn everything_wakes_across_os_threads() {
    let event = Arc::new(Event::new());
    let queue = Arc::new(Queue::new(1));
    let semaphore = Arc::new(Semaphore::new(0));
    let mutex = Arc::new(Mutex::new(0));
    let changed = Arc::new(Condvar::new());
    let capped = Arc::new(CappedSemaphore::new(0, 1));
    let (send, put, release, lock, notify, cap) =
        (event.clone(), queue.clone(), semaphore.clone(), mutex.clone(), changed.clone(), capped.clone());
    let other = std::thread::spawn(move || {
        let pause = || std::thread::sleep(Duration::from_millis(5));
        pause();
        send.send(1).unwrap();
        pause();
        (0..3).for_each(|number| put.put(number).unwrap());
        pause();
        release.release();
        pause();
        *lock.lock() = 7;
        notify.notify_all();
        pause();
        cap.release();
        cap.release();
    });
    assert_eq!(event.wait().unwrap(), 1);
    assert_eq!([queue.get(), queue.get(), queue.get()], [Ok(0), Ok(1), Ok(2)]);
    semaphore.acquire().forget();
    let mut value = mutex.lock();
    while *value != 7 {
        value = changed.wait(value);
    }
    drop(value);
    capped.acquire();
    capped.acquire();
    other.join().unwrap();
}

#[test]
fn what_was_handed_to_one_that_is_killed_goes_to_the_next() {
    simulate(|| {
        let (queue, semaphore, condvar, mutex) =
            (Rc::new(Queue::new(0)), Rc::new(Semaphore::new(0)), Rc::new(Condvar::new()), Rc::new(Mutex::new(())));
        let got: Rc<RefCell<Vec<&str>>> = Rc::default();
        let start = |name: &'static str| {
            let (queue, semaphore, condvar, mutex, got) =
                (queue.clone(), semaphore.clone(), condvar.clone(), mutex.clone(), got.clone());
            let say = move |what: &'static str| got.borrow_mut().push(if name == "first" { "wrong" } else { what });
            let (one, two, three) = (say.clone(), say.clone(), say);
            [
                spawn(move || queue.get().map(|()| one("item")).unwrap()),
                spawn(move || {
                    semaphore.acquire().forget();
                    two("permit");
                }),
                spawn(move || {
                    drop(condvar.wait(mutex.lock()));
                    three("notification");
                }),
            ]
        };
        let first = start("first");
        yield_now();
        drop(start("second"));
        yield_now();
        // Each is granted something, but has not run yet, when it is killed.
        queue.put(()).unwrap();
        first[0].kill();
        semaphore.release();
        first[1].kill();
        condvar.notify_one();
        first[2].kill();
        sleep(SECOND);
        got.borrow_mut().sort_unstable();
        assert_eq!(*got.borrow(), ["item", "notification", "permit"]);
        assert_eq!((queue.waiting(), semaphore.waiting(), semaphore.available()), ((0, 0), 0, 0));
    });
}

#[test]
fn a_select_takes_one_thing_and_leaves_the_others() {
    simulate(|| {
        let (left, right, stop) = (Rc::new(Queue::new(0)), Rc::new(Queue::new(5)), Rc::new(Event::<u32>::new()));
        let select = || {
            Select::new()
                .get(&left, |item| ("left", item))
                .get(&right, |item| ("right", item))
                .event(&stop, |value| ("stop", Ok(value.unwrap())))
                .timeout(SECOND, || ("late", Err(Reason::Empty)))
                .wait()
        };
        assert_eq!(select(), ("late", Err(Reason::Empty)));
        assert_eq!(now(), SECOND);
        let (put_left, put_right) = (left.clone(), right.clone());
        let putting = spawn(move || {
            put_right.put(2).unwrap();
            put_left.put(1).unwrap();
        });
        assert_eq!(select(), ("right", Ok(2)));
        assert_eq!(select(), ("left", Ok(1)));
        putting.wait().unwrap();
        stop.send(9).unwrap();
        assert_eq!(select(), ("stop", Ok(9)));
        stop.reset();
        // One that is killed with an item in hand gives it back.
        let queue = right.clone();
        let waits = spawn(move || {
            let (a, b) = (Queue::<u32>::new(1), Event::<u32>::new());
            Select::new().get(&a, |_| ()).get(&queue, |_| ()).event(&b, |_| ()).wait();
        });
        yield_now();
        right.put(7).unwrap();
        waits.kill();
        assert_eq!((right.try_get(), right.waiting()), (Ok(7), (0, 0)));
        left.close();
        assert_eq!(select(), ("left", Err(Reason::Closed)));
    });
}

#[test]
fn a_reader_behind_a_writer_that_is_killed_goes_on() {
    simulate(|| {
        let value = Rc::new(RwLock::new(1));
        let held = value.read();
        let write = value.clone();
        let writer = spawn(move || *write.write() = 2);
        yield_now();
        let read = value.clone();
        let reader = spawn(move || *read.read());
        yield_now();
        assert!(value.try_read().is_none(), "the writer waits before us");
        writer.kill();
        assert_eq!(reader.wait().unwrap(), 1);
        drop(held);
        assert!(value.try_write().is_some());
    });
}

#[test]
fn a_full_pool_runs_what_its_own_threads_spawn_at_once() {
    simulate(|| {
        let pool = GreenPool::new(1);
        let inner = pool.clone();
        let outer = pool.spawn(move || inner.spawn(|| 5).wait().unwrap() + 1);
        assert_eq!(outer.wait().unwrap(), 6);
        let inner = pool.clone();
        let error = pool.spawn(move || inner.waitall()).wait().unwrap_err();
        assert!(Chain(&error).to_string().contains("wait for itself"), "{error:?}");
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Ours

/// Long, and never reached by a test that passes.
fn in_time<R>(body: impl FnOnce() -> R) -> R {
    timeout(10 * SECOND, body).expect("it hangs")
}

/// A connection whose ends have both waited in both directions, so that the hub keeps their readiness.
fn known_pair() -> (TcpStream, TcpStream) {
    let (mut ours, mut theirs) = pair();
    for _ in 0..2 {
        let mut reader = theirs.try_clone().unwrap();
        let reads = spawn(move || reader.read_exact(&mut [0]).unwrap());
        yield_now();
        ours.write_all(b"x").unwrap();
        reads.wait().unwrap();
        (ours, theirs) = (theirs, ours);
    }
    (ours, theirs)
}

#[test]
fn a_read_or_write_of_more_buffers_than_the_system_takes_is_not_taken_for_empty_or_full() {
    let (mut ours, mut theirs) = known_pair();
    // Both ends have to be registered themselves, not through a clone.
    let echo = spawn(move || {
        let mut bytes = [0; 4];
        theirs.read_exact(&mut bytes).unwrap();
        theirs.write_all(&bytes).unwrap();
        theirs
    });
    yield_now();
    ours.write_all(b"ping").unwrap();
    in_time(|| ours.read_exact(&mut [0; 4]).unwrap());
    let mut theirs = echo.wait().unwrap();

    let slices = vec![IoSlice::new(b"."); 3000];
    let written = in_time(|| (0..3).map(|_| ours.write_vectored(&slices).unwrap()).sum::<usize>());
    assert_eq!(written, 3 * 1024);
    sleep(millis(5));
    let mut room = vec![[0u8]; 3000];
    let mut got = 0;
    while got < written {
        let mut slices: Vec<IoSliceMut<'_>> = room.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
        let (mut reader, _writer) = theirs.split();
        got += in_time(|| reader.read_vectored(&mut slices).unwrap());
    }
    assert_eq!(got, written);
    in_time(|| theirs.write_all(b"done").unwrap());
}

#[test]
fn urgent_data_in_a_stream_does_not_hold_up_what_is_behind_it() {
    let (mut ours, mut theirs) = pair();
    let reads = spawn(move || {
        let mut all = Vec::new();
        while all.len() < 4 {
            let mut room = [0; 16];
            let got = theirs.read(&mut room).unwrap();
            all.extend_from_slice(&room[..got]);
        }
        all
    });
    yield_now();
    ours.write_all(b"ab").unwrap();
    rustix::net::send(&ours, b"!", rustix::net::SendFlags::OOB).unwrap();
    ours.write_all(b"cd").unwrap();
    assert_eq!(in_time(|| reads.wait().unwrap()), b"abcd");
}

#[test]
fn a_transfer_of_nothing_never_waits() {
    let (mut tcp, _peer) = known_pair();
    let (mut unix, _other) = UnixStream::pair().unwrap();
    let (mut reader, _writer) = greenloom::pipe::pipe().unwrap();
    in_time(|| {
        assert_eq!(tcp.read(&mut []).unwrap(), 0);
        assert_eq!(tcp.read_vectored(&mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])]).unwrap(), 0);
        assert_eq!(unix.read(&mut []).unwrap(), 0);
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        tcp.set_write_timeout(Some(millis(20))).unwrap();
        while tcp.write(&[0; 65536]).is_ok() {}
        assert_eq!(tcp.write(&[]).unwrap(), 0);
        assert_eq!(tcp.write_vectored(&[]).unwrap(), 0);
    });
    tcp.close();
    assert_eq!(tcp.read(&mut []).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
}

#[test]
fn a_descriptor_that_the_hub_is_told_of_as_closed_is_out_of_its_poller() {
    #[derive(Default)]
    struct Turns(Cell<u32>);
    impl Instrument for Turns {
        fn event(&self, event: &What<'_>) {
            if let What::Turn { .. } = event {
                self.0.set(self.0.get() + 1);
            }
        }
    }
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"never read").unwrap();
    let duplicate = reader.try_clone().unwrap();
    let told = Rc::new(Cell::new(0));
    let seen = told.clone();
    get_hub().add_reader(&reader, move || seen.set(seen.get() + 1)).unwrap();
    while told.get() == 0 {
        sleep(millis(1));
    }
    get_hub().notify_close(reader.as_raw_fd());
    drop(reader);
    let turns = Rc::new(Turns::default());
    install(Some(turns.clone()));
    sleep(millis(30));
    install(None);
    // One to fall asleep, one to wake up, and the odd early one; a level-triggered file that is still in makes
    // thousands.
    assert!(turns.0.get() < 20, "{} turns while the file lives on through {duplicate:?}", turns.0.get());
}

#[test]
fn a_regular_file_is_refused_with_what_to_do() {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let errors =
        [get_hub().add_reader(&file, || {}).unwrap_err(), trampoline(&file, Direction::Read, None).unwrap_err()];
    for error in errors {
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("greenloom::blocking::run"), "{error}");
    }
}

#[test]
fn a_join_error_crosses_os_threads_and_has_a_source() {
    fn is_any_error<E: std::error::Error + Send + Sync + 'static>(
        error: E,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        error.into()
    }
    let error = is_any_error(spawn(|| panic!("no bread")).wait().unwrap_err());
    assert_eq!(error.to_string(), "the green thread panicked");
    assert_eq!(error.source().unwrap().to_string(), "no bread");
}

/// The descriptors of this process that are of an epoll instance or an eventfd.
fn hub_fds() -> Vec<RawFd> {
    let is_ours = |fd: &RawFd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        matches!(link.to_str(), Some("anon_inode:[eventpoll]" | "anon_inode:[eventfd]"))
    };
    (0..64).filter(is_ours).collect()
}

/// Runs `child` in the child of a fork, where it says whether all is well, and returns that.
fn in_a_fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the other OS thread of this process, the test harness's, only waits; the child ends by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the child without running the test harness's exit handlers.
        unsafe { libc::_exit(if well { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status == 0
}

#[test]
#[ignore = "run by the_child_of_a_fork_closes_only_what_is_its_own, in a process of its own"]
fn forks() {
    sleep(millis(1));
    let inherited = hub_fds();
    assert_eq!(inherited.len(), 2, "an epoll instance and its bell");
    let closes_them = in_a_fork(|| {
        sleep(millis(1));
        let now = hub_fds();
        now.len() == 2 && inherited.iter().all(|fd| !now.contains(fd))
    });
    assert!(closes_them, "what is provably inherited is closed");

    let other = std::fs::File::open("/proc/self/status").unwrap();
    let leaves_others = |taken: &[RawFd]| {
        in_a_fork(|| {
            for fd in taken {
                // SAFETY: the number is the hub's, which this test takes away from it, as `closerange` does.
                assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), *fd) }, *fd);
            }
            // Nobody may write to them either.
            get_hub().handle().schedule(|| {}).unwrap();
            sleep(millis(1));
            let link = |fd: &RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
            taken.iter().all(|fd| link(fd) == link(&other.as_raw_fd()))
        })
    };
    assert!(leaves_others(&inherited[..1]), "the first number is another file's");
    assert!(leaves_others(&inherited[1..]), "the second number is another file's");
    assert!(leaves_others(&inherited), "both numbers are another file's");
    sleep(millis(1));
}

#[test]
fn the_child_of_a_fork_closes_only_what_is_its_own() {
    passes("forks");
}

#[test]
#[ignore = "run by work_that_forks_leaves_its_parents_events_alone, in a process of its own"]
fn forks_in_a_batch() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let waits = spawn(move || trampoline(&reader, Direction::Read, Some(5 * SECOND)));
    sleep(millis(1));
    // The parent's event is there before the child's hub next looks, in the same turn. Nobody reads, so it is the only
    // one.
    let forks = spawn(move || {
        writer.write_all(b"x").unwrap();
        let well = in_a_fork(|| {
            sleep(millis(5));
            true
        });
        (well, writer)
    });
    let (well, _writer) = forks.wait().unwrap();
    assert!(well);
    in_time(|| waits.wait().unwrap().unwrap());
}

#[test]
fn work_that_forks_leaves_its_parents_events_alone() {
    passes("forks_in_a_batch");
}

#[test]
#[ignore = "run by a_fork_while_others_look_at_the_hubs_leaves_the_child_its_own, in a process of its own"]
fn forks_while_others_look() {
    sleep(millis(1));
    std::thread::spawn(|| {
        loop {
            inspect::hubs();
        }
    });
    for _ in 0..300 {
        assert!(in_a_fork(|| {
            // SAFETY: it arranges that the child ends if it hangs.
            unsafe { libc::alarm(10) };
            sleep(millis(1));
            inspect::hubs().len() == 1
        }));
    }
}

#[test]
fn a_fork_while_others_look_at_the_hubs_leaves_the_child_its_own() {
    passes("forks_while_others_look");
}

#[test]
#[ignore = "run by a_fork_while_others_take_stacks_leaves_the_child_its_stacks, in a process of its own"]
fn forks_while_others_take_stacks() {
    sleep(millis(1));
    let busy = || {
        std::thread::spawn(|| {
            (0..50).map(|_| spawn(|| sleep(Duration::ZERO))).collect::<Vec<_>>().into_iter().for_each(|thread| {
                thread.wait().unwrap();
            });
        })
    };
    std::thread::spawn(move || {
        loop {
            busy().join().unwrap();
        }
    });
    for _ in 0..300 {
        assert!(in_a_fork(|| {
            // SAFETY: it arranges that the child ends if it hangs.
            unsafe { libc::alarm(10) };
            let threads: Vec<_> = (0..500).map(|_| spawn(|| sleep(Duration::ZERO))).collect();
            threads.into_iter().all(|thread| thread.wait().is_ok())
        }));
    }
}

#[test]
fn a_fork_while_others_take_stacks_leaves_the_child_its_stacks() {
    passes("forks_while_others_take_stacks");
}

#[test]
#[ignore = "run by the_hubs_of_other_os_threads_are_closed_in_the_child_of_a_fork, in a process of its own"]
fn forks_with_a_hub_elsewhere() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        sender.send(get_hub().handle()).unwrap();
        sleep(Duration::from_secs(60));
    });
    let elsewhere = receiver.recv().unwrap();
    let own = get_hub().handle();
    assert!(in_a_fork(|| {
        let gone = elsewhere.schedule(|| {}).is_err();
        let told = Arc::new(Event::new());
        // At first before the hub has noticed the fork.
        let well = (0..2).all(|round| {
            let tell = Arc::clone(&told);
            tell.reset();
            own.schedule(move || tell.send(round).unwrap()).unwrap();
            told.wait().unwrap() == round
        });
        gone && well
    }));
    elsewhere.schedule(|| {}).unwrap();
}

#[test]
fn the_hubs_of_other_os_threads_are_closed_in_the_child_of_a_fork() {
    passes("forks_with_a_hub_elsewhere");
}

/// What the destructor of a thread-local finds that comes after the hub's end.
struct Late {
    hub: Hub,
    timer: Timer,
    parked: Option<GreenThread<u32>>,
    unstarted: GreenThread<u32>,
    set: JoinSet<u32>,
    suspended: Greenlet<(), ()>,
    main: Current<()>,
    pool: GreenPool,
    stream: TcpStream,
    _peer: TcpStream,
    queue: Queue<u32>,
    event: Event<u32>,
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

impl Drop for Late {
    fn drop(&mut self) {
        let hub = self.hub;
        assert_eq!((hub.timers_count(), hub.ready_count(), hub.io_waiting_count()), (0, 0, 0));
        assert!(!hub.cancel(&self.timer));
        let dropped = Rc::new(());
        let never = dropped.clone();
        let timer = hub.schedule_call_global(millis(1), move || drop(never));
        assert!(!hub.cancel(&timer));
        let never = dropped.clone();
        hub.schedule_call_global(Duration::ZERO, move || drop(never));
        assert_eq!(Rc::strong_count(&dropped), 1, "what will not be called is dropped");
        assert_eq!(hub.now(), get_hub().now());
        assert!(now() > Duration::ZERO);
        assert!(format!("{hub:?}").contains("ended"));
        assert_eq!(hub.handle().schedule(|| {}), Err(HubGone));
        assert!(!hub.handle().is_here());
        hub.add_reader(&self.stream, || {}).unwrap_err();
        hub.remove_listener(&self.stream, Direction::Read).unwrap();
        trampoline(&self.stream, Direction::Read, Some(millis(1))).unwrap_err();
        hub.notify_close(self.stream.as_fd().as_raw_fd());

        let parked = self.parked.take().unwrap();
        parked.kill();
        assert!(!parked.cancel() && !parked.is_dead());
        assert!(self.unstarted.is_dead() || self.unstarted.cancel());
        let ended = Builder::new().spawn(|| ()).unwrap_err();
        assert!(matches!(ended, SpawnError::ThreadEnding), "{ended}");
        sleep(millis(1));
        yield_now();
        self.pool.waitall();
        assert_eq!(timeout(millis(1), || 5), Ok(5));
        let later = parked.wait();
        assert!(matches!(later, Err(JoinError::Refused(Refused::ThreadEnding))), "{later:?}");
        assert_eq!(self.queue.get(), Err(Reason::ThreadEnding));
        assert!(matches!(self.event.wait(), Err(EventError::Refused(Refused::ThreadEnding))));
        assert!(matches!(blocking::run(|| ()), Err(blocking::Error::Refused(Refused::ThreadEnding))));
        assert_eq!(self.stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        assert_eq!(Command::new("true").output().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        let next = self.set.join_next();
        assert!(matches!(next, Some(Err(JoinError::Refused(Refused::ThreadEnding)))), "{next:?}");
        self.set.shutdown();
        assert!(self.set.is_empty());
        assert!(inspect::green_threads().is_empty());
        assert!(inspect::hubs().iter().all(|hub| hub.green_threads < 100));
        assert_eq!(getcurrent().id(), 0);
        let switched = self.main.switch(&self.suspended, ());
        assert!(matches!(switched, Err(greenlet::Error::Refused(Refused::ThreadEnding))), "{switched:?}");
        println!("all of it is defined");
    }
}

#[test]
#[ignore = "run by every_call_is_defined_when_the_os_thread_ends, in a process of its own, which a panic ends"]
fn ends() {
    std::thread::spawn(|| {
        // Registered before the hub's end is, so it is destroyed after it.
        LATE.set(None);
        let (stream, _peer) = pair();
        let pool = GreenPool::new(2);
        let parked = pool.spawn(|| {
            sleep(100 * SECOND);
            7
        });
        sleep(millis(1));
        let mut set = JoinSet::new();
        set.spawn(|| {
            sleep(100 * SECOND);
            9
        });
        yield_now();
        let main = Current::<()>::here();
        let back = main.receiver();
        let suspended = Greenlet::new(&main, move |me: &Current<()>, ()| {
            loop {
                me.switch(&back, ())?;
            }
        });
        main.switch(&suspended, ()).unwrap();
        LATE.set(Some(Late {
            hub: get_hub(),
            timer: get_hub().schedule_call_global(100 * SECOND, || {}),
            parked: Some(parked),
            unstarted: spawn(|| 8),
            set,
            suspended,
            main,
            pool,
            stream,
            _peer,
            queue: Queue::unbounded(),
            event: Event::new(),
        }));
    })
    .join()
    .unwrap();
}

#[test]
fn every_call_is_defined_when_the_os_thread_ends() {
    let text = passes("ends");
    assert!(text.contains("all of it is defined"), "{text}");
}
