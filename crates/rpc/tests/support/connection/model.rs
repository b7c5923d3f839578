//! What has to come of what a broker says and a client does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ASIDE;
use super::broker::{Said, What};

#[derive(Debug)]
pub enum End {
    Malformed,
    Closed,
    Parted,
}

#[derive(Debug, PartialEq)]
pub enum Outcome {
    Confirmed,
    Nacked,
    Returned,
    ChannelClosed,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
pub enum Start {
    Delivery { consumer: u64, tag: u64 },
    Return { number: u64 },
}

#[derive(Debug, Default, PartialEq)]
pub enum Stage {
    #[default]
    Open,
    /// The client has dropped it, and the broker has not yet said that it knows.
    Closing,
    Gone,
}

#[derive(Debug, Default)]
pub struct ChannelModel {
    pub stage: Stage,
    /// Whether somebody still consumes.
    pub consumed: bool,
    pub content: Option<(Start, Option<Vec<u8>>, usize)>,
    /// Messages without a confirm, and whether they have come back.
    pub pending: BTreeMap<u64, bool>,
    pub outcomes: BTreeMap<u64, Outcome>,
    pub published: u64,
    pub tag: u64,
    /// What waits to be taken.
    pub ready: VecDeque<(u64, Vec<u8>)>,
    /// What was delivered, of which the client has not said what it does with it; and what the client has acknowledged.
    pub unsettled: BTreeSet<u64>,
    pub acknowledged: BTreeSet<u64>,
    /// How often the client has to say, and has said, that it knows of the end.
    pub closes: usize,
    pub heard_closes: usize,
}

impl ChannelModel {
    pub fn settle(&mut self, number: u64, multiple: bool, taken: bool) {
        let all = multiple && number == 0;
        let settled = |it: &u64| if multiple { all || *it <= number } else { *it == number };
        let numbers: Vec<u64> = self.pending.keys().copied().filter(settled).collect();
        for number in numbers {
            let outcome = match (self.pending.remove(&number), taken) {
                (Some(true), _) => Outcome::Returned,
                (_, true) => Outcome::Confirmed,
                _ => Outcome::Nacked,
            };
            self.outcomes.insert(number, outcome);
        }
    }

    pub fn end(&mut self, outcome: fn() -> Outcome) {
        let pending = std::mem::take(&mut self.pending);
        self.outcomes.extend(pending.into_keys().map(|number| (number, outcome())));
        self.ready.clear();
        self.consumed = false;
    }

    /// Takes a header or a piece. Returns whether that was in order.
    pub fn content(&mut self, what: u8, number: usize, filler: u8) -> bool {
        match (self.content.take(), what) {
            (Some((start, None, _)), b'h') => self.content = Some((start, Some(Vec::new()), number)),
            (Some((start, Some(mut body), size)), b'b') if body.len() + number <= size => {
                body.resize(body.len() + number, filler);
                self.content = Some((start, Some(body), size));
            }
            _ => return false,
        }
        if let Some((start, Some(body), _)) =
            self.content.take_if(|(_, body, size)| body.as_ref().is_some_and(|body| body.len() == *size))
        {
            match start {
                Start::Return { number } => {
                    if let Some(returned) = self.pending.get_mut(&number) {
                        *returned = true;
                    }
                }
                Start::Delivery { consumer, tag } => {
                    self.unsettled.insert(tag);
                    if consumer == 1 && self.consumed {
                        self.ready.push_back((tag, body));
                    }
                }
            }
        }
        true
    }
}

#[derive(Debug)]
pub struct Model {
    pub channels: [ChannelModel; 2],
    pub blocked: bool,
    pub end: Option<End>,
}

impl Model {
    pub fn channel(&mut self, number: u16) -> &mut ChannelModel {
        &mut self.channels[usize::from(number) - 1]
    }

    pub fn say(&mut self, what: u8, channel: u16, number: u64, filler: u8) {
        if !self.is_in_order(what, channel, number, filler) {
            self.end = Some(End::Malformed);
        }
    }

    pub fn is_in_order(&mut self, what: u8, channel: u16, number: u64, filler: u8) -> bool {
        if channel == 0 {
            match what {
                b'x' => self.end = Some(End::Closed),
                b'X' => self.end = Some(End::Parted),
                b'l' | b'u' => self.blocked = what == b'l',
                b'p' => {}
                _ => return false,
            }
            return true;
        }
        let it = &mut self.channels[usize::from(channel) - 1];
        if it.stage == Stage::Gone {
            return false;
        }
        if matches!(what, b'h' | b'b') {
            return it.content(what, number as usize, filler);
        }
        if it.content.is_some() {
            return false;
        }
        match what {
            b'd' | b'D' => {
                it.tag += 1;
                let consumer = if what == b'd' { number } else { 1 };
                it.content = Some((Start::Delivery { consumer, tag: it.tag }, None, 0));
                what == b'd' || number == it.tag
            }
            b'r' => {
                it.content = Some((Start::Return { number }, None, 0));
                true
            }
            b'a' | b'A' | b'n' | b'N' => {
                it.settle(number, what.is_ascii_uppercase(), what.eq_ignore_ascii_case(&b'a'));
                true
            }
            b'z' => {
                if number == 1 {
                    it.consumed = false;
                    it.ready.clear();
                }
                true
            }
            b'c' => {
                it.closes += 1;
                if it.stage == Stage::Open {
                    it.stage = Stage::Gone;
                    it.end(|| Outcome::ChannelClosed);
                }
                true
            }
            b'k' => std::mem::replace(&mut it.stage, Stage::Gone) == Stage::Closing,
            b'q' => true,
            _ => false,
        }
    }
}

impl Model {
    /// Takes what the client says.
    pub fn hear(&mut self, said: &Said) {
        let channel = said.channel;
        if channel == ASIDE || channel == 0 {
            return;
        }
        let it = self.channel(channel);
        match said.what {
            What::Settled { tag, multiple, acknowledged } => {
                let first = if multiple { 0 } else { tag };
                assert!(it.unsettled.contains(&tag), "the broker knows delivery {tag}");
                let settled: Vec<u64> = it.unsettled.range(first..=tag).copied().collect();
                for tag in settled {
                    assert_eq!(it.acknowledged.contains(&tag), acknowledged, "delivery {tag}");
                    it.unsettled.remove(&tag);
                }
            }
            What::CloseOk => it.heard_closes += 1,
            What::Other => {}
        }
    }
}
