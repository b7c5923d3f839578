//! The loop: the order of what it runs, its fairness, and what the child of a fork has to renew.
//!
//! The owner of a loop says through [`Loop`] how it receives, runs and looks; [`run_turn`] says in which order:
//! messages, then ready work, at most a [`Budget`] of it, then a look at timers and I/O, whose work becomes ready
//! behind what is; a loop that keeps the time since when its work is ready runs what is due in between. Work that makes
//! more work therefore starves neither timers nor I/O. Timers fire by one captured `now`, and only those that existed
//! when it was captured ([`Due`]): one that sets itself again with no delay waits for the next turn.
//!
//! A piece of work may fork. The child's poller is then the parent's, and to wait with it would take the parent's
//! events away; so it is renewed before every look, not only once a turn.
//!
//! This must not know what work is, nor how it is run.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::poller::Poller;
use crate::{Core, Inbox, Time, TimerKey, Timers};

/// How many pieces of ready work may run between two turns while there is always more. A turn with nothing to do
/// costs a clock read and, with file descriptors registered, a system call (about 0.5 us together); shared by this many
/// it disappears beside the work, and timers and I/O are late by no more than this many pieces take.
pub const TURN_EVERY: u32 = 64;

/// Why work is handed out by a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its timer was due.
    Timer,
    /// Its file descriptor became ready.
    Io,
    /// The file descriptor it waits on was closed, or moved to another hub.
    Closed,
}

/// What the hub may expect of other OS threads while it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They may send something at any time, so it waits.
    MaySend,
    /// They work for this hub and will send something: it waits, and a virtual clock stands still.
    Working,
    /// They will not: with no timer and no waiting I/O left, [`Core::turn`] says so and does not wait.
    Silent,
}

/// The owner of a loop.
pub trait Loop {
    /// What ends the loop.
    type Error;

    /// How much ready work may still run in this turn.
    fn budget(&self) -> &Budget;

    /// How much ready work a turn runs at most: [`TURN_EVERY`], or what is ready when it begins.
    fn batch(&self) -> u32 {
        TURN_EVERY
    }

    /// Whether the loop is to end. It then looks at nothing any more.
    fn is_ending(&self) -> bool;

    /// Renews what the child of a fork must not share with its parent, if this is one.
    ///
    /// # Errors
    /// When there is no new poller.
    fn renew(&self) -> Result<(), Self::Error>;

    /// Takes in what came from elsewhere: other OS threads' messages, listeners that were closed.
    ///
    /// # Errors
    /// What ends the loop.
    fn receive(&self) -> Result<(), Self::Error>;

    /// Runs what has its turn before ready work and is not counted, for a loop that runs timers and ready work by time;
    /// returns whether there was something.
    ///
    /// # Errors
    /// What ends the loop.
    #[inline(always)]
    fn run_due(&self) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// Runs the next piece of ready work; returns whether there was one.
    ///
    /// # Errors
    /// What ends the loop.
    fn run_next(&self) -> Result<bool, Self::Error>;

    /// Looks at timers and I/O, and waits for them if nothing is ready.
    ///
    /// # Errors
    /// What ends the loop.
    fn look(&self) -> Result<(), Self::Error>;
}

/// One turn of the loop.
///
/// # Errors
/// What the loop ends with.
#[inline(always)]
pub fn run_turn<L: Loop>(this: &L) -> Result<(), L::Error> {
    this.renew()?;
    this.receive()?;
    this.budget().refill(this.batch());
    while this.run_due()? || this.budget().spend() && this.run_next()? {}
    if this.is_ending() {
        return Ok(());
    }
    this.renew()?;
    this.look()
}

/// How many pieces of ready work may run before the loop looks at timers and I/O. Whoever picks ready work in the
/// loop's place, when it parks, spends from it too.
#[derive(Debug)]
pub struct Budget(Cell<u32>);

impl Budget {
    /// One for a whole batch.
    pub const fn new() -> Budget {
        Budget(Cell::new(TURN_EVERY))
    }

    /// Begins anew.
    #[inline]
    pub fn refill(&self, pieces: u32) {
        self.0.set(pieces);
    }

    /// Whether something may still run.
    #[inline]
    pub fn is_left(&self) -> bool {
        self.0.get() > 0
    }

    /// Takes one piece from it, if one is left.
    #[inline]
    pub fn spend(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }

