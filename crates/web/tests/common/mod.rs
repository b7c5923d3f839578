//! What the tests of the server share: a server with a handler, and a client that writes bytes and reads responses.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use greenloom::net::{self, TcpStream};
use greenloom_web::http::{Request, Response, header};
use greenloom_web::{Body, Incoming, Server, ServerOptions};

pub const LONG: Duration = Duration::from_secs(20);

pub fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Ends what would hang.
pub fn limited<R>(body: impl FnOnce() -> R) -> R {
    greenloom::timeout(LONG, body).expect("the test hangs")
}

/// Tells the method, the target and the body, or what is wrong with it.
pub fn tell(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let text = match body.read_up_to(1 << 20) {
        Ok(body) => format!("{} {} {}", parts.method, parts.uri, body.escape_ascii()),
        Err(error) => format!("{} {} {:?}", parts.method, parts.uri, error.kind()),
    };
    Response::builder().header(header::DATE, "today").body(Body::from(text)).unwrap()
}

pub struct Served {
    pub server: Server,
    pub address: std::net::SocketAddr,
}

pub fn serve(handler: impl Fn(Request<Incoming>) -> Response<Body> + 'static) -> Served {
    serve_with(ServerOptions::new(), handler)
}

pub fn serve_with(options: ServerOptions, handler: impl Fn(Request<Incoming>) -> Response<Body> + 'static) -> Served {
    let listener = net::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    Served { server: options.start(listener, handler).unwrap(), address }
}

impl Served {
    pub fn connect(&self) -> Client {
        let stream = net::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Client { stream, read: Vec::new() }
    }

    /// All that is answered to these bytes, of which there are no more.
    pub fn answer(&self, bytes: &[u8]) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.stream.shutdown(Shutdown::Write).unwrap();
        client.rest()
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub read: Vec<u8>,
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// All up to and with this.
    pub fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).unwrap();
            assert_ne!(count, 0, "ended before {end:?}, after {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&bytes[..count]);
        }
    }

    /// A response with a Content-Length: its head, and its body.
    pub fn response(&mut self) -> (String, String) {
        let head = self.until("\r\n\r\n");
        let length: usize = field(&head, "content-length").expect("it has a length").parse().unwrap();
        let mut body = std::mem::take(&mut self.read);
        let rest = body.split_off(length.min(body.len()));
        self.read = rest;
        let missing = length - body.len();
        body.resize(length, 0);
        self.stream.read_exact(&mut body[length - missing..]).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// All there is to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.read);
        self.stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// The value of a field.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}
