//! Random graphs of greenlets: a program for them is a string of bytes, so that a fuzzer can write it and a seed can,
//! too.
//!
//! Greenlets live in a table that all of them share. Whoever runs reads the next instruction and carries it out: make a
//! greenlet, switch to one, throw into one, let it exit, drop its handle, give it another parent, return, fail, panic.
//! When the bytes run out everybody returns. Afterwards every destructor must have run exactly once, and no stack be
//! leaked.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use greenloom::greenlet::{Current, Error, Greenlet, WeakGreenlet};

/// How many handles the table has.
const TABLE: usize = 8;

/// A program that is longer is cut off: it would only take longer.
const LONGEST: usize = 600;

struct World {
    bytes: RefCell<std::collections::VecDeque<u8>>,
    table: RefCell<Vec<Option<Greenlet<u8, u8>>>>,
    /// All greenlets that were made.
    all: RefCell<Vec<WeakGreenlet>>,
    /// Guards made and guards dropped.
    made: Cell<usize>,
    dropped: Cell<usize>,
}

impl World {
    fn next(&self) -> Option<u8> {
        self.bytes.borrow_mut().pop_front()
    }

    fn pick(&self) -> Option<Greenlet<u8, u8>> {
        let index = usize::from(self.next()?) % TABLE;
        self.table.borrow()[index].clone()
    }

    /// Puts a handle into the table; the one that was there is dropped outside of the borrow, since that may unwind a
    /// greenlet.
    fn put(&self, greenlet: Option<Greenlet<u8, u8>>) {
        let Some(index) = self.next() else { return };
        let before = std::mem::replace(&mut self.table.borrow_mut()[usize::from(index) % TABLE], greenlet);
        drop(before);
    }
}

/// Something with a destructor on every greenlet's stack, and in what it captured.
struct Guard(Rc<World>);

impl Guard {
    fn new(world: &Rc<World>) -> Guard {
        world.made.set(world.made.get() + 1);
        Guard(Rc::clone(world))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

/// What a greenlet does, the root included: instructions until it ends.
fn live(world: &Rc<World>, me: &Current<u8>, is_root: bool) -> Result<u8, Error> {
    let _guard = Guard::new(world);
    while let Some(instruction) = world.next() {
        let outcome = match instruction % 10 {
            0 | 1 => {
                let (inner, captured) = (Rc::clone(world), Guard::new(world));
                let body = move |me: &Current<u8>, _: u8| {
                    let _captured = captured;
                    live(&inner, me, false)
                };
                let greenlet = Greenlet::new(me, body);
                world.all.borrow_mut().push(greenlet.downgrade());
                world.put(Some(greenlet));
                Ok(0)
            }
            2..=4 => match world.pick() {
                Some(target) => me.switch(&target, instruction),
                None => Ok(0),
            },
            5 => match world.pick() {
                Some(target) => me.throw(&target, Error::thrown("thrown")),
                None => Ok(0),
            },
            6 => match world.pick() {
                Some(target) if !target.is_current() => me.throw(&target, Error::Exit),
                _ => Ok(0),
            },
            7 => {
                world.put(None);
                Ok(0)
            }
            8 => match (world.pick(), world.pick()) {
                (Some(child), Some(parent)) => child.set_parent(&parent).map(|()| 0),
                _ => Ok(0),
            },
            _ if is_root => Ok(0),
            _ => match world.next().unwrap_or(0) % 3 {
                0 => return Ok(instruction),
                1 => return Err(Error::thrown("failed")),
                _ => std::panic::resume_unwind(Box::new("panicked")),
            },
        };
        match outcome {
            Err(error @ Error::Thrown(_)) if !is_root && instruction & 16 != 0 => return Err(error),
            _ => {}
        }
    }
    Ok(0)
}

/// Carries out a program and checks what it left behind.
pub fn run(program: &[u8]) {
    let (leaked, in_use) = (greenloom_fiber::leaked_stacks(), greenloom_fiber::pool_stats().in_use);
    let world = Rc::new(World {
        bytes: RefCell::new(program.iter().copied().take(LONGEST).collect()),
        table: RefCell::new((0..TABLE).map(|_| None).collect()),
        all: RefCell::default(),
        made: Cell::new(0),
        dropped: Cell::new(0),
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let me = Current::<u8>::here();
        let _ = live(&world, &me, true);
        // Handles that are left are dropped one at a time; each unwinds its greenlet, which may use the table.
        for index in 0..TABLE {
            let handle = world.table.borrow_mut()[index].take();
            drop(handle);
        }
        // Those that hold one another on their stacks are ended by hand.
        for weak in world.all.take() {
            if let Some(greenlet) = weak.upgrade() {
                let _ = me.throw(&greenlet, Error::Exit);
            }
        }
    }));
    assert!(outcome.is_ok(), "the root does not panic");
    assert_eq!(world.made.get(), world.dropped.get(), "guards made and dropped");
    assert_eq!(greenloom_fiber::leaked_stacks(), leaked, "leaked stacks");
    assert_eq!(greenloom_fiber::pool_stats().in_use, in_use, "stacks in use");
}
