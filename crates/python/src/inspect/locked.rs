//! An OS thread that does what needs the interpreter's lock, for one that must not wait for that without a limit.
//!
//! What it does is a [`Task`] of small steps, between which it lets go of the lock, so that it keeps no green thread
//! waiting for long. Who asks waits as long as there is progress.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::py::ffi;
use crate::py::{self, Gil};

/// How long somebody may have the lock until whoever asks is told so.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// How long it leaves the lock to others between two steps.
const PAUSE: Duration = Duration::from_micros(500);

/// What needs the lock. It is made, used and ended in the OS thread.
pub trait Task: Sized {
    /// What comes of it.
    type Found: Send + 'static;

    /// A step; returns whether there is more to do.
    fn step(&mut self, gil: Gil<'_>) -> bool;

    /// The end. Without the token there is no interpreter any more, and objects that it keeps must be left alone.
    fn finish(self, gil: Option<Gil<'_>>) -> Self::Found;
}

/// The OS thread.
pub struct Locked {
    next: Mutex<Next>,
    come: Condvar,
    /// Held while the interpreter's lock is waited for and held: whether there is no interpreter any more.
    is_over: Mutex<bool>,
    /// How many steps were done.
    steps: AtomicU64,
    /// Since when the interpreter's lock is waited for, if it is.
    waits_since: Mutex<Option<Instant>>,
}

enum Next {
    Nothing,
    Do(Box<dyn FnOnce(&Locked) + Send>),
    End,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locked {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no OS thread to be had.
    pub fn start() -> io::Result<Arc<Locked>> {
        let locked = Arc::new(Locked {
            next: Mutex::new(Next::Nothing),
            come: Condvar::new(),
            is_over: Mutex::new(false),
            steps: AtomicU64::new(0),
            waits_since: Mutex::new(None),
        });
        let this = Arc::clone(&locked);
        std::thread::Builder::new().name("greenloom-look".into()).spawn(move || this.run())?;
        Ok(locked)
    }

    fn run(&self) {
        loop {
            let mut next = lock(&self.next);
            while matches!(*next, Next::Nothing) {
                next = self.come.wait(next).unwrap_or_else(PoisonError::into_inner);
            }
            match std::mem::replace(&mut *next, Next::Nothing) {
                Next::Do(task) => {
                    drop(next);
                    task(self);
                }
                Next::Nothing | Next::End => return,
            }
        }
    }

    /// Ends it: the lock is not taken again. The caller must not hold the interpreter's lock.
    pub fn stop(&self) {
        *lock(&self.is_over) = true;
        self.hand(Next::End);
    }

    /// Hands it something to do. What was handed before and not begun is dropped.
    fn hand(&self, next: Next) {
        let mut present = lock(&self.next);
        if !matches!(*present, Next::End) {
            *present = next;
        }
        self.come.notify_one();
    }

    /// Has it do a task, and waits as long as that goes on. `None`: the lock was not to be had for [`PATIENCE`], or
    /// there is no interpreter any more.
    pub fn ask<T: Task>(&self, begin: impl FnOnce() -> T + Send + 'static) -> Option<T::Found> {
        let (sender, receiver) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        self.hand(Next::Do(Box::new(move |locked: &Locked| locked.work(begin(), &is_given_up, &sender))));
        let found = self.receive(&receiver, PATIENCE);
        given_up.store(true, Ordering::Relaxed);
        found
    }

    /// As [`ask`](Self::ask), with another limit, after which what is found is told when it is, unless something else
    /// is asked before.
    pub fn ask_or_tell<T: Task>(
        &self,
        patience: Duration,
        begin: impl FnOnce() -> T + Send + 'static,
        tell: impl FnOnce(T::Found) + Send + 'static,
    ) -> Option<T::Found> {
        let (sender, receiver) = sync_channel(1);
        let late = Arc::new(AtomicBool::new(false));
        let is_late = Arc::clone(&late);
        self.hand(Next::Do(Box::new(move |locked: &Locked| {
            let (done, found) = sync_channel(1);
            locked.work(begin(), &AtomicBool::new(false), &done);
            match found.try_recv() {
                Ok(found) if is_late.load(Ordering::Relaxed) => tell(found),
                Ok(found) => drop(sender.try_send(found)),
                Err(_) => {}
            }
        })));
        let found = self.receive(&receiver, patience);
        late.store(true, Ordering::Relaxed);
        // It may have come in between.
        found.or_else(|| receiver.try_recv().ok())
    }

    /// Waits for what is found, as long as the lock may be waited for, be it since somebody else has asked.
    fn receive<T>(&self, receiver: &Receiver<T>, patience: Duration) -> Option<T> {
        loop {
            let before = self.steps.load(Ordering::Relaxed);
            let waited = lock(&self.waits_since).map_or(Duration::ZERO, |since| since.elapsed());
            match receiver.recv_timeout(patience.saturating_sub(waited)) {
                Ok(found) => return Some(found),
                Err(RecvTimeoutError::Timeout) if self.steps.load(Ordering::Relaxed) != before => {}
                Err(_) => return None,
            }
        }
    }

    fn work<T: Task>(&self, mut task: T, is_given_up: &AtomicBool, sender: &SyncSender<T::Found>) {
        while !is_given_up.load(Ordering::Relaxed) && self.with_lock(|gil| task.step(gil)) == Some(true) {
            // Who waits for the lock learns that it is free, but has it only if we are not back before it runs.
            std::thread::sleep(PAUSE);
        }
        let mut task = Some(task);
        let found = self.with_lock(|gil| task.take().map(|task| task.finish(Some(gil)))).flatten();
        let found = found.or_else(|| task.map(|task| task.finish(None)));
        if let Some(found) = found {
            let _ = sender.try_send(found);
        }
    }

    /// Calls `call` with the interpreter's lock; not when there is no interpreter any more.
    fn with_lock<T>(&self, call: impl FnOnce(Gil<'_>) -> T) -> Option<T> {
        let is_over = lock(&self.is_over);
        if *is_over || py::is_gone() {
            return None;
        }
        // SAFETY: the interpreter's end waits for `is_over`; what is taken is given back.
        unsafe {
            *lock(&self.waits_since) = Some(Instant::now());
            let state = ffi::PyGILState_Ensure();
            *lock(&self.waits_since) = None;
            let result = call(Gil::assume());
            ffi::PyGILState_Release(state);
            self.steps.fetch_add(1, Ordering::Relaxed);
            Some(result)
        }
    }
}
