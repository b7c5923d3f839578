//! Bounded concurrency: a pool runs at most so many green threads at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::green_thread::{GreenThread, spawn, spawn_n};
use crate::join_set::JoinSet;
use crate::runtime::error::{JoinError, is_interrupt};
use crate::runtime::here;
use crate::sync::{Semaphore, WaitGroup};

/// Runs green threads, at most `size` at a time. Clones are the same pool.
///
/// Semantics: eventlet's `GreenPool`.
///
/// ```
/// use greenloom::{pool::GreenPool, sleep};
/// use std::time::Duration;
///
/// let pool = GreenPool::new(8);
/// let squares: Vec<u64> = pool
///     .imap(|n| { sleep(Duration::from_micros(100)); n * n }, 0..20)
///     .collect::<Result<_, _>>()?;
/// assert_eq!(squares[19], 361);
/// pool.waitall();
/// assert_eq!((pool.running(), pool.free()), (0, 8));
/// # Ok::<(), greenloom::JoinError>(())
/// ```
#[derive(Clone)]
pub struct GreenPool {
    inner: Rc<Inner>,
}

struct Inner {
    size: Cell<usize>,
    places: Semaphore,
    /// Places that are to go when they become free, after the pool was made smaller.
    owed: Cell<usize>,
    group: WaitGroup,
    /// The numbers of the green threads that run in it.
    members: RefCell<BTreeSet<u64>>,
}

/// Runs `f` in the calling green thread. A kill or a timeout is meant for that, not for what would have been one of its
/// own.
fn run_inline<T>(f: impl FnOnce() -> T) -> Result<T, JoinError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        if is_interrupt(payload.as_ref()) {
            resume_unwind(payload);
        }
        JoinError::from_payload(payload)
    })
}

/// A place in the pool, given back when it is dropped: when its green thread has ended, or when it is cancelled
/// unstarted.
struct Place(Rc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        match self.0.owed.get() {
            0 => self.0.places.release(),
            owed => self.0.owed.set(owed - 1),
        }
        self.0.group.done();
    }
}

/// Membership of the running green thread, for as long as it runs.
struct Member<'a>(&'a Inner, u64);

impl<'a> Member<'a> {
    fn enter(inner: &'a Inner) -> Member<'a> {
        let id = here().current_id();
        inner.members.borrow_mut().insert(id);
        Member(inner, id)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.0.members.borrow_mut().remove(&self.1);
    }
}

impl GreenPool {
    /// A pool of `size` places.
    pub fn new(size: usize) -> GreenPool {
        GreenPool {
            inner: Rc::new(Inner {
                size: Cell::new(size),
                places: Semaphore::new(size),
                owed: Cell::new(0),
                group: WaitGroup::new(),
                members: RefCell::default(),
            }),
        }
    }

    /// Starts a green thread; parks first, as long as the pool is full. Called from inside a full pool, it runs `f` at
    /// once in the calling green thread, which could otherwise wait for itself.
    ///
    /// # Panics
    /// Where waiting is not possible, and as [`spawn`].
    #[track_caller]
    pub fn spawn<T: 'static>(&self, f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
        if self.must_run_inline() {
            return GreenThread::finished(run_inline(f));
        }
        let place = self.take_place();
        spawn(move || {
            let _member = Member::enter(&place.0);
            f()
        })
    }

