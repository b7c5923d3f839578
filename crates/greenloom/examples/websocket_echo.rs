//! WebSockets over green threads: tungstenite, unchanged, on green sockets.
//!
//!     cargo run --example websocket_echo
//!
//! A server echoes each client's messages; three clients talk to it at the same time, all on one OS thread.

use std::error::Error;
use std::net::SocketAddr;

use greenloom::net::{self, TcpStream};
use greenloom::spawn;
use tungstenite::Message;

fn main() -> Result<(), Box<dyn Error>> {
    for answer in run(3)? {
        println!("{answer}");
    }
    Ok(())
}

/// Has `clients` clients talk to a server and returns what each was answered.
pub fn run(clients: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let listener = net::listen("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let accepting = spawn(move || {
        net::serve(&listener, 100, |stream, from| {
            if let Err(error) = echo(stream) {
                eprintln!("{from}: {error}");
            }
        })
    });
    let clients: Vec<_> = (0..clients).map(|number| spawn(move || ask(address, format!("client {number}")))).collect();
    let answers = clients.into_iter().map(|client| Ok(client.wait()??)).collect();
    accepting.kill();
    answers
}

fn echo(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut socket = tungstenite::accept(stream)?;
    loop {
        match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message)?,
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask(address: SocketAddr, text: String) -> Result<String, tungstenite::Error> {
    let stream = net::connect(address)?;
    let (mut socket, _response) = tungstenite::client(format!("ws://{address}/"), stream)
        .map_err(|error| tungstenite::Error::Io(std::io::Error::other(error.to_string())))?;
    socket.send(Message::text(text))?;
    let answer = socket.read()?.into_text()?.to_string();
    socket.close(None)?;
    // Reads on until the server has closed its side, too.
    while socket.read().is_ok() {}
    Ok(answer)
}
