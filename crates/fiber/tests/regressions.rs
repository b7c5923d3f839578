//! What once broke, and must not again. Each test names the behaviour and says what went wrong.

use std::rc::Rc;

use greenloom_fiber::{Fiber, Resume, Stack};

struct Node(Fiber);

impl Resume for Node {
    fn fiber(&self) -> &Fiber {
        &self.0
    }
}

fn fiber(body: impl FnOnce() + 'static) -> Fiber {
    Fiber::new(Stack::new(64 * 1024).unwrap(), move || {
        body();
        Rc::new(Node(Fiber::root()))
    })
}

/// A fresh fiber's frame takes 48 bytes below the captured values, where the contract once said 32. A capture of any
/// size must leave room for it, and stay whole.
#[test]
fn captures_of_every_size_are_whole_when_the_fiber_begins() {
    fn check<const N: usize>() {
        let captured: [u8; N] = std::array::from_fn(|index| index as u8);
        let fiber = fiber(move || assert!(captured.iter().enumerate().all(|(index, byte)| *byte == index as u8)));
        fiber.switch().unwrap();
        assert!(fiber.is_finished());
    }
    check::<0>();
    check::<1>();
    check::<15>();
    check::<16>();
    check::<17>();
    check::<48>();
    check::<4099>();
}
