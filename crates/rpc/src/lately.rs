//! What came lately, so that it is known when it comes again.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// How many ids of messages from a broker are remembered. A broker that is killed forgets the acknowledgements that it
/// has not written yet, those of some seconds, and hands all of these messages out again.
pub(crate) const FROM_A_BROKER: usize = 32 * 1024;

/// The last that came, by id; of more than `most` the oldest are forgotten.
pub(crate) struct Lately<T> {
    ids: HashSet<T>,
    order: VecDeque<T>,
    most: usize,
}

impl<T: Clone + Eq + Hash> Lately<T> {
    pub fn new(most: usize) -> Lately<T> {
        Lately { ids: HashSet::new(), order: VecDeque::new(), most }
    }

    pub fn contains(&self, id: &T) -> bool {
        self.ids.contains(id)
    }

    pub fn add(&mut self, id: T) {
        if self.most == 0 || !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut lately = Lately::new(3);
        [1, 2, 3, 2, 4].into_iter().for_each(|id| lately.add(id));
        assert_eq!([1, 2, 3, 4].map(|id| lately.contains(&id)), [false, true, true, true]);
        let mut nothing = Lately::new(0);
        nothing.add(1);
        assert!(!nothing.contains(&1));
    }
}
