//! Answers each HTTP request with a greeting, over connections that stay open.
//!
//!     cargo run --release --example http_hello -- 127.0.0.1:8080
//!
//! It looks for the end of the request's head and at nothing else, which is enough for a load generator.

use std::io::{self, Read, Write};

use greenloom::net::{self, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = net::listen(address)?;
    println!("listening on {}", listener.local_addr()?);
    net::serve(&listener, 10_000, |stream, from| {
        if let Err(error) = answer(stream) {
            eprintln!("{from}: {error}");
        }
    })
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; 4096];
    let mut filled = 0;
    loop {
        match stream.read(&mut request[filled..])? {
            0 if filled == request.len() => return Err(io::Error::other("the request is too long")),
            0 => return Ok(()),
            n => filled += n,
        }
        if request[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(ANSWER)?;
            filled = 0;
        }
    }
}
