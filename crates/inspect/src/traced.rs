//! Events of a recording, as they go through the socket.

use greenloom_trace::record::{Kind, Record};
use greenloom_trace::{Readers, Taken};

use crate::protocol::{Ring, Trace};

/// A recording that goes on in the program, until it is stopped or dropped.
pub trait Recorded: Send {
    /// What was recorded since the last call, at most so many events. It waits for no hub.
    fn read(&mut self, events: usize) -> Trace;

    /// Records no more. What was recorded stays to be read.
    fn stop(&mut self);
}

/// The answer to a question for what is new in a recording, at most so many events. A tick of its times takes `tick`
/// nanoseconds.
pub fn read(readers: &mut Readers, events: usize, tick: f64) -> Trace {
    let rings = readers.take_at_most(events, tick).into_iter().map(ring).collect();
    Trace { rings, more: readers.has_more() }
}

fn ring(Taken { name, are_addresses, texts, dropped, records }: Taken) -> Ring {
    let mut before = 0;
    let mut events = Vec::with_capacity(4 * records.len());
    for Record { time, kind, thread, detail } in records {
        let time = time as i64;
        events.extend([time - before, kind.number().into(), thread.into(), detail.into()]);
        before = time;
    }
    Ring { name, are_addresses, texts, dropped, events }
}

impl From<Ring> for Taken {
    /// Events of a kind that is not known are left out.
    fn from(ring: Ring) -> Taken {
        let Ring { name, are_addresses, texts, dropped, events } = ring;
        let mut time = 0_i64;
        let record = |event: &[i64]| {
            time = time.saturating_add(event[0]);
            let kind = u8::try_from(event[1]).ok().and_then(Kind::from_number)?;
            Some(Record { time: u64::try_from(time).ok()?, kind, thread: event[2] as u32, detail: event[3] as u32 })
        };
        let records = events.chunks_exact(4).filter_map(record).collect();
        Taken { name, are_addresses, texts, dropped, records }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use greenloom_trace::{READY, Wake};

    #[test]
    fn events_come_out_as_they_went_in() {
        let (writer, reader) = greenloom_trace::ring(64, "hub 0");
        let mut readers = Readers::default();
        readers.push(reader);
        writer.spawn(5, u64::from(u32::MAX), writer.text("worker"));
        writer.run(9, 7, READY);
        // A wait that ended is told of a moment late.
        writer.busy(8);
        writer.wake(20, 7, Wake::Io);
        let told = read(&mut readers, 3, 2.0);
        assert!(told.more);
        assert_eq!(told.rings[0].events[4..8], [8, 0, 7, 0]);
        let taken = Taken::from(told.rings[0].clone());
        assert_eq!(taken.records.iter().map(|record| record.time).collect::<Vec<_>>(), [10, 18, 16]);
        assert_eq!((taken.records[0].thread, &*taken.texts[0]), (u32::MAX, "worker"));
        let rest = read(&mut readers, 3, 2.0);
        assert!(!rest.more);
        assert_eq!(Taken::from(rest.rings[0].clone()).records[0].time, 40);
    }
}
