//! Try first, wait second: the one loop of every operation on a file descriptor.
//!
//! An operation is tried unless its descriptor is known not to be ready. If it would block, that is noted, and the
//! caller parks until the descriptor is ready or the time is over; then it is tried again. [`attempt`] is that loop,
//! and [`Endpoint`] what it needs to know of the green thread that parks; [`park_at`] is the wait of an endpoint that
//! is registered with a hub. [`Transfer`] says when a transfer of fewer bytes than asked for proves that the next one
//! would block, which saves the try.
//!
//! This must not know how anything parks, nor what an operation does.

use std::marker::PhantomData;
use std::mem;

use crate::{Busy, Direction, SourceKey, Sources, Time};

/// One direction of one file descriptor, for its operations.
pub trait Endpoint {
    /// What a wait may end with.
    type Error;

    /// Whether an operation is worth a try, as far as is known.
    ///
    /// # Errors
    /// When no operation is allowed any more: the descriptor was closed.
    fn is_ready(&self) -> Result<bool, Self::Error>;

    /// Notes that an operation has just said that it would block.
    fn would_block(&self);

    /// The time after which one operation gives up waiting; asked for when it first has to wait.
    fn deadline(&self) -> Option<Time>;

    /// Parks until the descriptor is ready, or until `deadline`; returns at once if it is ready. It may return early.
    ///
    /// # Errors
    /// That the time is over, that the descriptor was closed, that parking is not possible, ...
    fn wait(&self, deadline: Option<Time>) -> Result<(), Self::Error>;
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried<T> {
    /// It is done, well or not.
    Done(T),
    /// It would block.
    WouldBlock,
    /// A signal came first: once more.
    Interrupted,
}

/// Tries `operation` until it does not block any more, and waits between the tries. One deadline covers all of them.
///
/// # Errors
/// Those of the endpoint; the operation's own are a [`Tried::Done`].
#[inline(always)]
pub fn attempt<T, E: Endpoint>(endpoint: &E, mut operation: impl FnMut() -> Tried<T>) -> Result<T, E::Error> {
    let mut deadline = None;
    loop {
        if endpoint.is_ready()? {
            match operation() {
                Tried::Done(done) => return Ok(done),
                Tried::Interrupted => continue,
                Tried::WouldBlock => endpoint.would_block(),
            }
        }
        if deadline.is_none() {
            deadline = endpoint.deadline();
        }
        endpoint.wait(deadline)?;
    }
}

/// The bytes of one `read` or `write` of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    asked: usize,
    buffers: usize,
}

/// How many buffers the system takes in one call (`UIO_MAXIOV`), and how many bytes (`MAX_RW_COUNT`, a page less than 2
/// GiB). It leaves out what is beyond, without a word.
const MOST_BUFFERS: usize = 1024;
const MOST_BYTES: usize = 0x7fff_0000;

impl Transfer {
    /// Of one buffer.
    #[inline]
    pub fn of(asked: usize) -> Transfer {
        Transfer { asked, buffers: 1 }
    }

    /// Of several buffers, by their lengths.
    pub fn of_all(lengths: impl Iterator<Item = usize>) -> Transfer {
        lengths.fold(Transfer { asked: 0, buffers: 0 }, |sum, length| Transfer {
            asked: sum.asked.saturating_add(length),
            buffers: sum.buffers + 1,
        })
    }

    /// Whether nothing is to be transferred. Such a call never blocks.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.asked == 0
    }

    /// Whether having transferred `done` bytes proves that the kernel's buffer of a TCP stream is empty, or full. Not
    /// if it is the call that was too large. What urgent data means is known to
    /// [`Sources::clear_ready`].
    #[inline]
    pub fn proves_blocking(self, done: usize) -> bool {
        0 < done && done < self.asked && self.asked <= MOST_BYTES && self.buffers <= MOST_BUFFERS
    }
}

/// Where sources are kept: the hub of the waiter.
pub trait HasSources<W> {
    /// Calls `f` with the sources; `None` if the hub is gone.
    fn with_sources<R>(&self, f: impl FnOnce(&mut Sources<W>) -> R) -> Option<R>;
}

/// Waits for a source: leaves `work` where the next edge finds it, and calls `park`. Unless that says by `told` that
/// the edge came, and if it unwinds, work that is still there, and `mine`, is taken back. Returns what `park` did;
/// `None`, without parking, if the source is ready or gone.
///
/// # Errors
/// [`Busy`] when somebody waits there already.
#[inline]
pub fn park_at<W, R>(
    host: &impl HasSources<W>,
    (key, direction): (SourceKey, Direction),
    work: W,
    mine: impl Fn(&W) -> bool,
    park: impl FnOnce() -> R,
    told: impl FnOnce(&R) -> bool,
) -> Result<Option<R>, Busy> {
    match host.with_sources(|sources| sources.wait(key, direction, work)) {
        Some(Ok(true)) => {}
        Some(Ok(false)) | None => return Ok(None),
        Some(Err(busy)) => return Err(busy),
    }
    let take_back = TakeBack { host, key, direction, mine, work: PhantomData };
    let parked = park();
    if told(&parked) {
        mem::forget(take_back);
    }
    Ok(Some(parked))
}

struct TakeBack<'a, W, H: HasSources<W>, F: Fn(&W) -> bool> {
    host: &'a H,
    key: SourceKey,
    direction: Direction,
    mine: F,
    work: PhantomData<fn() -> W>,
}

impl<W, H: HasSources<W>, F: Fn(&W) -> bool> Drop for TakeBack<'_, W, H, F> {
    #[inline]
    fn drop(&mut self) {
        let work = self.host.with_sources(|sources| sources.stop_waiting(self.key, self.direction, &self.mine));
        // Outside of the borrow: it may run code.
        drop(work);
    }
}
