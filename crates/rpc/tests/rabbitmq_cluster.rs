//! A quorum queue on three brokers of this machine, which are one cluster: `make test-rpc-cluster`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use greenloom::sleep;
use greenloom_rpc::{Client, Options, Target};
use ledger::{Job, Ledger};

#[path = "rabbitmq/ledger.rs"]
mod ledger;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes, on a machine that is busy with much else.
const PATIENCE: Duration = Duration::from_secs(180);

fn broker(number: usize) -> PathBuf {
    let top = std::env::var("GREENLOOM_RABBITMQ").expect("this test runs through `make test-rpc-cluster`");
    PathBuf::from(top).join(number.to_string())
}

fn port(number: usize) -> String {
    let ports = std::fs::read_to_string(broker(number).join("ports")).unwrap();
    ports.lines().find_map(|line| line.strip_prefix("AMQP=")).unwrap().to_owned()
}

/// Runs `broker.sh` for one of the brokers, on an OS thread of the blocking pool.
fn script(number: usize, arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let output = greenloom::blocking::run(move || {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq/broker.sh"))
            .args(&arguments)
            .env("GREENLOOM_RABBITMQ", broker(number))
            .output()
            .unwrap()
    });
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = greenloom::hub::now() + PATIENCE;
    while !holds() {
        assert!(greenloom::hub::now() < deadline, "{what}: it did not come true in {PATIENCE:?}");
        sleep(SECOND / 10);
    }
}

/// Which broker leads a queue, and how many of its members are there, as broker `asked` says.
fn leader(asked: usize, queue: &str) -> Option<(usize, usize)> {
    let listed = script(asked, &["ctl", "list_queues", "name", "leader", "online"]);
    let line = listed.lines().find(|line| line.split('\t').next() == Some(queue))?;
    let mut columns = line.split('\t').skip(1);
    let leader = columns.next()?.strip_prefix("greenloom")?.split('@').next()?.parse().ok()?;
    Some((leader, columns.next()?.matches("greenloom").count()))
}

#[test]
#[ignore = "needs a cluster: make test-rpc-cluster"]
fn a_quorum_queue_that_loses_its_leader_under_load_loses_nothing_else() {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let hosts: Vec<String> = (1..=3).map(|number| format!("127.0.0.1:{}", port(number))).collect();
    let query = "rabbit_quorum_queue=true&rabbit_transient_quorum_queue=true&heartbeat=4";
    let url = format!("amqp://guest:guest@{}/?{query}", hosts.join(","));
    let (ledger, topic) = (Ledger::default(), "routers");
    let options = Options::default();
    let _server = ledger.serve(&options, &url, topic);
    let connection = options.connect(&url).unwrap();
    let client = Client::new(&connection, Target::topic(topic)).resend(1_000).timeout(TIMEOUT);
    let casts: Vec<_> = (0..10).map(|_| ledger.cast(client.clone())).collect();
    let calls: Vec<_> = (0..5).map(|_| ledger.call(client.clone())).collect();
    let mut lost = Vec::new();
    for _ in 0..3 {
        let mut led_by = 0;
        // As long as one is missing, the loss of another one would be that of the majority.
        eventually("all three have the queue", || {
            let of = leader(1, topic);
            led_by = of.map_or(0, |(leader, _)| leader);
            of.is_some_and(|(_, online)| online == 3)
        });
        let before = ledger.taken.borrow().len();
        eventually("there is load", || ledger.taken.borrow().len() > before + 100);
        script(led_by, &["kill"]);
        lost.push(led_by);
        let (others, before) = (led_by % 3 + 1, ledger.taken.borrow().len());
        eventually("another one leads", || leader(others, topic).is_some_and(|(leader, _)| leader != led_by));
        eventually("the load goes on without it", || ledger.taken.borrow().len() > before + 100);
        script(led_by, &["start"]);
    }
    eventually("it is answered", || client.call::<u64>("work", &Job { id: 0 }).is_ok());
    ledger.stop.set(true);
    let calls: Vec<_> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
    let longest_cast = casts.into_iter().map(|cast| cast.wait().unwrap()).max().unwrap();
    eventually("all that was taken was worked on", || ledger.lost().is_empty());

    let taken = ledger.taken.borrow().len();
    let answered: u32 = calls.iter().map(|(_, answered, _)| answered).sum();
    let failed: u32 = calls.iter().map(|(_, _, failed)| failed).sum();
    let longest = calls.iter().map(|(longest, ..)| *longest).max().unwrap().max(longest_cast);
    // A cast that is sent again may come when more was done since than a server remembers.
    let twice = ledger.done.borrow().values().filter(|&&times| times > 1).count();
    println!("leaders {lost:?} lost; {taken} casts taken, {twice} worked on twice, longest {longest:?}");
    println!("{answered} calls answered, {failed} failed");
    assert!(taken > 600 && answered > 100, "there was load: {taken}, {answered}");
    // By the clocks of the callers.
    assert!(longest < TIMEOUT + SECOND, "{longest:?}");
}
