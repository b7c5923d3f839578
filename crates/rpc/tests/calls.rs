//! Calls, casts and fanouts over `memory://`.

#[path = "../../greenloom/tests/common/mod.rs"]
mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::simulate;
use greenloom::{hub::now, sleep, spawn};
use greenloom_rpc::memory::Bus;
use greenloom_rpc::transport::TransportError;
use greenloom_rpc::{Client, Connection, Context, Endpoint, Error, Failure, Fanout, Options, Target};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

fn server(bus: &Bus, host: &str, topic: &str, endpoints: Vec<Endpoint>) -> Connection {
    let connection = Options::new().host(host).connect_over(bus.connect());
    connection.create_consumer(topic, endpoints, Fanout::Listen).unwrap();
    connection.consume_in_threads().unwrap();
    connection
}

fn client(bus: &Bus, target: Target) -> Client {
    Client::new(&Options::new().connect_over(bus.connect()), target)
}

#[derive(Serialize, Deserialize)]
struct Add {
    left: i64,
    right: i64,
}

fn adder() -> Endpoint {
    Endpoint::builder().method("add", |_, _, Add { left, right }| Ok(left + right)).build()
}

#[test]
fn a_call_gets_its_answer() {
    simulate(|| {
        let bus = Bus::new();
        let server = server(&bus, "a", "math", vec![adder()]);
        let client = client(&bus, Target::topic("math"));
        assert_eq!(client.call::<i64>("add", &Add { left: 2, right: 3 }).unwrap(), 5);
        assert_eq!(client.call::<i64>("add", &json!({"left": -2, "right": 3})).unwrap(), 1);
        let stats = server.stats().unwrap();
        assert_eq!(stats.consumers[0].methods["add"].latency.count, 2);
    });
}

#[test]
fn the_method_s_error_reaches_the_caller_with_kind_and_message() {
    #[derive(Debug)]
    struct NoSuchRouter(&'static str);
    impl std::fmt::Display for NoSuchRouter {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "no router {}", self.0)
        }
    }
    impl std::error::Error for NoSuchRouter {}

    simulate(|| {
        let bus = Bus::new();
        let endpoint = Endpoint::builder()
            .method("by_type", |_, _, ()| Err::<(), _>(NoSuchRouter("r1").into()))
            .method("by_name", |_, _, ()| Err::<(), _>(Failure::new("neutron.exc.Busy", "later").with("seconds", 5)))
            .method("panics", |_, _, ()| -> Result<(), Failure> { panic!("broken") })
            .build();
        let _server = server(&bus, "a", "t", vec![endpoint]);
        let client = client(&bus, Target::topic("t"));
        let remote = |method| match client.call::<()>(method, &()) {
            Err(Error::Remote(error)) => error,
            other => panic!("{other:?}"),
        };
        let error = remote("by_type");
        assert_eq!((error.kind(), error.message()), ("NoSuchRouter", "no router r1"));
        assert!(error.module().starts_with("calls."), "{}", error.module());
        let error = remote("by_name");
        assert_eq!((error.module(), error.kind(), error.message()), ("neutron.exc", "Busy", "later"));
        assert_eq!(error.argument("seconds"), Some(&json!(5)));
        let error = remote("panics");
        assert_eq!((error.kind(), error.message()), ("RuntimeError", "panics panicked: broken"));
        // The server goes on.
        assert_eq!(remote("by_type").kind(), "NoSuchRouter");
    });
}

#[test]
fn methods_versions_and_namespaces_that_nobody_has_are_named() {
    simulate(|| {
        let bus = Bus::new();
        let plain = Endpoint::builder().version("1.3").method("where", |_, _, ()| Ok("plain 1.3")).build();
        let two = Endpoint::builder().version("2.1").method("where", |_, _, ()| Ok("plain 2.1")).build();
        let inner = Endpoint::builder()
            .namespace("inner")
            .legacy_namespace(Some("old"))
            .method("where", |_, _, ()| Ok("inner"))
            .method("only_here", |_, _, ()| Ok("inner"))
            .build();
        let _server = server(&bus, "a", "t", vec![plain, two, inner]);
        let client = client(&bus, Target::topic("t"));
        let asks = |client: Client, method: &str| match client.call::<String>(method, &()) {
            Ok(place) => place,
            Err(Error::Remote(error)) => format!("{}: {}", error.kind(), error.message()),
            Err(error) => panic!("{error}"),
        };
        let unsupported = |version| {
            format!("UnsupportedVersion: Endpoint does not support RPC version {version}. Attempted method: where")
        };
        assert_eq!(asks(client.prepare(), "where"), "plain 1.3");
        assert_eq!(asks(client.prepare().version("1.3"), "where"), "plain 1.3");
        assert_eq!(asks(client.prepare().version("1.4"), "where"), unsupported("1.4"));
        assert_eq!(asks(client.prepare().version("2.0"), "where"), "plain 2.1");
        assert_eq!(asks(client.prepare().version("3.0"), "where"), unsupported("3.0"));
        assert_eq!(asks(client.prepare().namespace("inner"), "where"), "inner");
        assert_eq!(asks(client.prepare().namespace("old"), "where"), "inner");
        assert_eq!(asks(client.prepare().namespace("other"), "where"), unsupported("1.0"));
        let missing = "NoSuchMethod: Endpoint does not support RPC method only_here";
        assert_eq!(asks(client.prepare(), "only_here"), missing);
        assert_eq!(asks(client.prepare().namespace("inner"), "only_here"), "inner");
    });
}

