//! Behaviour of fibers: order, endings, refusals, what is given back.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use greenloom_fiber::{Fiber, Resume, Stack, SwitchError, leaked_stacks, pool_stats};

struct Node(Fiber);

impl Resume for Node {
    fn fiber(&self) -> &Fiber {
        &self.0
    }
}

fn root() -> Rc<Node> {
    Rc::new(Node(Fiber::root()))
}

fn stack() -> Stack {
    Stack::new(64 * 1024).unwrap()
}

/// Held by each test that leaks a stack: the count of them is the process's.
fn alone_in_leaking() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fiber(body: impl FnOnce() + 'static) -> Rc<Node> {
    Rc::new(Node(Fiber::new(stack(), move || {
        body();
        root()
    })))
}

#[test]
fn fibers_switch_to_one_another_without_the_root() {
    let _alone = alone_in_leaking();
    let leaked_before = leaked_stacks();
    let log: Rc<RefCell<Vec<&str>>> = Rc::default();
    let peer: Rc<RefCell<Option<Rc<Node>>>> = Rc::default();
    let (first_log, first_peer) = (log.clone(), peer.clone());
    let first = fiber(move || {
        let peer = first_peer.borrow().clone().unwrap();
        for _ in 0..3 {
            first_log.borrow_mut().push("first");
            peer.0.switch().unwrap();
        }
    });
    let (second_log, back) = (log.clone(), Rc::downgrade(&first));
    *peer.borrow_mut() = Some(fiber(move || {
        for _ in 0..3 {
            second_log.borrow_mut().push("second");
            back.upgrade().unwrap().0.switch().unwrap();
        }
    }));
    first.0.switch().unwrap();
    assert_eq!(*log.borrow(), ["first", "second"].repeat(3));
    // The first ended; the second waits for one more turn.
    assert!(first.0.is_finished());
    let second = peer.take().unwrap();
    assert!(second.0.is_suspended());
    drop(first);
    drop(second); // Suspended in the middle: its stack is leaked, by contract.
    assert_eq!(leaked_stacks(), leaked_before + 1);
}

#[test]
fn a_fiber_that_has_ended_refuses() {
    let fiber = fiber(|| ());
    assert!(!fiber.0.is_started());
    fiber.0.switch().unwrap();
    assert!(fiber.0.is_started() && fiber.0.is_finished());
    assert_eq!(fiber.0.switch(), Err(SwitchError::Finished));
    assert_eq!(fiber.0.stack_bounds(), None);
}

#[test]
fn what_a_fiber_captured_is_dropped_if_it_never_begins() {
    let value = Rc::new(());
    for cancel in [true, false] {
        let held = value.clone();
        let before = pool_stats().in_use;
        let fiber = fiber(move || drop(held));
        assert_eq!((Rc::strong_count(&value), pool_stats().in_use), (2, before + 1));
        if cancel {
            assert!(fiber.0.cancel() && fiber.0.is_finished() && !fiber.0.cancel());
        }
        drop(fiber);
        assert_eq!((Rc::strong_count(&value), pool_stats().in_use), (1, before));
    }
}

#[test]
fn the_one_that_goes_on_after_an_end_is_kept_alive_and_released_when_it_switches_away() {
    struct Counted {
        fiber: Fiber,
        released: Rc<Cell<u32>>,
    }
    impl Resume for Counted {
        fn fiber(&self) -> &Fiber {
            &self.fiber
        }
        fn release(self: Rc<Self>) {
            self.released.set(self.released.get() + 1);
        }
    }
    let _alone = alone_in_leaking(); // The heir is dropped in the middle of its function.
    let released = Rc::new(Cell::new(0));
    let second = {
        let released = released.clone();
        Fiber::new(stack(), move || {
            // Nobody but the thread's record holds us now.
            assert_eq!(released.get(), 0);
            root().0.switch().unwrap();
            root()
        })
    };
    let heir = Rc::new(Counted { fiber: second, released: released.clone() });
    let weak = Rc::downgrade(&heir);
    let first = Fiber::new(stack(), move || heir);
    first.switch().unwrap();
    assert_eq!(released.get(), 1);
    assert!(weak.upgrade().is_none(), "released means dropped, unless it is held");
}

#[test]
fn a_switch_while_a_panic_unwinds_is_refused() {
    struct Switches<'a>(&'a Fiber, &'a Cell<Option<Result<(), SwitchError>>>);
    impl Drop for Switches<'_> {
        fn drop(&mut self) {
            self.1.set(Some(self.0.switch()));
        }
    }
    let other = fiber(|| ());
    let result = Cell::new(None);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _switches = Switches(&other.0, &result);
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    assert_eq!(result.get(), Some(Err(SwitchError::Panicking)));
}

#[test]
fn panics_are_caught_inside_a_fiber_and_do_not_leak_into_others() {
    let seen = Rc::new(Cell::new(false));
    let flag = seen.clone();
    let fiber = fiber(move || {
        let outcome = catch_unwind(|| panic!("inside"));
        root().0.switch().unwrap();
        flag.set(outcome.is_err() && !std::thread::panicking());
    });
    fiber.0.switch().unwrap();
    assert!(!std::thread::panicking());
    fiber.0.switch().unwrap();
    assert!(seen.get());
}

#[test]
fn floats_and_large_captures_survive() {
    let captured = [1.5f64; 100];
    let sum = Rc::new(Cell::new(0.0));
    let total = sum.clone();
    let fiber = fiber(move || {
        let mut running = 0.0;
        for value in captured {
            running += value;
            root().0.switch().unwrap();
        }
        total.set(running);
    });
    let mut own = 0.25f64;
    while !fiber.0.is_finished() {
        own *= 1.0001;
        fiber.0.switch().unwrap();
    }
    assert_eq!(sum.get(), 150.0);
    assert!((own - 0.25 * 1.0001f64.powi(101)).abs() < 1e-9);
}

#[test]
#[should_panic(expected = "does not fit a stack")]
fn a_function_larger_than_the_stack_is_refused() {
    let large = [0u8; 60 * 1024];
    fiber(move || {
        std::hint::black_box(large);
    });
}

#[test]
fn a_suspended_fiber_knows_how_much_stack_it_uses() {
    let fiber = fiber(|| {
        let frame = std::hint::black_box([7u8; 10_000]);
        root().0.switch().unwrap();
        assert_eq!(frame[9_999], 7);
    });
    assert_eq!(fiber.0.stack_in_use(), 0);
    fiber.0.switch().unwrap();
    let in_use = fiber.0.stack_in_use();
    assert!((10_000..64 * 1024).contains(&in_use), "{in_use}");
    let bounds = fiber.0.stack_bounds().unwrap();
    assert!(bounds.len() > 60_000 && bounds.end % 16 == 0);
    fiber.0.switch().unwrap();
}

#[test]
fn fibers_of_many_os_threads_do_not_meet() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..200 {
                    let fibers: Vec<_> = (0..20).map(|_| fiber(|| root().0.switch().unwrap())).collect();
                    for fiber in fibers.iter().chain(&fibers) {
                        fiber.0.switch().unwrap();
                    }
                    assert!(fibers.iter().all(|fiber| fiber.0.is_finished()));
                }
                assert_eq!(pool_stats().in_use, 0);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
