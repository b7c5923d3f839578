//! The examples do what they say.

#[allow(dead_code)]
#[path = "../examples/greeter.rs"]
mod greeter;

use greenloom_web::client;
use greenloom_web::client::ureq;

#[test]
fn the_greeter_greets_and_counts() {
    let (server, address) = greeter::start("127.0.0.1:0").unwrap();
    let agent = client::agent();
    let get = |path: &str| agent.get(format!("http://{address}{path}")).call()?.body_mut().read_to_string();
    assert_eq!(get("/greet/world").unwrap(), "hello, world\n");
    assert!(matches!(get("/nothing"), Err(ureq::Error::StatusCode(404))));
    let metrics = get("/metrics").unwrap();
    for line in [r#"http_requests_total{status="200"} 1"#, r#"http_requests_total{status="404"} 1"#] {
        assert!(metrics.lines().any(|other| other == line), "{metrics}");
    }
    assert!(metrics.contains("http_request_seconds_count 2"), "{metrics}");
    let drained = server.shutdown(std::time::Duration::from_secs(20));
    assert_eq!(drained.killed, 0);
}