#[test]
fn arguments_of_another_shape_are_the_caller_s_error() {
    simulate(|| {
        let bus = Bus::new();
        let _server = server(&bus, "a", "math", vec![adder()]);
        let client = client(&bus, Target::topic("math"));
        let error = client.call::<i64>("add", &json!({"left": 1})).unwrap_err();
        let remote = error.remote().unwrap();
        assert_eq!(remote.kind(), "TypeError");
        assert!(remote.message().contains("missing field `right`"), "{}", remote.message());
        assert!(matches!(client.call::<i64>("add", &[1, 2]), Err(Error::Arguments { .. })));
        assert!(matches!(client.call::<String>("add", &Add { left: 1, right: 2 }), Err(Error::Json(_))));
    });
}

#[test]
fn servers_of_a_topic_share_its_casts_and_each_gets_a_fanout() {
    simulate(|| {
        let bus = Bus::new();
        let seen: Rc<RefCell<Vec<(&str, i64)>>> = Rc::default();
        let servers: Vec<Connection> = ["a", "b", "c"]
            .map(|host| {
                let seen = seen.clone();
                let endpoint = Endpoint::builder().method("note", move |_, _, args: Value| {
                    seen.borrow_mut().push((host, args["number"].as_i64().unwrap()));
                    Ok(())
                });
                server(&bus, host, "t", vec![endpoint.build()])
            })
            .into();
        let client = client(&bus, Target::topic("t"));
        (0..30).for_each(|number| client.cast("note", &json!({"number": number})).unwrap());
        sleep(Duration::from_secs(1));
        let numbers = |host: &str| seen.borrow().iter().filter(|(at, _)| *at == host).count();
        assert_eq!((numbers("a"), numbers("b"), numbers("c")), (10, 10, 10));
        seen.borrow_mut().clear();
        client.prepare().fanout().cast("note", &json!({"number": 100})).unwrap();
        client.prepare().server("b").cast("note", &json!({"number": 200})).unwrap();
        sleep(Duration::from_secs(1));
        let mut all = seen.take();
        all.sort();
        assert_eq!(all, [("a", 100), ("b", 100), ("b", 200), ("c", 100)]);
        assert!(matches!(client.prepare().fanout().call::<()>("note", &()), Err(Error::CallOfAll { .. })));
        drop(servers);
    });
}

