//! Reading and writing for the rest of the binding: bytes go in and out without an object for each piece.
//!
//! A socket that is not one of ours, or not in an ordinary state, is asked by its methods `recv` and `sendall`, so that
//! each of these functions does what the method does, with its errors.

use std::ffi::c_int;
use std::mem;
use std::ptr;
use std::slice;

use super::transfer::{SCRATCH, SMALL_READ, or_end, raise_of_writing, read, write_by};
use super::{Failure, Socket, Whole, overrides};
use crate::py::object::{Object, bytes, size};
use crate::py::{Result, This, call_method, names};

static RECV: names::Name = names::Name::new(c"recv");
static SENDALL: names::Name = names::Name::new(c"sendall");

/// So many parts go out in one call.
const PARTS: usize = 16;

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub(super) unsafe fn fill() -> Result<()> {
    // SAFETY: called at import.
    unsafe { names::intern(&[&RECV, &SENDALL]) }
}

fn native<'a>(socket: Object<'a>) -> Option<This<'a, Socket>> {
    socket.instance::<Socket>().filter(|this| this.is_native())
}

/// Receives what there is, up to `most` bytes, and shows them to `then`, which must not run code of others. Waits for
/// the first; shows none at the end of the connection.
pub fn receive<R>(socket: Object<'_>, most: usize, then: impl FnOnce(&[u8]) -> R) -> Result<R> {
    let most = most.min(SMALL_READ);
    if let Some(this) = native(socket) {
        let room = SCRATCH.get().cast::<u8>();
        // SAFETY: the room is so large; it is used under the lock, which is held, by nobody else until `then` is done.
        match unsafe { read(this, room, most, 0) } {
            // SAFETY: so much of the room was written; it is this call's until `then` is done.
            Ok(got) => return Ok(then(unsafe { slice::from_raw_parts(room, got) })),
            Err(Failure::Os(libc::ENOTCONN)) => {}
            Err(failure) => return or_end(failure, || Ok(then(&[])), this),
        }
    }
    let most = size(socket.gil(), most)?;
    // SAFETY: live objects, with the lock held.
    let data = unsafe { call_method(socket.as_ptr(), RECV.object(), [most.as_ptr()]) }?;
    Ok(then(Object::of(&data).content()?))
}

/// Receives what there is, up to `most` bytes, to where `into` points. Waits for the first; 0 at the end of the
/// connection.
///
/// # Safety
/// There is room for that much, which something keeps, also while others run.
pub unsafe fn receive_into(socket: Object<'_>, into: *mut u8, most: usize) -> Result<usize> {
    if let Some(this) = native(socket) {
        // SAFETY: as this function's.
        match unsafe { read(this, into, most, 0) } {
            Ok(got) => return Ok(got),
            Err(Failure::Os(libc::ENOTCONN)) => {}
            Err(failure) => return or_end(failure, || Ok(0), this),
        }
    }
    let asked = size(socket.gil(), most)?;
    // SAFETY: live objects, with the lock held.
    let data = unsafe { call_method(socket.as_ptr(), RECV.object(), [asked.as_ptr()]) }?;
    let data = Object::of(&data).content()?;
    let got = data.len().min(most);
    // SAFETY: there is room for `most`.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), into, got) };
    Ok(got)
}

/// Sends all parts, one behind the other, in as few calls as the system allows. Waits for room again and again. The
/// parts must be such as nobody changes meanwhile.
#[inline(never)]
pub fn send_all(socket: Object<'_>, parts: &[&[u8]]) -> Result<()> {
    let Some(this) = native(socket) else { return send_by_method(socket, parts) };
    if overrides(this)?.send {
        return send_by_method(socket, parts);
    }
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let (mut sent, whole) = (0, Whole::default());
    while sent < total {
        let mut vector = [const { libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 } }; PARTS];
        let count = rest_of(parts, sent, &mut vector);
        let vector = &mut vector[..count];
        let asked = vector.iter().map(|part| part.iov_len).sum();
        whole.deadline.take();
        sent += write_by(this, asked, &whole, |fd| send_vector(fd, vector, libc::MSG_DONTWAIT), 0)
            .or_else(|failure| raise_of_writing(this, failure))?;
    }
    Ok(())
}

/// What is left of the parts behind the first `sent` bytes, as much as fits. Returns how many places are taken.
fn rest_of(parts: &[&[u8]], mut sent: usize, vector: &mut [libc::iovec; PARTS]) -> usize {
    let mut count = 0;
    for part in parts {
        if sent >= part.len() {
            sent -= part.len();
            continue;
        }
        let Some(place) = vector.get_mut(count) else { break };
        let rest = &part[mem::take(&mut sent)..];
        *place = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        count += 1;
    }
    count
}

fn send_vector(fd: c_int, vector: &mut [libc::iovec], flags: c_int) -> isize {
    // SAFETY: zeroes are a valid header; it names parts that their owner keeps.
    unsafe {
        if let [part] = vector {
            return libc::send(fd, part.iov_base, part.iov_len, flags);
        }
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = vector.as_mut_ptr();
        message.msg_iovlen = vector.len() as _;
        libc::sendmsg(fd, &raw const message, flags)
    }
}

#[cold]
fn send_by_method(socket: Object<'_>, parts: &[&[u8]]) -> Result<()> {
    let all = match parts {
        [part] => bytes(socket.gil(), part)?,
        parts => bytes(socket.gil(), &parts.concat())?,
    };
    // SAFETY: live objects, with the lock held.
    unsafe { call_method(socket.as_ptr(), SENDALL.object(), [all.as_ptr()]) }.map(drop)
}
