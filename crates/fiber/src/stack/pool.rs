//! The stacks of one size that all OS threads share: slabs mapped and cut into slots, free slots, pages given back.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{MIN_STACK_SIZE, StackError, advice, guard};
use crate::fork::ForkMutex;

/// A stack that was looked at keeps this many bytes at its top: up to 20 KiB that its user may have reserved, of which
/// the lowest page is in use, and a page of the stack.
pub(super) const SHALLOW: usize = 24 * 1024;

/// The first slab of a size holds this many stacks; each later one twice as many as the one before, up to the maximum.
const FIRST_SLAB: usize = 64;
const LARGEST_SLAB: usize = 1024;

/// Stacks are cut by the eighth of what there are, up to this many, so that the system calls for one are shared.
const LARGEST_CUT: usize = 64;

/// The lowest address of a slot, which is its guard's, and how often the slot was given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) base: NonNull<u8>,
    pub(super) uses: u32,
}

// SAFETY: a slot is an address; its holder owns the memory from it to the next one.
unsafe impl Send for Slot {}

/// All stacks of one size. Pools live for ever: there are as many as sizes in use.
#[derive(Debug)]
pub(super) struct Pool {
    /// Usable bytes of a stack, a multiple of the page size.
    pub(super) size: usize,
    /// Bytes of the guard region, a multiple of the page size.
    pub(super) guard: usize,
    /// How many bytes users of the size have set aside at the top of a stack, of late: below them is what is touched.
    pub(super) reserved: AtomicU32,
    /// Nothing that is done under it leaves the data half changed.
    shared: ForkMutex<Shared>,
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

static POOLS: ForkMutex<Vec<&'static Pool>> = ForkMutex::new(Vec::new());

/// The pool for stacks of at least `size` bytes. A call of its own, as [`Pool::map`]: a fiber that parks may begin the
/// next one, and how deep that goes is how many pages of its stack stay in use.
#[inline(never)]
pub(super) fn pool_of(size: usize) -> Result<&'static Pool, StackError> {
    if size < MIN_STACK_SIZE {
        return Err(StackError::TooSmall { size });
    }
    let page = guard::page_size();
    let guard = page.max(16 * 1024);
    let rounded = size.checked_next_multiple_of(page).filter(|rounded| *rounded < isize::MAX as usize / LARGEST_SLAB);
    let rounded = rounded.ok_or(StackError::TooLarge { size })?;
    let mut pools = POOLS.lock();
    if let Some(pool) = pools.iter().find(|pool| pool.size == rounded) {
        return Ok(pool);
    }
    let shared = ForkMutex::new(Shared { next_slab: FIRST_SLAB, ..Shared::default() });
    let pool: &'static Pool = Box::leak(Box::new(Pool { size: rounded, guard, reserved: AtomicU32::new(0), shared }));
    pools.push(pool);
    Ok(pool)
}

/// Calls `report` with the size of a slot, guard included, and the number of slots, for each pool.
pub(super) fn count(mut report: impl FnMut(usize, usize)) {
    for pool in POOLS.lock().iter() {
        report(pool.size + pool.guard, pool.shared.lock().stacks);
    }
}

impl Pool {
    /// A stack that no OS thread keeps, or a new one.
    pub(super) fn take(&'static self, size: usize) -> Result<Slot, StackError> {
        self.cut().map_err(|source| StackError::OutOfMemory { size, stacks: self.shared.lock().stacks, source })
    }

    fn cut(&'static self) -> io::Result<Slot> {
        let mut shared = self.shared.lock();
        if let Some(slot) = shared.free.pop() {
            return Ok(slot);
        }
        let (base, left) = match shared.uncut.take() {
            Some(uncut) => uncut,
            None => {
                let slab = self.map(&mut shared.next_slab)?;
                shared.next_slab = (shared.next_slab * 2).min(LARGEST_SLAB);
                slab
            }
        };
        // SAFETY: the slab holds `left` slots from `base` on; the address behind the last one is its end.
        let nth = |slot: usize| unsafe { base.add(slot * (self.size + self.guard)) };
        let wanted: Vec<_> = (0..(shared.stacks / 8).clamp(1, LARGEST_CUT).min(left)).map(nth).collect();
        let (count, failure) = guard::install(&wanted, self.guard);
        if count < left {
            shared.uncut = Some((nth(count), left - count));
        }
        let cut = &wanted[..count];
        self.populate(cut);
        shared.stacks += count;
        // The lowest last, so that it goes first.
        shared.free.extend(cut.iter().rev().map(|base| Slot { base: *base, uses: 0 }));
        shared.free.pop().ok_or_else(|| failure.expect_err("no guard was installed, and nothing failed"))
    }

    /// Has the page with which new stacks begin made resident, which costs less than their faults would one by one.
    /// Where the kernel does not do it, or has no memory, the faults tell.
    fn populate(&self, bases: &[NonNull<u8>]) {
        let page = guard::page_size();
        let top = self.guard + self.size - self.reserved.load(Ordering::Relaxed) as usize;
        let first = (top - 1) / page * page;
        // SAFETY: what was set aside is less than the stack.
        let firsts: Vec<_> = bases.iter().map(|base| unsafe { base.add(first) }).collect();
        // SAFETY: the pages are the new stacks' own, which are readable and writable.
        unsafe { advice::of_all(&firsts, page, libc::MADV_POPULATE_WRITE) };
    }

    /// Maps a slab of `stacks` slots, or of fewer if the system does not give so much at once.
    #[cold]
    #[inline(never)]
    fn map(&self, stacks: &mut usize) -> io::Result<(NonNull<u8>, usize)> {
        loop {
            let length = *stacks * (self.size + self.guard);
            // NORESERVE: most of it is never touched, so it must not count against the commit limit. NONE at first:
            // after mlockall(MCL_FUTURE) all that is accessible would be made resident at once.
            // SAFETY: an anonymous mapping at an address of the kernel's choice.
            let address = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    length,
                    libc::PROT_NONE,
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
            // A kernel without huge pages refuses the advice, and needs none of it.
            // SAFETY: the range was just mapped, and nobody knows it yet.
            let accessible = unsafe {
                libc::munlock(address, length);
                libc::madvise(address, length, libc::MADV_NOHUGEPAGE);
                libc::mprotect(address, length, libc::PROT_READ | libc::PROT_WRITE)
            };
            if accessible != 0 {
                let error = io::Error::last_os_error();
                // SAFETY: as above.
                unsafe { libc::munmap(address, length) };
                return Err(error);
            }
            let base = NonNull::new(address.cast()).expect("mmap does not map at address 0");
            return Ok((base, *stacks));
        }
    }

    /// Returns the stacks' pages to the system and the stacks to all threads.
    pub(super) fn give_back(&'static self, slots: impl Iterator<Item = Slot>) {
        let slots: Vec<Slot> = slots.inspect(|slot| self.discard(*slot, 0)).collect();
        self.shared.lock().free.extend(slots);
    }

    /// Gives back the pages of a stack that are deeper than a shallow fiber uses, if there are any.
    pub(super) fn trim(&self, slot: Slot) {
        let deep = self.size.saturating_sub(SHALLOW);
        let mut resident = [0u8; 64];
        let pages = (deep / guard::page_size()).min(resident.len());
        // The pages just below the shallow part: a stack that went deep went through them.
        // SAFETY: `pages` pages below the shallow part lie within the stack, and `resident` has a byte for each.
        let counted = unsafe {
            let low = slot.base.as_ptr().add(self.guard + deep - pages * guard::page_size());
            libc::mincore(low.cast(), pages * guard::page_size(), resident.as_mut_ptr().cast())
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
