//! What a greenlet waits for: a record that lies on the stack of the greenlet that waits, and refers to the object at
//! which it does. Nothing is put together before somebody asks.

use std::cell::Cell;

use greenloom_hub::Time;

/// A greenlet's wait.
pub struct Wait<'a> {
    /// For what, in words; empty for one that merely gives way.
    pub what: &'static str,
    /// Where.
    pub at: Option<&'a dyn Awaited>,
    /// When it gives up, or goes on.
    pub until: Option<Time>,
}

/// An object at which greenlets wait. What it says of itself runs no Python code.
pub trait Awaited {
    /// How it is.
    fn at(&self) -> At;

    /// More, in words.
    fn detail(&self) -> String {
        String::new()
    }
}

/// How an object is at which greenlets wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct At {
    /// What tells it from others; 0 if it is the waiter's alone.
    pub object: usize,
    /// How many wait there.
    pub waiters: usize,
    /// For whom they wait: the one that has taken what they want, or that shall end.
    pub holder: Option<Life>,
    /// How many units it has, if none of them is free.
    pub all_taken: Option<usize>,
}

/// A greenlet, by its address and its birth: the address may be another one's when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// The address.
    pub address: usize,
    pub(super) began: u64,
}

/// Where a greenlet's record has its wait, null while there is none.
pub type Place = Cell<*const Wait<'static>>;
