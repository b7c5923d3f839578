//! The life of each green thread, put together from events: when it ran, was ready, waited, and for what.
//!
//! A life is a list of changes; what it changed to holds until the next one. One number may be used again after its
//! green thread has ended; the next one with it is another life.

use std::collections::HashMap;

pub use crate::record::Wake;
use crate::record::{ENDED, Kind, READY, RESERVED, Record, Text};
use crate::ring::Taken;

/// What a green thread is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It could run, and another one does.
    Ready,
    /// It runs.
    Running,
    /// It waits.
    Waiting,
    /// It has ended.
    Ended,
}

/// A green thread has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, in nanoseconds.
    pub time: u64,
    /// To which.
    pub state: State,
    /// The number of a text: what it waits for, or the frames it runs in; 0 where that is not known.
    pub text: u32,
}

/// A green thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The place of its hub among all.
    pub hub: u32,
    /// Its number in its hub: the hub's own, or by the order of appearance.
    pub id: u32,
    /// The number of the text of its name.
    pub name: u32,
    /// The track of the one that made it, if that was seen.
    pub made_by: Option<u32>,
    /// Oldest first.
    pub changes: Vec<Change>,
}

/// A green thread was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// When, in nanoseconds.
    pub time: u64,
    /// The track of the one that ran then, if that was seen.
    pub from: Option<u32>,
    /// The track of the one that was woken.
    pub to: u32,
    /// By what.
    pub by: Wake,
}

/// Something that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// When it was known, in nanoseconds.
    pub time: u64,
    /// The track it is about, or the one that ran.
    pub track: Option<u32>,
    /// The place of the hub among all.
    pub hub: u32,
    /// What it is.
    pub kind: NoteKind,
    /// In microseconds; the number of events for [`NoteKind::Lost`].
    pub value: u64,
}

/// What a [`Note`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind {
    /// A timer fired too late.
    TimerLag,
    /// A blocking call was in line for an OS thread.
    BlockingQueued,
    /// A blocking call ran.
    BlockingRan,
    /// The hub waited for the interpreter's lock.
    LockWait,
    /// Events were overwritten before they were read.
    Lost,
}

/// All that was recorded of a process, for as many hubs as it has.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    pub(crate) title: String,
    pub(crate) hubs: Vec<Hub>,
    pub(crate) texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    pub(crate) tracks: Vec<Track>,
    pub(crate) arrows: Vec<Arrow>,
    pub(crate) notes: Vec<Note>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Hub {
    pub name: String,
    /// The numbers here of the hub's own texts.
    texts: Vec<u32>,
    /// The newest track of each green thread.
    tracks: HashMap<u32, u32>,
    running: Option<u32>,
    /// What `running` is known by in the events.
    running_key: u32,
    /// How many tracks were given a number here, where that of the events is an address.
    numbered: Option<u32>,
    pub last: u64,
    pub events: u64,
    pub dropped: u64,
}

/// What the loop of a hub waits for.
const IDLE: &str = "timers and I/O";
/// What a green thread is about that ran when events were lost.
const UNKNOWN: &str = "(events were lost)";

impl Timeline {
    /// With nothing on it.
    pub fn new(title: impl Into<String>) -> Timeline {
        let mut timeline = Timeline { title: title.into(), ..Timeline::default() };
        // Number 0 is "not known".
        timeline.number("");
        timeline
    }

    /// Adds events of one hub, behind those that it has of it.
    pub fn add(&mut self, taken: &Taken) {
        let place = self.hubs.iter().position(|hub| hub.name == taken.name).unwrap_or_else(|| {
            self.hubs.push(Hub { name: taken.name.clone(), ..Hub::default() });
            self.hubs.len() - 1
        });
        let mut hub = std::mem::take(&mut self.hubs[place]);
        if taken.are_addresses {
            hub.numbered.get_or_insert(0);
        }
        hub.texts.extend(taken.texts.iter().map(|text| self.number(text)));
        let mut adding =
            Adding { idle: self.number(IDLE), unknown: self.number(UNKNOWN), place: place as u32, to: self };
        if taken.dropped > 0 {
            adding.lost(&mut hub, taken.dropped, taken.records.first().map(|record| record.time));
        }
        for record in &taken.records {
            adding.add(&mut hub, *record);
        }
        hub.events += taken.records.len() as u64;
        self.hubs[place] = hub;
    }

