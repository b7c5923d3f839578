//! The echo on tokio: the current-thread runtime for one thread, the multi-thread runtime for more.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
};

use crate::http::{Inbox, RESPONSE};
use crate::listen::{ANY_PORT, BACKLOG, announce};

pub fn serve(threads: usize) -> io::Result<()> {
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(threads).enable_io().build()?.block_on(accept())
}

async fn accept() -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(ANY_PORT)?;
    let listener = socket.listen(BACKLOG as u32)?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An error is a client that left.
        tokio::spawn(async move { answer(stream).await.ok() });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::new();
    loop {
        let arrived = stream.read(inbox.room()).await?;
        if arrived == 0 {
            return Ok(());
        }
        for _ in 0..inbox.take(arrived) {
            stream.write_all(RESPONSE).await?;
        }
    }
}
