//! Whether all listeners have what they declared.

use std::cell::Cell;
use std::time::Duration;

use greenloom::sync::Event;

use crate::deadline::Deadline;

/// Whether all listeners have what they declared. A connection is made again only when they have: the answer to a call
/// that is sent earlier may find no queue.
#[derive(Default)]
pub(super) struct Standing {
    pub missing: Cell<usize>,
    /// Sent when none is missing any more.
    complete: Event<()>,
}

impl Standing {
    pub fn add(&self, missing: isize) {
        self.missing.set(self.missing.get().saturating_add_signed(missing));
        if self.missing.get() == 0 {
            let _ = self.complete.send(());
        }
    }

    /// Parks until none is missing, at most for `timeout`. Returns whether that is so.
    pub fn wait(&self, timeout: Duration) -> bool {
        if self.missing.get() == 0 {
            return true;
        }
        let deadline = Deadline::after(timeout);
        while self.missing.get() > 0 {
            self.complete.reset();
            if deadline.is_over() || self.complete.wait_timeout(deadline.left()).is_err() {
                return false;
            }
        }
        true
    }
}
