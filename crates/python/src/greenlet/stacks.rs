//! How large a greenlet's stack is.
//!
//! CPython 3.12 and later count C recursion apart, so a greenlet gets a budget that fits its stack (see
//! [`tstate`](crate::tstate)). 3.10 and 3.11 have one counter for Python and C, whose limit is the
//! program's, so there the stack has to be large enough for 1,000 levels of the worst kind. Only address space is that
//! large: memory is used where the stack was touched.
//!
//! Page tables are used as well: a page of them for each 2 MiB of address space in which something was touched, which
//! at 1 MiB is half as much as the stack's own page. So where a smaller stack only means that `RecursionError` comes
//! earlier, from 3.12 on, those of a crowd are smaller.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use greenloom_fiber::{Stack, StackError};

use crate::tstate::{Chunk, ROOT_CHUNK_SIZE};

/// The environment variable that sets the size in bytes; `K` and `M` may follow the number.
pub const VARIABLE: &str = "GREENLOOM_STACK_SIZE";

/// The size if nobody says otherwise.
pub const DEFAULT_SIZE: usize = if cfg!(Py_3_12) { 1 << 20 } else { 4 << 20 };

/// How many stacks of one OS thread have the default size at the same time.
pub const CROWD: usize = 50_000;

/// The size of those beyond if nobody says otherwise: the least that holds CPython's parser at its own limit.
pub const CROWD_SIZE: usize = if cfg!(Py_3_12) { 704 << 10 } else { DEFAULT_SIZE };

/// Less would not hold a shallow Python call.
pub const SMALLEST: usize = 64 * 1024;

/// What somebody said; 0 if nobody did.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The size of the stacks of greenlets that start from now on, in bytes; those of a crowd aside.
pub fn size() -> usize {
    match ASKED.load(Ordering::Relaxed) {
        0 => DEFAULT_SIZE,
        asked => asked,
    }
}

/// The size of one that has to be looked for beyond this OS thread's own free ones.
#[cold]
fn size_of_another() -> usize {
    let crowded = ASKED.load(Ordering::Relaxed) == 0 && greenloom_fiber::pool_stats().in_use >= CROWD;
    if crowded { CROWD_SIZE } else { size() }
}

/// Sets it, for a crowd too. The error is a sentence.
pub fn set_size(bytes: usize) -> Result<(), String> {
    if !(SMALLEST..=1 << 30).contains(&bytes) {
        return Err(format!("a greenlet's stack must have between {SMALLEST} and {} bytes, not {bytes}", 1 << 30));
    }
    ASKED.store(bytes, Ordering::Relaxed);
    Ok(())
}

/// Sets the size to what the environment says, if it says something.
pub fn read_environment() -> Result<(), String> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let text = value.to_string_lossy();
    let trimmed = text.trim();
    let (digits, unit) = match trimmed.chars().last() {
        Some('k' | 'K') => (&trimmed[..trimmed.len() - 1], 1024),
        Some('m' | 'M') => (&trimmed[..trimmed.len() - 1], 1024 * 1024),
        _ => (trimmed, 1),
    };
    let bytes = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    let bytes =
        bytes.ok_or_else(|| format!("{VARIABLE} must be a number of bytes such as 1M or 262144, not {text:?}"))?;
    set_size(bytes).map_err(|error| format!("{VARIABLE}: {error}"))
}

/// A stack, and the memory set aside above it for the data stack's root chunk.
pub fn take() -> Result<(Stack, *mut Chunk), StackError> {
    let mut stack = match Stack::new_from_cache(size()) {
        Some(stack) => stack,
        None => Stack::new(size_of_another())?,
    };
    let chunk = stack.reserve(ROOT_CHUNK_SIZE).expect("the smallest stack is larger than that");
    Ok((stack, chunk.as_ptr().cast()))
}

/// One past the highest address of the OS thread's own stack.
pub fn own_stack_top() -> usize {
    // SAFETY: fills in an attribute object for the running thread, which is destroyed after it was read.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return 0;
        }
        let (mut low, mut size) = (ptr::null_mut(), 0);
        libc::pthread_attr_getstack(&attributes, &mut low, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        low as usize + size
    }
}
