//! A bus for programs of other languages in the same process: they talk over sockets to an OS thread with a hub of its
//! own, which does what need not be done in their language.
//!
//! So says Python's driver for oslo.messaging, `greenloom://`: connections, heartbeats, declarations, envelopes, reply
//! queues, confirms and what is known already are the matter of this OS thread, which never holds an interpreter's
//! lock. What comes and goes is read and written by whatever the program waits with: OS threads or green ones of any
//! kind, for all it has is a socket.
//!
//! - `wire`: the frames on a socket.
//! - `work`: what is counted of a socket that takes in.
//! - `session`: what the sockets of one driver share.
//! - `client`: a socket that sends.
//! - `intake`: a socket that takes requests and notifications in.
//! - `log`: what is logged meanwhile goes to the program's log.
//!
//! The first frame on a socket says what it is, and is answered. It knows transports and envelopes, and nothing of
//! whoever is at the other end.

mod client;
mod intake;
mod log;
mod session;
mod wire;
mod work;

use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::{self, HubHandle};
use greenloom::{net, sleep};
use serde::Deserialize;

use crate::transport::TransportError;
use session::Session;
use wire::{Frame, Inlet, Outbox, asked, said};

/// What a socket is, as its first frame says in JSON.
#[derive(Debug, Deserialize)]
struct Opening {
    /// The number of the driver: its sockets share their connections to the bus.
    session: u64,
    url: String,
    /// Nothing for one that sends.
    intake: Option<intake::Wanted>,
}

/// The OS thread that serves the sockets, wherever it is.
#[derive(Debug)]
pub struct Bridge {
    hub: HubHandle,
}

impl Bridge {
    /// Turns the calling OS thread into the one that serves, gives a handle to it away, and goes on for ever.
    ///
    /// # Errors
    /// Those of making a hub: there are too many open files.
    pub fn serve(give: impl FnOnce(Bridge)) -> io::Result<()> {
        let hub = hub::try_current()?;
        let _logging = log::to_programs();
        give(Bridge { hub: hub.handle() });
        loop {
            sleep(Duration::from_secs(3600));
        }
    }

    /// Serves the other end of this socket until it is closed. Returns whether anybody is there to do so.
    pub fn attach(&self, stream: UnixStream) -> bool {
        self.hub.schedule(move || greenloom::spawn_n(move || serve(stream))).is_ok()
    }
}

fn serve(stream: UnixStream) {
    let Ok(stream) = net::UnixStream::from_std(stream).map(Rc::new) else { return };
    let mut inlet = Inlet::new(Rc::clone(&stream));
    // Without memory for its green thread there is nobody to tell.
    let Ok(outbox) = Outbox::open(&stream) else { return };
    let session = serve_opened(&mut inlet, &outbox);
    outbox.close();
    if let Some(session) = session {
        session.leave();
    }
}

/// Serves a socket until its program closes it. Returns what it was a part of.
fn serve_opened(inlet: &mut Inlet, outbox: &Rc<Outbox>) -> Option<Rc<Session>> {
    let Ok(Some(Frame { kind: asked::OPEN, body, .. })) = inlet.next() else { return None };
    let opening = match serde_json::from_slice::<Opening>(body) {
        Ok(opening) => opening,
        Err(error) => {
            outbox.put(|out| wire::put(out, said::FAILED, 0, &[&[0], error.to_string().as_bytes()]));
            return None;
        }
    };
    let session = match Session::of(opening.session, &opening.url) {
        Ok(session) => session,
        Err(error) => {
            outbox.put(|out| put_failure(out, 0, &error));
            return None;
        }
    };
    match opening.intake {
        None => client::serve(&session, inlet, outbox),
        Some(wanted) => intake::serve(&session, wanted, inlet, outbox),
    }
    Some(session)
}

/// Appends what has failed, and how.
fn put_failure(out: &mut Vec<u8>, number: u64, error: &TransportError) {
    let kind = match error {
        TransportError::Closed => 1,
        TransportError::Disconnected(_) => 2,
        TransportError::TimedOut(_) => 3,
        TransportError::Unroutable(_) => 4,
        TransportError::Failed(_) => 5,
        TransportError::Url(_) => 6,
    };
    wire::put(out, said::FAILED, number, &[&[kind], greenloom::Chain(error).to_string().as_bytes()]);
}
