//! The yardstick of the echo: a bare epoll loop on one thread, with nothing between it and the kernel.
//!
//! Each descriptor is registered once, edge-triggered, for both directions. A read that does not fill the buffer has
//! drained the socket, so no second read is spent on learning that; a write that does not fit waits for the next edge.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
};

use rustix::{
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    fd::OwnedFd,
};

use crate::{
    http::{Inbox, RESPONSE},
    listen::{ANY_PORT, BACKLOG, announce},
    sys,
};

const LISTENER: u64 = u64::MAX;

pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::ET)?;
    announce(listener.local_addr()?)?;

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(256);
    loop {
        sys::wait(&epoll, &mut events, None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => accept_all(&listener, &epoll, &mut connections)?,
                token => {
                    let slot = &mut connections[token as usize];
                    if slot.as_mut().is_some_and(|connection| connection.progress().is_err()) {
                        *slot = None;
                    }
                }
            }
        }
    }
}

fn accept_all(listener: &TcpListener, epoll: &OwnedFd, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // The descriptor is the token: the kernel keeps such numbers small and unique.
        let token = stream.as_raw_fd() as usize;
        epoll::add(
            epoll,
            &stream,
            EventData::new_u64(token as u64),
            EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
        )?;
        if connections.len() <= token {
            connections.resize_with(token + 1, || None);
        }
        connections[token] = Some(Connection { stream, inbox: Inbox::new(), owed: 0 });
    }
}

struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    /// Bytes of responses that the socket has not taken yet.
    owed: usize,
}

impl Connection {
    /// Answers what has arrived, until the socket is drained. An error means that the connection is over.
    fn progress(&mut self) -> io::Result<()> {
        loop {
            if !self.pay()? {
                return Ok(());
            }
            let room = self.inbox.room();
            let wanted = room.len();
            match self.stream.read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(arrived) => {
                    self.owed += self.inbox.take(arrived) * RESPONSE.len();
                    if arrived < wanted {
                        return self.pay().map(drop);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what is owed; false if the socket is full first.
    fn pay(&mut self) -> io::Result<bool> {
        while self.owed > 0 {
            // What is owed ends at the end of a response, so its length tells where in one we are.
            let rest = self.owed % RESPONSE.len();
            let from = if rest == 0 { 0 } else { RESPONSE.len() - rest };
            match self.stream.write(&RESPONSE[from..]) {
                Ok(written) => self.owed -= written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
