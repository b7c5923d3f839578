//! The core: everything that one turn of the loop touches.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::poller::{Events, Poller};
use crate::{Clock, Direction, Inbox, SourceKey, Sources, Time, TimerKey, Timers};

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

/// The state of one OS thread's event loop but for its [`RunQueue`](crate::RunQueue). `W` is what it hands out, `M` what other OS threads may send.
pub struct Core<W, M> {
    /// Pending timers.
    pub timers: Timers<W>,
    sources: Sources<W>,
    poller: Poller,
    events: Events,
    clock: Rc<dyn Clock>,
    inbox: Arc<Inbox<M>>,
}

impl<W, M: Send + 'static> Core<W, M> {
    /// A core with nothing to do.
    ///
    /// # Errors
    /// Those of [`Poller::new`].
    pub fn new(clock: Rc<dyn Clock>) -> io::Result<Core<W, M>> {
        let poller = Poller::new()?;
        let inbox = Arc::new(Inbox::new(poller.bell()));
        Ok(Core { timers: Timers::new(), sources: Sources::new(), poller, events: Events::new(), clock, inbox })
    }

    /// The inbox, for other OS threads to send to.
    pub fn inbox(&self) -> &Arc<Inbox<M>> {
        &self.inbox
    }

    /// The clock.
    pub fn clock(&self) -> &Rc<dyn Clock> {
        &self.clock
    }

    /// Replaces the clock. Timers keep their times.
    pub fn set_clock(&mut self, clock: Rc<dyn Clock>) {
        self.clock = clock;
    }

    /// The registered file descriptors.
    pub fn sources(&mut self) -> &mut Sources<W> {
        &mut self.sources
    }

    /// Registers a file descriptor.
    ///
    /// # Errors
    /// Those of [`Poller::add`].
    pub fn add_source(&mut self, fd: BorrowedFd<'_>) -> io::Result<SourceKey> {
        self.sources.add(&self.poller, fd)
    }

    /// Forgets a file descriptor; see [`Sources::remove`]. The caller tells the work that is returned.
    #[must_use]
    pub fn remove_source(&mut self, key: SourceKey, fd: Option<BorrowedFd<'_>>) -> [Option<W>; 2] {
        self.sources.remove(&self.poller, key, fd)
    }

    /// Sets or removes a listener; see [`Sources::listen`].
    ///
    /// # Errors
    /// As there.
    pub fn listen(
        &mut self,
        key: SourceKey,
        fd: BorrowedFd<'_>,
        direction: Direction,
        make: Option<Box<dyn Fn() -> W>>,
    ) -> io::Result<()> {
        self.sources.listen(&self.poller, key, fd, direction, make)
    }

    /// Adds a timer.
    pub fn add_timer(&mut self, at: Time, work: W) -> TimerKey {
        self.timers.add(at, work)
    }

    /// One turn: appends to `fired` what is due at one `now`, then what I/O wakes. With nothing due, an empty inbox and no
    /// other work (`busy` is false) it waits first, for the next timer, event or message.
    ///
    /// Returns `false` when nothing can happen any more (see [`Others::Silent`]).
    ///
    /// # Errors
    /// Those of the poller.
    pub fn turn(&mut self, busy: bool, others: Others, fired: &mut Vec<(W, Cause)>) -> io::Result<bool> {
        let before = fired.len();
        if !self.timers.is_empty() {
            let (now, limit) = (self.clock.now(), self.timers.limit());
            while let Some(work) = self.timers.pop_due(now, limit) {
                fired.push((work, Cause::Timer));
            }
        }
        if busy || fired.len() > before || !self.inbox.fall_asleep() {
            self.poll(Some(Duration::ZERO), fired)?;
            return Ok(true);
        }
        let result = self.wait(others, fired);
        self.inbox.wake_up();
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

    /// Replaces the poller and the inbox's bell by fresh ones and forgets every source, as the child of a fork must: the
    /// old ones are shared with the parent. Returns the work that waited on the sources; the caller tells it, and it
    /// registers anew.
    ///
    /// # Errors
    /// Those of [`Poller::new`].
    pub fn renew(&mut self) -> io::Result<Vec<W>> {
        let poller = Poller::new()?;
        let messages = self.inbox.close();
        self.inbox = Arc::new(Inbox::new(poller.bell()));
        for message in messages {
            // The inbox is new, so it is open.
            let _ = self.inbox.send(message);
        }
        self.poller = poller;
        Ok(std::mem::take(&mut self.sources).into_waiting())
    }
}

impl<W, M> fmt::Debug for Core<W, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("timers", &self.timers).field("sources", &self.sources).finish_non_exhaustive()
    }
}
