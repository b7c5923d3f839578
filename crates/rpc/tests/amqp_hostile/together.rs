//! Many who use a client for the first time at the same moment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use greenloom::spawn;
use greenloom_rpc::{Client, Target, create_connection};

use crate::fake::{Broker, Peer, Published, Script, Then};

const PATIENCE: Duration = Duration::from_secs(120);

/// A broker that answers each call itself.
fn answers(channel_max: u16) -> Broker {
    let publish = |peer: &mut Peer, published: &Published| {
        peer.ack(published);
        let body: serde_json::Value = serde_json::from_slice(&published.body).unwrap();
        let request: serde_json::Value = serde_json::from_str(body["oslo.message"].as_str().unwrap()).unwrap();
        if let (Some(id), Some(queue)) = (request["_msg_id"].as_str(), request["_reply_q"].as_str()) {
            let answer = format!("{{\"result\": 1, \"failure\": null, \"ending\": true, \"_msg_id\": \"{id}\"}}");
            peer.deliver(queue, &[0, 0], answer.as_bytes());
        }
        Then::Nothing
    };
    Broker::start(Script { publish: Box::new(publish), channel_max, ..Script::default() })
}

#[test]
fn ten_thousand_first_callers_share_what_has_to_be_declared_also_after_a_reconnect() {
    const CALLERS: usize = 10_000;
    let broker = answers(2047);
    let connection = create_connection(&broker.url("")).unwrap();
    let client = Client::new(&connection, Target::topic("topic")).timeout(PATIENCE);
    for round in 0..2 {
        let before = broker.channels();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let client = client.clone();
                spawn(move || client.call::<u32>("f", &()))
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.wait().unwrap().unwrap(), 1);
        }
        let channels = broker.channels() - before;
        assert!(channels <= 12, "round {round}: {channels} channels");
        if round == 0 {
            broker.hang_up_all();
            while connection.state() == greenloom_rpc::transport::State::Connected {
                greenloom::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn many_topics_at_once_wait_for_a_channel_when_the_broker_allows_few() {
    let broker = answers(8);
    let connection = create_connection(&broker.url("")).unwrap();
    let client = Client::new(&connection, Target::topic("topic")).timeout(PATIENCE);
    let callers: Vec<_> = (0..500)
        .map(|number| {
            let client = client.prepare().target(Target::topic("topic").exchange(format!("exchange-{number}")));
            spawn(move || client.call::<u32>("f", &()))
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.wait().unwrap().unwrap(), 1);
    }
    assert!(broker.seen.most_channels.load(Ordering::SeqCst) <= 8);
}
