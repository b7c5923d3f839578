//! A thread's recorder: where the events go that [`recording`](super::recording) tells of, and whether any are told.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use greenloom_fiber::Ticks;
use greenloom_trace::{Text, Writer};

/// Whether somebody records.
pub static ON: AtomicBool = AtomicBool::new(false);

/// Whether somebody records.
#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// A thread's recorder.
pub struct Recorder {
    pub writer: Writer,
    pub clock: Ticks,
    /// How many nanoseconds one of its ticks takes, about.
    pub tick: f64,
    /// Why the running greenlet is about to be left.
    pub why: Cell<Option<Text>>,
    /// Since when it runs.
    pub since: Cell<u64>,
    /// When it was about to be left, if it is, which is asked for once: a look at the clock costs more than the rest.
    pub left: Cell<Option<u64>>,
}

/// A place for one in a thread's record.
pub type Place = RefCell<Option<Recorder>>;

impl Recorder {
    #[inline]
    /// Ticks since recording began.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }
}
