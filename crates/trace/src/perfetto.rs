//! The timeline as Perfetto's protobuf: each hub a track with what runs on it, under it a track for each green thread
//! with slices for what it is about, and an arrow from each wake to the run that follows.
//!
//! The numbers are those of `protos/perfetto/trace/trace_packet.proto` and of `track_event/` beside it.

use crate::record::Wake;
use crate::timeline::{Change, NoteKind, State, Timeline, Track};
use crate::wire::Message;

/// `Trace`.
mod trace {
    pub const PACKET: u64 = 1;
}

/// `TracePacket`.
mod packet {
    pub const TIMESTAMP: u64 = 8;
    pub const SEQUENCE: u64 = 10;
    pub const TRACK_EVENT: u64 = 11;
    pub const INTERNED: u64 = 12;
    pub const SEQUENCE_FLAGS: u64 = 13;
    pub const TRACK_DESCRIPTOR: u64 = 60;
    pub const STATE_CLEARED: u64 = 1;
    pub const NEEDS_STATE: u64 = 2;
}

/// `TrackDescriptor`.
mod descriptor {
    pub const UUID: u64 = 1;
    pub const NAME: u64 = 2;
    pub const PROCESS: u64 = 3;
    pub const PARENT: u64 = 5;
    /// `ProcessDescriptor`.
    pub const PROCESS_PID: u64 = 1;
    pub const PROCESS_NAME: u64 = 6;
}

/// `TrackEvent`.
mod event {
    pub const TYPE: u64 = 9;
    pub const NAME_NUMBER: u64 = 10;
    pub const TRACK: u64 = 11;
    pub const NAME: u64 = 23;
    pub const FLOW: u64 = 47;
    pub const FLOW_ENDS: u64 = 48;
    pub const BEGIN: u64 = 1;
    pub const END: u64 = 2;
    pub const INSTANT: u64 = 3;
}

/// `InternedData` and `EventName`.
mod interned {
    pub const EVENT_NAMES: u64 = 2;
    pub const NUMBER: u64 = 1;
    pub const NAME: u64 = 2;
}

/// The process; hubs and then green threads have the numbers after it.
const PROCESS: u64 = 1;

/// Names of the writer's own, before those of the timeline.
const RUN: u64 = 1;
const READY: u64 = 2;
const FIRST_TEXT: u64 = 3;

impl Timeline {
    /// The timeline as a file that [Perfetto's UI](https://ui.perfetto.dev) opens, and its `trace_processor` reads.
    pub fn perfetto(&self) -> Vec<u8> {
        let mut writer =
            Writer { timeline: self, out: Vec::new(), packet: Message::default(), event: Message::default() };
        writer.names();
        writer.descriptors();
        writer.hubs();
        let arrows = arrows_by_track(self);
        for (number, track) in self.tracks.iter().enumerate() {
            writer.life(number, track, &arrows[number]);
        }
        writer.wakes();
        writer.notes();
        writer.out
    }
}

struct Writer<'a> {
    timeline: &'a Timeline,
    out: Vec<u8>,
    // Kept for their memory.
    packet: Message,
    event: Message,
}

/// For each track, the times at which it was woken, with the arrow's number.
fn arrows_by_track(timeline: &Timeline) -> Vec<Vec<(u64, u64)>> {
    let mut by_track = vec![Vec::new(); timeline.tracks.len()];
    for (number, arrow) in timeline.arrows.iter().enumerate() {
        by_track[arrow.to as usize].push((arrow.time, number as u64));
    }
    by_track
}

