//! Who has a place in the table of what can be parked: how a greenlet gets it, and how it loses it.

use std::rc::Rc;

use super::node::{AnyGreenlet, NO_SLOT};
use super::state::Runtime;

impl Runtime {
    /// The greenlet's place in the table of what can be parked.
    #[inline]
    pub fn slot_of(&self, greenlet: &AnyGreenlet) -> u32 {
        let slot = greenlet.node().slot.get();
        if slot == NO_SLOT { self.enroll(greenlet) } else { slot }
    }

    /// Gives a greenlet a place in the table, which keeps it alive until it [retires](Runtime::retire).
    pub fn enroll(&self, greenlet: &AnyGreenlet) -> u32 {
        let gone = self.threads.borrow_mut().insert(greenlet);
        drop(gone);
        greenlet.node().slot.get()
    }

    /// A green thread that has not begun, in the record of one that has ended if there is one. It has no slot yet.
    #[inline]
    pub fn new_green_thread(&'static self) -> AnyGreenlet {
        let spare = self.threads.borrow().spare();
        let greenlet = spare.unwrap_or_else(|| AnyGreenlet::from_node(Rc::default()));
        let parent = self.loop_greenlet();
        let has_it = greenlet.node().parent.borrow().as_ref().is_some_and(|known| known.is(parent));
        if !has_it {
            greenlet.node().parent.replace(Some(parent.clone()));
        }
        greenlet
    }

    pub fn retire(&self, greenlet: &AnyGreenlet) {
        let slot = greenlet.node().slot.replace(NO_SLOT);
        if slot != NO_SLOT {
            let gone = self.threads.borrow_mut().remove(slot);
            drop(gone);
        }
    }

    /// All that have a place in the table.
    pub fn enrolled(&self) -> Vec<AnyGreenlet> {
        self.threads.borrow().iter().cloned().collect()
    }

    /// How many have a place in the table, the root left out.
    pub fn enrolled_count(&self) -> usize {
        // The table is empty when the hub has ended, whatever was in it.
        self.threads.borrow().len().saturating_sub(usize::from(self.root.node().slot.get() != NO_SLOT))
    }
}
