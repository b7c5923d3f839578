//! Green threads grouped by where they wait, as they are met one by one.
//!
//! What is kept is bounded, however many green threads and places there are.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use crate::protocol::{Frame, Group, Seconds, Sizes, Stacks, State, Thread, Waits};

/// How many groups are kept. Where there are more places, the smallest makes room for one with twice as many, in
/// whatever order they are met. Green threads of no group are counted only.
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
    /// The places of the groups.
    keys: Vec<K>,
    /// How many were met at places that have no group, by hashes of the places: which are the same matters little.
    others: HashMap<u64, u64>,
}

/// How many places without a group are told apart, until all of them are forgotten.
const MOST_OTHERS: usize = 100_000;

impl<K: Hash + Eq> Groups<K> {
    /// Nothing.
    pub fn new() -> Groups<K> {
        Groups {
            places: HashMap::new(),
            oldest: Vec::new(),
            found: Stacks::default(),
            keys: Vec::new(),
            others: HashMap::new(),
        }
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
            None => {
                let Some(index) = self.room(place) else {
                    self.found.left_out += 1;
                    return;
                };
                self.places.insert(place.to_owned(), index);
                match self.keys.get_mut(index) {
                    Some(key) => *key = place.to_owned(),
                    None => self.keys.push(place.to_owned()),
                }
                let before = self.found.groups[index].count;
                self.found.groups[index] = Group { count: before, ..describe() };
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

    /// Where there is room for a group at a new place, whose count says how many were met there before.
    fn room<Q: Hash + Eq + ?Sized>(&mut self, place: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        if self.keys.len() < MOST_GROUPS {
            self.found.groups.push(Group::default());
            self.oldest.push(Vec::with_capacity(EXAMPLES + 1));
            return Some(self.keys.len());
        }
        if self.others.len() >= MOST_OTHERS {
            self.others.clear();
        }
        let hasher = self.places.hasher();
        let others = self.others.entry(hasher.hash_one(place)).or_default();
        let before = *others;
        *others += 1;
        // It is looked seldom: for the smallest all are looked at.
        if before == 0 || !others.is_power_of_two() {
            return None;
        }
        let larger = *others;
        let waiting = self.found.groups.iter().enumerate().filter(|(_, group)| group.state != State::Runs);
        let (index, group) = waiting.min_by_key(|(_, group)| group.count)?;
        let smallest = group.count;
        if 2 * smallest > larger {
            return None;
        }
        let smallest_place = self.keys[index].borrow();
        self.others.insert(hasher.hash_one(smallest_place), smallest);
        self.places.remove(smallest_place);
        self.oldest[index].clear();
        self.found.left_out = (self.found.left_out + smallest).saturating_sub(before);
        self.found.groups[index].count = before;
        Some(index)
    }

    /// The oldest of each group, by the groups' places.
    pub fn oldest(&self) -> impl Iterator<Item = Thread> {
        self.oldest.iter().map(|oldest| oldest.first().map_or_else(Thread::default, |(_, thread)| *thread))
    }

    /// Tells of the oldest of the group at this place.
    pub fn tell(&mut self, place: usize, age: Option<Duration>, waits: Option<Waits>) {
        if let Some(group) = self.found.groups.get_mut(place) {
            (group.age, group.waits) = (age.map(Seconds), waits);
        }
    }

    /// The group at this place has this stack: that of its oldest.
    pub fn show(&mut self, place: usize, stack: Vec<Frame>) {
        if let Some(group) = self.found.groups.get_mut(place) {
            group.stack = stack;
        }
    }

    /// A hub has so much.
    pub fn size(&mut self, sizes: Sizes) {
        self.found.hubs.push(sizes);
    }

    /// What looks wrong.
    pub fn hint(&mut self, hints: Vec<String>) {
        self.found.hints.extend(hints);
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
    ///
    /// What reads the same is one group, although those who met them could tell them apart: CPython 3.11 has two
    /// instructions where a function was called before and after it was specialized.
    pub fn finish(mut self, took: Duration) -> Stacks {
        let mut alike: HashMap<Look, usize> = HashMap::new();
        let mut groups: Vec<(Group, Vec<(u64, Thread)>)> = Vec::new();
        for (group, oldest) in std::mem::take(&mut self.found.groups).into_iter().zip(self.oldest) {
            let look = Look::of(&group);
            match look.as_ref().and_then(|look| alike.get(look)) {
                Some(at) => {
                    let (first, its_oldest) = &mut groups[*at];
                    first.count += group.count;
                    if oldest.first() < its_oldest.first() {
                        (first.age, first.waits) = (group.age, group.waits);
                    }
                    its_oldest.extend(oldest);
                    its_oldest.sort_by_key(|(place, _)| *place);
                    its_oldest.truncate(EXAMPLES);
                }
                None => {
                    alike.extend(look.map(|look| (look, groups.len())));
                    groups.push((group, oldest));
                }
            }
        }
        self.found.groups.extend(groups.into_iter().map(|(mut group, oldest)| {
            group.examples = oldest.into_iter().map(|(_, thread)| thread).collect();
            group
        }));
        self.found.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        self.found.took = Seconds(took);
        self.found
    }
}

/// What a group of green threads that wait reads like: what they wait for, their name, their stack.
#[derive(PartialEq, Eq, Hash)]
struct Look(Option<String>, Option<String>, Vec<Frame>);

impl Look {
    /// None for one whose place is not told by its stack.
    fn of(group: &Group) -> Option<Look> {
        let tells = group.state == State::Waits && !group.stack.is_empty();
        tells.then(|| Look(group.waits_for.clone(), group.name.clone(), group.stack.clone()))
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
    fn places_that_read_the_same_are_one_group() {
        let mut groups = Groups::<u64>::new();
        for number in 0..10 {
            let line = if number % 5 == 4 { 2 } else { 1 };
            let stack = vec![Frame { file: "a.py".into(), line, function: "f".into() }];
            let describe = || Group { state: State::Waits, stack, ..Group::default() };
            groups.meet(&(number % 5), Thread { hub: 0, number }, 10 - number, describe);
        }
        let found = groups.finish(Duration::ZERO);
        let seen = found.groups.iter().map(|group| (group.count, group.stack[0].line, group.examples[0].number));
        assert_eq!(seen.collect::<Vec<_>>(), [(8, 1, 8), (2, 2, 9)]);
        assert_eq!(found.groups[0].examples.len(), EXAMPLES);
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

    #[test]
    fn the_largest_groups_are_kept_in_whatever_order_they_are_met() {
        let (many, places) = (3 * MOST_GROUPS as u64, 1_000_000);
        for order in ["first", "last", "between"] {
            let mut groups = Groups::<u64>::new();
            let mut number = 0;
            let mut meet = |place: u64| {
                number += 1;
                let line = u32::try_from(place).unwrap();
                let stack = vec![Frame { line, ..Frame::default() }];
                let state = if place == places { State::Runs } else { State::Waits };
                groups.meet(&place, Thread { hub: 0, number }, number, || Group { state, stack, ..Group::default() });
            };
            meet(places);
            for place in 0..many {
                // Of some there are two.
                (0..1 + place % 2).for_each(|_| meet(place));
                if order == "between" {
                    (0..2).for_each(|_| meet(places + 1));
                }
                if order == "first" && place == 0 || order == "last" && place + 1 == many {
                    (0..2 * many).for_each(|_| meet(places + 1));
                }
            }
            let found = groups.finish(Duration::ZERO);
            assert_eq!(
                (found.groups[0].count, found.groups[0].stack[0].line),
                (2 * many, places as u32 + 1),
                "{order}"
            );
            assert!(found.groups.iter().any(|group| group.state == State::Runs));
            let told: u64 = found.groups.iter().map(|group| group.count).sum();
            assert_eq!((told + found.left_out, found.groups.len()), (found.total, MOST_GROUPS));
            assert!(found.groups.iter().all(|group| !group.examples.is_empty()));
        }
    }
}
