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
//! - **Huge pages are off**: one touch would otherwise take 2 MiB.
//! - **Memory is given back.** Each OS thread keeps a few free stacks as they are, for speed, and hands the rest to a pool
//!   that all threads share, with their pages returned to the system. A stack that is used again and again is looked at
//!   every [`LOOK_EVERY`] uses, and if it went deep its deep pages are returned too. Address space is kept for the
//!   next burst.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The smallest stack that can be asked for, in bytes: what a panic with a backtrace needs, with a reserve.
pub const MIN_STACK_SIZE: usize = 32 * 1024;

/// How many free stacks of a size an OS thread keeps for itself. Each keeps the pages it touched, mostly one.
const KEEP: usize = 256;

/// After how many uses a stack's resident pages are counted (one system call) and its deep ones given back.
const LOOK_EVERY: u32 = 1024;

/// A stack that was looked at keeps this many bytes at its top.
const SHALLOW: usize = 16 * 1024;

/// The first slab of a size holds this many stacks; each later one twice as many as the one before, up to the maximum.
const FIRST_SLAB: usize = 64;
const LARGEST_SLAB: usize = 1024;

/// Why there is no stack.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError {
    /// The size asked for is below [`MIN_STACK_SIZE`].
    TooSmall {
        /// The size asked for, in bytes.
        size: usize,
    },
    /// The size asked for, with its guard, does not fit the address space.
    TooLarge {
        /// The size asked for, in bytes.
        size: usize,
    },
    /// The system gave no memory or no guard.
    OutOfMemory {
        /// The size asked for, in bytes.
        size: usize,
        /// How many stacks of that size there are, in use or free.
        stacks: usize,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackError::TooSmall { size } => {
                write!(f, "a stack of {size} bytes is too small: at least {MIN_STACK_SIZE} are needed")
            }
            StackError::TooLarge { size } => {
                write!(f, "a stack of {size} bytes does not fit the address space")
            }
            StackError::OutOfMemory { size, stacks, source } => {
                write!(f, "no memory for one more stack of {size} bytes beside the {stacks} there are: {source}")?;
                if GUARDS_SPLIT_MAPPINGS.load(Ordering::Relaxed) {
                    write!(f, "; guards made by mprotect are limited by vm.max_map_count")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StackError::OutOfMemory { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A stack with a guard region under it, on loan from the pool of its size; dropping it gives it back.
///
/// The memory holds whatever its last user left. Nothing here writes to it.
#[derive(Debug)]
pub struct Stack {
    slot: Slot,
    reserved: u32,
    pool: &'static Pool,
}

/// The lowest address of a slot, which is its guard's, and how often the slot was given out.
#[derive(Clone, Copy, Debug)]
struct Slot {
    base: NonNull<u8>,
    uses: u32,
}

// SAFETY: a slot is an address; whoever holds it owns the memory from it to the next one.
unsafe impl Send for Slot {}

impl Stack {
    /// Takes a stack of at least `size` usable bytes, rounded up to whole pages.
    ///
    /// # Errors
    /// [`StackError`], with the numbers, when the size is out of range or the system has no memory for it.
    pub fn new(size: usize) -> Result<Stack, StackError> {
        if let Some(stack) = Stack::new_from_cache(size) {
            return Ok(stack);
        }
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
        let take = |caches: &Caches| {
            let mut caches = caches.0.borrow_mut();
            let cache = caches.iter_mut().find(|cache| cache.size_asked == size)?;
            let slot = cache.free.pop()?;
            cache.in_use += 1;
            Some(Stack { slot, reserved: 0, pool: cache.pool })
        };
        CACHES.try_with(take).ok().flatten()
    }

    /// The lowest usable address; the guard lies below it.
    pub fn bottom(&self) -> *mut u8 {
        // SAFETY: the slot is `guard + size` bytes long.
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

    /// Sets the topmost `bytes` aside for the caller, rounded up so that the top stays 16-byte aligned, and returns where they
    /// begin. They share the first page with the outermost frames, so that a shallow fiber costs one page.
    ///
    /// Returns `None` when less than [`MIN_STACK_SIZE`] would be left.
    pub fn reserve(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let reserved = self.reserved.checked_add(bytes.checked_next_multiple_of(16)?.try_into().ok()?)?;
        if self.pool.size.checked_sub(reserved as usize)? < MIN_STACK_SIZE {
            return None;
        }
        self.reserved = reserved;
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
            self.slot.uses = self.slot.uses.wrapping_add(1);
            if self.slot.uses.is_multiple_of(LOOK_EVERY) {
                self.pool.trim(self.slot);
            }
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
        for mut cache in self.0.get_mut().drain(..) {
            cache.pool.give_back(cache.free.drain(..));
        }
    }
}

thread_local! {
    static CACHES: Caches = const { Caches(RefCell::new(Vec::new())) };
}

/// All stacks of one size. Pools live for ever: there are as many as sizes in use.
#[derive(Debug)]
struct Pool {
    /// Usable bytes of a stack, a multiple of the page size.
    size: usize,
    /// Bytes of the guard region, a multiple of the page size.
    guard: usize,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    free: Vec<Slot>,
    /// The part of the newest slab that no stack was cut from yet.
    uncut: Option<(NonNull<u8>, usize)>,
    next_slab: usize,
    stacks: usize,
}

// SAFETY: `uncut` is an address range that this pool owns.
unsafe impl Send for Shared {}

static POOLS: Mutex<Vec<&'static Pool>> = Mutex::new(Vec::new());

/// Nothing that is done under these locks leaves the data half changed, so a panic in between does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool_of(size: usize) -> Result<&'static Pool, StackError> {
    if size < MIN_STACK_SIZE {
        return Err(StackError::TooSmall { size });
    }
    let page = page_size();
    let guard = page.max(16 * 1024);
    let rounded = size.checked_next_multiple_of(page).filter(|rounded| *rounded < isize::MAX as usize / LARGEST_SLAB);
    let rounded = rounded.ok_or(StackError::TooLarge { size })?;
    let mut pools = lock(&POOLS);
    if let Some(pool) = pools.iter().find(|pool| pool.size == rounded) {
        return Ok(pool);
    }
    let shared = Mutex::new(Shared { next_slab: FIRST_SLAB, ..Shared::default() });
    let pool: &Pool = Box::leak(Box::new(Pool { size: rounded, guard, shared }));
    pools.push(pool);
    Ok(pool)
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
/// let stack = fiber::Stack::new(64 * 1024)?;
/// assert_eq!(fiber::pool_stats().in_use, 1);
/// # drop(stack);
/// # Ok::<(), fiber::StackError>(())
/// ```
pub fn pool_stats() -> PoolStats {
    let mut stats = PoolStats::default();
    let _ = CACHES.try_with(|caches| {
        stats.in_use = caches.0.borrow().iter().map(|cache| cache.in_use).sum::<isize>().max(0) as usize;
    });
    for pool in lock(&POOLS).iter() {
        let stacks = lock(&pool.shared).stacks;
        stats.stacks += stacks;
        stats.address_space += stacks * (pool.size + pool.guard);
    }
    stats
}

impl Pool {
    /// A stack that no OS thread keeps, or a new one.
    fn take(&self, size: usize) -> Result<Slot, StackError> {
        self.cut().map_err(|source| StackError::OutOfMemory { size, stacks: lock(&self.shared).stacks, source })
    }

    fn cut(&self) -> io::Result<Slot> {
        let mut shared = lock(&self.shared);
        if let Some(slot) = shared.free.pop() {
            return Ok(slot);
        }
        let stride = self.size + self.guard;
        let (base, left) = match shared.uncut.take() {
            Some(uncut) => uncut,
            None => {
                let slab = self.map(&mut shared.next_slab)?;
                shared.next_slab = (shared.next_slab * 2).min(LARGEST_SLAB);
                slab
            }
        };
        if let Err(error) = install_guard(base, self.guard) {
            shared.uncut = Some((base, left));
            return Err(error);
        }
        if left > 1 {
            // SAFETY: the slab holds `left` slots from `base` on.
            shared.uncut = Some((unsafe { base.add(stride) }, left - 1));
        }
        shared.stacks += 1;
        Ok(Slot { base, uses: 0 })
    }

    /// Maps a slab of `stacks` slots, or of fewer if the system does not give so much at once.
    fn map(&self, stacks: &mut usize) -> io::Result<(NonNull<u8>, usize)> {
        loop {
            let length = *stacks * (self.size + self.guard);
            // NORESERVE: most of it is never touched, so it must not count against the commit limit.
            // SAFETY: an anonymous mapping at an address of the kernel's choice.
            let address = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    length,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if address == libc::MAP_FAILED {
                let error = io::Error::last_os_error();
                if *stacks == 1 {
                    return Err(error);
                }
                *stacks /= 2;
                continue;
            }
            // A kernel without huge pages refuses, and needs none of it.
            // SAFETY: the range was just mapped.
            unsafe { libc::madvise(address, length, libc::MADV_NOHUGEPAGE) };
            let base = NonNull::new(address.cast()).expect("mmap does not map at address 0");
            return Ok((base, *stacks));
        }
    }

    /// Returns the stacks' pages to the system and the stacks to all threads.
    fn give_back(&self, slots: impl Iterator<Item = Slot>) {
        let slots: Vec<Slot> = slots.inspect(|slot| self.discard(*slot, 0)).collect();
        lock(&self.shared).free.extend(slots);
    }

    /// Gives back the pages of a stack that are deeper than a shallow fiber uses, if there are any.
    fn trim(&self, slot: Slot) {
        let deep = self.size.saturating_sub(SHALLOW);
        let mut resident = [0u8; 64];
        let pages = (deep / page_size()).min(resident.len());
        // The pages just below the shallow part: a stack that went deep went through them.
        // SAFETY: `pages` pages below the shallow part lie within the stack.
        let counted = unsafe {
            let low = slot.base.as_ptr().add(self.guard + deep - pages * page_size());
            libc::mincore(low.cast(), pages * page_size(), resident.as_mut_ptr().cast())
        };
        if counted != 0 || resident[..pages].iter().any(|page| page & 1 != 0) {
            self.discard(slot, SHALLOW);
        }
    }

    /// Gives back a stack's pages but for the topmost `keep` bytes.
    fn discard(&self, slot: Slot, keep: usize) {
        // SAFETY: the range is the stack's own, nothing lives on it, and its next user expects no content.
        unsafe {
            let bottom = slot.base.as_ptr().add(self.guard);
            libc::madvise(bottom.cast(), self.size - keep, libc::MADV_DONTNEED);
        }
    }
}

/// Whether guards have to be made by mprotect.
static GUARDS_SPLIT_MAPPINGS: AtomicBool = AtomicBool::new(false);

fn install_guard(base: NonNull<u8>, length: usize) -> io::Result<()> {
    const MADV_GUARD_INSTALL: libc::c_int = 102;
    if !GUARDS_SPLIT_MAPPINGS.load(Ordering::Relaxed) && !mprotect_was_asked_for() {
        // SAFETY: the range is the slot's guard, which nobody uses.
        if unsafe { libc::madvise(base.as_ptr().cast(), length, MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        GUARDS_SPLIT_MAPPINGS.store(true, Ordering::Relaxed);
    }
    // SAFETY: as above.
    if unsafe { libc::mprotect(base.as_ptr().cast(), length, libc::PROT_NONE) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// The hidden switch that lets the fallback for older kernels be tested on newer ones.
fn mprotect_was_asked_for() -> bool {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let asked = *ASKED.get_or_init(|| std::env::var_os("GREENLOOM_GUARD").is_some_and(|value| value == "mprotect"));
    if asked {
        GUARDS_SPLIT_MAPPINGS.store(true, Ordering::Relaxed);
    }
    asked
}

fn page_size() -> usize {
    thread_local! {
        static PAGE_SIZE: Cell<usize> = const { Cell::new(0) };
    }
    if PAGE_SIZE.get() == 0 {
        // SAFETY: asks for a constant.
        PAGE_SIZE.set(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.try_into().unwrap_or(4096));
    }
    PAGE_SIZE.get()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

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
            // SAFETY: the range is the stack's own.
            unsafe { ptr::write_bytes(stack.bottom(), number as u8, stack.size()) };
        }
        for (number, stack) in stacks.iter().enumerate() {
            // SAFETY: as above, and written by the loop before.
            let (low, high) = unsafe { (*stack.bottom(), *stack.top().sub(1)) };
            assert_eq!((low, high), (number as u8, number as u8));
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
            // SAFETY: the range is the stack's own, and the vector has a byte for each page.
            let low = unsafe { slot.base.as_ptr().add(pool.guard) };
            // SAFETY: as above.
            assert_eq!(0, unsafe { libc::mincore(low.cast(), size, pages.as_mut_ptr().cast()) });
            pages.iter().filter(|page| **page & 1 != 0).count()
        };
        for _ in 0..LOOK_EVERY {
            let stack = Stack::new(size).unwrap();
            // SAFETY: the range is the stack's own.
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