    /// The green threads, by the time at which they were first seen.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Who was woken, by whom.
    pub fn arrows(&self) -> &[Arrow] {
        &self.arrows
    }

    /// What was measured.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// A text by its number.
    ///
    /// # Panics
    /// When there is none with this number.
    pub fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }

    /// How many events it is made of.
    pub fn events(&self) -> u64 {
        self.hubs.iter().map(|hub| hub.events).sum()
    }

    /// How many events were overwritten before they were read.
    pub fn dropped(&self) -> u64 {
        self.hubs.iter().map(|hub| hub.dropped).sum()
    }

    /// The last event's time, in nanoseconds.
    pub fn end(&self) -> u64 {
        self.hubs.iter().map(|hub| hub.last).max().unwrap_or(0)
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("each hub has a bounded number of texts");
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }
}

struct Adding<'a> {
    to: &'a mut Timeline,
    place: u32,
    idle: u32,
    unknown: u32,
}

impl Adding<'_> {
    fn add(&mut self, hub: &mut Hub, Record { time, kind, thread, detail }: Record) {
        // Clocks of the system do not go back; a wait that ended may be told of a moment late.
        let time = time.max(hub.last);
        hub.last = time;
        match kind {
            Kind::Run => {
                if let Some(before) = hub.running {
                    let (state, text) = match Text(detail) {
                        READY => (State::Ready, 0),
                        ENDED => (State::Ended, 0),
                        waits_for => (State::Waiting, text_of(hub, waits_for)),
                    };
                    if state == State::Ended {
                        hub.tracks.remove(&hub.running_key);
                    }
                    self.change(before, time, state, text);
                }
                let track = self.track(hub, thread);
                self.change(track, time, State::Running, 0);
                (hub.running, hub.running_key) = (Some(track), thread);
            }
            Kind::Spawn => {
                let name = text_of(hub, Text(detail));
                let track = self.begin(hub, thread, name, hub.running);
                self.change(track, time, State::Ready, 0);
            }
            Kind::Exists => {
                let name = text_of(hub, Text(detail));
                let track = self.begin(hub, thread, name, None);
                self.change(track, time, State::Ready, 0);
            }
            Kind::Waits => {
                let track = self.track(hub, thread);
                self.change(track, time, State::Waiting, text_of(hub, Text(detail)));
            }
            Kind::Wake => {
                let to = self.track(hub, thread);
                // One that has yet to park finds that it need not wait.
                if hub.running != Some(to) {
                    self.change(to, time, State::Ready, 0);
                }
                let by = Wake::from_detail(detail);
                self.to.arrows.push(Arrow { time, from: hub.running, to, by });
            }
            Kind::TimerLag => self.note(hub, time, None, NoteKind::TimerLag, detail),
            Kind::BlockingQueued => self.note(hub, time, Some(thread), NoteKind::BlockingQueued, detail),
            Kind::BlockingRan => self.note(hub, time, Some(thread), NoteKind::BlockingRan, detail),
            Kind::LockWait => self.note(hub, time, None, NoteKind::LockWait, detail),
            Kind::Idle | Kind::Busy => {
                if let Some(running) = hub.running {
                    let idle = kind == Kind::Idle;
                    let (state, text) = if idle { (State::Waiting, self.idle) } else { (State::Running, 0) };
                    self.change(running, time, state, text);
                }
            }
            Kind::Stack => {
                if let Some(running) = hub.running {
                    let text = text_of(hub, Text(detail));
                    if let Some(last) = self.to.tracks[running as usize].changes.last_mut()
                        && last.state == State::Running
                    {
                        last.text = text;
                    }
                }
            }
        }
    }

    /// Events are missing: who runs is not known, nor what became of the one that did.
    fn lost(&mut self, hub: &mut Hub, events: u64, until: Option<u64>) {
        let time = hub.last;
        if let Some(running) = hub.running.take() {
            self.change(running, time, State::Waiting, self.unknown);
        }
        hub.dropped += events;
        let time = until.unwrap_or(time);
        self.to.notes.push(Note { time, track: None, hub: self.place, kind: NoteKind::Lost, value: events });
    }

    fn note(&mut self, hub: &mut Hub, time: u64, thread: Option<u32>, kind: NoteKind, value: u32) {
        let track = thread.map(|thread| self.track(hub, thread)).or(hub.running);
        self.to.notes.push(Note { time, track, hub: self.place, kind, value: value.into() });
    }

    /// The track of a green thread; one that was never told of has no name.
    fn track(&mut self, hub: &mut Hub, id: u32) -> u32 {
        match hub.tracks.get(&id) {
            Some(track) => *track,
            None => self.begin(hub, id, 0, None),
        }
    }

    fn begin(&mut self, hub: &mut Hub, id: u32, name: u32, made_by: Option<u32>) -> u32 {
        let track = self.to.tracks.len() as u32;
        hub.tracks.insert(id, track);
        let id = hub.numbered.as_mut().map_or(id, |next| std::mem::replace(next, *next + 1));
        self.to.tracks.push(Track { hub: self.place, id, name, made_by, changes: Vec::new() });
        track
    }

    fn change(&mut self, track: u32, time: u64, state: State, text: u32) {
        let changes = &mut self.to.tracks[track as usize].changes;
        // What took no time is not told, unless it ran: a hub that looks for others and finds none.
        changes.pop_if(|last| last.time == time && last.state != State::Running);
        // It is woken twice, or goes on with what it did.
        if changes.last().is_none_or(|last| (last.state, last.text) != (state, text)) {
            changes.push(Change { time, state, text });
        }
    }
}

