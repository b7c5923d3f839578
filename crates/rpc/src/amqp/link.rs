//! A connection that is made again when it is lost, to the next of several hosts.
//!
//! A link knows nothing of what its users have declared. Each of them notices that its channel has ended, asks for the
//! connection, and declares anew what it needs; so there is no second list of everything that could differ from the
//! first.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::Event;
use greenloom::{Builder, Chain, hub};

use super::connection::Connection;
use super::error::Error;
use super::url::Options;
use crate::deadline::Deadline;
use crate::random::Random;
use crate::reason::Awaited;

/// The pause after all hosts were tried once in vain; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A connection that was lost before this time counts as a failure like one that was never made: a broker that accepts
/// and ends it again and again is not asked in a loop.
const STEADY: Duration = Duration::from_secs(1);

/// A connection that is made again when it is lost. Dropped, it is closed.
pub struct Link {
    inner: Rc<Inner>,
}

struct Inner {
    options: Options,
    phase: RefCell<Phase>,
    /// Sent when waiters for a connection should look again.
    changed: Event<()>,
    close: Event<()>,
    losses: Cell<u64>,
}

enum Phase {
    Connected(Connection),
    /// With the last failure, if there was one.
    Connecting(Option<Error>),
    Closed,
}

impl Link {
    /// Begins to connect, and returns at once.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no stack for its green thread.
    pub fn new(options: Options) -> Result<Link, Error> {
        let inner = Rc::new(Inner {
            options,
            phase: RefCell::new(Phase::Connecting(None)),
            changed: Event::new(),
            close: Event::new(),
            losses: Cell::new(0),
        });
        let keeper = Rc::clone(&inner);
        Builder::new().name("amqp link").spawn(move || keeper.keep()).map_err(std::io::Error::other)?;
        Ok(Link { inner })
    }

    /// The connection. Parks while there is none, at most for `wait`.
    ///
    /// # Errors
    /// [`Error::Closed`]; why the last try failed, when there is none in time, or at once when trying again would not
    /// help, as with a wrong password.
    pub fn connection(&self, wait: Duration) -> Result<Connection, Error> {
        let deadline = Deadline::after(wait);
        loop {
            let failure = match &*self.inner.phase.borrow() {
                Phase::Closed => return Err(Error::Closed),
                Phase::Connected(connection) => match connection.ended() {
                    None => return Ok(connection.clone()),
                    ended => ended,
                },
                Phase::Connecting(Some(failure)) if !may_pass(failure) => return Err(failure.clone()),
                Phase::Connecting(failure) => failure.clone(),
            };
            self.inner.changed.reset();
            if deadline.is_over() || self.inner.changed.wait_timeout(deadline.left()).is_err() {
                return Err(failure.unwrap_or(Error::TimedOut(Awaited::Connection)));
            }
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(&*self.inner.phase.borrow(), Phase::Connected(connection) if connection.ended().is_none())
    }

    /// How often a connection was lost.
    pub fn losses(&self) -> u64 {
        self.inner.losses.get()
    }

    /// Ends the connection in order and makes none again. Parks until the broker has answered, at most two seconds.
    pub fn close(&self) {
        if let Some(connection) = self.inner.shut() {
            connection.close();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("brokers", &self.inner.options.brokers)
            .field("connected", &self.is_connected())
            .finish()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It must not park, so the broker's answer is not waited for.
        if let Some(connection) = self.inner.shut() {
            connection.hang_up();
        }
    }
}

/// Whether a failure may be gone at the next try.
fn may_pass(failure: &Error) -> bool {
    failure.is_loss() || matches!(failure, Error::TimedOut(_))
}

impl Inner {
    fn shut(&self) -> Option<Connection> {
        let before = self.phase.replace(Phase::Closed);
        let _ = self.close.send(());
        let _ = self.changed.send(());
        match before {
            Phase::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    fn enter(&self, phase: Phase) -> bool {
        if self.close.ready() {
            return false;
        }
        *self.phase.borrow_mut() = phase;
        let _ = self.changed.send(());
        true
    }

    fn keep(&self) {
        let hosts = &self.options.brokers;
        // Many clients with the same list spread over it.
        let mut random = Random::new();
        let mut host = random.below(hosts.len());
        let mut failures = 0;
        loop {
            let failure = match Connection::open(&hosts[host], &self.options) {
                Ok(connection) => {
                    tracing::info!(host = ?hosts[host], "connected to the broker");
                    if !self.enter(Phase::Connected(connection.clone())) {
                        return connection.close();
                    }
                    let began = hub::now();
                    let ended = connection.wait_ended();
                    self.losses.set(self.losses.get() + 1);
                    if hub::now() - began >= STEADY {
                        failures = 0;
                    }
                    ended
                }
                Err(failure) => failure,
            };
            if self.close.ready() {
                return;
            }
            tracing::warn!(host = ?hosts[host], reason = %Chain(&failure), "no connection to the broker; trying again");
            self.enter(Phase::Connecting(Some(failure)));
            failures += 1;
            host = (host + 1) % hosts.len();
            let rounds = failures / hosts.len() as u32;
            let all_tried = failures % hosts.len() as u32 == 0;
            if all_tried && self.close.wait_timeout(pause(rounds, &mut random)).is_ok() {
                return;
            }
        }
    }
}

/// The pause after `rounds` rounds, at least half of its full length: clients that lost the same broker should not all
/// come back in the same moment.
fn pause(rounds: u32, random: &mut Random) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << rounds.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    full / 2 + (full / 2).mul_f64(random.next() as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let millis = Duration::from_millis;
        for (rounds, full) in [(1, millis(100)), (2, millis(200)), (4, millis(800)), (99, LONGEST_PAUSE)] {
            let pause = pause(rounds, &mut Random::from_seed(1));
            assert!(full / 2 <= pause && pause <= full, "{rounds}: {pause:?}");
        }
    }
}
