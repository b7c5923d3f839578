//! Queues for green threads. Each can be used from any OS thread, and serves its waiters first come first served.
//!
//! A queue has a capacity: [`put`](QueueOf::put) parks while it is full, [`get`](QueueOf::get) while it is empty. With
//! capacity 0 it is a channel: a put waits until somebody gets the item. [`QueueOf::unbounded`] has none. What differs
//! is the order in which items come out: [`Queue`] is first in first out, [`LifoQueue`] last in first out,
//! [`PriorityQueue`] smallest first and, among equals, first in first out.
//!
//! A queue can be [closed](QueueOf::close): puts fail from then on, and gets when it is empty.
//!
//! Semantics: eventlet's `queue` module, with items handed to waiters in the order in which they came.

mod error;
mod order;
mod state;

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use greenloom_hub::Time;

use crate::runtime::line::{
    Claim, Line, Place, Registered, Ungranted, deadline, grant_all, leave, lock, take_out, wait, wake, wake_all,
};
use crate::runtime::park::Waker;

pub use error::{PutError, Reason};
pub use order::{Fifo, Lifo, Order, Priority};
use state::{Getters, Joiners, Putters, State};

/// A first in, first out queue.
///
/// ```
/// use greenloom::{queue::Queue, spawn};
/// use std::rc::Rc;
///
/// let queue = Rc::new(Queue::new(2));
/// let producer = { let queue = queue.clone(); spawn(move || (0..5).try_for_each(|n| queue.put(n))) };
/// let all: Vec<i32> = (0..5).map(|_| queue.get().unwrap()).collect();
/// assert_eq!(all, [0, 1, 2, 3, 4]);
/// producer.wait().unwrap()?;
/// # Ok::<(), greenloom::queue::PutError<i32>>(())
/// ```
pub type Queue<T> = QueueOf<Fifo<T>>;

/// The same as [`Queue`]: that eventlet's `Queue` also counts unfinished tasks costs nothing here.
pub type LightQueue<T> = Queue<T>;

/// A queue whose newest item comes out first.
///
/// ```
/// let queue = greenloom::queue::LifoQueue::unbounded();
/// (1..4).try_for_each(|n| queue.put(n))?;
/// assert_eq!(queue.get(), Ok(3));
/// # Ok::<(), greenloom::queue::PutError<i32>>(())
/// ```
pub type LifoQueue<T> = QueueOf<Lifo<T>>;

/// A queue whose smallest item comes out first; among equals, the oldest.
///
/// ```
/// let queue = greenloom::queue::PriorityQueue::unbounded();
/// [3, 1, 2].into_iter().try_for_each(|n| queue.put(n))?;
/// assert_eq!(queue.get(), Ok(1));
/// # Ok::<(), greenloom::queue::PutError<i32>>(())
/// ```
pub type PriorityQueue<T> = QueueOf<Priority<T>>;

/// A queue whose items come out in the order `O`; see the [module](self).
pub struct QueueOf<O: Order> {
    state: Mutex<State<O>>,
}

impl<O: Order> QueueOf<O> {
    /// A queue of at most `capacity` items; with 0, a channel.
    pub fn new(capacity: usize) -> QueueOf<O> {
        let state = State {
            items: O::default(),
            capacity,
            closed: false,
            getters: Line::new(),
            putters: Line::new(),
            unfinished: 0,
            joiners: Line::new(),
        };
        QueueOf { state: Mutex::new(state) }
    }

    /// A queue without a limit: puts never wait.
    pub fn unbounded() -> QueueOf<O> {
        QueueOf::new(usize::MAX)
    }

    /// Puts an item; parks while the queue is full.
    ///
    /// # Errors
    /// [`PutError`], with the item: [`Reason::Closed`], or where waiting is not possible.
    #[inline]
    pub fn put(&self, item: O::Item) -> Result<(), PutError<O::Item>> {
        self.put_until(item, || None)
    }

    /// As [`QueueOf::put`], at most for `timeout`.
    ///
    /// # Errors
    /// As there, and [`Reason::Full`].
    pub fn put_timeout(&self, item: O::Item, timeout: Duration) -> Result<(), PutError<O::Item>> {
        self.put_until(item, || deadline(timeout))
    }

