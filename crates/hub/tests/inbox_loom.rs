//! All interleavings of senders and a hub that falls asleep:
//! `RUSTFLAGS='--cfg loom' cargo test --test inbox_loom --release`.
#![cfg(loom)]

use greenloom_hub::Inbox;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// A bell that counts, as an eventfd does: rung before or after the hub begins to wait, it ends the wait.
fn inbox() -> (Arc<Inbox<usize>>, std::sync::Arc<AtomicUsize>) {
    let rung = std::sync::Arc::new(AtomicUsize::new(0));
    let bell = rung.clone();
    let inbox = Inbox::new(move || {
        bell.fetch_add(1, Ordering::SeqCst);
    });
    (Arc::new(inbox), rung)
}

/// One turn of a hub: takes what is there; else it sleeps, unless it has been rung. Returns what it took and whether it
/// would now sleep.
fn turn(inbox: &Inbox<usize>) -> (Vec<usize>, bool) {
    let taken: Vec<_> = inbox.take().into();
    let asleep = taken.is_empty() && inbox.fall_asleep();
    (taken, asleep)
}

#[test]
fn a_hub_never_sleeps_on_a_message() {
    loom::model(|| {
        let (inbox, rung) = inbox();
        let senders: Vec<_> = (0..2)
            .map(|number| {
                let inbox = inbox.clone();
                thread::spawn(move || inbox.send(number).unwrap())
            })
            .collect();
        let (mut taken, asleep) = turn(&inbox);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        if asleep && taken.is_empty() {
            assert!(rung.load(Ordering::SeqCst) > 0, "both messages came, and the hub sleeps without having been rung");
        }
        inbox.wake_up();
        taken.extend(inbox.take());
        taken.sort();
        assert_eq!(taken, [0, 1]);
    });
}

#[test]
fn a_closed_inbox_hands_messages_back() {
    loom::model(|| {
        let (inbox, _) = inbox();
        let other = inbox.clone();
        let sender = thread::spawn(move || other.send(1).is_ok());
        let left = inbox.close().len();
        let sent = sender.join().unwrap();
        assert_eq!(usize::from(sent), left, "a message is either taken or refused");
    });
}
