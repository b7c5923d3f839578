//! HTTP/1.1 by hyper on tokio's current-thread runtime, a task a connection.

use std::{convert::Infallible, io};

use http_body_util::Full;
use hyper::{Response, body::Bytes, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpSocket, runtime::Builder};

use crate::http::BODY;
use crate::listen::{ANY_PORT, BACKLOG, announce};

pub fn serve() -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(accept())
}

async fn accept() -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(ANY_PORT)?;
    let listener = socket.listen(BACKLOG as u32)?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        // An error is a client that left.
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn answer<B>(_request: hyper::Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    Ok(response)
}
