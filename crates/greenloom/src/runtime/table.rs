//! What can be parked, by slots: the root, green threads, and greenlets that have parked once. The table keeps them
//! alive.
//!
//! The record of a green thread that has ended stays where it was for the next that begins, if nothing is left in it of
//! the one before, so that a spawn allocates nothing.

use std::rc::Rc;

use super::node::{AnyGreenlet, Interrupts, Kind, NO_SLOT, Node};

/// How many records are kept.
const KEPT: usize = 256;

#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Option<AnyGreenlet>>,
    /// The slots that are free, the last of which is taken next.
    free: Vec<u32>,
    /// How many of the free ones have a record.
    kept: usize,
}

impl Table {
    /// The greenlet of a slot, which may have ended.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&AnyGreenlet> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// How many slots are taken.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many slots there are, taken or free.
    #[cfg(feature = "inspect")]
    pub fn slots(&self) -> u32 {
        // Each was made by `insert`, which counts them so.
        self.slots.len() as u32
    }

    /// Those that have a slot.
    pub fn iter(&self) -> impl Iterator<Item = &AnyGreenlet> {
        self.slots.iter().flatten().filter(|greenlet| greenlet.node().slot.get() != NO_SLOT)
    }

    /// The record that the next green thread may have, if nobody else has it. It is to be inserted then.
    #[inline]
    pub fn spare(&self) -> Option<AnyGreenlet> {
        let spare = self.get(*self.free.last()?)?;
        spare.is_held_only_here().then(|| spare.clone())
    }

    /// Gives a greenlet a slot. Returns what was kept there, to be dropped when the table is at rest.
    #[inline]
    pub fn insert(&mut self, greenlet: &AnyGreenlet) -> Option<AnyGreenlet> {
        let node = greenlet.node();
        let Some(slot) = self.free.pop() else {
            let slot = u32::try_from(self.slots.len()).expect("4 billion green threads do not fit the address space");
            self.slots.push(Some(greenlet.clone()));
            node.slot.set(slot);
            return None;
        };
        node.slot.set(slot);
        let place = &mut self.slots[slot as usize];
        if node.is_kept.replace(false) {
            self.kept -= 1;
            node.ticket.set(0);
            node.interrupts.set(Interrupts::default());
            return None;
        }
        let before = place.replace(greenlet.clone());
        self.kept -= usize::from(before.is_some());
        before.inspect(|before| before.node().is_kept.set(false))
    }

    /// Frees a slot. Returns the greenlet that it kept alive, to be dropped when the table is at rest, unless its
    /// record is kept.
    #[inline]
    pub fn remove(&mut self, slot: u32) -> Option<AnyGreenlet> {
        self.free.push(slot);
        let place = &mut self.slots[slot as usize];
        let node = place.as_ref()?.node();
        if self.kept < KEPT && node.can_be_kept() {
            self.kept += 1;
            node.is_kept.set(true);
            return None;
        }
        place.take()
    }

    /// All that are in it.
    pub fn into_all(self) -> impl Iterator<Item = AnyGreenlet> {
        self.slots.into_iter().flatten()
    }
}

impl Node {
    /// Whether nothing will be left in it of the green thread that it was, once that has ended.
    #[inline]
    fn can_be_kept(&self) -> bool {
        self.kind.get() == Kind::GreenThread && self.fiber.name().is_none() && self.mail.get().is_none()
    }
}

impl AnyGreenlet {
    #[inline]
    fn is_held_only_here(&self) -> bool {
        Rc::strong_count(self.rc()) == 1 && Rc::weak_count(self.rc()) == 0
    }
}
