//! What looks wrong among green threads that wait: a circle of them, something that was not given back, a pool that is
//! all taken.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use crate::protocol::Thread;

/// How many hints are given.
pub const MOST_HINTS: usize = 20;

/// How many waits are kept that have somebody they wait for, and how many objects.
const MOST: usize = 100_000;

/// Waits as they are met one by one. `K` tells one green thread from all others, those that have ended included.
#[derive(Debug)]
pub struct Waiting<K> {
    /// For whom each waits, and for what.
    edges: HashMap<K, (K, &'static str)>,
    names: HashMap<K, Thread>,
    objects: HashMap<usize, Object<K>>,
}

#[derive(Debug)]
struct Object<K> {
    what: &'static str,
    waiters: usize,
    met: usize,
    holder: Option<K>,
    /// How many units there are, if none of them is free.
    all_taken: Option<usize>,
}

impl<K: Copy + Eq + Hash + Debug> Waiting<K> {
    /// Nobody.
    pub fn new() -> Waiting<K> {
        Waiting { edges: HashMap::new(), names: HashMap::new(), objects: HashMap::new() }
    }

    /// Meets one that waits at an object for `holder`. So many `waiters` are there; 0 where they are to be counted.
    /// `all_taken` is how many units the object has, none of them free.
    ///
    /// Who waits for what it has taken itself waits for another to give it back, as those do that wait for a signal by
    /// way of a lock: that is no circle.
    pub fn meet(
        &mut self,
        who: (K, Thread),
        what: &'static str,
        object: usize,
        waiters: usize,
        holder: Option<K>,
        all_taken: Option<usize>,
    ) {
        let holder = holder.filter(|holder| *holder != who.0);
        if let Some(holder) = holder.filter(|_| self.edges.len() < MOST) {
            self.edges.insert(who.0, (holder, what));
            self.names.insert(who.0, who.1);
        }
        if (holder.is_some() || all_taken.is_some()) && self.objects.len() < MOST {
            let found = self.objects.entry(object).or_insert(Object { what, waiters: 0, met: 0, holder, all_taken });
            found.met += 1;
            found.waiters = found.met.max(waiters);
        }
    }

    /// How many wait at an object, as far as they were met.
    pub fn waiters_at(&self, object: usize) -> usize {
        self.objects.get(&object).map_or(0, |object| object.waiters)
    }

    /// Those that wait for one, some of them.
    pub fn waiters_for(&self, one: K, most: usize) -> Vec<Thread> {
        let waits = self.edges.iter().filter(|(_, (holder, _))| *holder == one).take(most);
        let mut found: Vec<_> = waits.filter_map(|(waiter, _)| self.names.get(waiter).copied()).collect();
        found.sort();
        found
    }

    /// Those that somebody waits for. Who of them lives is to be said to [`hints`](Waiting::hints).
    pub fn holders(&self) -> HashSet<K> {
        self.objects.values().filter_map(|object| object.holder).collect()
    }

    /// What looks wrong, in sentences.
    pub fn hints(&self, is_alive: impl Fn(&K) -> bool) -> Vec<String> {
        let mut hints = self.circles();
        let mut objects: Vec<_> = self.objects.iter().collect();
        objects.sort_by_key(|(address, object)| (std::cmp::Reverse(object.waiters), **address));
        for (address, Object { what, waiters, holder, all_taken, .. }) in objects {
            let plural = if *waiters == 1 { "waits" } else { "wait" };
            match (holder, all_taken) {
                (Some(holder), _) if !is_alive(holder) => hints.push(format!(
                    "{what} {address:#x} was not given back: the green thread that took it last has ended, and \
                     {waiters} {plural} for it"
                )),
                (_, Some(units)) if *units > 1 && waiters >= units => {
                    hints.push(format!("{what} {address:#x}: all {units} are taken, and {waiters} {plural} for one"))
                }
                _ => {}
            }
        }
        hints.truncate(MOST_HINTS);
        hints
    }

    /// Circles of green threads each of which waits for the next.
    fn circles(&self) -> Vec<String> {
        let mut done: HashSet<K> = HashSet::new();
        let mut circles = Vec::new();
        let mut starts: Vec<_> = self.edges.keys().copied().collect();
        starts.sort_by_key(|start| self.names.get(start).copied().unwrap_or_default());
        for start in starts {
            let mut path: Vec<K> = Vec::new();
            let mut at = start;
            while let Some((next, _)) = self.edges.get(&at)
                && done.insert(at)
            {
                path.push(at);
                at = *next;
            }
            if let Some(begin) = path.iter().position(|other| *other == at) {
                circles.push(self.circle(&path[begin..]));
            }
        }
        circles
    }

    fn circle(&self, members: &[K]) -> String {
        let name = |key: &K| self.names.get(key).copied().unwrap_or_default();
        let link = |(place, key): (usize, &K)| {
            let what = self.edges.get(key).map_or("", |(_, what)| what);
            let next = name(&members[(place + 1) % members.len()]);
            match what {
                "green thread" => format!("{} waits for the end of {next}", name(key)),
                _ => format!("{} waits for a {what} that {next} has", name(key)),
            }
        };
        let links: Vec<_> = members.iter().enumerate().map(link).collect();
        format!("deadlock: {}", links.join(", "))
    }
}

impl<K: Copy + Eq + Hash + Debug> Default for Waiting<K> {
    fn default() -> Waiting<K> {
        Waiting::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(number: u64) -> (u64, Thread) {
        (number, Thread { hub: 0, number })
    }

    #[test]
    fn a_circle_is_told_once_and_those_that_lead_into_it_are_not_in_it() {
        let mut waiting = Waiting::new();
        waiting.meet(who(1), "semaphore", 0x20, 2, Some(2), None);
        waiting.meet(who(2), "semaphore", 0x10, 1, Some(1), None);
        waiting.meet(who(3), "semaphore", 0x20, 2, Some(2), None);
        waiting.meet(who(4), "green thread", 0x30, 1, Some(3), None);
        let expected = "deadlock: 0:1 waits for a semaphore that 0:2 has, 0:2 waits for a semaphore that 0:1 has";
        assert_eq!(waiting.hints(|_| true), [expected]);
    }

    #[test]
    fn what_was_not_given_back_and_a_pool_that_is_all_taken_are_told() {
        let mut waiting = Waiting::new();
        waiting.meet(who(1), "semaphore", 0x20, 1, Some(9), None);
        waiting.meet(who(2), "semaphore", 0x30, 5, None, Some(4));
        waiting.meet(who(3), "semaphore", 0x40, 3, None, Some(4));
        assert_eq!(waiting.holders(), HashSet::from([9]));
        let hints = waiting.hints(|_| false);
        assert_eq!(hints[0], "semaphore 0x30: all 4 are taken, and 5 wait for one");
        assert!(hints[1].starts_with("semaphore 0x20 was not given back") && hints[1].ends_with("and 1 waits for it"));
        assert_eq!(hints.len(), 2);
        assert_eq!(waiting.hints(|_| true).len(), 1);
    }

    #[test]
    fn one_that_waits_for_what_it_has_taken_waits_for_a_signal() {
        let mut waiting = Waiting::new();
        waiting.meet(who(1), "semaphore", 0x20, 1, Some(1), None);
        assert!(waiting.hints(|_| true).is_empty());
    }
}
