//! How many stacks a process needs. A file of its own, and so a process: the pool counts the stacks of all its threads.

use std::rc::Rc;

use greenloom_fiber::{Fiber, Resume, Stack, pool_stats};

struct Node(Fiber);

impl Resume for Node {
    fn fiber(&self) -> &Fiber {
        &self.0
    }
}

/// Runs a fiber to its end.
fn run_one(size: usize) {
    let root = || Rc::new(Node(Fiber::root()));
    Rc::new(Node(Fiber::new(Stack::new(size).unwrap(), root))).0.switch().unwrap();
}

/// Ends a fiber in an OS thread's last moments, whatever is gone by then.
struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        run_one(64 * 1024);
    }
}

thread_local! {
    static EARLIER: AtTheEnd = const { AtTheEnd };
    static LATER: AtTheEnd = const { AtTheEnd };
}

#[test]
fn stacks_are_given_back_at_the_end_and_used_again() {
    let before = pool_stats();
    (0..10_000).for_each(|_| run_one(64 * 1024));
    let after = pool_stats();
    assert_eq!(after.in_use, before.in_use);
    assert!(after.stacks <= before.stacks + 8, "{} stacks for one at a time", after.stacks);
}

#[test]
fn os_threads_leave_no_stacks_behind() {
    let ended = || {
        std::thread::spawn(|| {
            EARLIER.with(|_| ());
            run_one(64 * 1024);
            run_one(128 * 1024);
            run_one(64 * 1024);
            LATER.with(|_| ());
        })
        .join()
        .unwrap();
    };
    ended();
    let before = pool_stats().stacks;
    (0..100).for_each(|_| ended());
    // The other test of this file may take some meanwhile.
    assert!(pool_stats().stacks <= before + 8, "{} stacks after {before}", pool_stats().stacks);
}
