//! Giving way: for a time, or to what is ready.

use std::time::Duration;

use crate::runtime::error::Refused;
use crate::runtime::here;
use crate::runtime::park::prepare;

/// Parks the running green thread for `duration`; with zero, lets the others that are ready run first. Returns at once
/// in the destructor of a thread-local that comes after the hub's end.
///
/// # Panics
/// In a function that the hub calls, and while a panic unwinds.
///
/// ```
/// greenloom::sleep(std::time::Duration::from_millis(1));
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    match prepare() {
        Ok(ticket) => {
            ticket.park("sleep", Some(here().now() + duration));
        }
        Err(refused) => refused_here(refused),
    }
}

/// Lets the green threads that are ready run first. As [`sleep`] otherwise.
///
/// # Panics
/// As there.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// let ran = Rc::new(Cell::new(false));
/// let other = ran.clone();
/// greenloom::spawn_n(move || other.set(true));
/// assert!(!ran.get());
/// greenloom::yield_now();
/// assert!(ran.get());
/// ```
#[inline(always)]
pub fn yield_now() {
    let runtime = here();
    if let Some(refused) = runtime.make_current_ready() {
        return refused_here(refused);
    }
    runtime.switch_to_next();
    let _ = runtime.check_interrupts();
}

/// At the end of an OS thread there is nobody to give way to.
#[cold]
fn refused_here(refused: Refused) {
    if refused != Refused::ThreadEnding {
        refused.raise();
    }
}
