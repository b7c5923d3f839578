//! The echo on may, one coroutine a connection.

use std::io::{self, Read, Write};

use may::{
    go,
    net::{TcpListener, TcpStream},
};

use crate::http::{Inbox, RESPONSE};
use crate::listen::{ANY_PORT, BACKLOG, announce};

pub fn serve(threads: usize) -> io::Result<()> {
    may::config().set_workers(threads);
    let accepting = go!(accept);
    accepting.join().map_err(|_| io::Error::other("the accepting coroutine panicked"))?
}

fn accept() -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT)?;
    rustix::net::listen(listener.inner(), BACKLOG)?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept()?;
        // An error is a client that left.
        go!(move || answer(stream).ok());
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::new();
    loop {
        let arrived = stream.read(inbox.room())?;
        if arrived == 0 {
            return Ok(());
        }
        for _ in 0..inbox.take(arrived) {
            stream.write_all(RESPONSE)?;
        }
    }
}
