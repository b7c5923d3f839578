//! Fork detection, and locks over forks.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

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

type Take = fn() -> Box<dyn Any>;

static TAKEN_OVER_FORKS: Mutex<Vec<Take>> = Mutex::new(Vec::new());

thread_local! {
    /// What the OS thread holds that forks, while it does.
    static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `take` before each fork, in the OS thread that forks, and drops what it has returned when that is done, in the
/// parent and in the child. A lock that is held meanwhile is no other OS thread's, which is not there in the child to
/// give it back.
///
/// `take` must not need what another OS thread gives back only after it got this lock. Forks as [`fork_generation`] has
/// them.
///
/// ```
/// use std::sync::Mutex;
///
/// static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// greenloom_fiber::hold_over_forks(|| Box::new(NAMES.lock()));
/// ```
pub fn hold_over_forks(take: fn() -> Box<dyn Any>) {
    extern "C" fn before() {
        let taken = TAKEN_OVER_FORKS.lock().unwrap_or_else(PoisonError::into_inner);
        // An OS thread that ends has none any more: it forks without.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            held.extend(taken.iter().map(|take| take()));
            held.push(Box::new(taken));
        });
    }
    extern "C" fn after() {
        let _ = HELD.try_with(|held| held.borrow_mut().clear());
    }
    static REGISTERED: Once = Once::new();
    // SAFETY: the handlers take locks and give them back, in the OS thread that forks.
    REGISTERED.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(after), Some(after));
    });
    TAKEN_OVER_FORKS.lock().unwrap_or_else(PoisonError::into_inner).push(take);
}
