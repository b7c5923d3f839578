//! The core: everything that one turn of the loop touches. The turn itself is in `turn`.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::poller::{Events, Poller};
use crate::{Clock, Direction, Inbox, SourceKey, Sources, Statistics, Time, TimerKey, Timers};

/// The state of one OS thread's event loop but for its [`RunQueue`](crate::RunQueue). `W` is what it hands out, `M`
/// what other OS threads may send.
pub struct Core<W, M> {
    /// Pending timers.
    pub timers: Timers<W>,
    pub(crate) sources: Sources<W>,
    pub(crate) poller: Poller,
    pub(crate) events: Events,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) inbox: Arc<Inbox<M>>,
    pub(crate) statistics: Arc<Statistics>,
}

impl<W, M: Send + 'static> Core<W, M> {
    /// A core with nothing to do.
    ///
    /// # Errors
    /// Those of [`Poller::new`].
    pub fn new(clock: Rc<dyn Clock>) -> io::Result<Core<W, M>> {
        let poller = Poller::new()?;
        let inbox = Arc::new(Inbox::new(poller.bell()));
        let statistics = Arc::new(Statistics::new(clock.now()));
        let (timers, sources, events) = (Timers::new(), Sources::new(), Events::new());
        Ok(Core { timers, sources, poller, events, clock, inbox, statistics })
    }

    /// The inbox, for other OS threads to send to.
    pub fn inbox(&self) -> &Arc<Inbox<M>> {
        &self.inbox
    }

    /// What it has done, for any OS thread to read. Switches are for its owner to count.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// The clock.
    pub fn clock(&self) -> &Rc<dyn Clock> {
        &self.clock
    }

    /// Replaces the clock. Timers keep their times.
    pub fn set_clock(&mut self, clock: Rc<dyn Clock>) {
        self.clock = clock;
    }

    /// The poller.
    pub fn poller(&self) -> &Poller {
        &self.poller
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

    /// The key of this very file, if it is registered; see [`Sources::find_open`].
    ///
    /// # Errors
    /// Those of [`Poller::change`].
    pub fn find_open(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<SourceKey>> {
        self.sources.find_open(&self.poller, fd)
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
}

impl<W, M> fmt::Debug for Core<W, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("timers", &self.timers).field("sources", &self.sources).finish_non_exhaustive()
    }
}
