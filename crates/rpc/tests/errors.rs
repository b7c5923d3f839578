//! What errors say: each text stands once in an error and its sources, and each cause keeps its type.

use std::error::Error as StdError;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use greenloom::Chain;
use greenloom::queue::Reason;
use greenloom_rpc::amqp::{self, Connection, Malformed, Unsupported};
use greenloom_rpc::memory::Bus;
use greenloom_rpc::transport::{Address, Awaited, Lost, Outgoing, TransportError, UrlError};
use greenloom_rpc::{Error, open_transport};

/// The texts of an error and its sources. Panics where one holds another.
fn texts(error: &dyn StdError) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    for (at, text) in texts.iter().enumerate() {
        let twice = texts[at + 1..].iter().find(|below| text.contains(*below));
        assert!(twice.is_none(), "{twice:?} stands twice: {texts:?}");
    }
    assert_eq!(Chain(error).to_string(), texts.join(": "));
    texts
}

fn topic() -> Address {
    Address::Topic { exchange: "openstack".into(), topic: "t".into() }
}

/// A port of this machine's where nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_broker_that_is_not_there_is_told_with_the_error_of_the_socket() {
    let url = format!("amqp://127.0.0.1:{}/?connection_timeout=0.2", free_port());
    let error = open_transport(&url).unwrap().send(&topic(), Outgoing::default()).unwrap_err();
    let TransportError::Disconnected(cause) = &error else { panic!("{error:?}") };
    let Some(amqp::Error::Io(of_the_socket)) = cause.downcast_ref() else { panic!("{error:?}") };
    assert_eq!(of_the_socket.kind(), io::ErrorKind::ConnectionRefused);
    let said = ["the connection was lost", &of_the_socket.to_string()].map(str::to_owned);
    assert_eq!(texts(&error), said);
    assert_eq!(texts(&Error::from(error)), said);
}

#[test]
fn a_bus_that_cuts_a_connection_is_told_so() {
    let bus = Bus::new();
    let transport = bus.connect();
    let listener = transport.listen(&[topic()], 1).unwrap();
    bus.cut(Duration::from_millis(1));
    let error = listener.next().map(drop).unwrap_err();
    assert!(matches!(&error, TransportError::Disconnected(cause) if cause.downcast_ref() == Some(&Lost::Cut)));
    assert_eq!(texts(&Error::from(error)), ["the connection was lost", "the bus cut it"]);
}

#[test]
fn certificates_that_cannot_be_read_are_told_with_the_file_and_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options: amqp::Options = format!("amqps://127.0.0.1:{port}/?ssl_ca_file=nowhere.pem").parse().unwrap();
    let error = Connection::open(&options.brokers[0], &options).unwrap_err();
    let amqp::Error::Unsupported(Unsupported::Certificates { file, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(file, "nowhere.pem");
    let said = texts(&error);
    assert_eq!(said[0], "cannot read the certificates in nowhere.pem");
    assert!(said[1..].concat().contains("No such file"), "{said:?}");
}

#[test]
fn an_error_that_shows_another_as_it_is_goes_on_with_that_ones_source() {
    let unknown = UrlError::UnknownScheme("pigeon".into());
    for error in [
        &Error::from(TransportError::Url(unknown.clone())) as &dyn StdError,
        &TransportError::Url(unknown.clone()),
        &amqp::Error::Url(unknown.clone()),
    ] {
        assert_eq!(texts(error), [unknown.to_string()]);
    }
    assert_eq!(texts(&amqp::Error::from(Malformed("no frame"))).len(), 1);
    assert_eq!(texts(&amqp::Error::from(io::Error::other(Malformed("no frame")))).len(), 1);
    assert_eq!(texts(&TransportError::TimedOut(Awaited::Room)), ["timed out waiting for room in the queue"]);
    let no_json = serde_json::from_str::<u8>("x").unwrap_err();
    assert_eq!(texts(&Error::from(no_json)).len(), 1);
}

#[test]
fn what_adds_words_has_its_cause_as_source() {
    let hook = Error::Hook { name: "start_hook", error: "not today".into() };
    assert_eq!(texts(&hook), ["the hook start_hook failed", "not today"]);
    let signals = Error::Signals(io::Error::from_raw_os_error(24));
    assert_eq!(texts(&signals)[0], "cannot wait for signals");
    assert_eq!(texts(&signals).len(), 2);
    assert_eq!(texts(&Error::CannotWait(Reason::Closed)).len(), 2);
}
