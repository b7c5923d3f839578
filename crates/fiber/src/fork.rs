//! Fork detection, and locks over forks.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between the process in which this was first called and the running one. A layer that holds kernel
/// objects (an epoll instance, say) compares it with the number it had when it made them: another number means that
/// they are the parent process's.
///
/// Costs one load. Counts forks made through libc's `fork`, which std, nix, rustix and CPython use.
///
/// ```
/// assert_eq!(greenloom_fiber::fork_generation(), 0);
/// ```
pub fn fork_generation() -> u64 {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        extern "C" fn in_child() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler only adds to an atomic, which is allowed in the child of a fork.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    GENERATION.load(Ordering::Relaxed)
}

type Take = Box<dyn Fn() -> Option<Box<dyn Any>> + Send>;

static TAKEN_OVER_FORKS: Mutex<Vec<Take>> = Mutex::new(Vec::new());

/// How long a fork waits for locks at most: as one that forks while it has one of them itself.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    /// What the OS thread holds that forks, while it does.
    static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `take` before each fork, in the OS thread that forks, and drops what it has returned when that is done, in the
/// parent and in the child. A lock that is held meanwhile is no other OS thread's, which is not there in the child to
/// give it back. Of locks that are [`ForkMutex`]es this is done already.
///
/// `take` tries and does not wait: if it returns `None`, all that was taken for this fork is given back, and taken anew
/// a moment later. So it does not matter in which order others lock. After a second without all of them, the fork goes
/// on without any. Forks as [`fork_generation`] has them.
///
/// ```
/// use std::any::Any;
/// use std::sync::RwLock;
///
/// static NAMES: RwLock<Vec<String>> = RwLock::new(Vec::new());
/// greenloom_fiber::hold_over_forks(|| NAMES.try_write().ok().map(|names| Box::new(names) as Box<dyn Any>));
/// ```
pub fn hold_over_forks(take: impl Fn() -> Option<Box<dyn Any>> + Send + 'static) {
    extern "C" fn before() {
        let began = Instant::now();
        // An OS thread that ends has no place for them any more: it forks without.
        let _ = HELD.try_with(|held| {
            while began.elapsed() < PATIENCE {
                if let Some(taken) = take_all() {
                    *held.borrow_mut() = taken;
                    return;
                }
                thread::yield_now();
            }
        });
    }
    extern "C" fn after() {
        // The last first: the list itself stays locked until all the others are free.
        let _ = HELD.try_with(|held| while held.borrow_mut().pop().is_some() {});
    }
    static REGISTERED: Once = Once::new();
    // What is dropped in the child may ask whether it is one, so that this is counted before.
    fork_generation();
    // SAFETY: the handlers take locks and give them back, in the OS thread that forks.
    REGISTERED.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(after), Some(after));
    });
    TAKEN_OVER_FORKS.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(take));
}

fn take_all() -> Option<Vec<Box<dyn Any>>> {
    let takes = try_lock(&TAKEN_OVER_FORKS)?;
    let mut taken: Vec<Box<dyn Any>> = Vec::with_capacity(takes.len() + 1);
    for take in takes.iter() {
        taken.push(take()?);
    }
    taken.insert(0, Box::new(takes));
    Some(taken)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A mutex for what all OS threads of the process share, which no fork leaves locked: the OS thread that forks holds it
/// over the fork, from the first time on that anybody locked it (see [`hold_over_forks`]). For data that is whole
/// whenever the lock is free or a holder has panicked, and for holders that have it for moments only.
///
/// ```
/// use greenloom_fiber::ForkMutex;
///
/// static NAMES: ForkMutex<Vec<String>> = ForkMutex::new(Vec::new());
/// NAMES.lock().push("a".to_owned());
/// ```
#[derive(Debug)]
pub struct ForkMutex<T> {
    mutex: Mutex<T>,
    held: Once,
}

impl<T: Send> ForkMutex<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> ForkMutex<T> {
        ForkMutex { mutex: Mutex::new(value), held: Once::new() }
    }

    /// Waits until no other OS thread has it.
    pub fn lock(&'static self) -> MutexGuard<'static, T> {
        self.held.call_once(|| {
            hold_over_forks(|| try_lock(&self.mutex).map(|guard| Box::new(guard) as Box<dyn Any>));
        });
        self.mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
