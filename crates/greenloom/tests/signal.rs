//! Signals. Each test is about another one, because they are the whole process's.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;

use common::{in_a_process_of_its_own, millis};
use greenloom::process::Child;
use greenloom::signal::{Signal, Signals, ctrl_c};
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

fn send(signal: Signal) {
    let raw = rustix::process::Signal::from_named_raw(signal.number()).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), raw).unwrap();
}

/// Reads its output until it says `word`.
fn wait_for(child: &mut Child, word: &str) {
    let stdout = child.stdout.as_mut().unwrap();
    let (mut text, mut buf) = (String::new(), [0; 256]);
    while !text.contains(word) {
        let n = timeout(millis(10_000), || stdout.read(&mut buf)).expect("it says the word in time").unwrap();
        assert!(n > 0, "it ended after {text:?}");
        text += &String::from_utf8_lossy(&buf[..n]);
    }
}

/// Sends a signal to `helper` when it says that it sleeps, and expects that it ends by it.
fn ends_by(signal: Signal, helper: &str) {
    let mut child = in_a_process_of_its_own(helper).spawn().unwrap();
    wait_for(&mut child, "sleeping");
    child.signal(signal).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(signal.number()));
}

#[test]
fn ctrl_c_reaches_a_program_that_waits_in_the_hub() {
    let mut child = in_a_process_of_its_own("helper_waits_for_ctrl_c").spawn().unwrap();
    wait_for(&mut child, "waiting");
    child.signal(Signal::INT).unwrap();
    wait_for(&mut child, "stopped in order");
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_waits_for_ctrl_c() {
    let interrupted = spawn(ctrl_c);
    yield_now();
    println!("waiting");
    interrupted.wait().unwrap().unwrap();
    println!("stopped in order");
}

#[test]
fn when_nobody_asks_a_signal_does_what_it_always_does() {
    ends_by(Signal::INT, "helper_only_sleeps");
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_only_sleeps() {
    println!("sleeping");
    sleep(millis(30_000));
}

#[test]
fn when_nobody_asks_any_more_it_does_so_again() {
    ends_by(Signal::TERM, "helper_has_asked_once");
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_has_asked_once() {
    let signals = Signals::new([Signal::TERM]).unwrap();
    send(Signal::TERM);
    assert_eq!(signals.wait().unwrap(), Signal::TERM);
    drop(signals);
    println!("sleeping");
    sleep(millis(30_000));
}

#[test]
fn everyone_who_asks_is_told() {
    let one = Signals::new([Signal::USR1]).unwrap();
    let other = Signals::new([Signal::USR1]).unwrap();
    send(Signal::USR1);
    assert_eq!(one.wait().unwrap(), Signal::USR1);
    assert_eq!(other.wait().unwrap(), Signal::USR1);
    drop(one);
    send(Signal::USR1);
    assert_eq!(other.wait().unwrap(), Signal::USR1);
}

#[test]
fn several_signals_are_told_apart_and_one_counts_once() {
    let signals = Signals::new([Signal::USR2, Signal::WINCH]).unwrap();
    for signal in [Signal::WINCH, Signal::USR2, Signal::WINCH] {
        send(signal);
    }
    // Another OS thread of this process may be the one that takes them.
    std::thread::sleep(millis(100));
    assert_eq!(signals.wait().unwrap(), Signal::USR2);
    assert_eq!(signals.wait().unwrap(), Signal::WINCH);
    assert!(timeout(millis(20), || signals.wait()).is_err());
    assert_eq!(get_hub().io_waiting_count(), 0);
}

#[test]
fn a_second_waiter_is_refused() {
    let signals = Rc::new(Signals::new([Signal::CONT]).unwrap());
    let waiting = signals.clone();
    let first = spawn(move || waiting.wait().unwrap());
    yield_now();
    assert_eq!(signals.wait().unwrap_err().kind(), ErrorKind::ResourceBusy);
    send(Signal::CONT);
    assert_eq!(first.wait().unwrap(), Signal::CONT);
}

#[test]
fn what_cannot_be_waited_for_is_an_error() {
    for signal in [Signal::KILL, Signal::STOP, Signal::from_number(1_000)] {
        let error = Signals::new([signal]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(format!("{:?} {}", Signal::HUP, Signal::from_number(1_000)), "SIGHUP signal 1000");
}
