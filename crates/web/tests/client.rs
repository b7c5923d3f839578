//! ureq's agent on green sockets: pooled, over Unix sockets, over TLS; and the server's TLS and WebSocket.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use common::{Client, limited, millis, serve, serve_with, tell};
use greenloom::net::{self, UnixListener};
use greenloom::{sleep, spawn};
use greenloom_web::client::ureq::tls::{Certificate, RootCerts, TlsConfig};
use greenloom_web::client::ureq::{self, Agent};
use greenloom_web::http::{Request, Response};
use greenloom_web::{Body, Incoming, Server, ServerOptions, client, websocket};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tungstenite::Message;

fn text(response: Result<Response<ureq::Body>, ureq::Error>) -> Result<String, ureq::Error> {
    response?.body_mut().read_to_string()
}

/// A certificate for localhost that signs itself, and a server's configuration with it.
fn certificate() -> (CertificateDer<'static>, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.der().clone(), Arc::new(config))
}

#[test]
fn a_thousand_requests_at_once_share_a_pool_and_wait_green() {
    let served = serve(|request| {
        sleep(millis(1));
        tell(request)
    });
    limited(|| {
        let agent = client::agent();
        let url = format!("http://{}", served.address);
        let asking = |n: usize| {
            let (agent, url) = (agent.clone(), format!("{url}/{n}"));
            spawn(move || text(agent.post(&url).send(format!("body {n}"))).unwrap())
        };
        for round in 0..10 {
            let all: Vec<_> = (0..100).map(|n| (n, asking(round * 100 + n))).collect();
            for (n, answer) in all {
                assert_eq!(answer.wait().unwrap(), format!("POST /{0} body {0}", round * 100 + n));
            }
        }
        let stats = served.server.stats();
        assert_eq!(stats.requests, 1000);
        assert!(stats.connections.accepted < 1000, "{stats:?}");
    });
}

#[test]
fn names_are_looked_up_and_errors_are_those_of_ureq() {
    let served = serve(tell);
    limited(|| {
        let agent = client::agent();
        let port = served.address.port();
        assert_eq!(text(agent.get(format!("http://localhost:{port}/x")).call()).unwrap(), "GET /x ");
        assert!(matches!(agent.get("https:///").call(), Err(ureq::Error::Http(_) | ureq::Error::BadUri(_))));
        let gone = net::listen("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(agent.get(format!("http://{gone}/")).call(), Err(ureq::Error::Io(_))));
    });
}

#[test]
fn a_timeout_of_ureq_is_kept_while_others_run() {
    let served = serve(|request| {
        sleep(Duration::from_secs(3600));
        tell(request)
    });
    limited(|| {
        let config = Agent::config_builder().timeout_global(Some(millis(30))).build();
        let agent = client::agent_with(config);
        let url = format!("http://{}/", served.address);
        let asking = spawn(move || agent.get(url).call().map(drop));
        sleep(millis(1));
        assert!(!asking.is_dead());
        assert!(matches!(asking.wait().unwrap(), Err(ureq::Error::Timeout(_))));
    });
}

#[test]
fn a_connection_that_the_server_has_ended_is_not_used_again() {
    let served = serve_with(ServerOptions::new().keep_alive(millis(100)), tell);
    limited(|| {
        let agent = client::agent();
        let url = format!("http://{}/", served.address);
        for round in 1..4 {
            assert_eq!(text(agent.get(&url).call()).unwrap(), "GET / ");
            while served.server.stats().connections.finished < round {
                sleep(millis(1));
            }
        }
        assert_eq!(served.server.stats().connections.accepted, 3);
    });
}

#[test]
fn requests_go_over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("greenloom-web-{}-asked", std::process::id()));
    let server = Server::start(UnixListener::bind(&path).unwrap(), tell).unwrap();
    limited(|| {
        let agent = client::unix_agent(&path, ureq::config::Config::default());
        for _ in 0..3 {
            assert_eq!(text(agent.get("http://any/where").call()).unwrap(), "GET /where ");
        }
        assert_eq!(server.stats().connections.accepted, 1);
    });
    drop(server);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn client_and_server_speak_tls() {
    let (certificate, config) = certificate();
    let served = serve_with(ServerOptions::new().tls(config), |request: Request<Incoming>| {
        Response::new(Body::reader(request.into_body()))
    });
    limited(|| {
        let roots = RootCerts::new_with_certs(&[Certificate::from_der(&certificate).to_owned()]);
        let config = Agent::config_builder().tls_config(TlsConfig::builder().root_certs(roots).build()).build();
        let agent = client::agent_with(config);
        let url = format!("https://localhost:{}/", served.address.port());
        let large = "large ".repeat(100_000);
        for body in ["small", &large] {
            assert_eq!(text(agent.post(&url).send(body)).unwrap(), body);
        }
        assert_eq!(served.server.stats().connections.accepted, 1);
        // Another certificate is not taken.
        assert!(client::agent().get(&url).call().is_err());
        // One who speaks no TLS is gone at once, and the server goes on.
        let mut plain = served.connect();
        plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut alert = Vec::new();
        plain.stream.read_to_end(&mut alert).unwrap();
        assert_eq!(text(agent.post(&url).send("again")).unwrap(), "again");
        let drained = served.server.shutdown(common::LONG);
        assert_eq!(drained.killed, 0);
    });
}

#[test]
fn a_tls_handshake_that_stalls_is_given_up() {
    let (_, config) = certificate();
    let served = serve_with(ServerOptions::new().tls(config).head_timeout(millis(20)), tell);
    limited(|| assert_eq!(served.connect().rest(), ""));
}

#[test]
fn a_websocket_is_served_beside_requests() {
    let served = serve(|request| {
        if request.uri().path() != "/socket" {
            return tell(request);
        }
        websocket::accept(&request, |mut socket| {
            while let Ok(message) = socket.read() {
                if message.is_text() && socket.send(message).is_err() {
                    return;
                }
            }
        })
    });
    limited(|| {
        let Client { stream, .. } = served.connect();
        let (mut socket, _) = tungstenite::client("ws://x/socket", stream).unwrap();
        for n in 0..3 {
            socket.send(Message::text(format!("message {n}"))).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text(format!("message {n}")));
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
        let answer = served.answer(b"GET /socket HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    });
}

#[test]
fn an_upgrade_has_what_came_behind_the_request() {
    let served = serve(|_| {
        let echo = Body::upgrade(|mut stream| {
            let mut bytes = [0; 16];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..count]).unwrap();
            }
        });
        Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo").body(echo).unwrap()
    });
    limited(|| {
        let answer =
            served.answer(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly words");
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo"), "{head}");
        assert_eq!(rest, "early words");
    });
}

#[test]
fn a_body_for_an_upgrade_under_another_status_is_an_error_500() {
    let served = serve(|request| match request.uri().path() {
        "/early" => Response::builder().status(103).body(Body::empty()).unwrap(),
        _ => Response::new(Body::upgrade(|_| panic!("nobody agreed to it"))),
    });
    limited(|| {
        for path in ["/", "/early"] {
            let answer = served.answer(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        }
    });
}
