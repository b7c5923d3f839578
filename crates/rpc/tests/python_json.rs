//! JSON as Python writes it, on both sides: what Rust can hold is read, and what it cannot is an error of that one
//! call, at once.

#[path = "../../greenloom/tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use common::{passes, simulate};
use greenloom::{hub::now, sleep, spawn};
use greenloom_rpc::memory::Bus;
use greenloom_rpc::transport::{Address, Outgoing, Transport};
use greenloom_rpc::{Client, Connection, Context, Endpoint, Error, Fanout, Options, RemoteError, Target};
use serde::Deserialize;
use serde_json::{Value, json};

const TOPIC: &str = "topic";

#[derive(Deserialize)]
struct Number {
    x: f64,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn serve(bus: &Bus) -> Connection {
    let connection = Options::default().connect_over(bus.connect());
    let endpoint = Endpoint::builder()
        .method("number", |_, _, Number { x }| Ok(x.to_string()))
        .method("name", |_, _, Named { name }| Ok(name))
        .method("any", |_, _, args: HashMap<String, Value>| Ok(args.len()))
        .method("echo", |_, _, args: HashMap<String, Value>| Ok(args["x"].clone()))
        .method("context", |_, context: &Context, ()| Ok(context.iter().count()))
        .method("nan", |_, _, ()| Ok([1.0, f64::NAN]))
        .build();
    connection.create_consumer(TOPIC, [endpoint], Fanout::Ignore).unwrap();
    connection.consume_in_threads().unwrap();
    connection
}

/// Asks as Python would, with these arguments and this context, and returns the answer as text.
fn ask(transport: &Rc<dyn Transport>, method: &str, args: &str, context: &str) -> String {
    let queue = "reply_1".to_owned();
    let replies = transport.listen(&[Address::Reply { queue }], 0).unwrap();
    let request = format!(
        r#"{{"method": "{method}", "args": {args}, "version": "1.0", "_msg_id": "m1", "_reply_q": "reply_1"{context}}}"#
    );
    let topic = Address::Topic { exchange: "openstack".into(), topic: TOPIC.into() };
    transport.send(&topic, Outgoing { body: request.as_bytes().into(), ..Outgoing::default() }).unwrap();
    let began = now();
    let answer = greenloom::timeout(Duration::from_secs(5), || replies.next().unwrap()).expect("it is answered");
    assert!(now() - began < Duration::from_secs(1));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    answer.settle.ack().unwrap();
    text
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn a_server_reads_what_python_writes_and_says_at_once_what_it_cannot_hold() {
    simulate(|| {
        let bus = Bus::new();
        let server = serve(&bus);
        let transport = bus.connect();
        let ask = |method: &str, args: &str, context: &str| ask(&transport, method, args, context);
        for (method, args, answer) in [
            ("number", r#"{"x": NaN}"#, r#""result":"NaN""#),
            ("number", r#"{"x": -Infinity}"#, r#""result":"-inf""#),
            ("number", r#"{"x": 1180591620717411303424}"#, r#""result":"1180591620717411300000""#),
            ("name", r#"{"name": "a", "other": "\ud800", "more": [NaN]}"#, r#""result":"a""#),
            ("any", r#"{"x": NaN}"#, "fits only a float"),
            ("name", r#"{"name": "\ud800"}"#, "surrogate"),
            ("name", r#"{"name": 1180591620717411303424}"#, "TypeError"),
            ("any", r#"{"x": Nan}"#, "TypeError"),
        ] {
            let said = ask(method, args, "");
            assert!(said.contains(answer), "{method} {args}: {said}");
        }
        for depth in [127, 200, 500] {
            let said = ask("echo", &format!(r#"{{"x": {}}}"#, nested(depth)), "");
            assert!(said.contains(&format!(r#""result":{}"#, nested(depth))), "{depth}: {said}");
        }
        assert!(ask("echo", &format!(r#"{{"x": {}}}"#, nested(100_000)), "").contains("levels deep"));
        assert!(ask("context", "{}", r#", "_context_a": NaN"#).contains("the context's a"));
        assert!(ask("context", "{}", r#", "_context_a": "\ud800", "_context_b": 1"#).contains("the context's a"));
        assert!(ask("context", "{}", &format!(r#", "_context_a": {}"#, nested(200))).contains(r#""result":1"#));
        assert_eq!(server.stats().unwrap().consumers[0].buried, 0);
    });
}

#[test]
fn a_worker_on_a_small_stack_takes_a_context_that_is_nested_deeply() {
    passes("body_of_a_worker_on_a_small_stack");
}

#[test]
#[ignore = "run in a process of its own, for its stacks are small"]
fn body_of_a_worker_on_a_small_stack() {
    // The smallest that a program may choose. What the test itself needs is on the OS thread's.
    if std::env::var_os("GREENLOOM_STACK_SIZE").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "body_of_a_worker_on_a_small_stack", "--include-ignored"])
            .env("GREENLOOM_STACK_SIZE", (64 * 1024).to_string())
            .status();
        return assert!(status.unwrap().success());
    }
    let bus = Bus::new();
    let _server = serve(&bus);
    let transport = bus.connect();
    for depth in [16, 17, 127, 500] {
        let answer = ask(&transport, "context", "{}", &format!(r#", "_context_a": {}"#, nested(depth)));
        assert!(answer.contains(r#""result":1"#), "{depth}: {answer}");
    }
}

/// A server that answers every call with this result.
fn answers(bus: &Bus, answer: &'static str) {
    let transport = bus.connect();
    let topic = Address::Topic { exchange: "openstack".into(), topic: TOPIC.into() };
    let listener = transport.listen(&[topic], 0).unwrap();
    spawn(move || {
        while let Ok(incoming) = listener.next() {
            let envelope: Value = serde_json::from_slice(&incoming.body).unwrap();
            let request: Value = serde_json::from_str(envelope["oslo.message"].as_str().unwrap()).unwrap();
            let queue = request["_reply_q"].as_str().unwrap().to_owned();
            let body = format!(r#"{{{answer}, "ending": true, "_msg_id": {}}}"#, request["_msg_id"]);
            let outgoing = Outgoing { body: body.as_bytes().into(), ..Outgoing::default() };
            transport.send(&Address::Reply { queue }, outgoing).unwrap();
            incoming.settle.ack().unwrap();
        }
    });
}

fn call<T: serde::de::DeserializeOwned + Send>(answer: &'static str) -> Result<T, String> {
    simulate(move || {
        let bus = Bus::with_envelopes();
        answers(&bus, answer);
        sleep(Duration::from_millis(1));
        let client = Client::new(&Options::default().connect_over(bus.connect()), Target::topic(TOPIC));
        let began = now();
        let answer = client.call("f", &());
        assert_eq!(now(), began, "it is told at once");
        answer.map_err(|error| match error {
            Error::Remote(error) => format!("{} {}", RemoteError::kind(&error), error.message()),
            error => error.to_string(),
        })
    })
}

#[test]
fn a_caller_reads_what_python_answers_and_hears_at_once_what_it_cannot_hold() {
    assert!(call::<f64>(r#""result": NaN, "failure": null"#).unwrap().is_nan());
    assert_eq!(call::<Vec<f64>>(r#""result": [Infinity, 1], "failure": null"#).unwrap(), [f64::INFINITY, 1.0]);
    assert!(call::<Value>(r#""result": {"x": NaN}, "failure": null"#).unwrap_err().contains("fits only a float"));
    assert!(call::<String>(r#""result": "\udfff", "failure": null"#).unwrap_err().contains("surrogate"));
    assert!(call::<u64>(r#""result": 1180591620717411303424, "failure": null"#).is_err());
    let failure = concat!(
        r#""result": null, "failure": "{\"class\": \"E\", \"module\": \"m\", \"message\": \"no\", \"tb\": [], "#,
        r#"\"args\": [NaN], \"kwargs\": {}}""#,
    );
    assert_eq!(call::<()>(failure).unwrap_err(), "E no");
}

#[test]
fn what_is_not_finite_is_refused_on_the_side_that_has_it() {
    simulate(|| {
        let bus = Bus::new();
        let _server = serve(&bus);
        let client = Client::new(&Options::default().connect_over(bus.connect()), Target::topic(TOPIC));
        let args = HashMap::from([("x", f64::NAN)]);
        assert!(matches!(client.call::<String>("number", &args), Err(Error::Json(_))));
        assert!(matches!(client.cast("number", &args), Err(Error::Json(_))));
        assert_eq!(client.call::<Option<u32>>("echo", &json!({"x": null})).unwrap(), None);
        let error = client.call::<Vec<f64>>("nan", &()).unwrap_err();
        let remote = error.remote().unwrap();
        assert_eq!(remote.kind(), "ValueError");
        assert!(remote.message().contains("NaN"), "{}", remote.message());
    });
}