#[test]
fn a_topic_that_nobody_has_listened_on_is_an_error_at_once() {
    simulate(|| {
        let bus = Bus::new();
        let client = client(&bus, Target::topic("nobody"));
        let unroutable = |result: Result<(), Error>| match result {
            Err(Error::Transport(TransportError::Unroutable(at))) => at.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(unroutable(client.call("f", &())), "nobody");
        assert_eq!(unroutable(client.cast("f", &())), "nobody");
        assert_eq!(unroutable(client.prepare().server("a").cast("f", &())), "nobody.a");
        client.prepare().fanout().cast("f", &()).unwrap();
        assert_eq!(now(), Duration::ZERO);
    });
}

#[test]
fn a_call_times_out_and_its_late_answer_disturbs_nobody() {
    simulate(|| {
        let bus = Bus::new();
        let endpoint = Endpoint::builder().method("nap", |_, _, seconds: Nap| {
            sleep(Duration::from_secs(seconds.seconds));
            Ok(seconds.seconds)
        });
        let _server = server(&bus, "a", "t", vec![endpoint.build()]);
        let connection = Options::new().connect_over(bus.connect());
        let client = Client::new(&connection, Target::topic("t")).timeout(Duration::from_secs(5));
        match client.call::<u64>("nap", &json!({"seconds": 8})) {
            Err(Error::Timeout { method, address, after }) => {
                assert_eq!((method.as_str(), address.as_str(), after), ("nap", "t", Duration::from_secs(5)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(now(), Duration::from_secs(5));
        assert_eq!(client.call::<u64>("nap", &json!({"seconds": 4})).unwrap(), 4);
        let stats = connection.stats().unwrap().client;
        assert_eq!((stats.timed_out, stats.late, stats.calls.count, stats.waiting), (1, 1, 1, 0));
    });
}

#[derive(Deserialize)]
struct Nap {
    seconds: u64,
}

#[test]
fn a_call_that_timed_out_in_the_queue_is_not_worked_on() {
    simulate(|| {
        let bus = Bus::new();
        let worked = Rc::new(Cell::new(0));
        let counted = worked.clone();
        let endpoint = Endpoint::builder().method("nap", move |_, _, ()| {
            counted.set(counted.get() + 1);
            sleep(Duration::from_secs(10));
            Ok(())
        });
        let connection = Options::new().workers(1).connect_over(bus.connect());
        connection.create_consumer("t", [endpoint.build()], Fanout::Ignore).unwrap();
        connection.consume_in_threads().unwrap();
        let client = client(&bus, Target::topic("t")).timeout(Duration::from_secs(2));
        let callers: Vec<_> = (0..10)
            .map(|_| {
                let client = client.clone();
                spawn(move || client.call::<()>("nap", &()).unwrap_err())
            })
            .collect();
        callers.into_iter().for_each(|caller| assert!(matches!(caller.wait(), Ok(Error::Timeout { .. }))));
        sleep(Duration::from_secs(200));
        // One in work, one in the hand of the consumer that waits for the worker, and what was fetched ahead.
        assert!(worked.get() <= 4, "{}", worked.get());
    });
}

#[test]
fn a_long_call_goes_on_as_long_as_the_server_says_so() {
    simulate(|| {
        let bus = Bus::new();
        let endpoint = Endpoint::builder().method("long", |_, _, ()| {
            sleep(Duration::from_secs(100));
            Ok("done")
        });
        let server = server(&bus, "a", "t", vec![endpoint.build()]);
        let client = client(&bus, Target::topic("t")).timeout(Duration::from_secs(500));
        let monitored = client.prepare().monitor(Duration::from_secs(4));
        assert_eq!(monitored.call::<String>("long", &()).unwrap(), "done");
        // Without a server that says so, it ends after the time of the monitor.
        let began = now();
        let calling = spawn(move || monitored.call::<String>("long", &()).unwrap_err());
        sleep(Duration::from_secs(10));
        server.close();
        assert!(matches!(calling.wait(), Ok(Error::Timeout { .. })));
        assert!(now() - began < Duration::from_secs(16), "{:?}", now() - began);
    });
}

#[test]
fn the_context_travels_with_the_request() {
    simulate(|| {
        let bus = Bus::new();
        let echo = |_: &(), context: &Context, ()| {
            let values: Vec<(String, Value)> =
                context.iter().map(|(name, value)| (name.into(), value.clone())).collect();
            Ok((context.request_id().to_string(), values.len()))
        };
        let _server = server(&bus, "a", "t", vec![Endpoint::builder().method("echo", echo).build()]);
        let client = client(&bus, Target::topic("t"));
        let (first, _): (String, usize) = client.call("echo", &()).unwrap();
        let (second, _): (String, usize) = client.call("echo", &()).unwrap();
        assert!(first.starts_with("req-") && first != second);
        let context = Context::new().with("user", "me").with("roles", ["reader"]);
        let echoed: (String, usize) = client.prepare().context(&context).call("echo", &()).unwrap();
        assert_eq!(echoed, (context.request_id().to_string(), 3));
    });
}

#[test]
fn a_connection_that_nobody_has_any_more_ends() {
    simulate(|| {
        let threads = greenloom::inspect::green_threads().len();
        let connection = Options::new().connect("memory://").unwrap();
        connection.create_consumer("math", [adder()], Fanout::Listen).unwrap();
        connection.consume_in_threads().unwrap();
        let client = Client::new(&connection, Target::topic("math"));
        drop(connection);
        assert_eq!(client.call::<i64>("add", &Add { left: 2, right: 3 }).unwrap(), 5);
        assert!(greenloom::inspect::green_threads().len() > threads);
        drop(client);
        sleep(Duration::from_secs(1));
        assert_eq!(greenloom::inspect::green_threads().len(), threads);
        // The bus went with its last connection.
        let client = Client::new(&Options::new().connect("memory://").unwrap(), Target::topic("math"));
        assert!(matches!(client.cast("add", &()), Err(Error::Transport(TransportError::Unroutable(_)))));
    });
}

#[test]
fn a_version_cap_holds_back_what_not_all_have() {
    simulate(|| {
        let bus = Bus::new();
        let endpoint = Endpoint::builder().version("1.5").method("f", |_, _, ()| Ok(())).build();
        let _server = server(&bus, "a", "t", vec![endpoint]);
        let client = client(&bus, Target::topic("t")).version_cap("1.4");
        assert!(client.can_send_version("1.4") && !client.can_send_version("1.5") && !client.can_send_version("2.0"));
        client.prepare().version("1.4").call::<()>("f", &()).unwrap();
        assert!(matches!(client.prepare().version("1.5").call::<()>("f", &()), Err(Error::BeyondCap { .. })));
        assert!(matches!(client.prepare().version("five").call::<()>("f", &()), Err(Error::NoVersion(_))));
    });
}
