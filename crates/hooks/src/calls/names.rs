//! Names to addresses and back: libc's own answers, got on an OS thread that may block.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::{mem, ptr};

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::current;
use crate::wait::{in_signal_handler, set_errno};
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

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    node: *mut c_char,
    node_length: socklen_t,
    service: *mut c_char,
    service_length: socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::getnameinfo(address, length, node, node_length, service, service_length, flags) };
    let numeric = node.is_null() || flags & NI_NUMERICHOST != 0;
    match current::here().filter(|_| !numeric && !in_signal_handler()) {
        Some(host) => blocking::run(host, || real() as isize) as c_int,
        None => real(),
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn gethostbyname_r(
    name: *const c_char,
    entry: *mut hostent,
    buffer: *mut c_char,
    length: size_t,
    found: *mut *mut hostent,
    error: *mut c_int,
) -> c_int {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::gethostbyname_r(name, entry, buffer, length, found, error) };
    match current::here().filter(|_| !in_signal_handler()) {
        Some(host) => blocking::run(host, || real() as isize) as c_int,
        None => real(),
    }
}

/// What a pointer that [`gethostbyname`] has returned leads to.
struct Answer {
    entry: hostent,
    buffer: Vec<c_char>,
}

thread_local! {
    /// The last few. A caller may use one until somebody calls again, which on an OS thread of many green threads may
    /// be soon.
    static ANSWERS: RefCell<VecDeque<Box<Answer>>> = const { RefCell::new(VecDeque::new()) };
}

const KEPT: usize = 64;

unsafe extern "C" {
    /// Where this OS thread's `h_errno` is.
    safe fn __h_errno_location() -> *mut c_int;
}

/// See [`calls`](super). On a green thread the answer is not libc's only place for one, which others would overwrite.
///
/// # Safety
/// libc's contract.
pub unsafe fn gethostbyname(name: *const c_char) -> *mut hostent {
    if current::here().is_none() || in_signal_handler() {
        // SAFETY: the caller's contract.
        return unsafe { real::gethostbyname(name) };
    }
    // SAFETY: zeroes are an entry without anything.
    let mut answer = Box::new(Answer { entry: unsafe { mem::zeroed() }, buffer: vec![0; 1024] });
    let (mut found, mut error) = (ptr::null_mut(), 0);
    let failed = loop {
        let Answer { entry, buffer } = &mut *answer;
        // SAFETY: all of it lives over the call, and the buffer has the length that is said.
        let failed =
            unsafe { gethostbyname_r(name, entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found, &raw mut error) };
        if failed != ERANGE || error != NETDB_INTERNAL {
            break failed;
        }
        answer.buffer = vec![0; answer.buffer.len() * 2];
    };
    if found.is_null() {
        // SAFETY: it is this OS thread's own.
        unsafe { *__h_errno_location() = error };
        if failed != 0 {
            set_errno(failed);
        }
        return found;
    }
    ANSWERS.with_borrow_mut(|answers| {
        answers.truncate(KEPT - 1);
        answers.push_front(answer);
    });
    found
}

/// What the library says when errno tells more.
const NETDB_INTERNAL: c_int = -1;
