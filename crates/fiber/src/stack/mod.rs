//! The stack pool.
//!
//! Stacks of one size come from large mappings ("slabs"), each cut into equal slots. A slot is a guard region with the
//! stack above it, so that each stack ends in the guard of its own slot and starts at the guard of the next:
//!
//! ```text
//!  slab:  |guard|    stack 0     |guard|    stack 1     |guard|    stack 2     | ...
//!         low addresses       top^                   top^          grows down <-
//! ```
//!
//! - **Guards** are installed with `MADV_GUARD_INSTALL` (Linux 6.13), which costs no mapping: a million stacks need a
//!   thousand mappings. Older kernels get `mprotect`, which splits the mapping in two a stack and so meets
//!   `vm.max_map_count` at about 32,000 of them; `GREENLOOM_GUARD=mprotect` selects it by hand.
//! - **Stacks are not locked** in memory, not even after `mlockall(MCL_FUTURE)`: each would take its whole size at
//!   once. `mlockall(MCL_CURRENT)` locks those that there are, 64 at least, whole; `MCL_ONFAULT` with it locks what was
//!   touched. Linux installs no guards in locked memory, so stacks cut from it get theirs from `mprotect`.
//! - **Stacks are cut several at once**, the more the more there are, and what the kernel does for each, the guard and
//!   the first page, is asked of it together (Linux 6.14): a fifth of the time until a million sleep.
//! - **Huge pages are off**: one touch would otherwise take 2 MiB.
//! - **Memory is given back.** Each OS thread keeps a few free stacks as they are, for speed, and hands the rest to a
//!   pool that all threads share, with their pages returned to the system. A stack that is used again and again is
//!   looked at every [`LOOK_EVERY`] uses, and if it went deep its deep pages are returned too. Address space is kept
//!   for the next burst.

mod advice;
mod error;
mod guard;
mod pool;

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;

use self::pool::{Pool, Slot, pool_of};

pub use self::error::StackError;

/// The smallest stack that can be asked for, in bytes: what a panic with a backtrace needs, with a reserve.
pub const MIN_STACK_SIZE: usize = 32 * 1024;

/// How many free stacks of a size an OS thread keeps for itself. Each keeps the pages it touched, mostly one.
const KEEP: usize = 256;

/// After how many uses a stack's resident pages are counted (one system call) and its deep ones given back.
const LOOK_EVERY: u32 = 1024;

/// A stack with a guard region under it, on loan from the pool of its size; dropping it gives it back.
///
/// The memory holds whatever its last user left. Nothing here writes to it.
#[derive(Debug)]
pub struct Stack {
    slot: Slot,
    reserved: u32,
    pool: &'static Pool,
}

impl Stack {
    /// Takes a stack of at least `size` usable bytes, rounded up to whole pages.
    ///
    /// # Errors
    /// [`StackError`], with the numbers, when the size is out of range or the system has no memory for it.
    pub fn new(size: usize) -> Result<Stack, StackError> {
        if let Some(stack) = Stack::new_from_cache(size) {
            return Ok(stack);
        }
        Stack::new_from_pool(size)
    }

    #[cold]
    fn new_from_pool(size: usize) -> Result<Stack, StackError> {
        let pool = pool_of(size)?;
        let slot = pool.take(size)?;
        // When the OS thread is ending it keeps no stacks any more.
        let _ = CACHES.try_with(|caches| {
            let mut caches = caches.0.borrow_mut();
            match caches.iter_mut().find(|cache| ptr::eq(cache.pool, pool)) {
                Some(cache) => cache.in_use += 1,
                None => caches.push(Cache { size_asked: size, pool, free: Vec::new(), in_use: 1 }),
            }
        });
        Ok(Stack { slot, reserved: 0, pool })
    }

    /// As [`Stack::new`], if this OS thread keeps a free stack of exactly that size; takes a few nanoseconds.
    #[inline]
    pub fn new_from_cache(size: usize) -> Option<Stack> {
        match LAST.take().map(ManuallyDrop::into_inner) {
            Some(mut last) if last.pool.size == size => {
                last.reserved = 0;
                last.count_use();
                return Some(last);
            }
            // One of another size goes back to those like it.
            other => drop(other),
        }
        Stack::new_from_list(size)
    }

    #[inline(never)]
    fn new_from_list(size: usize) -> Option<Stack> {
        let take = |caches: &Caches| {
            let mut caches = caches.0.borrow_mut();
            let cache = caches.iter_mut().find(|cache| cache.size_asked == size)?;
            let slot = cache.free.pop()?;
            cache.in_use += 1;
            Some(Stack { slot, reserved: 0, pool: cache.pool })
        };
        CACHES.try_with(take).ok().flatten()
    }

