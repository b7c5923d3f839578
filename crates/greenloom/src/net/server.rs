//! A server that can be shut down in order.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::serve::{Listener, Place, accept_all, check};
use crate::builder::Builder;
use crate::green_thread::GreenThread;
use crate::runtime::error::{JoinError, SpawnError};
use crate::sync::{CancellationToken, WaitGroup};

/// Accepts connections in a green thread of its own and runs a handler for each, as [`serve`](super::serve()) does, and
/// knows them all: it counts them, asks them to stop, waits for them, and kills those that do not.
///
/// Dropping it ends the accepting and kills the handlers at once; [`shutdown`](Server::shutdown) drains first.
///
/// ```
/// use greenloom::net::{self, Server, TcpStream};
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let listener = net::listen("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = Server::start(listener, 100, |mut stream: TcpStream, _from, _stopping| {
///     let _ = stream.write_all(b"hello");
/// })?;
/// let mut text = String::new();
/// net::connect(address)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// let drained = server.shutdown(Duration::from_secs(5));
/// assert_eq!((drained.killed, server.stats().accepted), (0, 1));
/// assert!(net::connect(address).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server {
    shared: Rc<Shared>,
    accepting: GreenThread<()>,
}

struct Shared {
    stopping: CancellationToken,
    /// Cancelled when nothing is accepted any more; why is in `failure`.
    ended: CancellationToken,
    failure: Cell<Option<io::Error>>,
    handlers: RefCell<HashMap<u64, GreenThread<()>>>,
    running: WaitGroup,
    stats: Cell<ServerStats>,
}

/// What a [`Server`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were accepted and given to a handler.
    pub accepted: u64,
    /// Handlers that run.
    pub active: u64,
    /// Handlers that have returned.
    pub finished: u64,
    /// Handlers that have panicked.
    pub panicked: u64,
    /// Handlers that were killed.
    pub killed: u64,
}

/// How a [shutdown](Server::shutdown) went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Handlers that ran when it began and ended by themselves.
    pub finished: u64,
    /// Handlers that did not end in time and were killed.
    pub killed: u64,
}

impl Server {
    /// Begins to accept connections of `listener`. At most `limit` handlers run at a time; further connections wait in
    /// the listener's backlog. What is said of [`serve`](super::serve()) about panics and shortages holds here.
    ///
    /// The handler is given the stream, where it comes from, and a token that is cancelled when the server shuts down:
    /// one that waits for the next request waits for that token, too, in a [`Select`](crate::select::Select).
    ///
    /// # Errors
    /// `InvalidInput` for a limit of zero; [`SpawnError`] for the green thread that accepts.
    pub fn start<L: Listener + 'static>(
        listener: L,
        limit: usize,
        handler: impl Fn(L::Stream, L::Address, &CancellationToken) + 'static,
    ) -> io::Result<Server> {
        check(limit)?;
        let shared = Rc::new(Shared {
            stopping: CancellationToken::new(),
            ended: CancellationToken::new(),
            failure: Cell::new(None),
            handlers: RefCell::default(),
            running: WaitGroup::new(),
            stats: Cell::default(),
        });
        let (accepts, handler) = (Rc::clone(&shared), Rc::new(handler));
        // Cancels when it is dropped, with the function that accepts: at its end, and if it is killed unbegun.
        let ended = shared.ended.clone().drop_guard();
        let accepting = Builder::new().name("server").spawn(move || {
            let _ended = ended;
            let outcome = accept_all(&listener, limit, |stream, from, place| {
                let (handler, stopping) = (Rc::clone(&handler), accepts.stopping.clone());
                accepts.start(place, move || handler(stream, from, &stopping))
            });
            accepts.failure.set(outcome.err());
        })?;
        Ok(Server { shared, accepting })
    }

    /// Parks until nothing is accepted any more: it was shut down, or the listener failed.
    ///
    /// # Errors
    /// That of the listener, to the first one that asks; see [`serve`](super::serve()).
    ///
    /// # Panics
    /// Where waiting is not possible; see [`sync`](crate::sync).
    pub fn wait(&self) -> io::Result<()> {
        self.shared.ended.wait();
        self.shared.failure.take().map_or(Ok(()), Err)
    }

    /// Shuts down: closes the listener, cancels the handlers' token, waits until they have ended, at most for
    /// `deadline`, and kills those that have not. Connections in the backlog are refused by the system.
    ///
    /// It is called by somebody else than a handler, which would wait for itself. Called again, or while it is under
    /// way, it does the same for what is left. One that is killed or timed out here leaves the handlers running.
    ///
    /// # Panics
    /// Where waiting is not possible; see [`sync`](crate::sync).
    pub fn shutdown(&self, deadline: Duration) -> Drained {
        let shared = &self.shared;
        let before = shared.stats.get();
        shared.stopping.cancel();
        // Handlers may run, and end, while this one ends.
        self.accepting.kill_shielded();
        if !shared.running.wait_timeout(deadline) {
            shared.kill_all();
            shared.running.wait();
        }
        let killed = shared.stats.get().killed - before.killed;
        Drained { finished: before.active.saturating_sub(killed), killed }
    }

    /// The token that the handlers are given: cancelled when a shutdown begins.
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// What it has done so far.
    pub fn stats(&self) -> ServerStats {
        self.shared.stats.get()
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut ServerStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn start(self: &Rc<Shared>, place: Place, body: impl FnOnce() + 'static) -> Result<(), SpawnError> {
        let thread = Builder::new().spawn(move || {
            let _place = place;
            body();
        })?;
        self.running.add(1);
        self.count(|stats| {
            stats.accepted += 1;
            stats.active += 1;
        });
        let (shared, number) = (Rc::clone(self), self.stats.get().accepted);
        thread.link(move |outcome| shared.ended(number, outcome));
        self.handlers.borrow_mut().insert(number, thread);
        Ok(())
    }

    fn ended(&self, number: u64, outcome: &Result<(), JoinError>) {
        let handle = self.handlers.borrow_mut().remove(&number);
        drop(handle);
        self.count(|stats| {
            stats.active -= 1;
            match outcome {
                Ok(()) => stats.finished += 1,
                Err(JoinError::Panicked(_)) => stats.panicked += 1,
                Err(_) => stats.killed += 1,
            }
        });
        self.running.done();
    }

    fn kill_all(&self) {
        // Each is out of the map while it is killed: its end looks there.
        let handlers = self.handlers.take();
        handlers.values().for_each(GreenThread::kill_shielded);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.accepting.kill_shielded();
        self.shared.kill_all();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
