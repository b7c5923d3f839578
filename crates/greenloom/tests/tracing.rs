//! The feature `tracing`: spans belong to the green thread that has entered them, and what the runtime does is told.

mod common;

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use common::{millis, simulate};
use greenloom::greenlet::{Current, Greenlet};
use greenloom::instrument::{Tracing, install};
use greenloom::{Builder, JoinError, sleep, spawn, yield_now};
use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// What was told: each event with the spans around it, outermost first.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<String>>>);

impl Record {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Record {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let mut text: String = spans.map(|span| format!("{}:", span.name())).collect();
        event.record(&mut Fields(&mut text));
        self.0.lock().unwrap().push(text);
    }
}

/// The message, and the other fields behind it.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => *self.0 += &format!("{value:?}"),
            name => *self.0 += &format!(" {name}={value:?}"),
        }
    }
}

/// Runs `body` on virtual time with a subscriber that records, and returns the record.
fn recorded(body: impl FnOnce() + Send) -> Vec<String> {
    let record = Record::default();
    let subscriber = Registry::default().with(record.clone());
    simulate(|| tracing::subscriber::with_default(subscriber, body));
    record.take()
}

#[test]
fn spans_of_two_green_threads_that_take_turns_do_not_mix() {
    let record = recorded(|| {
        let threads = ["first", "second"].map(|name| {
            spawn(move || {
                let outer = match name {
                    "first" => info_span!("first"),
                    _ => info_span!("second"),
                };
                let _outer = outer.enter();
                for round in 0..2 {
                    let inner = info_span!("inner");
                    let _inner = inner.enter();
                    info!("{name} {round}");
                    yield_now();
                    info!("{name} {round} again");
                }
                sleep(millis(1));
                info!("{name} is done");
            })
        });
        info!("around");
        threads.into_iter().for_each(|thread| thread.wait().unwrap());
        assert!(Span::current().is_none());
    });
    let of = |name: &str| {
        [
            format!("{name}:inner:{name} 0"),
            format!("{name}:inner:{name} 0 again"),
            format!("{name}:inner:{name} 1"),
            format!("{name}:inner:{name} 1 again"),
            format!("{name}:{name} is done"),
        ]
    };
    let [a, b] = [of("first"), of("second")];
    let [a0, a1, a2, a3, a4] = a;
    let [b0, b1, b2, b3, b4] = b;
    assert_eq!(record, ["around".into(), a0, b0, a1, a2, b1, b2, a3, b3, a4, b4]);
}

#[test]
fn a_span_that_is_entered_twice_and_left_out_of_order_is_as_it_was_after_a_switch() {
    let record = recorded(|| {
        let (outer, other) = (info_span!("outer"), info_span!("other"));
        let first = outer.enter();
        let between = other.enter();
        let second = outer.enter();
        info!("before");
        yield_now();
        info!("after");
        drop(between);
        yield_now();
        info!("without the other");
        drop(first);
        yield_now();
        info!("still in the outer");
        drop(second);
        yield_now();
        info!("in none");
    });
    // The current one is the last that was entered and was not before: so has the registry, with switches and without.
    assert_eq!(
        record,
        ["other:before", "other:after", "outer:without the other", "outer:still in the outer", "in none"]
    );
}

#[test]
fn a_green_thread_that_ends_leaves_no_span_to_the_next_however_it_ends() {
    let record = recorded(|| {
        let forgetful = spawn(|| std::mem::forget(info_span!("forgotten").entered()));
        yield_now();
        info!("after one that forgets");
        forgetful.wait().unwrap();
        let killed = spawn(|| {
            let _span = info_span!("killed").entered();
            sleep(millis(1000));
        });
        yield_now();
        info!("while it waits");
        killed.kill();
        info!("after a kill");
        assert!(matches!(killed.wait(), Err(JoinError::Killed)));
    });
    assert_eq!(record, ["after one that forgets", "while it waits", "after a kill"]);
}

#[test]
fn a_greenlet_that_is_switched_to_by_hand_has_its_own_spans() {
    let record = recorded(|| {
        let main = Current::<()>::here();
        let back = main.receiver();
        let greenlet = Greenlet::new(&main, move |me: &Current<()>, ()| {
            let _span = info_span!("within").entered();
            info!("first");
            me.switch(&back, ())?;
            info!("second");
            Ok(())
        });
        let _span = info_span!("without").entered();
        main.switch(&greenlet, ()).unwrap();
        info!("between");
        main.switch(&greenlet, ()).unwrap();
        info!("behind");
    });
    assert_eq!(record, ["within:first", "without:between", "within:second", "without:behind"]);
}

#[test]
fn what_the_runtime_does_is_told_in_the_span_of_the_one_that_does_it() {
    let record = recorded(|| {
        install(Some(Rc::new(Tracing)));
        let worker = Builder::new()
            .name("worker")
            .spawn(|| {
                let _span = info_span!("working").entered();
                sleep(millis(1));
            })
            .unwrap();
        worker.wait().unwrap();
        install(None);
    });
    let is_told = |start: &str, rest: &str| record.iter().any(|line| line.starts_with(start) && line.ends_with(rest));
    assert!(is_told("spawn id=", r#" name="worker""#), "{record:#?}");
    assert!(is_told("working:park id=", r#" name="worker" waits_for="sleep""#), "{record:#?}");
    assert!(is_told("wake id=", r#" name="worker""#), "{record:#?}");
    assert!(is_told("working:switch origin=", r#" name="worker" throw=false"#), "{record:#?}");
    assert!(is_told("turn fired=1", ""), "{record:#?}");
}
