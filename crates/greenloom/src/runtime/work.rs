//! What is ready to run, and what timers and sources hold.

use std::cell::Cell;
use std::rc::Rc;

use greenloom_hub::line::Claim;

/// Ready work: a green thread's slot, or the place of a function to call. One word, because it is built and
/// copied at every park: an enum is stored in two halves and read as a whole, which stalls the processor.
#[derive(Clone, Copy)]
pub(super) struct Ready(u64);

impl Ready {
    const CALL: u64 = 1 << 63;

    pub(super) fn thread(slot: u32) -> Ready {
        Ready(slot.into())
    }

    pub(super) fn call(place: usize) -> Ready {
        Ready(Ready::CALL | place as u64)
    }

    pub(super) fn as_thread(self) -> Option<u32> {
        (self.0 & Ready::CALL == 0).then_some(self.0 as u32)
    }

    pub(super) fn as_call(self) -> usize {
        (self.0 & !Ready::CALL) as usize
    }
}

/// What timers and sources hold.
pub(crate) enum Work {
    /// A park to be ended.
    Wake { slot: u32, ticket: u64 },
    /// A park to be ended by the first of several things, and whether this was it.
    Choice { slot: u32, ticket: u64, claim: Claim, told: Rc<Cell<bool>> },
    /// A function for the hub's greenlet to call.
    Call(Box<dyn FnOnce()>),
}
