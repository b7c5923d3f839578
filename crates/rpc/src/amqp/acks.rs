//! Acknowledgements of a channel, gathered so that one frame tells of many.
//!
//! A broker spends as much on an acknowledgement as on a message. One with `multiple` settles all deliveries up to its
//! own, so as long as they are done in about the order in which they came, one frame can stand for dozens. What waits
//! behind a delivery that takes longer is told by itself, so that nobody's prefetch is held up by it.
//!
//! This module only keeps the books; when to tell, and over what, is the channel's.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    /// In somebody's hands.
    Open,
    /// Acknowledged, and the broker does not know yet.
    Waiting,
    /// The broker was told.
    Told,
}

/// Deliveries from the oldest that is not settled, by their tags.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// How many there were before the first in `marks`. Tags count from 1.
    before: u64,
    marks: VecDeque<Mark>,
    waiting: usize,
}

impl Acks {
    /// Notes an acknowledgement. Returns how many wait to be told.
    pub fn ack(&mut self, tag: u64) -> usize {
        self.mark(tag, Mark::Waiting);
        self.waiting += 1;
        self.waiting
    }

    /// Notes that the broker was told of a delivery in another way.
    pub fn told(&mut self, tag: u64) {
        self.mark(tag, Mark::Told);
    }

    fn mark(&mut self, tag: u64, mark: Mark) {
        let index = (tag - self.before - 1) as usize;
        if self.marks.len() <= index {
            self.marks.resize(index + 1, Mark::Open);
        }
        self.marks[index] = mark;
    }

    /// Tells of all that wait: calls `tell` with a tag, and whether it stands for all before it, too.
    pub fn tell(&mut self, mut tell: impl FnMut(u64, bool)) {
        if self.waiting == 0 {
            return;
        }
        let (mut last, mut count) = (0, 0);
        while let Some(mark @ (Mark::Waiting | Mark::Told)) = self.marks.front() {
            self.before += 1;
            if *mark == Mark::Waiting {
                (last, count) = (self.before, count + 1);
            }
            self.marks.pop_front();
        }
        // It has to be one that the broker still knows, so not one that it was told of.
        if count > 0 {
            tell(last, count > 1);
        }
        self.waiting -= count;
        let rest = (self.before + 1..).zip(&mut self.marks).filter(|(_, mark)| **mark == Mark::Waiting);
        for (tag, mark) in rest.take(self.waiting) {
            tell(tag, false);
            *mark = Mark::Told;
        }
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn all_are_told_once_and_only_of_what_the_broker_knows() {
        for seed in 0..300 {
            let mut random = Random::from_seed(seed);
            let mut acks = Acks::default();
            // What the broker has sent and was not told of, and what of that is acknowledged.
            let (mut unsettled, mut waiting) = (BTreeSet::new(), BTreeSet::new());
            let (mut newest, mut frames, mut all) = (0, 0, 0);
            for _ in 0..300 {
                let open: Vec<u64> = unsettled.difference(&waiting).copied().collect();
                match random.below(8) {
                    0..3 => {
                        newest += 1;
                        unsettled.insert(newest);
                    }
                    // Mostly the oldest ones.
                    3..6 if !open.is_empty() => {
                        let tag = open[random.below(open.len().min(3))];
                        waiting.insert(tag);
                        assert_eq!(acks.ack(tag), waiting.len());
                    }
                    6 if !open.is_empty() => {
                        let tag = open[random.below(open.len())];
                        unsettled.remove(&tag);
                        acks.told(tag);
                    }
                    7 => {
                        all += waiting.len();
                        acks.tell(|tag, multiple| {
                            frames += 1;
                            assert!(unsettled.contains(&tag), "the broker knows it");
                            let settled: Vec<u64> = unsettled.range(..=tag).copied().collect();
                            for settled in settled.into_iter().filter(|&it| multiple || it == tag) {
                                assert!(waiting.remove(&settled), "it was acknowledged");
                                unsettled.remove(&settled);
                            }
                        });
                        assert!(waiting.is_empty());
                    }
                    _ => {}
                }
            }
            assert!(frames <= all && acks.marks.len() <= newest as usize);
        }
    }

    #[test]
    fn a_run_is_one_frame_and_stragglers_are_told_by_themselves() {
        let mut acks = Acks::default();
        [2, 1, 3, 5, 7].into_iter().for_each(|tag| {
            acks.ack(tag);
        });
        let mut frames = Vec::new();
        acks.tell(|tag, multiple| frames.push((tag, multiple)));
        assert_eq!(frames, [(3, true), (5, false), (7, false)]);
        frames.clear();
        acks.ack(4);
        acks.tell(|tag, multiple| frames.push((tag, multiple)));
        assert_eq!(frames, [(4, false)]);
        acks.tell(|_, _| panic!("nothing waits"));
    }
}