impl Writer<'_> {
    fn hub_track(&self, hub: usize) -> u64 {
        PROCESS + 1 + hub as u64
    }

    fn track(&self, track: usize) -> u64 {
        self.hub_track(self.timeline.hubs.len()) + track as u64
    }

    fn names(&mut self) {
        let mut names = Message::default();
        let own = ["run", "ready"].into_iter();
        for (number, text) in own.chain(self.timeline.texts.iter().map(|text| &**text)).enumerate() {
            let mut name = Message::default();
            name.number(interned::NUMBER, RUN + number as u64);
            // Of a stack, the innermost frame.
            name.text(interned::NAME, text.rsplit(';').next().unwrap_or(text));
            names.message(interned::EVENT_NAMES, &name);
        }
        self.packet.clear();
        self.packet.number(packet::SEQUENCE_FLAGS, packet::STATE_CLEARED);
        self.packet.message(packet::INTERNED, &names);
        self.finish();
    }

    fn descriptors(&mut self) {
        let mut process = Message::default();
        process.number(descriptor::PROCESS_PID, u64::from(std::process::id()));
        process.text(descriptor::PROCESS_NAME, &self.timeline.title);
        self.describe(PROCESS, None, None, Some(&process));
        for (place, hub) in self.timeline.hubs.iter().enumerate() {
            self.describe(self.hub_track(place), Some(&hub.name), Some(PROCESS), None);
        }
        for (number, track) in self.timeline.tracks.iter().enumerate() {
            let name = label(self.timeline, track);
            self.describe(self.track(number), Some(&name), Some(self.hub_track(track.hub as usize)), None);
        }
    }

    fn describe(&mut self, track: u64, name: Option<&str>, parent: Option<u64>, process: Option<&Message>) {
        let mut message = Message::default();
        message.number(descriptor::UUID, track);
        if let Some(name) = name {
            message.text(descriptor::NAME, name);
        }
        if let Some(parent) = parent {
            message.number(descriptor::PARENT, parent);
        }
        if let Some(process) = process {
            message.message(descriptor::PROCESS, process);
        }
        self.packet.clear();
        self.packet.message(packet::TRACK_DESCRIPTOR, &message);
        self.finish();
    }

    /// What runs on each hub.
    fn hubs(&mut self) {
        for track in &self.timeline.tracks {
            let hub = self.hub_track(track.hub as usize);
            for (change, until) in spans(self.timeline, track) {
                if change.state == State::Running {
                    self.event(change.time, event::BEGIN, hub, FIRST_TEXT + u64::from(track.name), None);
                    self.event(until, event::END, hub, 0, None);
                }
            }
        }
    }

    /// What a green thread was about.
    fn life(&mut self, number: usize, track: &Track, arrows: &[(u64, u64)]) {
        let place = self.track(number);
        let mut arrows = arrows.iter().peekable();
        for (change, until) in spans(self.timeline, track) {
            let (name, mut flow) = match change.state {
                State::Ended => continue,
                State::Ready => (READY, None),
                State::Running if change.text == 0 => (RUN, None),
                State::Running | State::Waiting => (FIRST_TEXT + u64::from(change.text), None),
            };
            if change.state == State::Running {
                while let Some((_, arrow)) = arrows.next_if(|(woken, _)| *woken <= change.time) {
                    flow = Some((event::FLOW_ENDS, *arrow + 1));
                }
            }
            self.event(change.time, event::BEGIN, place, name, flow);
            self.event(until, event::END, place, 0, None);
        }
    }

    fn wakes(&mut self) {
        for (number, arrow) in self.timeline.arrows.iter().enumerate() {
            let track = self.timeline.tracks[arrow.to as usize].hub as usize;
            let from = arrow.from.map_or(self.hub_track(track), |from| self.track(from as usize));
            let name = match arrow.by {
                Wake::Thread => "wake",
                Wake::Timer => "wake by timer",
                Wake::Io => "wake by I/O",
                Wake::Elsewhere => "wake by another OS thread",
            };
            self.named(arrow.time, from, name, Some((event::FLOW, number as u64 + 1)));
        }
    }

    fn notes(&mut self) {
        for note in &self.timeline.notes {
            let hub = self.hub_track(note.hub as usize);
            let track = note.track.map_or(hub, |track| self.track(track as usize));
            let value = note.value;
            let text = match note.kind {
                NoteKind::TimerLag => format!("timer {value} us late"),
                NoteKind::BlockingQueued => format!("blocking call was in line for {value} us"),
                NoteKind::BlockingRan => format!("blocking call ran for {value} us"),
                NoteKind::LockWait => format!("waited {value} us for the interpreter's lock"),
                NoteKind::Lost => format!("{value} events were lost before this"),
            };
            self.named(note.time, track, &text, None);
        }
    }

    fn event(&mut self, time: u64, kind: u64, track: u64, name: u64, flow: Option<(u64, u64)>) {
        self.event.clear();
        self.event.number(event::TYPE, kind);
        self.event.number(event::TRACK, track);
        if name != 0 {
            self.event.number(event::NAME_NUMBER, name);
        }
        if let Some((field, arrow)) = flow {
            self.event.fixed64(field, arrow);
        }
        self.finish_event(time);
    }

    /// An instant with a text of its own.
    fn named(&mut self, time: u64, track: u64, name: &str, flow: Option<(u64, u64)>) {
        self.event.clear();
        self.event.number(event::TYPE, event::INSTANT);
        self.event.number(event::TRACK, track);
        self.event.text(event::NAME, name);
        if let Some((field, arrow)) = flow {
            self.event.fixed64(field, arrow);
        }
        self.finish_event(time);
    }

    fn finish_event(&mut self, time: u64) {
        self.packet.clear();
        self.packet.number(packet::TIMESTAMP, time);
        self.packet.number(packet::SEQUENCE_FLAGS, packet::NEEDS_STATE);
        self.packet.message(packet::TRACK_EVENT, &self.event);
        self.finish();
    }

    fn finish(&mut self) {
        self.packet.number(packet::SEQUENCE, 1);
        let mut trace = Message { bytes: std::mem::take(&mut self.out) };
        trace.message(trace::PACKET, &self.packet);
        self.out = trace.bytes;
    }
}

/// Each state of a life with the time until which it lasted.
fn spans<'a>(timeline: &'a Timeline, track: &'a Track) -> impl Iterator<Item = (Change, u64)> + use<'a> {
    let end = timeline.hubs[track.hub as usize].last;
    let ends = track.changes.iter().skip(1).map(|change| change.time).chain([end]);
    track.changes.iter().copied().zip(ends)
}

/// How a track is called: by its name and number.
fn label(timeline: &Timeline, track: &Track) -> String {
    match timeline.text(track.name) {
        "" => format!("#{}", track.id),
        name => format!("{name} #{}", track.id),
    }
}
