//! The examples do what they say: libraries that are generic over streams run on green sockets.

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
