//! Looks at the stacks of OS threads that do not know of it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use greenloom_fiber::{Fiber, MIN_STACK_SIZE, Resume, SignalsBlocked, Snapshot, Stack, Unseen};

/// Looks are one at a time, and some tests take signals away that others need.
fn one_at_a_time() -> impl Drop {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own_number() -> i32 {
    // SAFETY: makes a system call that cannot fail.
    unsafe { libc::gettid() }
}

/// An OS thread that does something over and over until it is told to end.
struct Does {
    number: i32,
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Does {
    /// `begin` is called there, and has what is done over and over run by its argument.
    fn begin(begin: impl FnOnce(&dyn Fn(&mut dyn FnMut())) + Send + 'static) -> Does {
        let (number, end) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(false)));
        let (tell, ends) = (Arc::clone(&number), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            begin(&|act| {
                act();
                tell.store(own_number(), Ordering::Release);
                while !ends.load(Ordering::Relaxed) {
                    act();
                }
            });
        });
        while number.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        Does { number: number.load(Ordering::Acquire), end, thread }
    }

    fn end(self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

const MARK: u64 = 0x6d61_726b_2069_7421;

fn has_mark(snapshot: &Snapshot) -> bool {
    snapshot.stack.chunks_exact(8).any(|word| word == MARK.to_ne_bytes())
}

fn runs_with_a_mark(act_until_told: &dyn Fn(&mut dyn FnMut())) {
    let mark = MARK;
    act_until_told(&mut || {
        std::hint::black_box(&mark);
    });
    std::hint::black_box(&mark);
}

#[test]
fn one_that_runs_is_copied_and_goes_on_as_if_nothing_was() {
    let _one = one_at_a_time();
    let runs = Does::begin(|act_until_told| {
        // SAFETY: the OS thread's own.
        let errno = || unsafe { libc::__errno_location() };
        // SAFETY: as above.
        unsafe { *errno() = 77 };
        runs_with_a_mark(act_until_told);
        // SAFETY: as above.
        assert_eq!(unsafe { *errno() }, 77);
    });
    for _ in 0..20 {
        let seen = Snapshot::of_os_thread(runs.number).unwrap();
        assert!(seen.registers.frame_pointer.is_some() && has_mark(&seen), "{:?}", seen.registers);
    }
    runs.end();
    assert_eq!(Snapshot::of_os_thread(-1), Err(Unseen::Ended));
}

#[test]
fn one_that_waits_is_copied_and_its_system_call_goes_on() {
    let _one = one_at_a_time();
    let waits = Does::begin(|act_until_told| {
        let mark = MARK;
        act_until_told(&mut || {
            // SAFETY: waits for nothing but the time.
            let polled = unsafe { libc::poll(std::ptr::null_mut(), 0, 30) };
            let errno = std::io::Error::last_os_error();
            assert_eq!(polled, 0, "{errno}");
            std::hint::black_box(&mark);
        });
    });
    let begun = Instant::now();
    let mut looks = 0;
    while begun.elapsed() < Duration::from_millis(300) {
        let seen = Snapshot::of_os_thread(waits.number).unwrap();
        looks += usize::from(seen.registers.frame_pointer.is_none() && has_mark(&seen));
    }
    assert!(looks > 0);
    waits.end();
}

#[test]
fn one_that_blocks_all_signals_is_told_of_and_is_sent_none() {
    let _one = one_at_a_time();
    let runs = Does::begin(|act_until_told| {
        // SAFETY: a set that is filled before it is used, for the running OS thread alone.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        }
        runs_with_a_mark(act_until_told);
        // SAFETY: the system fills the set that it is given.
        unsafe {
            let mut pending = std::mem::zeroed();
            libc::sigpending(&mut pending);
            assert_eq!(libc::sigismember(&pending, libc::SIGURG), 0);
            assert_eq!(libc::sigismember(&pending, libc::SIGRTMAX()), 0);
        }
    });
    assert_eq!(Snapshot::of_os_thread(runs.number), Err(Unseen::NoSignal));
    runs.end();
}

#[test]
fn a_signal_that_the_program_handles_is_left_to_it() {
    static HANDLED: AtomicI32 = AtomicI32::new(0);
    extern "C" fn of_the_program(_: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    let _one = one_at_a_time();
    let runs = Does::begin(runs_with_a_mark);
    assert!(has_mark(&Snapshot::of_os_thread(runs.number).unwrap()));
    // It takes the one that was used before.
    let handler = of_the_program as *const () as libc::sighandler_t;
    // SAFETY: the handler adds to an atomic.
    let before = unsafe { libc::signal(libc::SIGURG, handler) };
    assert!(has_mark(&Snapshot::of_os_thread(runs.number).unwrap()));
    runs.end();
    // SAFETY: as above; what was there before is what it was.
    let found = unsafe { libc::signal(libc::SIGURG, before) };
    assert_eq!((found, HANDLED.load(Ordering::Relaxed)), (handler, 0));
}

/// Goes down until next to nothing of a stack is left.
fn down(top: usize, act: &mut dyn FnMut()) {
    let here = 0_u8;
    if top - (&raw const here as usize) < MIN_STACK_SIZE - 1500 {
        down(top, act);
    } else {
        act();
    }
    std::hint::black_box(&here);
}

#[test]
fn a_fiber_whose_stack_is_all_but_full_is_copied() {
    struct Node(Fiber);
    impl Resume for Node {
        fn fiber(&self) -> &Fiber {
            &self.0
        }
    }
    let _one = one_at_a_time();
    let (number, end) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(false)));
    let (tell, ends) = (Arc::clone(&number), Arc::clone(&end));
    let thread = std::thread::spawn(move || {
        let root = Rc::new(Node(Fiber::root()));
        let went_down = Rc::new(Cell::new(false));
        let tells = Rc::clone(&went_down);
        let fiber = Fiber::new(Stack::new(MIN_STACK_SIZE).unwrap(), move || {
            let top = 0_u8;
            down(&raw const top as usize, &mut || {
                tells.set(true);
                // SAFETY: makes a system call that cannot fail.
                tell.store(unsafe { libc::gettid() }, Ordering::Release);
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            root
        });
        fiber.switch().unwrap();
        assert!(went_down.get() && fiber.is_finished());
    });
    while number.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let seen = Snapshot::of_os_thread(number.load(Ordering::Acquire)).unwrap();
    assert!(seen.stack.len() > MIN_STACK_SIZE - 2000 && seen.registers.frame_pointer.is_some());
    end.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

/// A handler of the program's that has no room for much on an alternate signal stack of a few KB, and takes its time.
extern "C" fn takes_its_time(_: libc::c_int) {
    let large = [MARK; 1000];
    STAYS.store(own_number(), Ordering::Release);
    while STAYS.load(Ordering::Acquire) != 0 {
        std::hint::black_box(&large);
    }
}

static STAYS: AtomicI32 = AtomicI32::new(0);

#[test]
fn one_that_is_in_a_handler_on_its_alternate_stack_is_copied() {
    struct Node(Fiber);
    impl Resume for Node {
        fn fiber(&self) -> &Fiber {
            &self.0
        }
    }
    let _one = one_at_a_time();
    // SAFETY: all-zero is a valid sigaction; the handler writes to its stack and to an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = takes_its_time as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
    }
    let thread = std::thread::spawn(|| {
        let root = Rc::new(Node(Fiber::root()));
        let fiber = Fiber::new(Stack::new(MIN_STACK_SIZE).unwrap(), move || {
            // SAFETY: the signal is handled.
            unsafe { libc::raise(libc::SIGUSR2) };
            root
        });
        fiber.switch().unwrap();
    });
    while STAYS.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let seen = Snapshot::of_os_thread(STAYS.load(Ordering::Acquire)).unwrap();
    assert!(has_mark(&seen) && seen.registers.frame_pointer.is_some(), "{:?}", seen.registers);
    STAYS.store(0, Ordering::Release);
    thread.join().unwrap();
}

#[test]
fn an_os_thread_that_is_started_while_signals_are_blocked_gets_none() {
    fn blocked() -> Vec<libc::c_int> {
        // SAFETY: the system fills the set that it is given.
        unsafe {
            let mut blocked = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut blocked);
            (1..=64).filter(|signal| libc::sigismember(&blocked, *signal) == 1).collect()
        }
    }
    let before = blocked();
    let held = SignalsBlocked::all_but(Some(libc::SIGUSR1)).unwrap();
    let there = std::thread::spawn(blocked).join().unwrap();
    drop(held);
    assert_eq!(blocked(), before);
    let has = |signals: &[libc::c_int]| signals.iter().all(|signal| there.contains(signal));
    assert!(has(&[libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGPROF, libc::SIGPIPE]), "{there:?}");
    assert!(!there.contains(&libc::SIGUSR1) && !there.contains(&libc::SIGSEGV), "{there:?}");
}