fn text_of(hub: &Hub, text: Text) -> u32 {
    text.0.checked_sub(RESERVED).and_then(|number| hub.texts.get(number as usize)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;

    fn life(timeline: &Timeline, track: usize) -> Vec<(u64, State, &str)> {
        let changes = timeline.tracks()[track].changes.iter();
        changes.map(|change| (change.time, change.state, timeline.text(change.text))).collect()
    }

    #[test]
    fn a_life_is_told_from_who_runs_next_and_why() {
        let (writer, mut reader) = ring(64, "hub");
        let (name, sleep) = (writer.text("worker"), writer.static_text("sleep"));
        writer.exists(0, 0, writer.text("root"), None);
        writer.run(0, 0, READY);
        writer.spawn(10, 1, name);
        writer.run(20, 1, READY);
        writer.run(30, 0, sleep);
        writer.wake(70, 1, Wake::Thread);
        writer.run(80, 1, sleep);
        writer.run(90, 0, ENDED);
        let mut timeline = Timeline::new("test");
        timeline.add(&reader.take());
        use State::*;
        let worker = [(10, Ready, ""), (20, Running, ""), (30, Waiting, "sleep"), (70, Ready, ""), (80, Running, "")];
        assert_eq!(life(&timeline, 1), [&worker[..], &[(90, Ended, "")]].concat());
        assert_eq!(timeline.tracks()[1].made_by, Some(0));
        assert_eq!(timeline.arrows(), [Arrow { time: 70, from: Some(0), to: 1, by: Wake::Thread }]);
        assert_eq!((timeline.events(), timeline.end()), (8, 90));
    }

    #[test]
    fn a_hub_that_looks_and_finds_nothing_has_not_stopped() {
        let (writer, mut reader) = ring(64, "hub");
        writer.run(0, 0, READY);
        for time in [10, 20] {
            writer.idle(time);
            writer.busy(time);
        }
        writer.idle(30);
        let mut timeline = Timeline::new("test");
        timeline.add(&reader.take());
        assert_eq!(life(&timeline, 0), [(0, State::Running, ""), (30, State::Waiting, IDLE)]);
    }

    #[test]
    fn a_number_that_is_used_again_is_another_life() {
        let (writer, mut reader) = ring(64, "hub");
        let name = writer.text("worker");
        for time in [10, 20] {
            writer.spawn(time, 1, name);
            writer.run(time + 1, 1, READY);
            writer.run(time + 2, 0, ENDED);
        }
        let mut timeline = Timeline::new("test");
        timeline.add(&reader.take());
        assert_eq!(timeline.tracks().iter().filter(|track| track.id == 1).count(), 2);
    }

    #[test]
    fn what_is_lost_is_shown_and_nobody_is_said_to_run_meanwhile() {
        let (writer, mut reader) = ring(4, "hub");
        let mut timeline = Timeline::new("test");
        writer.run(1, 7, READY);
        timeline.add(&reader.take());
        for time in 2..12 {
            writer.run(time, 8, READY);
        }
        timeline.add(&reader.take());
        assert_eq!(timeline.dropped(), 7);
        assert_eq!(life(&timeline, 0)[1], (1, State::Waiting, UNKNOWN));
        assert_eq!(timeline.notes()[0].kind, NoteKind::Lost);
    }
}
