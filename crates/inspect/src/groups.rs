//! Green threads grouped by where they wait, as they are met one by one.
//!
//! What is kept is bounded, however many green threads and places there are.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::protocol::{Group, Seconds, Stacks, Thread};

/// How many groups are kept. Green threads at other places are counted only.
pub const MOST_GROUPS: usize = 500;

/// How many frames of a stack are told, from the innermost.
pub const MOST_FRAMES: usize = 64;

/// How many green threads of a group are named.
pub const EXAMPLES: usize = 3;

/// What was met so far. `K` is what tells one place from another, for as long as the look takes.
#[derive(Debug)]
pub struct Groups<K> {
    places: HashMap<K, usize>,
    /// Of each group the oldest, with what they are compared by.
    oldest: Vec<Vec<(u64, Thread)>>,
    found: Stacks,
}

impl<K: Hash + Eq> Groups<K> {
    /// Nothing.
    pub fn new() -> Groups<K> {
        Groups { places: HashMap::new(), oldest: Vec::new(), found: Stacks::default() }
    }

    /// Meets a green thread, the `place_in_line`th of all by age; `describe` is asked for the first at its place.
    ///
    /// ```
    /// use greenloom_inspect::{Group, Thread, groups::Groups};
    ///
    /// let mut groups = Groups::<String>::new();
    /// for number in 0..5 {
    ///     groups.meet("sleep", Thread { hub: 0, number }, number, Group::default);
    /// }
    /// let found = groups.finish(std::time::Duration::ZERO);
    /// assert_eq!((found.total, found.groups.len(), found.groups[0].count), (5, 1, 5));
    /// assert_eq!(found.groups[0].examples[0].number, 0); // the oldest
    /// ```
    pub fn meet<Q>(&mut self, place: &Q, thread: Thread, place_in_line: u64, describe: impl FnOnce() -> Group)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.found.total += 1;
        let index = match self.places.get(place) {
            Some(index) => *index,
            None if self.found.groups.len() == MOST_GROUPS => {
                self.found.left_out += 1;
                return;
            }
            None => {
                let index = self.found.groups.len();
                self.places.insert(place.to_owned(), index);
                self.found.groups.push(describe());
                self.oldest.push(Vec::with_capacity(EXAMPLES + 1));
                index
            }
        };
        self.found.groups[index].count += 1;
        let oldest = &mut self.oldest[index];
        if oldest.len() < EXAMPLES || oldest.last().is_some_and(|(place, _)| place_in_line < *place) {
            let at = oldest.partition_point(|(place, _)| *place < place_in_line);
            oldest.insert(at, (place_in_line, thread));
            oldest.truncate(EXAMPLES);
        }
    }

    /// Something could not be seen.
    pub fn miss(&mut self, problem: String) {
        self.found.problems.push(problem);
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.found.total
    }

    /// What was met, the largest group first.
    pub fn finish(mut self, took: Duration) -> Stacks {
        for (group, oldest) in self.found.groups.iter_mut().zip(self.oldest) {
            group.examples = oldest.into_iter().map(|(_, thread)| thread).collect();
        }
        self.found.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        self.found.took = Seconds(took);
        self.found
    }
}

impl<K: Hash + Eq> Default for Groups<K> {
    fn default() -> Groups<K> {
        Groups::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_the_oldest_in_whatever_order_they_are_met() {
        let mut groups = Groups::<String>::new();
        for number in [7, 9, 2, 8, 5] {
            groups.meet("here", Thread { hub: 0, number }, number, Group::default);
        }
        let found = groups.finish(Duration::ZERO);
        let numbers: Vec<_> = found.groups[0].examples.iter().map(|thread| thread.number).collect();
        assert_eq!(numbers, [2, 5, 7]);
    }

    #[test]
    fn places_beyond_the_most_are_counted_only() {
        let mut groups = Groups::<u64>::new();
        for number in 0..2 * MOST_GROUPS as u64 {
            groups.meet(&number, Thread { hub: 0, number }, number, Group::default);
        }
        let found = groups.finish(Duration::ZERO);
        assert_eq!((found.total, found.left_out), (2 * MOST_GROUPS as u64, MOST_GROUPS as u64));
        assert_eq!(found.groups.len(), MOST_GROUPS);
    }
}
