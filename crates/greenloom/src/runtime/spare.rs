//! Records that were used and are kept for the next who needs one, so that a spawn allocates nothing.

use std::cell::RefCell;
use std::rc::Rc;

/// Enough for those that end between two bursts of spawns; the rest is freed.
const KEPT: usize = 128;

/// Records that nobody holds any more.
pub(crate) struct Spare<T: ?Sized>(RefCell<Vec<Rc<T>>>);

impl<T: ?Sized> Spare<T> {
    pub const fn new() -> Spare<T> {
        Spare(RefCell::new(Vec::new()))
    }

    #[inline]
    pub fn take(&self) -> Option<Rc<T>> {
        self.0.borrow_mut().pop()
    }

    /// Keeps a record, or frees it when there are many.
    #[inline]
    pub fn keep(&self, record: Rc<T>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(record);
        }
    }
}
