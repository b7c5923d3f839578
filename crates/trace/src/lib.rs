//! What the green threads of a program did, and when: recorded without waiting, and written for people to look at.
//!
//! Each file may use those above it:
//!
//! | file | what |
//! |---|---|
//! | [`record`] | one event, packed into two words |
//! | `texts` | names and reasons by number, bounded in number |
//! | [`mod@ring`] | a hub's events, in a ring of fixed size with one writer and any number of readers |
//! | [`readers`] | the rings of a recording, read bit by bit |
//! | [`timeline`] | the life of each green thread, put together from events |
//! | `wire`, `perfetto` | the timeline as Perfetto's protobuf |
//! | `page` | the timeline as one page of HTML |
//! | `save` | either of them as a file |
//!
//! ```
//! use greenloom_trace::{Timeline, Wake, ring};
//!
//! let (writer, mut reader) = ring(1024, "hub 0");
//! let name = writer.text("reader");
//! let waits = writer.text("socket");
//! writer.spawn(100, 1, name);
//! writer.run(200, 1, greenloom_trace::READY);
//! writer.run(900, 2, waits);
//! writer.wake(5_000, 1, Wake::Io);
//!
//! let mut timeline = Timeline::new("example");
//! timeline.add(&reader.take());
//! assert!(timeline.perfetto().len() > 100);
//! assert!(timeline.page().starts_with("<!doctype html>"));
//! ```
//!
//! This crate must not know green threads, hubs, sockets or Python: who records says what happened.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![warn(missing_debug_implementations)]
#![forbid(unsafe_code)]

mod page;
mod perfetto;
pub mod readers;
pub mod record;
pub mod ring;
mod save;
mod texts;
pub mod timeline;
mod wire;

pub use readers::Readers;
pub use record::{ENDED, READY, Record, Text, Wake};
pub use ring::{Reader, Taken, Writer, ring};
pub use save::Format;
pub use timeline::Timeline;
