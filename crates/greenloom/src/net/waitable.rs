//! What a [`Select`](crate::select::Select) can wait for to be ready.

use std::fmt;
use std::io;

use greenloom_hub::Direction;

use crate::runtime::work::Work;

/// A socket or pipe of this crate, for [`Select::readable`](crate::select::Select::readable) and
/// [`writable`](crate::select::Select::writable). It cannot be implemented elsewhere.
pub trait Waitable: Readiness {}

/// How it is waited for. Public, because that trait stands on it, and named by nobody outside.
pub trait Readiness {
    /// Leaves `choice` where the next edge finds it; returns whether an operation would not block now.
    fn begin_waiting(&self, direction: Direction, choice: Choice) -> io::Result<bool>;

    /// Takes the choice back that belongs to this ticket.
    fn stop_waiting(&self, direction: Direction, ticket: u64);
}

/// One way in which a select may go on.
pub struct Choice(pub(crate) Work);

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice")
    }
}
