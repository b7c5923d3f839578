//! One green thread a connection, up to a limit.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::{TcpListener, TcpStream};
use crate::builder::Builder;
use crate::runtime::chain::Chain;
use crate::runtime::error::SpawnError;
use crate::runtime::here;
use crate::sleep::sleep;
use crate::sync::Semaphore;

/// What accepts connections.
pub trait Listener {
    /// A connection.
    type Stream: 'static;
    /// Where it comes from.
    type Address: 'static;

    /// Parks until there is a connection and takes it.
    ///
    /// # Errors
    /// Those of `accept(2)`.
    fn accept(&self) -> io::Result<(Self::Stream, Self::Address)>;

    /// Whether this program has closed it.
    fn is_closed(&self) -> bool;
}

/// Accepts connections and calls `handler` with each, in a green thread of its own; at most `concurrency` at a time.
/// Further connections wait in the listener's backlog.
///
/// Returns when the listener is closed (by its `close`); the handlers that run then go on. A handler that panics loses
/// its connection and nothing else. When the process is out of file descriptors or memory, that is a
/// [`Warning`](crate::instrument::Event::Warning), once, and accepting is tried again after a pause that grows from 10
/// ms to one second.
///
/// Semantics: eventlet's `serve`.
///
/// # Errors
/// Those of `accept(2)` after which the listener is of no more use; `InvalidInput` for a concurrency of zero.
///
/// ```
/// use greenloom::net::{self, TcpStream};
/// use std::io::{Read, Write};
/// use std::rc::Rc;
///
/// let listener = Rc::new(net::listen("127.0.0.1:0")?);
/// let address = listener.local_addr()?;
/// let accepting = listener.clone();
/// let server = greenloom::spawn(move || {
///     net::serve(&*accepting, 100, |mut stream, _from| {
///         let _ = stream.write_all(b"hello");
///     })
/// });
/// let mut text = String::new();
/// net::connect(address)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// listener.close();
/// server.wait().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn serve<L: Listener>(
    listener: &L,
    concurrency: usize,
    handler: impl Fn(L::Stream, L::Address) + 'static,
) -> io::Result<()> {
    let handler = Rc::new(handler);
    accept_all(listener, concurrency, |stream, from, place| {
        let handler = Rc::clone(&handler);
        let body = move || {
            let _place = place;
            handler(stream, from);
        };
        Builder::new().spawn(body).map(drop)
    })
}

/// Accepts connections until the listener is closed and calls `start` with each, and with a place that its handler
/// gives back by dropping it.
pub(super) fn accept_all<L: Listener>(
    listener: &L,
    concurrency: usize,
    mut start: impl FnMut(L::Stream, L::Address, Place) -> Result<(), SpawnError>,
) -> io::Result<()> {
    check(concurrency)?;
    let places = Rc::new(Semaphore::new(concurrency));
    let mut pause = Pause::default();
    loop {
        let place = Place::take(&places)?;
        let (stream, from) = match listener.accept() {
            Ok(connection) => connection,
            Err(_) if listener.is_closed() => return Ok(()),
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) if is_shortage(&error) => {
                pause.after(&error);
                continue;
            }
            Err(error) => return Err(error),
        };
        match start(stream, from, place) {
            Ok(()) => pause.over(),
            Err(error) => pause.after(&error),
        }
    }
}

pub(super) fn check(concurrency: usize) -> io::Result<()> {
    if concurrency == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a concurrency of zero would serve nobody"));
    }
    Ok(())
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept()
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }
}

/// Errors of the connection that would have been accepted; see accept(2).
fn is_of_one_connection(error: &io::Error) -> bool {
    const OF_ONE_CONNECTION: [Errno; 10] = [
        Errno::CONNABORTED,
        Errno::PERM,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    Errno::from_io_error(error).is_some_and(|errno| OF_ONE_CONNECTION.contains(&errno))
}

fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| SHORTAGES.contains(&errno))
}

/// Waits longer and longer as long as a shortage lasts.
#[derive(Default)]
struct Pause {
    last: Option<Duration>,
    told: bool,
}

impl Pause {
    fn after(&mut self, error: &dyn std::error::Error) {
        if !self.told {
            self.told = true;
            here().watch.warn(format_args!("cannot accept connections for now: {}; trying again", Chain(error)));
        }
        let next = self.last.map_or(Duration::from_millis(10), |last| (last * 2).min(Duration::from_secs(1)));
        self.last = Some(next);
        sleep(next);
    }

    fn over(&mut self) {
        self.last = None;
    }
}

/// A handler's place, given back when it has ended.
pub(super) struct Place(Rc<Semaphore>);

impl Place {
    fn take(places: &Rc<Semaphore>) -> io::Result<Place> {
        places.acquire_or_refuse()?;
        Ok(Place(Rc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.release();
    }
}
