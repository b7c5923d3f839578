//! The real oslo.messaging on the other side: its clients ask our servers, ours ask its servers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use greenloom::sleep;
use greenloom_rpc::transport::TransportError;
use greenloom_rpc::{
    Client, Connection, Context, Endpoint, Error, Failure, Fanout, Options, Target, create_connection,
};
use serde_json::{Value, json};

use crate::broker::{PATIENCE, SECOND, eventually, name, script, url};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq/oslo");

/// A Python with oslo.messaging, running a program of this folder against the broker.
fn python(program: &str, arguments: &[&str]) -> Command {
    let venv = format!("{}/oslo-venv", env!("CARGO_TARGET_TMPDIR"));
    let output = Command::new(format!("{FOLDER}/venv.sh")).arg(venv).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = Command::new(String::from_utf8(output.stdout).unwrap().trim());
    // oslo.messaging's scheme for RabbitMQ.
    command
        .arg(format!("{FOLDER}/{program}"))
        .arg(url("").replace("amqp:", "rabbit:").replace('?', ""))
        .args(arguments);
    command
}

/// With queues as oslo.messaging has them by default, on every RabbitMQ.
fn as_theirs() -> String {
    url("amqp_durable_queues=false")
}

/// A server in Python, until it is dropped.
struct Server {
    process: Child,
    /// Its end is what stops it.
    stdin: Option<ChildStdin>,
}

