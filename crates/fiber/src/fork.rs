//! Fork detection.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

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
