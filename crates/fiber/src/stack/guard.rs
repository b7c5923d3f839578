//! Guards: the inaccessible region under each stack, and the page size they are rounded to.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) costs no mapping. Older kernels get `mprotect`, which splits a mapping in two, and
//! so does an emulator that takes every advice and does nothing (qemu's of a process).

use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::advice;

/// Whether guards have to be made by mprotect.
static SPLIT_MAPPINGS: AtomicBool = AtomicBool::new(false);

/// Whether each guard costs a mapping, because the kernel has none that cost nothing.
pub(super) fn split_mappings() -> bool {
    SPLIT_MAPPINGS.load(Ordering::Relaxed)
}

const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Makes `length` bytes from each of `bases` on inaccessible, in order. Returns how many it did, and why no more.
pub(super) fn install(bases: &[NonNull<u8>], length: usize) -> (usize, io::Result<()>) {
    let free_of_mappings =
        !split_mappings() && !mprotect_was_asked_for() && bases.first().is_some_and(|base| !advice_is_ignored(*base));
    // SAFETY: each range is a slot's guard, in which nothing is read or written.
    if free_of_mappings && unsafe { advice::of_all(bases, length, MADV_GUARD_INSTALL) } {
        return (bases.len(), Ok(()));
    }
    for (installed, base) in bases.iter().enumerate() {
        if let Err(error) = install_one(*base, length) {
            return (installed, Err(error));
        }
    }
    (bases.len(), Ok(()))
}

fn install_one(base: NonNull<u8>, length: usize) -> io::Result<()> {
    if !split_mappings() {
        // SAFETY: the range is the slot's guard, in which nothing is read or written.
        if unsafe { libc::madvise(base.as_ptr().cast(), length, MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        SPLIT_MAPPINGS.store(true, Ordering::Relaxed);
    }
    // SAFETY: as before: nobody uses the slot's guard, so nobody misses the access.
    if unsafe { libc::mprotect(base.as_ptr().cast(), length, libc::PROT_NONE) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Whether even an advice that no kernel knows is taken, so that success means nothing.
fn advice_is_ignored(base: NonNull<u8>) -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    let ignored = *IGNORED.get_or_init(|| {
        // SAFETY: the page is the first of a slot's guard, in which nothing is read or written.
        unsafe { libc::madvise(base.as_ptr().cast(), page_size(), libc::c_int::MAX) == 0 }
    });
    if ignored {
        SPLIT_MAPPINGS.store(true, Ordering::Relaxed);
    }
    ignored
}

/// The hidden switch that lets the fallback for older kernels be tested on newer ones.
fn mprotect_was_asked_for() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    let asked = *ASKED.get_or_init(|| std::env::var_os("GREENLOOM_GUARD").is_some_and(|value| value == "mprotect"));
    if asked {
        SPLIT_MAPPINGS.store(true, Ordering::Relaxed);
    }
    asked
}

pub(super) fn page_size() -> usize {
    thread_local! {
        static PAGE_SIZE: Cell<usize> = const { Cell::new(0) };
    }
    if PAGE_SIZE.get() == 0 {
        // SAFETY: asks for a constant.
        PAGE_SIZE.set(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.try_into().unwrap_or(4096));
    }
    PAGE_SIZE.get()
}