    /// Gives back a stack that its OS thread still runs on and is about to leave for good: it is taken again, or
    /// dropped, after that. Returns whether the caller has to see to that by [`drop_last_of_the_ending`].
    #[inline]
    pub(crate) fn give_back_running(self) -> bool {
        let before = LAST.replace(Some(ManuallyDrop::new(self)));
        drop(before.map(ManuallyDrop::into_inner));
        ENDING.get()
    }

    /// Gives back the deep pages of a stack that is used again and again, now and then.
    #[inline]
    fn count_use(&mut self) {
        self.slot.uses = self.slot.uses.wrapping_add(1);
        if self.slot.uses.is_multiple_of(LOOK_EVERY) {
            self.pool.trim(self.slot);
        }
    }

    /// The lowest usable address; the guard lies below it.
    pub fn bottom(&self) -> *mut u8 {
        // SAFETY: the slot is `guard + size` bytes long, and ours.
        unsafe { self.slot.base.as_ptr().add(self.pool.guard) }
    }

    /// One past the highest usable address, 16-byte aligned.
    pub fn top(&self) -> *mut u8 {
        // SAFETY: the slot is `guard + size` bytes long, and less than `size` is reserved.
        unsafe { self.bottom().add(self.pool.size - self.reserved as usize) }
    }

    /// The usable size in bytes, reserved part included.
    pub fn size(&self) -> usize {
        self.pool.size
    }

    /// Sets the topmost `bytes` aside for the caller, rounded up so that the top stays 16-byte aligned, and returns
    /// where they begin. They share the first page with the outermost frames, so that a shallow fiber costs one page.
    ///
    /// Returns `None` when less than [`MIN_STACK_SIZE`] would be left.
    pub fn reserve(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let reserved = self.reserved.checked_add(bytes.checked_next_multiple_of(16)?.try_into().ok()?)?;
        if self.pool.size.checked_sub(reserved as usize)? < MIN_STACK_SIZE {
            return None;
        }
        self.reserved = reserved;
        // Hardly ever another number, and others read what lies beside it.
        if self.pool.reserved.load(Ordering::Relaxed) != reserved {
            self.pool.reserved.store(reserved, Ordering::Relaxed);
        }
        NonNull::new(self.top())
    }

    /// The guard region under the stack, where a fault means that it overflowed.
    pub(crate) fn guard(&self) -> std::ops::Range<usize> {
        let base = self.slot.base.as_ptr() as usize;
        base..base + self.pool.guard
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let kept = CACHES.try_with(|caches| {
            let mut caches = caches.0.borrow_mut();
            let Some(cache) = caches.iter_mut().find(|cache| ptr::eq(cache.pool, self.pool)) else {
                return false;
            };
            cache.in_use -= 1;
            self.count_use();
            cache.free.push(self.slot);
            if cache.free.len() > KEEP {
                // The coldest go, half of them at once, so that a pool at its limit does not pay for every stack.
                self.pool.give_back(cache.free.drain(..KEEP / 2));
            }
            true
        });
        if !matches!(kept, Ok(true)) {
            self.pool.give_back(std::iter::once(self.slot));
        }
    }
}

/// The free stacks that one OS thread keeps, a list a size.
struct Caches(RefCell<Vec<Cache>>);

struct Cache {
    size_asked: usize,
    pool: &'static Pool,
    free: Vec<Slot>,
    /// Given out here less given back here; below zero if stacks of other threads come back here.
    in_use: isize,
}

impl Drop for Caches {
    fn drop(&mut self) {
        ENDING.set(true);
        if let Some(last) = LAST.take() {
            last.pool.give_back(std::iter::once(last.slot));
        }
        for mut cache in self.0.get_mut().drain(..) {
            cache.pool.give_back(cache.free.drain(..));
        }
    }
}

thread_local! {
    static CACHES: Caches = const { Caches(RefCell::new(Vec::new())) };

    /// The stack of the fiber that ended last, for the next that begins. Without a destructor: that of `CACHES` sees to
    /// it.
    static LAST: Cell<Option<ManuallyDrop<Stack>>> = const { Cell::new(None) };
    /// Whether `CACHES` are gone.
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// Has this OS thread return its stacks when it ends.
pub(crate) fn keep_until_the_end() {
    let _ = CACHES.try_with(|_| ());
}

/// Drops the stack that was given back by [`Stack::give_back_running`], if the OS thread is ending and keeps none.
pub(crate) fn drop_last_of_the_ending() {
    if ENDING.get() {
        drop(LAST.take().map(ManuallyDrop::into_inner));
    }
}

/// How many stacks there are, over all sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Stacks on loan to the calling OS thread; those given back here count wherever they came from.
    pub in_use: usize,
    /// Stacks cut so far by all OS threads, on loan or free.
    pub stacks: usize,
    /// Address space of all stacks and guards in bytes. Memory is used only where a stack was touched.
    pub address_space: usize,
}

