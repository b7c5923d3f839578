//! The bytes of a connection: a green socket, with TLS over it if the URL asks for that.
//!
//! One green thread reads and another one writes. rustls has one state for both directions, so it is borrowed only
//! between waits: what it seals is written to the socket, and what the socket gives is fed to it, with no borrow held.

use std::io::{self, Read, Write};
use std::time::Duration;

use greenloom::net::TcpStream;

use super::error::Error;
use super::url::{Broker, Options};

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<tls::Session>,
}

impl Stream {
    /// Connects to one host, with TLS if `options` say so. Parks meanwhile.
    pub fn connect(host: &Broker, options: &Options) -> Result<Stream, Error> {
        let socket = TcpStream::connect((host.name.as_str(), host.port))?;
        socket.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        {
            let tls = if options.tls { Some(tls::Session::shake_hands(&socket, host, options)?) } else { None };
            Ok(Stream { socket, tls })
        }
        #[cfg(not(feature = "tls"))]
        {
            if options.tls {
                return Err(super::unsupported::Unsupported::Tls.into());
            }
            Ok(Stream { socket })
        }
    }

    /// For the reader. Parks until there is something; 0 is the end.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.read(&self.socket, buf);
        }
        (&self.socket).read(buf)
    }

    /// For the writer. Parks while the socket is full.
    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.write_all(&self.socket, bytes);
        }
        (&self.socket).write_all(bytes)
    }

    /// How long a write may wait without getting rid of anything.
    pub fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(timeout))
    }

    /// Ends it: its waiters get an error.
    pub fn close(&self) {
        self.socket.close();
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::cell::RefCell;
    use std::io::{self, Read, Write};
    use std::sync::Arc;

    use greenloom::net::TcpStream;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::super::error::Error;
    use super::super::unsupported::Unsupported;
    use super::super::url::{Broker, Options};

    /// Where systems keep the certificates that they trust.
    const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

    #[derive(Debug)]
    pub struct Session {
        connection: RefCell<ClientConnection>,
        /// What was read from the socket and rustls has not yet taken.
        sealed: RefCell<Vec<u8>>,
    }

    impl Session {
        pub fn shake_hands(socket: &TcpStream, host: &Broker, options: &Options) -> Result<Session, Error> {
            let name = ServerName::try_from(host.name.clone()).map_err(io::Error::other)?;
            let mut connection = ClientConnection::new(config(options)?, name).map_err(io::Error::other)?;
            // What a caller may write at once is bounded by the connection's buffer.
            connection.set_buffer_limit(None);
            while connection.is_handshaking() {
                connection.complete_io(&mut &*socket)?;
            }
            Ok(Session { connection: RefCell::new(connection), sealed: RefCell::default() })
        }

        pub fn read(&self, socket: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
            loop {
                match self.connection.borrow_mut().reader().read(buf) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
                // Taken out of the cell for the wait; there is one reader.
                let mut sealed = self.sealed.take();
                if sealed.is_empty() {
                    sealed.resize(32 * 1024, 0);
                    let length = { socket }.read(&mut sealed)?;
                    sealed.truncate(length);
                }
                let mut rest = sealed.as_slice();
                {
                    let mut connection = self.connection.borrow_mut();
                    connection.read_tls(&mut rest)?;
                    connection.process_new_packets().map_err(io::Error::other)?;
                }
                let taken = sealed.len() - rest.len();
                sealed.drain(..taken);
                self.sealed.replace(sealed);
            }
        }

        pub fn write_all(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
            let mut sealed = Vec::new();
            {
                let mut connection = self.connection.borrow_mut();
                connection.writer().write_all(bytes)?;
                while connection.wants_write() {
                    connection.write_tls(&mut sealed)?;
                }
            }
            { socket }.write_all(&sealed)
        }
    }

    fn config(options: &Options) -> Result<Arc<ClientConfig>, Error> {
        let file = options.ca_file.as_deref().unwrap_or(SYSTEM_CAS);
        let unreadable = |error| Unsupported::Certificates { file: file.to_owned(), source: Arc::new(error) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            // One that rustls does not like is no reason to distrust the others.
            let _ = roots.add(certificate.map_err(unreadable)?);
        }
        // Named, for there may be several in a program.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(io::Error::other)?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    }
}