    /// As [`GreenPool::spawn`], without a handle.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn spawn_n(&self, f: impl FnOnce() + 'static) {
        if self.must_run_inline() {
            // The panic hook has reported a panic.
            let _ = run_inline(f);
            return;
        }
        let place = self.take_place();
        spawn_n(move || {
            let _member = Member::enter(&place.0);
            f();
        });
    }

    fn must_run_inline(&self) -> bool {
        self.is_member() && self.inner.places.available() == 0
    }

    fn is_member(&self) -> bool {
        let members = self.inner.members.borrow();
        !members.is_empty() && members.contains(&here().current_id())
    }

    fn take_place(&self) -> Place {
        self.inner.places.acquire().forget();
        self.inner.group.add(1);
        Place(Rc::clone(&self.inner))
    }

    /// Parks until no green thread runs in it. Returns at once when the OS thread is ending and its hub has: those that
    /// are left never go on.
    ///
    /// # Panics
    /// When it is called from inside the pool: it would wait for itself. Where waiting is not possible.
    pub fn waitall(&self) {
        assert!(!self.is_member(), "waitall was called from a green thread of the pool: it would wait for itself");
        if !here().has_ended() {
            self.inner.group.wait();
        }
    }

    /// Calls `f` for each item, in green threads of the pool, and returns the results in the order of the items. Items
    /// are taken and green threads started as results are asked for, at most [`size`](GreenPool::size) ahead. While
    /// others fill the pool, it waits for a place only if it has no result to wait for.
    pub fn imap<I, T, R>(&self, f: impl Fn(T) -> R + 'static, items: I) -> IMap<I::IntoIter, T, R>
    where
        I: IntoIterator<Item = T>,
        T: 'static,
        R: 'static,
    {
        IMap { pool: self.clone(), f: Rc::new(f), items: items.into_iter(), ahead: VecDeque::new() }
    }

    /// As [`GreenPool::imap`], but the results come in the order in which they are there.
    ///
    /// Semantics: gevent's `imap_unordered`.
    ///
    /// ```
    /// use greenloom::{pool::GreenPool, sleep};
    /// use std::time::Duration;
    ///
    /// let waits = |millis| { sleep(Duration::from_millis(millis)); millis };
    /// let results: Result<Vec<u64>, _> = GreenPool::new(3).imap_unordered(waits, [9, 1, 5]).collect();
    /// assert_eq!(results?, [1, 5, 9]);
    /// # Ok::<(), greenloom::JoinError>(())
    /// ```
    pub fn imap_unordered<I, T, R>(&self, f: impl Fn(T) -> R + 'static, items: I) -> IMapUnordered<I::IntoIter, T, R>
    where
        I: IntoIterator<Item = T>,
        T: 'static,
        R: 'static,
    {
        IMapUnordered { pool: self.clone(), f: Rc::new(f), items: items.into_iter(), running: JoinSet::new() }
    }

    /// As [`GreenPool::imap`], for a function of two arguments and items that are pairs.
    pub fn starmap<I, A, B, R>(&self, f: impl Fn(A, B) -> R + 'static, items: I) -> IMap<I::IntoIter, (A, B), R>
    where
        I: IntoIterator<Item = (A, B)>,
        A: 'static,
        B: 'static,
        R: 'static,
    {
        self.imap(move |(a, b)| f(a, b), items)
    }

    /// How many places there are.
    pub fn size(&self) -> usize {
        self.inner.size.get()
    }

    /// Changes the number of places. If there are more, waiters for one get one; if there are fewer, green
    /// threads that run too many run on, and their places go when they end.
    pub fn resize(&self, size: usize) {
        let inner = &self.inner;
        let before = inner.size.replace(size);
        if size < before {
            inner.owed.set(inner.owed.get() + inner.places.take_away(before - size));
        }
        for _ in before..size {
            match inner.owed.get() {
                0 => inner.places.release(),
                owed => inner.owed.set(owed - 1),
            }
        }
    }

    /// How many green threads run in it.
    pub fn running(&self) -> usize {
        self.inner.group.pending()
    }

    /// How many more can be started without waiting.
    pub fn free(&self) -> usize {
        self.inner.places.available()
    }

    /// How many wait for a place.
    pub fn waiting(&self) -> usize {
        self.inner.places.waiting()
    }
}

impl fmt::Debug for GreenPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GreenPool")
            .field("size", &self.size())
            .field("running", &self.running())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// The results of [`GreenPool::imap`]; asking for one parks until it is there. A panic is an `Err` in its place.
#[must_use = "iterators are lazy: green threads start as results are asked for"]
pub struct IMap<I, T, R> {
    pool: GreenPool,
    f: Rc<dyn Fn(T) -> R>,
    items: I,
    ahead: VecDeque<GreenThread<R>>,
}

impl<I: Iterator<Item = T>, T: 'static, R: 'static> Iterator for IMap<I, T, R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Result<R, JoinError>> {
        while self.ahead.is_empty() || self.ahead.len() < self.pool.size() && self.pool.free() > 0 {
            let Some(item) = self.items.next() else { break };
            let f = Rc::clone(&self.f);
            self.ahead.push_back(self.pool.spawn(move || f(item)));
        }
        self.ahead.pop_front().map(GreenThread::wait)
    }
}

impl<I, T, R> fmt::Debug for IMap<I, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMap").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}

/// The results of [`GreenPool::imap_unordered`]; asking for one parks until the next is there. A panic is an `Err`.
/// Dropping it lets those run on that run.
#[must_use = "iterators are lazy: green threads start as results are asked for"]
pub struct IMapUnordered<I, T, R: 'static> {
    pool: GreenPool,
    f: Rc<dyn Fn(T) -> R>,
    items: I,
    running: JoinSet<R>,
}

impl<I: Iterator<Item = T>, T: 'static, R: 'static> Iterator for IMapUnordered<I, T, R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Result<R, JoinError>> {
        while self.running.is_empty() || self.running.len() < self.pool.size() && self.pool.free() > 0 {
            let Some(item) = self.items.next() else { break };
            let f = Rc::clone(&self.f);
            self.running.insert(self.pool.spawn(move || f(item)));
        }
        self.running.join_next()
    }
}

impl<I, T, R: 'static> Drop for IMapUnordered<I, T, R> {
    fn drop(&mut self) {
        self.running.detach_all();
    }
}

impl<I, T, R: 'static> fmt::Debug for IMapUnordered<I, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMapUnordered").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

/// Starts green threads in a pool and returns their results in the order in which they were started.
///
/// Semantics: eventlet's `GreenPile`.
///
/// ```
/// use greenloom::pool::GreenPile;
///
/// let mut pile = GreenPile::new(4);
/// for n in 0..6 {
///     pile.spawn(move || n * 10);
/// }
/// let all: Vec<i32> = pile.map(|result| result.unwrap()).collect();
/// assert_eq!(all, [0, 10, 20, 30, 40, 50]);
/// ```
#[derive(Debug)]
pub struct GreenPile<R> {
    pool: GreenPool,
    threads: VecDeque<GreenThread<R>>,
}

impl<R: 'static> GreenPile<R> {
    /// A pile on a pool of its own with `size` places.
    pub fn new(size: usize) -> GreenPile<R> {
        GreenPile::on(&GreenPool::new(size))
    }

    /// A pile on a pool that others use, too.
    pub fn on(pool: &GreenPool) -> GreenPile<R> {
        GreenPile { pool: pool.clone(), threads: VecDeque::new() }
    }

    /// Starts a green thread; parks as long as the pool is full.
    ///
    /// # Panics
    /// As [`GreenPool::spawn`].
    #[track_caller]
    pub fn spawn(&mut self, f: impl FnOnce() -> R + 'static) {
        self.threads.push_back(self.pool.spawn(f));
    }
}

/// The results, in the order of starting; asking for one parks until it is there.
impl<R: 'static> Iterator for GreenPile<R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Result<R, JoinError>> {
        self.threads.pop_front().map(GreenThread::wait)
    }
}