    /// Makes the loop look as soon as it is its turn.
    pub fn give_up(&self) {
        self.0.set(0);
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new()
    }
}

/// The timers that a turn fires: those that are due at one point in time and existed then.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    now: Time,
    limit: u64,
}

impl Due {
    /// Those of `timers` that are due at `now`.
    pub fn at<W>(now: Time, timers: &Timers<W>) -> Due {
        Due { now, limit: timers.limit() }
    }

    /// When it was captured.
    pub fn now(self) -> Time {
        self.now
    }

    /// Whether a timer existed then.
    pub fn existed(self, key: TimerKey) -> bool {
        key.sequence() < self.limit
    }

    /// Takes the next one.
    pub fn pop<W>(self, timers: &mut Timers<W>) -> Option<W> {
        timers.pop_due(self.now, self.limit)
    }

    /// Takes the next one, if it comes before ready work that has been ready `since`: for a loop that runs both by
    /// time.
    pub fn pop_before<W>(self, timers: &mut Timers<W>, since: Option<Time>) -> Option<W> {
        let at = timers.next_at()?;
        if since.is_none_or(|since| at < since) { self.pop(timers) } else { None }
    }
}

impl<W, M: Send + 'static> Core<W, M> {
    /// One turn: appends to `fired` what is due at one `now`, then what I/O wakes. With nothing due and an empty inbox
    /// it waits first, for the next timer, event or message, as `idle` says; `None` is for a hub that has ready work,
    /// so it does not wait.
    ///
    /// Returns `false` when nothing can happen any more (see [`Others::Silent`]).
    ///
    /// # Errors
    /// Those of the poller.
    pub fn turn(&mut self, idle: Option<Others>, fired: &mut Vec<(W, Cause)>) -> io::Result<bool> {
        let before = fired.len();
        let now = self.clock.now();
        self.statistics.count_look(now);
        let due = Due::at(now, &self.timers);
        while let Some(at) = self.timers.next_at()
            && let Some(work) = due.pop(&mut self.timers)
        {
            self.statistics.count_timer(now.since(at));
            fired.push((work, Cause::Timer));
        }
        let idle = idle.filter(|_| fired.len() == before);
        let result = match idle.filter(|_| self.inbox.fall_asleep()) {
            None => self.poll(Some(Duration::ZERO), fired).map(|()| true),
            Some(others) => {
                self.statistics.set_waits(true);
                let waited = self.wait(others, fired);
                self.statistics.set_waits(false);
                self.inbox.wake_up();
                waited
            }
        };
        self.statistics.looked(self.clock.now());
        result
    }

    fn wait(&mut self, others: Others, fired: &mut Vec<(W, Cause)>) -> io::Result<bool> {
        let Some(next) = self.timers.next_at() else {
            if others == Others::Silent && self.sources.waiting() == 0 {
                return Ok(false);
            }
            self.poll(None, fired)?;
            return Ok(true);
        };
        if !self.clock.is_virtual() {
            let wait = next.since(self.clock.now());
            self.poll(Some(wait), fired)?;
        } else if others == Others::Working {
            self.poll(None, fired)?;
        } else {
            // Time passes only when there is nothing else left to happen, I/O included.
            self.poll(Some(Duration::ZERO), fired)?;
            if fired.is_empty() {
                self.clock.jump(next);
            }
        }
        Ok(true)
    }

    fn poll(&mut self, timeout: Option<Duration>, fired: &mut Vec<(W, Cause)>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) && self.sources.is_empty() {
            return Ok(());
        }
        self.poller.wait(timeout, &mut self.events)?;
        for event in self.events.iter() {
            self.sources.report(event, |work| fired.push((work, Cause::Io)));
        }
        Ok(())
    }

    /// Replaces the poller and the inbox by fresh ones and forgets every source, as the child of a fork must: the old
    /// ones are shared with the parent. Returns the work that waited on the sources; the caller tells it, and it
    /// registers anew.
    ///
    /// # Errors
    /// Those of [`Poller::new`].
    pub fn renew(&mut self) -> io::Result<Vec<W>> {
        let poller = Poller::new()?;
        let inbox = Arc::new(Inbox::new(poller.bell()));
        for message in self.inbox.close() {
            // The inbox is new, so it is open.
            let _ = inbox.send(message);
        }
        self.inbox = inbox;
        self.poller = poller;
        Ok(std::mem::take(&mut self.sources).into_waiting())
    }
}
