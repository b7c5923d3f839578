//! What errors say: each text stands once in an error and its sources, and `Chain` shows all of it.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use greenloom::sync::{Event, EventError};
use greenloom::{Builder, Chain, JoinError, Refused, SpawnError, blocking, greenlet, spawn};

/// The texts of an error and its sources. Panics where one holds another.
fn texts(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    for (at, text) in texts.iter().enumerate() {
        let twice = texts[at + 1..].iter().find(|below| text.contains(*below));
        assert!(twice.is_none(), "{twice:?} stands twice: {texts:?}");
    }
    assert_eq!(Chain(error).to_string(), texts.join(": "));
    texts
}

#[test]
fn an_error_with_a_source_leaves_its_words_to_it() {
    let panicked = || spawn(|| -> u32 { panic!("no bread") }).wait().unwrap_err();
    assert_eq!(texts(&panicked()), ["the green thread panicked", "no bread"]);
    let blocked = blocking::run(|| -> u32 { panic!("no bread") }).unwrap_err();
    assert_eq!(texts(&blocked), ["the blocking call panicked", "no bread"]);
    let JoinError::Panicked(panic) = panicked() else { panic!() };
    assert_eq!(texts(&greenlet::Error::Panicked(panic)), ["the greenlet panicked", "no bread"]);

    let refused = io::Error::from(io::ErrorKind::PermissionDenied);
    assert_eq!(texts(&blocking::Error::NoThread(refused)), ["no OS thread for a blocking call", "permission denied"]);
    let too_many = SpawnError::Hub(io::Error::from_raw_os_error(libc::EMFILE));
    assert_eq!(texts(&too_many).len(), 2);
    assert_eq!(texts(&SpawnError::ThreadEnding)[1], Refused::ThreadEnding.to_string());
}

#[test]
fn a_stack_that_cannot_be_is_told_with_its_numbers_and_once() {
    let too_small = Builder::new().stack_size(100).spawn(|| ()).unwrap_err();
    let said = texts(&too_small);
    assert_eq!((said.len(), said[0].as_str()), (2, "no stack for a green thread"));
    assert!(said[1].contains("100 bytes is too small"), "{said:?}");
    // As an error of the standard library's it has the same words.
    assert_eq!(texts(&io::Error::from(too_small)), said);
}

#[test]
fn an_error_that_shows_another_as_it_is_goes_on_with_that_ones_source() {
    let refused = Refused::InHub;
    for shown in [
        &JoinError::Refused(refused) as &dyn Error,
        &EventError::Refused(refused),
        &blocking::Error::Refused(refused),
        &greenlet::Error::Refused(refused),
    ] {
        assert_eq!(texts(shown), [refused.to_string()]);
    }
    let event: Event<()> = Event::new();
    event.send_error(spawn(|| panic!("no bread")).wait().unwrap_err()).unwrap();
    let error = event.wait_timeout(Duration::ZERO).unwrap_err();
    assert!(matches!(&error, EventError::Failed(inner) if Arc::strong_count(inner) > 0));
    assert_eq!(texts(&error), ["the green thread panicked", "no bread"]);
    assert_eq!(texts(&greenlet::Error::thrown(error)), ["the green thread panicked", "no bread"]);
}