    /// Puts an item if there is room for it, or somebody waits for one. Never waits, and works on any OS thread.
    ///
    /// # Errors
    /// [`PutError`]: [`Reason::Full`], [`Reason::Closed`].
    pub fn try_put(&self, item: O::Item) -> Result<(), PutError<O::Item>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PutError { item, reason: Reason::Closed });
        }
        match state.put_now(item) {
            Ok(getter) => {
                drop(state);
                wake::<Getters<O>>(&self.state, getter);
                Ok(())
            }
            Err(item) => Err(PutError { item, reason: Reason::Full }),
        }
    }

    #[inline]
    fn put_until(&self, item: O::Item, deadline: impl FnOnce() -> Option<Time>) -> Result<(), PutError<O::Item>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PutError { item, reason: Reason::Closed });
        }
        let item = match state.put_now(item) {
            Ok(getter) => {
                drop(state);
                wake::<Getters<O>>(&self.state, getter);
                return Ok(());
            }
            Err(item) => item,
        };
        match wait::<Putters<O>>(&self.state, item, state, deadline()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(item)) => Err(PutError { item, reason: Reason::Closed }),
            Err(Ungranted::TimedOut(item)) => Err(PutError { item, reason: Reason::Full }),
            Err(Ungranted::Refused(refused, item)) => Err(PutError { item, reason: refused.into() }),
        }
    }

    /// Takes the next item; parks while there is none.
    ///
    /// # Errors
    /// [`Reason::Closed`] when the queue is closed and empty; where waiting is not possible.
    #[inline]
    pub fn get(&self) -> Result<O::Item, Reason> {
        self.get_until(|| None)
    }

    /// As [`QueueOf::get`], at most for `timeout`.
    ///
    /// # Errors
    /// As there, and [`Reason::Empty`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<O::Item, Reason> {
        self.get_until(|| deadline(timeout))
    }

    /// As [`QueueOf::get_timeout`], until `deadline` on the hub's clock: for waits that share a limit.
    ///
    /// Semantics: crossbeam's `recv_deadline`.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use greenloom::{hub::now, queue::{Queue, Reason}};
    /// use std::time::Duration;
    ///
    /// let deadline = now() + Duration::from_millis(5);
    /// assert_eq!(Queue::<u32>::unbounded().get_deadline(deadline), Err(Reason::Empty));
    /// assert!(now() >= deadline);
    /// ```
    pub fn get_deadline(&self, deadline: Duration) -> Result<O::Item, Reason> {
        self.get_until(|| Some(Time::ZERO + deadline))
    }

    /// Takes the next item if there is one, in the queue or with a putter that waits. Never waits, and works on any OS
    /// thread.
    ///
    /// # Errors
    /// [`Reason::Empty`], [`Reason::Closed`].
    pub fn try_get(&self) -> Result<O::Item, Reason> {
        let mut state = lock(&self.state);
        match state.get_now() {
            Some((item, putter)) => {
                drop(state);
                wake::<Putters<O>>(&self.state, putter);
                Ok(item)
            }
            None if state.closed => Err(Reason::Closed),
            None => Err(Reason::Empty),
        }
    }

    #[inline]
    fn get_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<O::Item, Reason> {
        let mut state = lock(&self.state);
        if let Some((item, putter)) = state.get_now() {
            drop(state);
            wake::<Putters<O>>(&self.state, putter);
            return Ok(item);
        }
        if state.closed {
            return Err(Reason::Closed);
        }
        match wait::<Getters<O>>(&self.state, (), state, deadline()) {
            Ok(Some(item)) => Ok(item),
            Ok(None) => Err(Reason::Closed),
            Err(Ungranted::TimedOut(())) => Err(Reason::Empty),
            Err(Ungranted::Refused(refused, ())) => Err(refused.into()),
        }
    }

    /// Closes the queue: every put fails from now on, those that wait included, and every get once the queue is empty.
    /// Items that are in it can still be got.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let (putters, getters) = (grant_all(&mut state.putters, Err), grant_all(&mut state.getters, |()| None));
        drop(state);
        wake_all(putters);
        wake_all(getters);
    }

    /// Takes items until the queue is closed and empty; parks while there is none.
    ///
    /// ```
    /// let queue = greenloom::queue::Queue::unbounded();
    /// (0..3).try_for_each(|n| queue.put(n))?;
    /// queue.close();
    /// assert_eq!(queue.iter().sum::<i32>(), 3);
    /// # Ok::<(), greenloom::queue::PutError<i32>>(())
    /// ```
    ///
    /// # Panics
    /// The iterator's `next`, where waiting is not possible.
    pub fn iter(&self) -> Iter<'_, O> {
        Iter { queue: self }
    }

    /// How many items it holds at most; `usize::MAX` if there is no limit.
    pub fn capacity(&self) -> usize {
        lock(&self.state).capacity
    }

    /// Changes the capacity. Waiters for room get what there is now; items that are in the queue stay.
    ///
    /// Semantics: eventlet's `resize`.
    ///
    /// ```
    /// let queue = greenloom::queue::Queue::new(1);
    /// queue.put('a')?;
    /// assert!(queue.try_put('b').is_err());
    /// queue.resize(2);
    /// queue.put('b')?;
    /// # Ok::<(), greenloom::queue::PutError<char>>(())
    /// ```
    pub fn resize(&self, capacity: usize) {
        let mut state = lock(&self.state);
        state.capacity = capacity;
        let mut admitted = Vec::new();
        while state.items.len() < state.capacity
            && let Some((item, putter)) = state.admit_putter()
        {
            state.items.push(item);
            admitted.push(putter);
        }
        drop(state);
        wake_all(admitted);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// How many items are in it; those of putters that wait do not count.
    pub fn len(&self) -> usize {
        lock(&self.state).items.len()
    }

    /// Whether no item is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a put would wait.
    pub fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.getters.is_empty() && state.items.len() >= state.capacity
    }

    /// How many wait to put and to get.
    pub fn waiting(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.putters.len(), state.getters.len())
    }

    /// Says that the work which an item that was got stands for is done.
    ///
    /// # Panics
    /// When it is said more often than items were put.
    pub fn task_done(&self) {
        let mut state = lock(&self.state);
        let Some(unfinished) = state.unfinished.checked_sub(1) else {
            drop(state);
            panic!("task_done was called more often than items were put");
        };
        state.unfinished = unfinished;
        if unfinished == 0 {
            let all = grant_all(&mut state.joiners, |()| ());
            drop(state);
            wake_all(all);
        }
    }

    /// Parks until [`task_done`](QueueOf::task_done) was called for every item that was put.
    ///
    /// ```
    /// use greenloom::{queue::Queue, spawn_n};
    /// use std::rc::Rc;
    ///
    /// let queue = Rc::new(Queue::unbounded());
    /// (0..3).try_for_each(|n| queue.put(n))?;
    /// let worker = queue.clone();
    /// spawn_n(move || while worker.get().is_ok() { worker.task_done() });
    /// queue.join().unwrap();
    /// # Ok::<(), greenloom::queue::PutError<i32>>(())
    /// ```
    ///
    /// # Errors
    /// Where waiting is not possible.
    pub fn join(&self) -> Result<(), Reason> {
        self.join_until(|| None)
    }

    /// As [`QueueOf::join`], at most for `timeout`.
    ///
    /// # Errors
    /// As there, and [`Reason::Unfinished`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), Reason> {
        self.join_until(|| deadline(timeout))
    }

    fn join_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<(), Reason> {
        let state = lock(&self.state);
        if state.unfinished == 0 {
            return Ok(());
        }
        match wait::<Joiners<O>>(&self.state, (), state, deadline()) {
            Ok(()) => Ok(()),
            Err(Ungranted::Refused(refused, ())) => Err(refused.into()),
            Err(Ungranted::TimedOut(())) => Err(Reason::Unfinished),
        }
    }

    /// How many items were put whose work is not done.
    pub fn unfinished_tasks(&self) -> usize {
        lock(&self.state).unfinished
    }

    /// For `select`: gets an item if nothing else was got, or queues for one.
    pub(crate) fn register(&self, waker: Waker, claim: &Claim) -> Registered<Result<O::Item, Reason>> {
        let mut state = lock(&self.state);
        // Taken before it is known that there is an item: so it is only asked for one that is there.
        if !state.items.is_empty() || state.putters.has_waiting_for(claim) || state.closed {
            if !claim.take() {
                return Registered::Claimed;
            }
            let Some((item, putter)) = state.get_now() else {
                // If it is not closed, a putter was there that has got something else in this very moment.
                return if state.closed { Registered::Now(Err(Reason::Closed)) } else { Registered::Claimed };
            };
            drop(state);
            wake::<Putters<O>>(&self.state, putter);
            return Registered::Now(Ok(item));
        }
        Registered::Waits(state.getters.join_with(waker, Some(claim.clone()), ()))
    }

    /// For `select`: leaves the line with what was granted.
    pub(crate) fn leave(&self, key: Place) -> Option<Result<O::Item, Reason>> {
        let granted = take_out(&mut lock(&self.state).getters, key).ok()?;
        Some(granted.ok_or(Reason::Closed))
    }

    /// For `select`: puts an item if nothing else was got, or queues with it.
    pub(crate) fn register_put(
        &self,
        waker: Waker,
        claim: &Claim,
        item: &mut Option<O::Item>,
    ) -> Registered<Result<(), Reason>> {
        let mut state = lock(&self.state);
        let has_room = state.items.len() < state.capacity || state.getters.has_waiting_for(claim);
        if !has_room && !state.closed {
            let brings = item.take().expect("the item is back whenever the select is not in line");
            return Registered::Waits(state.putters.join_with(waker, Some(claim.clone()), brings));
        }
        if !claim.take() {
            return Registered::Claimed;
        }
        if state.closed {
            return Registered::Now(Err(Reason::Closed));
        }
        match item.take().map(|item| state.put_now(item)) {
            Some(Ok(getter)) => {
                drop(state);
                wake::<Getters<O>>(&self.state, getter);
                Registered::Now(Ok(()))
            }
            Some(Err(back)) => {
                // The getter that was there has got something else in this very moment.
                *item = Some(back);
                Registered::Claimed
            }
            None => unreachable!("the item is back whenever the select is not in line"),
        }
    }

    /// For `select`: leaves the line of putters; whether the item went in. If not, it comes back.
    pub(crate) fn leave_put(&self, place: Place, item: &mut Option<O::Item>) -> Option<Result<(), Reason>> {
        let left = take_out(&mut lock(&self.state).putters, place);
        match left {
            Ok(Ok(())) => Some(Ok(())),
            Ok(Err(back)) => {
                *item = Some(back);
                Some(Err(Reason::Closed))
            }
            Err(back) => {
                *item = Some(back);
                None
            }
        }
    }

    /// For `select`, when it is unwound: leaves the line and gives back what was granted.
    pub(crate) fn give_back(&self, key: Place) {
        leave::<Getters<O>>(&self.state, key);
    }
}

/// Takes items until the queue is closed and empty; see [`QueueOf::iter`].
#[must_use = "iterators are lazy"]
pub struct Iter<'a, O: Order> {
    queue: &'a QueueOf<O>,
}

impl<O: Order> Iterator for Iter<'_, O> {
    type Item = O::Item;

    fn next(&mut self) -> Option<O::Item> {
        match self.queue.get() {
            Ok(item) => Some(item),
            Err(reason) => match reason.refused() {
                Some(refused) => refused.raise(),
                None => None,
            },
        }
    }
}

impl<'a, O: Order> IntoIterator for &'a QueueOf<O> {
    type Item = O::Item;
    type IntoIter = Iter<'a, O>;

    fn into_iter(self) -> Iter<'a, O> {
        self.iter()
    }
}

impl<O: Order> fmt::Debug for Iter<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("queue", self.queue).finish()
    }
}

impl<O: Order> fmt::Debug for QueueOf<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Queue")
            .field("len", &state.items.len())
            .field("capacity", &state.capacity)
            .field("closed", &state.closed)
            .field("putters", &state.putters.len())
            .field("getters", &state.getters.len())
            .finish()
    }
}
