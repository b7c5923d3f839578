//! The limits of the C stack, from CPython 3.14 on: C code compares the stack pointer with them, so they have to be
//! those of the stack that runs.
//!
//! They are three words in the private part of the thread state: the stack's top, a soft limit and a hard one. Where
//! that is changes with patch releases (3.14.4 put a field before it). CPython has a function that sets the limits,
//! since some release of 3.14, and none that tells them. So at import it is asked to set them to something else, and
//! the words that change are they. Where it is not there they are found by what they must enclose.

use std::mem::size_of;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3_ffi as ffi;

/// Top, soft limit, hard limit.
pub type Limits = [usize; 3];

/// How far above the end of the stack the hard limit is, and again how far above that the soft one; CPython's own
/// number.
const MARGIN: usize = 2048 * size_of::<usize>();

/// How many words behind what we know of the thread state are looked at. The limits are near its end, and what it has
/// in every release is not shorter than this.
const WORDS: usize = if cfg!(Py_3_15) { 86 } else { 77 };

/// Where the limits lie in the thread state, in bytes.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// Where the limits of the running stack are.
///
/// # Safety
/// A live thread state, and [`find`] has succeeded.
#[inline]
pub unsafe fn of<T>(state: *mut T) -> *mut Limits {
    // SAFETY: the import fails unless the words are there.
    unsafe { state.byte_add(OFFSET.load(Ordering::Relaxed)).cast() }
}

/// The limits that fit a stack.
pub fn of_stack(stack: &Range<usize>) -> Limits {
    [stack.end, stack.start + 2 * MARGIN, stack.start + MARGIN]
}

/// Finds out where the limits are, behind the first `known` bytes of the thread state; false if they are nowhere.
///
/// # Safety
/// `state` is the running OS thread's, and its lock is held; `known` is the size of the version's `ThreadState`.
pub unsafe fn find(state: *mut ffi::PyThreadState, known: usize) -> bool {
    // SAFETY: the thread state is longer than this.
    let words = unsafe { state.byte_add(known).cast::<[usize; WORDS]>() };
    let is_place = match set_protection() {
        // SAFETY: as this function.
        Some(set) => unsafe { changed_by(set, state, words) },
        // SAFETY: as this function.
        None => enclosing(unsafe { &*words }),
    };
    let mut found = is_place.iter().enumerate().filter_map(|(index, is_place)| is_place.then_some(index));
    let (Some(index), None) = (found.next(), found.next()) else { return false };
    OFFSET.store(known + index * size_of::<usize>(), Ordering::Relaxed);
    true
}

/// `PyUnstable_ThreadState_SetStackProtection`: the thread state, the stack's lowest address, its size.
type SetProtection = unsafe extern "C" fn(*mut ffi::PyThreadState, *mut std::ffi::c_void, usize) -> std::ffi::c_int;

/// The interpreter's function that sets the limits, if it has one.
fn set_protection() -> Option<SetProtection> {
    // SAFETY: the name is a C string, and a function of that name has that signature.
    unsafe {
        let address = libc::dlsym(libc::RTLD_DEFAULT, c"PyUnstable_ThreadState_SetStackProtection".as_ptr());
        std::mem::transmute::<*mut std::ffi::c_void, Option<SetProtection>>(address)
    }
}

/// Which words begin the limits: those that hold the limits of another stack once they were set to them. All is as
/// before afterwards.
///
/// # Safety
/// As [`find`]; `words` lie in the thread state.
unsafe fn changed_by(set: SetProtection, state: *mut ffi::PyThreadState, words: *mut [usize; WORDS]) -> [bool; WORDS] {
    // No such stack exists, and no word holds its limits by chance.
    let other = 0x1234_5000..0x1234_5000 + (1 << 20);
    // SAFETY: no code runs that looks at the limits until the words are put back. `words` is plain memory.
    unsafe {
        let before = words.read();
        let failed = set(state, std::ptr::without_provenance_mut(other.start), other.len()) != 0;
        let after = words.replace(before);
        if failed {
            ffi::PyErr_Clear();
        }
        let limits = of_stack(&other);
        std::array::from_fn(|index| after[index..].starts_with(&limits))
    }
}

/// Which words begin limits, to all appearances: those that enclose the stack pointer as they must.
fn enclosing(words: &[usize; WORDS]) -> [bool; WORDS] {
    let marker = 0u8;
    let here = (&raw const marker).addr();
    std::array::from_fn(|index| {
        let Some(&[top, soft, hard]) = words[index..].first_chunk() else { return false };
        hard < soft && soft < here && here < top && soft - hard == MARGIN && top - hard < 1 << 32
    })
}
