//! TLS over green threads: rustls, unchanged, on green sockets.
//!
//!     cargo run --example tls_echo
//!
//! A server with a self-made certificate echoes what each client sends; three clients that trust this certificate talk
//! to it at the same time, all on one OS thread.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use greenloom::net::{self, TcpStream};
use greenloom::spawn;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

fn main() -> Result<(), Box<dyn Error>> {
    for answer in run(3)? {
        println!("{answer}");
    }
    Ok(())
}

/// Has `clients` clients talk to a server and returns what each was answered.
pub fn run(clients: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = identity.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .map(Arc::new)?;

    let listener = net::listen("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let accepting = spawn(move || {
        net::serve(&listener, 100, move |stream, from| {
            if let Err(error) = echo(stream, Arc::clone(&server)) {
                eprintln!("{from}: {error}");
            }
        })
    });

    let config = trusting(certificate)?;
    let clients: Vec<_> = (0..clients)
        .map(|number| {
            let config = Arc::clone(&config);
            spawn(move || ask(address, config, &format!("client {number}")))
        })
        .collect();
    let answers = clients.into_iter().map(|client| Ok(client.wait()??)).collect();
    accepting.kill();
    answers
}

fn echo(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n])?,
        }
    }
}

fn trusting(certificate: CertificateDer<'static>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

fn ask(address: SocketAddr, config: Arc<ClientConfig>, text: &str) -> io::Result<String> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, net::connect(address)?);
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    String::from_utf8(answer).map_err(io::Error::other)
}
