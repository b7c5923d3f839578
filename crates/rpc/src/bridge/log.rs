//! What is logged on the OS thread of the bridge, warnings and worse, goes to the programs it serves.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::rc::{Rc, Weak};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

use super::wire::{Outbox, put, said};

thread_local! {
    static READERS: RefCell<Vec<Weak<Outbox>>> = const { RefCell::new(Vec::new()) };
}

/// How urgent something is, as Python's `logging` counts.
const WARNING: u64 = 30;
const ERROR: u64 = 40;

/// Lets a program have the records from now on, until its outbox is gone.
pub(super) fn tell(outbox: &Rc<Outbox>) {
    READERS.with_borrow_mut(|readers| {
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Rc::downgrade(outbox));
    });
}

/// Tells a program of something that concerns nobody else.
pub(super) fn warn(outbox: &Outbox, text: &str) {
    outbox.put(|out| put(out, said::LOG, WARNING, &[text.as_bytes()]));
}

/// Takes the records of this OS thread, as long as the guard lives.
pub(super) fn to_programs() -> DefaultGuard {
    tracing::subscriber::set_default(ToPrograms)
}

struct ToPrograms;

impl Subscriber for ToPrograms {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = if *event.metadata().level() == Level::ERROR { ERROR } else { WARNING };
        let line = text.message + &text.fields;
        // Whoever is told may log in turn.
        let readers: Vec<_> = READERS.with_borrow(|readers| readers.iter().filter_map(Weak::upgrade).collect());
        readers.iter().for_each(|reader| reader.put(|out| put(out, said::LOG, level, &[line.as_bytes()])));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A record as one line.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A string takes all.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
