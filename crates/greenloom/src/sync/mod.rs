//! Events, semaphores and locks for green threads. Each can be used from any OS thread, and serves those who wait first
//! come first served.
//!
//! Waiting parks the green thread. Where a wait is not possible (in a function that the hub calls, or while a panic
//! unwinds), calls that return a `Result` say [`Refused`](crate::Refused), and others panic with its text; what is had
//! without waiting is had anywhere.

mod barrier;
pub mod broadcast;
mod cancellation;
mod condvar;
mod event;
mod mutex;
pub mod oneshot;
mod rwlock;
mod semaphore;
mod wait_group;
pub mod watch;

pub use barrier::Barrier;
pub use cancellation::{CancellationToken, DropGuard};
pub use condvar::Condvar;
pub use event::{AlreadySent, Event, EventError};
pub use mutex::{Mutex, MutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{BoundedSemaphore, CappedSemaphore, OverReleased, Permit, Semaphore};
pub use wait_group::WaitGroup;

use crate::runtime::line::Ungranted;

/// For waits without a deadline in calls that return no error.
fn must_be_granted<B, G>(outcome: Result<G, Ungranted<B>>) -> G {
    match outcome {
        Ok(granted) => granted,
        Err(Ungranted::Refused(refused, _)) => refused.raise(),
        Err(Ungranted::TimedOut(_)) => unreachable!("there was no deadline"),
    }
}

/// For waits with a deadline in calls that return no error but that.
fn granted_in_time<B, G>(outcome: Result<G, Ungranted<B>>) -> Option<G> {
    match outcome {
        Ok(granted) => Some(granted),
        Err(Ungranted::Refused(refused, _)) => refused.raise(),
        Err(Ungranted::TimedOut(_)) => None,
    }
}
