//! Timers, fired in order of their time and, where that is equal, of their age.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use crate::Time;

/// Names a timer. Keys are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey {
    at: Time,
    sequence: u64,
}

impl TimerKey {
    /// When the timer is due.
    pub fn at(self) -> Time {
        self.at
    }

    /// Its place among the timers by age; see [`Timers::limit`].
    pub fn sequence(self) -> u64 {
        self.sequence
    }
}

/// Pending timers. The key is the place in the order, so cancelling removes the entry and nothing is left behind.
pub struct Timers<W> {
    pending: BTreeMap<TimerKey, W>,
    next_sequence: u64,
}

impl<W> Timers<W> {
    /// No timers.
    pub fn new() -> Timers<W> {
        Timers { pending: BTreeMap::new(), next_sequence: 0 }
    }

    /// Adds a timer.
    pub fn add(&mut self, at: Time, work: W) -> TimerKey {
        let key = TimerKey { at, sequence: self.next_sequence };
        self.next_sequence += 1;
        self.pending.insert(key, work);
        key
    }

    /// Removes a timer that has not fired and returns its work.
    pub fn cancel(&mut self, key: TimerKey) -> Option<W> {
        self.pending.remove(&key)
    }

    /// When the next timer is due.
    pub fn next_at(&self) -> Option<Time> {
        self.pending.first_key_value().map(|(key, _)| key.at)
    }

    /// Takes the next timer, if it is due at `now` and was added before `limit`, a number that [`Timers::limit`] gave.
    /// The limit keeps a timer that re-arms itself with no delay from firing for ever in one turn.
    pub fn pop_due(&mut self, now: Time, limit: u64) -> Option<W> {
        let entry = self.pending.first_entry()?;
        if entry.key().at > now || entry.key().sequence >= limit {
            return None;
        }
        Some(entry.remove())
    }

    /// Later timers than those that exist now have this sequence number or a higher one.
    pub fn limit(&self) -> u64 {
        self.next_sequence
    }

    /// Pending timers, the next one first.
    pub fn iter(&self) -> impl Iterator<Item = (TimerKey, &W)> {
        self.pending.iter().map(|(key, work)| (*key, work))
    }

    /// Pending timers behind this one, the next one first; all of them for `None`.
    pub fn iter_behind(&self, key: Option<TimerKey>) -> impl Iterator<Item = (TimerKey, &W)> {
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.pending.range((start, Bound::Unbounded)).map(|(key, work)| (*key, work))
    }

    /// How many timers are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl<W> Default for Timers<W> {
    fn default() -> Timers<W> {
        Timers::new()
    }
}

impl<W> fmt::Debug for Timers<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("len", &self.len()).field("next_at", &self.next_at()).finish()
    }
}
