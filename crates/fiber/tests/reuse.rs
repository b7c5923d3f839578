//! How many stacks a process needs. A file of its own, and so a process: the pool counts the stacks of all its threads.

use std::rc::Rc;

use greenloom_fiber::{Fiber, Resume, Stack, pool_stats};

struct Node(Fiber);

impl Resume for Node {
    fn fiber(&self) -> &Fiber {
        &self.0
    }
}

#[test]
fn stacks_are_given_back_at_the_end_and_used_again() {
    let before = pool_stats();
    for _ in 0..10_000 {
        let root = || Rc::new(Node(Fiber::root()));
        Rc::new(Node(Fiber::new(Stack::new(64 * 1024).unwrap(), root))).0.switch().unwrap();
    }
    let after = pool_stats();
    assert_eq!(after.in_use, before.in_use);
    assert!(after.stacks <= before.stacks + 8, "{} stacks for one at a time", after.stacks);
}