/// How many stacks are in use and how many the pools hold.
///
/// ```
/// let stack = greenloom_fiber::Stack::new(64 * 1024)?;
/// assert_eq!(greenloom_fiber::pool_stats().in_use, 1);
/// # drop(stack);
/// # Ok::<(), greenloom_fiber::StackError>(())
/// ```
pub fn pool_stats() -> PoolStats {
    let mut stats = PoolStats::default();
    let _ = CACHES.try_with(|caches| {
        let last = LAST.take();
        let out: isize = caches.0.borrow().iter().map(|cache| cache.in_use).sum();
        stats.in_use = (out - isize::from(last.is_some())).max(0) as usize;
        LAST.set(last);
    });
    pool::count(|slot, stacks| {
        stats.stacks += stacks;
        stats.address_space += stacks * slot;
    });
    stats
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::pool::SHALLOW;
    use super::*;

    /// Held by each test that takes stacks: some of them count what is in the pool, which all threads share.
    pub(crate) fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn sizes_out_of_range_are_errors_with_the_number() {
        let error = Stack::new(1000).unwrap_err().to_string();
        assert!(error.contains("1000") && error.contains(&MIN_STACK_SIZE.to_string()), "{error}");
        assert!(matches!(Stack::new(usize::MAX - 5), Err(StackError::TooLarge { .. })));
    }

    #[test]
    fn stacks_do_not_overlap_and_are_writable_from_end_to_end() {
        let _alone = alone();
        let stacks: Vec<Stack> = (0..200).map(|_| Stack::new(40_000).unwrap()).collect();
        for (number, stack) in stacks.iter().enumerate() {
            assert!(stack.size() >= 40_000 && (stack.top() as usize).is_multiple_of(16));
            // SAFETY: from the bottom on, `size` bytes are the stack's own, and nothing lives there.
            unsafe { ptr::write_bytes(stack.bottom(), number as u8, stack.size()) };
        }
        for (number, stack) in stacks.iter().enumerate() {
            // SAFETY: the first and the last byte of the stack, written by the loop before.
            let (low, high) = unsafe { (*stack.bottom(), *stack.top().sub(1)) };
            assert_eq!((low, high), (number as u8, number as u8));
        }
    }

    #[test]
    fn each_stack_has_a_guard_that_nobody_can_read_however_many_were_cut_at_once() {
        let _alone = alone();
        let stacks: Vec<Stack> = (0..1000).map(|_| Stack::new(36 * 1024).unwrap()).collect();
        let (_reader, writer) = std::io::pipe().unwrap();
        // SAFETY: the system looks at the byte itself, and says EFAULT where it may not be read.
        let is_readable = |byte: usize| unsafe { libc::write(writer.as_raw_fd(), byte as *const _, 1) == 1 };
        for stack in &stacks {
            assert!(is_readable(stack.bottom() as usize) && is_readable(stack.top() as usize - 1));
            assert!(!is_readable(stack.guard().start) && !is_readable(stack.guard().end - 1));
        }
    }

    #[test]
    fn a_stack_given_back_is_used_again() {
        let _alone = alone();
        let first = Stack::new(48 * 1024).unwrap();
        let top = first.top();
        drop(first);
        assert_eq!(Stack::new(48 * 1024).unwrap().top(), top);
    }

    #[test]
    fn a_deep_stack_gives_its_pages_back() {
        let _alone = alone();
        let size = 512 * 1024;
        let pool = pool_of(size).unwrap();
        let resident = |slot: Slot| {
            let mut pages = [0u8; 128];
            // SAFETY: the stack begins above its guard, in the same slot.
            let low = unsafe { slot.base.as_ptr().add(pool.guard) };
            // SAFETY: `pages` has a byte for each of the 128 pages of the stack.
            assert_eq!(0, unsafe { libc::mincore(low.cast(), size, pages.as_mut_ptr().cast()) });
            pages.iter().filter(|page| **page & 1 != 0).count()
        };
        for _ in 0..LOOK_EVERY {
            let stack = Stack::new(size).unwrap();
            // SAFETY: from the bottom on, `size` bytes are the stack's own, and nothing lives there.
            unsafe { ptr::write_bytes(stack.bottom(), 1, size) };
            assert_eq!(resident(stack.slot), 128);
        }
        let stack = Stack::new(size).unwrap();
        assert!(resident(stack.slot) <= SHALLOW / 4096);
    }

    #[test]
    fn a_reserved_top_is_outside_the_stack() {
        let _alone = alone();
        let mut stack = Stack::new(64 * 1024).unwrap();
        let top = stack.top() as usize;
        let reserved = stack.reserve(100).unwrap();
        assert_eq!((reserved.as_ptr() as usize, stack.top() as usize), (top - 112, top - 112));
        assert!(stack.reserve(40_000).is_none());
    }
}
