//! The echo on monoio: io_uring where the kernel offers it, its epoll driver elsewhere.

use std::io;

use monoio::{
    FusionDriver, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::{ListenerOpts, TcpListener, TcpStream},
};

use crate::http::{BUFFER, Inbox, RESPONSE};
use crate::listen::{ANY_PORT, BACKLOG, announce};

pub fn serve() -> io::Result<()> {
    RuntimeBuilder::<FusionDriver>::new().build()?.block_on(accept())
}

async fn accept() -> io::Result<()> {
    let listener = TcpListener::bind_with_config(ANY_PORT, &ListenerOpts::new().backlog(BACKLOG))?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An error is a client that left.
        monoio::spawn(async move { answer(stream).await.ok() });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::new();
    // The kernel fills a buffer that the call owns; the inbox gets a copy of it.
    let mut buffer = vec![0; BUFFER];
    loop {
        let outcome;
        (outcome, buffer) = stream.read(buffer).await;
        let arrived = outcome?;
        if arrived == 0 {
            return Ok(());
        }
        let Some(room) = inbox.room().get_mut(..arrived) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        room.copy_from_slice(&buffer[..arrived]);
        for _ in 0..inbox.take(arrived) {
            stream.write_all(RESPONSE).await.0?;
        }
    }
}
