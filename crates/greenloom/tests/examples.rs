//! The examples do what they say: libraries that are generic over streams run on green sockets.

#[allow(dead_code)]
#[path = "../examples/port_forwarder.rs"]
mod port_forwarder;

#[allow(dead_code)]
#[path = "../examples/tls_echo.rs"]
mod tls_echo;

#[allow(dead_code)]
#[path = "../examples/websocket_echo.rs"]
mod websocket_echo;

fn expected(clients: usize) -> Vec<String> {
    (0..clients).map(|number| format!("client {number}")).collect()
}

#[test]
fn rustls_runs_on_green_sockets() {
    assert_eq!(tls_echo::run(20).unwrap(), expected(20));
}

#[test]
fn tungstenite_runs_on_green_sockets() {
    assert_eq!(websocket_echo::run(20).unwrap(), expected(20));
}

#[test]
fn the_port_forwarder_passes_both_ways_on_and_drains() {
    use greenloom::{net, spawn};
    use std::io::{Read, Write};
    use std::net::Shutdown;

    let echo = net::listen("127.0.0.1:0").unwrap();
    let behind = echo.local_addr().unwrap().to_string();
    spawn(move || net::serve(&echo, 10, |stream, _| drop(std::io::copy(&mut &stream, &mut &stream))));
    let (server, address) = port_forwarder::start("127.0.0.1:0", behind).unwrap();
    let mut client = net::connect(address).unwrap();
    client.write_all(b"there and back").unwrap();
    let mut begun = [0; 5];
    client.read_exact(&mut begun).unwrap();
    let draining = spawn(move || server.shutdown(std::time::Duration::from_secs(20)));
    greenloom::yield_now();
    assert!(net::connect(address).is_err(), "it has stopped listening");
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " and back");
    let drained = draining.wait().unwrap();
    assert_eq!((drained.finished, drained.killed), (1, 0));
}
