//! Ready work.

use std::collections::VecDeque;
use std::fmt;

/// Chooses which ready work goes next; a test replays a schedule through it.
pub trait Choose {
    /// An index below `ready`, which is at least 1. The queue takes it modulo `ready`.
    fn choose(&mut self, ready: usize) -> usize;
}

/// Work that is ready to run: first in, first out, unless a [`Choose`] says otherwise.
pub struct RunQueue<W> {
    ready: VecDeque<W>,
    choose: Option<Box<dyn Choose>>,
}

impl<W> RunQueue<W> {
    /// An empty queue.
    pub fn new() -> RunQueue<W> {
        RunQueue { ready: VecDeque::new(), choose: None }
    }

    /// Replaces the order; `None` means FIFO.
    pub fn set_choose(&mut self, choose: Option<Box<dyn Choose>>) {
        self.choose = choose;
    }

    /// Appends.
    #[inline]
    pub fn push(&mut self, work: W) {
        self.ready.push_back(work);
    }

    /// Puts work back that was taken and could not be run here; it is the next to be taken in FIFO order.
    pub fn push_front(&mut self, work: W) {
        self.ready.push_front(work);
    }

    /// Takes the next.
    #[inline]
    pub fn pop(&mut self) -> Option<W> {
        match &mut self.choose {
            None => self.ready.pop_front(),
            Some(choose) if !self.ready.is_empty() => {
                let index = choose.choose(self.ready.len()) % self.ready.len();
                self.ready.remove(index)
            }
            Some(_) => None,
        }
    }

    /// Whether nothing is ready.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// How much is ready.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Empties the queue.
    pub fn drain(&mut self) -> impl Iterator<Item = W> + '_ {
        self.ready.drain(..)
    }
}

impl<W> Default for RunQueue<W> {
    fn default() -> RunQueue<W> {
        RunQueue::new()
    }
}

impl<W> fmt::Debug for RunQueue<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunQueue").field("len", &self.len()).field("chosen", &self.choose.is_some()).finish()
    }
}
