//! The requests of one connection: each is read, answered by the application and logged, in a loop without Python code
//! of ours as long as nothing is out of the ordinary. What is, the handler's methods do: results that are no list of
//! bytes, applications that raise, bodies that were not read, hooks.

use super::answer::Answer;
use super::connection::Requests;
use super::words::WORDS;
use crate::http::request;
use crate::py::object::{int, latin1};
use crate::py::{Args, Class, Owned, Result, Slot, This};

/// `serve()`
fn serve(this: This<'_, Requests>, _: Args<'_>) -> Result<Owned> {
    let connection = Requests::connection(this)?;
    loop {
        this.receiving.set(true);
        let Some(request) = connection.receive()? else {
            connection.set_closes(true)?;
            break;
        };
        this.receiving.set(false);
        this.flags.set(request.flags);
        this.environ.set(Some(request.environ.clone()));
        let persistent = request.flags & request::PERSISTENT != 0 && !this.version_1_0.get();
        if connection.closes()? == persistent {
            connection.set_closes(!persistent)?;
        }
        connection.service().count(1);
        let answered = Answer::give(&connection, request);
        connection.service().count(-1);
        // An idle connection keeps nothing of its last request.
        this.environ.set(None);
        answered?;
        if !connection.enter(&WORDS.idle)? {
            connection.set_closes(true)?;
        }
        if connection.closes()? {
            break;
        }
    }
    Ok(Owned::none(this.gil()))
}

/// `receive()`
fn receive(this: This<'_, Requests>, _: Args<'_>) -> Result<Owned> {
    let connection = Requests::connection(this)?;
    let Some(request) = connection.receive()? else { return Ok(Owned::none(this.gil())) };
    this.flags.set(request.flags);
    Ok(request.environ)
}

pub fn class() -> Class<Requests> {
    fn kept(this: This<'_, Requests>, slot: &Slot) -> Result<Owned> {
        Ok(slot.object().unwrap_or_else(|| Owned::none(this.gil())))
    }
    Class::new()
        .method(
            c"serve",
            serve,
            c"serve($self)\n--\n\nServes the requests until the connection is to be closed. What is raised while \
              is_receiving comes from reading a request: HttpError if it must not be served.",
        )
        .method(
            c"receive",
            receive,
            c"receive($self)\n--\n\nReads a request. Returns its environ, or None if the client has no more.",
        )
        .getter(
            c"is_receiving",
            |this| Ok(Owned::bool(this.gil(), this.receiving.get())),
            c"Whether a request is being read.",
        )
        .flag(c"is_http_1_0", |requests| &requests.version_1_0, c"Whether the highest version is HTTP/1.0.")
        .getter(c"requestline", |this| latin1(this.gil(), &this.line.borrow()), c"The request's line.")
        .getter(c"command", |this| kept(this, &this.command), c"The request's method.")
        .getter(
            c"forwarded",
            |this| this.forwarded.object().map_or_else(|| latin1(this.gil(), b""), Ok),
            c"What a proxy says of the client, if the log has it.",
        )
        .getter(c"environ", |this| kept(this, &this.environ), c"The environ of the request that is being answered.")
        .getter(c"flags", |this| int(this.gil(), this.flags.get()), c"What the request's head says.")
}
