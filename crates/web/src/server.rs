//! The server: connections of a listener, each served in a green thread of its own, and drained when it ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use greenloom::net::{self, Drained, Listener};
use greenloom::sync::CancellationToken;
use http::{Request, Response};

use crate::body::Body;
use crate::connection::Connection;
use crate::exchange::{Handler, serve};
use crate::incoming::{Incoming, Receiving};
use crate::options::ServerOptions;
use crate::socket::Socket;

/// An HTTP/1.1 server: a [`net::Server`] whose connections speak HTTP.
///
/// A handler is a function of a request. It runs in the connection's green thread, so it may block where green threads
/// may, and requests of one connection are handled one after another. One that panics loses its connection and nothing
/// else.
///
/// Dropping the server ends all connections at once; [`shutdown`](Server::shutdown) drains first.
pub struct Server {
    net: net::Server,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// By number, so that each finds its own again.
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
    requests: Cell<u64>,
    refused: Cell<u64>,
}

/// What a [`Server`] has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Its connections; `active` are those that are open.
    pub connections: net::ServerStats,
    /// Requests that were given to the handler.
    pub requests: u64,
    /// What was refused instead, and ended its connection: malformed or too large, or its head took too long.
    pub refused: u64,
}

impl Server {
    /// Begins to serve, with the default [options](ServerOptions).
    ///
    /// # Errors
    /// Those of [`ServerOptions::start`].
    pub fn start<L>(listener: L, handler: impl Fn(Request<Incoming>) -> Response<Body> + 'static) -> io::Result<Server>
    where
        L: Listener<Stream: Socket> + 'static,
    {
        ServerOptions::new().start(listener, handler)
    }

    /// Parks until nothing is accepted any more: it was shut down, or the listener failed.
    ///
    /// # Errors
    /// That of the listener, to the first one that asks.
    pub fn wait(&self) -> io::Result<()> {
        self.net.wait()
    }

    /// Shuts down: the listener is closed, connections between two requests are ended, and requests that have arrived
    /// are answered, with `Connection: close`. What is not done at the deadline is killed.
    ///
    /// Called by somebody else than a handler; see [`net::Server::shutdown`].
    pub fn shutdown(&self, deadline: Duration) -> Drained {
        self.net.stopping().cancel();
        let idle: Vec<_> = self.shared.connections.borrow().values().filter(|it| it.is_idle.get()).cloned().collect();
        for connection in idle {
            // What has arrived can still be read.
            let _ = connection.socket.end(Shutdown::Read);
        }
        self.net.shutdown(deadline)
    }

    /// Cancelled when a shutdown begins; [`Incoming::stopping`] is the same for handlers.
    pub fn stopping(&self) -> &CancellationToken {
        self.net.stopping()
    }

    /// What it has done so far.
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections: self.net.stats(),
            requests: self.shared.requests.get(),
            refused: self.shared.refused.get(),
        }
    }
}

impl ServerOptions {
    /// Begins to serve the connections of `listener`, TCP or Unix, with `handler`.
    ///
    /// # Errors
    /// `InvalidInput` for a limit of no connections; where no green thread can be made.
    pub fn start<L>(
        &self,
        listener: L,
        handler: impl Fn(Request<Incoming>) -> Response<Body> + 'static,
    ) -> io::Result<Server>
    where
        L: Listener<Stream: Socket> + 'static,
    {
        let (options, shared) = (Rc::new(self.clone()), Rc::new(Shared::default()));
        let serving = Rc::clone(&shared);
        let net = net::Server::start(listener, self.max_connections, move |stream, _from, stopping| {
            // An error is a client that is gone, or none that speaks TLS: nobody is left to be told.
            let _ = serving.serve(Rc::new(stream), Rc::clone(&options), stopping, &handler);
        })?;
        Ok(Server { net, shared })
    }
}

impl Shared {
    fn serve(
        &self,
        socket: Rc<dyn Socket>,
        options: Rc<ServerOptions>,
        stopping: &CancellationToken,
        handler: &Handler,
    ) -> io::Result<()> {
        let receiving = Rc::new(Receiving::new(Connection::open(socket, options, stopping.clone())?));
        let _listed = Listed::new(self, &receiving.connection);
        serve(&receiving, handler, &|served| {
            let counter = if served { &self.requests } else { &self.refused };
            counter.set(counter.get() + 1);
        })
    }
}

/// A connection's place among those that a shutdown looks at, given back however it ends.
struct Listed<'s> {
    shared: &'s Shared,
    number: u64,
}

impl<'s> Listed<'s> {
    fn new(shared: &'s Shared, connection: &Rc<Connection>) -> Listed<'s> {
        let number = shared.next.get();
        shared.next.set(number + 1);
        shared.connections.borrow_mut().insert(number, Rc::clone(connection));
        Listed { shared, number }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let connection = self.shared.connections.borrow_mut().remove(&self.number);
        drop(connection);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
