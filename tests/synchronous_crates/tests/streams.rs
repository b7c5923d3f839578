//! Crates that are generic over streams, or take a connector: they are green on green sockets as they are.

use std::io::{Read, Write};
use std::sync::Arc;

use greenloom::net::{self, TcpStream, UnixStream};
use greenloom::{sleep, spawn};
use greenloom_web::http::{Request, Response};
use greenloom_web::{Body, Incoming, Server, client};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use synchronous_crates::{A_WHILE, others_run};

fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Answers after a while.
fn answer(mut stream: impl Read + Write) {
    let mut request = [0; 4];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"ping");
    sleep(A_WHILE);
    stream.write_all(b"pong").unwrap();
    stream.flush().unwrap();
    // Until the other one ends.
    let _ = stream.read(&mut request);
}

/// Asks, and says whether others ran while the answer was waited for.
fn ask(mut stream: impl Read + Write) -> bool {
    let mut answer = [0; 4];
    let ((), others_ran) = others_run(|| {
        stream.write_all(b"ping").unwrap();
        stream.flush().unwrap();
        stream.read_exact(&mut answer).unwrap();
    });
    assert_eq!(&answer, b"pong");
    others_ran
}

#[test]
fn ureq_is_green_with_its_connector() {
    let listener = net::listen("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let handler = |_: Request<Incoming>| {
        sleep(A_WHILE);
        Response::new(Body::from("hello"))
    };
    let _server = Server::start(listener, handler).unwrap();
    let agent = client::agent();
    let (text, others_ran) = others_run(|| agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap());
    assert_eq!((text.as_str(), others_ran), ("hello", true));
}

#[test]
fn native_tls_is_green_on_green_streams() {
    let made = certificate();
    let identity =
        native_tls::Identity::from_pkcs8(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
    let acceptor = native_tls::TlsAcceptor::new(identity.unwrap()).unwrap();
    let root = native_tls::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let connector = native_tls::TlsConnector::builder().add_root_certificate(root).build().unwrap();

    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = spawn(move || answer(acceptor.accept(theirs).unwrap()));
    assert!(ask(connector.connect("localhost", ours).unwrap()));
    server.wait().unwrap();
}

#[test]
fn rustls_is_green_on_green_streams() {
    let made = certificate();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let server_config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client_config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = spawn(move || {
        let connection = rustls::ServerConnection::new(Arc::new(server_config)).unwrap();
        answer(rustls::StreamOwned::new(connection, theirs));
    });
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(client_config), name).unwrap();
    assert!(ask(rustls::StreamOwned::new(connection, ours)));
    server.wait().unwrap();
}

#[test]
fn tungstenite_is_green_on_green_streams() {
    let listener = net::listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let message = socket.read().unwrap();
        sleep(A_WHILE);
        socket.send(message).unwrap();
        assert!(socket.read().unwrap().is_close());
    });
    let stream = TcpStream::connect(address).unwrap();
    let (mut socket, _response) = tungstenite::client(format!("ws://{address}/"), stream).unwrap();
    let (message, others_ran) = others_run(|| {
        socket.send("ping".into()).unwrap();
        socket.read().unwrap()
    });
    assert_eq!((message.into_text().unwrap().as_str(), others_ran), ("ping", true));
    socket.close(None).unwrap();
    server.wait().unwrap();
}