impl Server {
    fn start(topic: &str, server: &str) -> Server {
        let mut command = python("server.py", &[topic, server]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let stdin = process.stdin.take();
        Server { process, stdin }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stdin = None;
        self.process.wait().unwrap();
    }
}

fn call(client: &Client, method: &str, args: Value) -> Result<Value, Error> {
    client.call(method, &args)
}

fn serve(topic: &str) -> Connection {
    let connection = Options::new().host("rust-1").connect(&as_theirs()).unwrap();
    let notes = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&notes);
    let plain = Endpoint::builder()
        .version("1.3")
        .method("echo", |_, _: &Context, args: HashMap<String, Value>| match args.get("value") {
            Some(value) => Ok(value.clone()),
            None => Err(Failure::new("TypeError", "echo takes a value")),
        })
        .method("context", |_, context: &Context, (): ()| {
            Ok(json!({"id": context.request_id(), "user": context.get("user")}))
        })
        .method("nothing", |_, _: &Context, (): ()| Ok(()))
        .method("fail", |_, _: &Context, (): ()| Err::<(), _>(Failure::new("ValueError", "no such router")))
        .method("fail_own", |_, _: &Context, (): ()| {
            Err::<(), _>(Failure::new("agent.errors.OwnError", "mine").with("code", 7))
        })
        .method("slow", |_, _: &Context, args: HashMap<String, u64>| {
            sleep(Duration::from_secs(args["seconds"]));
            Ok("slept")
        })
        .method("note", move |_, _: &Context, args: HashMap<String, String>| {
            noted.borrow_mut().push(args["text"].clone());
            Ok(())
        })
        .method("notes", move |_, _: &Context, args: HashMap<String, usize>| {
            eventually(|| notes.borrow().len() >= args["count"]);
            let mut notes = notes.borrow().clone();
            notes.sort();
            Ok(notes)
        })
        .build();
    let admin = Endpoint::builder()
        .namespace("admin")
        .version("2.1")
        .method("who", |_, _: &Context, (): ()| Ok("admin"))
        .build();
    connection.create_consumer(topic, [plain, admin], Fanout::Listen).unwrap();
    connection.consume_in_threads().unwrap();
    connection
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn every_option_of_the_installed_oslo_messaging_is_known() {
    let output = python("options.py", &[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(names.lines().count() > 20, "{names}");
    for name in names.lines() {
        let parsed = format!("amqp://localhost/?{name}=1").parse::<greenloom_rpc::amqp::Options>();
        assert!(parsed.is_ok(), "{name}: {parsed:?}");
    }
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_python_client_is_served_as_by_a_python_server() {
    let topic = name("interop");
    let _server = serve(&topic);
    let mut client = python("client.py", &[&topic, "rust-1"]);
    let output = greenloom::blocking::run(move || client.output().unwrap()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let outcomes: HashMap<String, Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|outcome| (outcome["name"].as_str().unwrap().to_owned(), outcome))
        .collect();
    let result = |name: &str| {
        let outcome = &outcomes[name];
        assert!(outcome.get("error").is_none(), "{outcome}");
        &outcome["result"]
    };
    let error = |name: &str| {
        let outcome = &outcomes[name];
        (outcome["error"].as_str().unwrap_or_else(|| panic!("{outcome}")), outcome)
    };
    let odd = json!({"list": [1, 2.5, null, true, "ä\n\"\\"], "nested": {"a": {"b": []}}, "large": 1u64 << 53});
    assert_eq!(*result("echo"), odd);
    assert_eq!(*result("context"), json!({"id": "req-python", "user": "ä"}));
    assert_eq!(*result("nothing"), Value::Null);
    assert_eq!(*result("server"), json!("one"));
    assert_eq!(*result("large"), json!(1_000_000));
    assert_eq!(error("value error").0, "ValueError");
    assert!(error("value error").1["message"].as_str().unwrap().contains("no such router"));
    let (class, own) = error("own error");
    assert_eq!(
        (class, own["exc_type"].as_str(), own["value"].as_str()),
        ("RemoteError", Some("OwnError"), Some("mine"))
    );
    let (class, method) = error("no method");
    assert_eq!((class, method["exc_type"].as_str()), ("RemoteError", Some("NoSuchMethod")));
    assert!(error("arguments").1["message"].as_str().unwrap().contains("echo takes a value"));
    assert_eq!(*result("minor version"), json!(3));
    for version in ["too new", "other major", "no namespace"] {
        assert_eq!(error(version).1["exc_type"].as_str(), Some("UnsupportedVersion"), "{version}");
    }
    assert_eq!(*result("namespace"), json!("admin"));
    assert_eq!(error("timeout").0, "MessagingTimeout");
    assert_eq!(*result("monitored"), json!("slept"));
    assert_eq!(*result("notes"), json!(["cast", "fanout", "to server"]));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_client_is_served_by_a_python_server() {
    let topic = name("interop");
    let _server = Server::start(&topic, "python-1");
    let context = Context::empty().with("request_id", "req-rust").with("user", "ä");
    let target = Target::topic(&topic).version("1.0");
    let client = Client::new(&create_connection(&as_theirs()).unwrap(), target).context(&context).timeout(PATIENCE);
    let kind = |outcome: Result<Value, Error>| match outcome {
        Err(Error::Remote(error)) => (error.kind().to_owned(), error.message().to_owned()),
        other => panic!("{other:?}"),
    };

    let odd = json!({"list": [1, 2.5, null, true, "ä\n\"\\"], "nested": {"a": {"b": []}}});
    assert_eq!(call(&client, "echo", json!({"value": odd})).unwrap(), odd);
    let context = call(&client, "context", json!({})).unwrap();
    assert_eq!((&context["request_id"], &context["user"]), (&json!("req-rust"), &json!("ä")));
    assert_eq!(call(&client, "nothing", json!({})).unwrap(), Value::Null);
    let one = client.prepare().server("python-1");
    assert_eq!(call(&one, "echo", json!({"value": "x".repeat(1_000_000)})).unwrap().as_str().unwrap().len(), 1_000_000);
    let error = kind(call(&client, "fail", json!({})));
    assert_eq!(error, ("ValueError".into(), "no such router".into()));
    assert_eq!(kind(call(&client, "fail_own", json!({}))).0, "OwnError");
    assert_eq!(kind(call(&client, "no_such_method", json!({}))).0, "NoSuchMethod");
    assert_eq!(kind(call(&client, "echo", json!({"other": 1}))).0, "TypeError");
    assert_eq!(call(&client.prepare().version("1.3"), "echo", json!({"value": 3})).unwrap(), json!(3));
    for version in ["1.4", "2.0"] {
        assert_eq!(kind(call(&client.prepare().version(version), "echo", json!({"value": 3}))).0, "UnsupportedVersion");
    }
    let admin = client.prepare().namespace("admin").version("2.0");
    assert_eq!(call(&admin, "who", json!({})).unwrap(), json!("admin"));
    assert_eq!(kind(call(&admin.prepare().namespace("nobody"), "who", json!({}))).0, "UnsupportedVersion");
    let hasty = client.prepare().timeout(SECOND);
    assert!(matches!(call(&hasty, "slow", json!({"seconds": 3})), Err(Error::Timeout { .. })));
    let monitored = client.prepare().monitor(2 * SECOND);
    assert_eq!(call(&monitored, "slow", json!({"seconds": 4})).unwrap(), json!("slept"));

    client.cast("note", &json!({"text": "cast"})).unwrap();
    one.cast("note", &json!({"text": "to server"})).unwrap();
    client.prepare().fanout().cast("note", &json!({"text": "fanout"})).unwrap();
    assert_eq!(call(&client, "notes", json!({"count": 3})).unwrap(), json!(["cast", "fanout", "to server"]));
    let nowhere = Client::new(&create_connection(&as_theirs()).unwrap(), Target::topic(name("nobody")));
    let outcome = call(&nowhere, "echo", json!({"value": 1}));
    assert!(matches!(outcome, Err(Error::Transport(TransportError::Unroutable(_)))), "{outcome:?}");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn servers_in_both_languages_share_a_topic_and_declare_the_same() {
    let (ours, theirs) = (name("ours"), name("theirs"));
    let ours_first = serve(&ours);
    let _then_theirs = Server::start(&ours, "python-1");
    let _theirs_first = Server::start(&theirs, "python-1");
    let then_ours = serve(&theirs);
    let client = Client::new(&create_connection(&as_theirs()).unwrap(), Target::topic(&ours)).timeout(PATIENCE);
    for number in 0..20 {
        assert_eq!(call(&client, "echo", json!({"value": number})).unwrap(), json!(number));
    }

    // Each name with its flags, as the first of the two declared it; the other one had to agree, or was refused.
    let of = |what: &str, columns: &[&str], topic: &str| {
        let listed = script(&[&["ctl", what], columns].concat());
        let lines = listed.lines().filter(|line| line.contains(topic));
        let hosts = |line: &str| line.replace(topic, "TOPIC").replace("rust-1", "HOST").replace("python-1", "HOST");
        let mut lines: Vec<String> = lines.map(|line| without_unique_part(&hosts(line))).collect();
        lines.sort();
        lines
    };
    for (what, columns) in [
        ("list_queues", ["name", "durable", "auto_delete", "exclusive", "arguments"].as_slice()),
        ("list_exchanges", &["name", "type", "durable", "auto_delete", "internal", "arguments"]),
        ("list_bindings", &["source_name", "destination_name", "routing_key", "arguments"]),
    ] {
        let lines = of(what, columns, &ours);
        assert_eq!(lines, of(what, columns, &theirs));
        assert!(!lines.is_empty(), "{what}");
    }
    drop((ours_first, then_ours));
}

/// Fanouts' queues end in something that no other has.
fn without_unique_part(line: &str) -> String {
    let word = |word: &str| match word.strip_prefix("TOPIC_fanout_") {
        Some(unique) => {
            assert_eq!(unique.len(), 32);
            "TOPIC_fanout_".to_owned()
        }
        None => word.to_owned(),
    };
    line.split('\t').map(word).collect::<Vec<_>>().join(" ")
}
