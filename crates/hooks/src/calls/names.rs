//! Names to addresses: libc's own answer, got on an OS thread that may block.

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::current;
use crate::wait::in_signal_handler;
use crate::{blocking, real};

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::getaddrinfo(node, service, hints, found) };
    // SAFETY: the caller's contract: null, or hints.
    let numeric = unsafe { hints.as_ref() }.is_some_and(|hints| hints.ai_flags & AI_NUMERICHOST != 0);
    match current::here().filter(|_| !node.is_null() && !numeric && !in_signal_handler()) {
        Some(host) => blocking::run(host, || real() as isize) as c_int,
        None => real(),
    }
}
