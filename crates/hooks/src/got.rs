//! The hooked calls, put into shared objects that are loaded already: for processes whose executable is somebody
//! else's, such as CPython.
//!
//! The loader keeps the address of each function that an object imports in a slot. [`patch`] puts a hook there, in the
//! objects that it is told and in those that they were linked with. The C library itself, the loader, the language
//! runtimes and this very object are refused. A patched object stays loaded until [`unpatch`].

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::elf::{self, Object, Slot};
use crate::hooked;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patched {
    /// The object's file.
    pub path: String,
    /// The hooked calls that it makes, sorted.
    pub calls: Vec<String>,
    /// Why it was left as it is.
    pub refused: Option<&'static str>,
}

/// Objects that are never patched, by the beginning of their names, and why.
const REFUSED: [(&str, &str); 11] = [
    ("libc.", "the C library, which the hooks call"),
    ("libm.", "the C library, which the hooks call"),
    ("libpthread.", "the C library, which the hooks call"),
    ("libdl.", "the C library, which the hooks call"),
    ("librt.", "the C library, which the hooks call"),
    ("libresolv.", "the C library, which the hooks call"),
    ("libnss_", "the C library, which calls it under locks of its own"),
    ("ld-", "the loader"),
    ("libgcc_s.", "the compiler's runtime"),
    ("libpython", "the interpreter"),
    ("libasan.", "the compiler's runtime"),
];

/// Of the runtime of C++, the conditions alone: a library waits for its own through it. All else that it does for many
/// is left as it is.
const CONDITIONS_ONLY: &str = "libstdc++.";

/// Objects that end the process by an assertion when `poll` fails by anything but EINTR, which they tell their callers
/// of: libzmq, by itself or in pyzmq's extension module.
const EINTR_ONLY: [&str; 2] = ["libzmq", "_zmq."];

struct Patch {
    seen: Patched,
    slots: Vec<(usize, *mut c_void)>,
    read_only: Range<usize>,
    /// Keeps it loaded.
    handle: *mut c_void,
}

// SAFETY: the addresses are used under the lock only, while the handle keeps the object loaded.
unsafe impl Send for Patch {}

#[derive(Default)]
struct State {
    /// By the address that an object was loaded to.
    patches: HashMap<usize, Patch>,
    /// Paths or sonames of objects that were asked for. Without any, nothing is patched.
    roots: HashSet<String>,
    /// Paths of objects that patched ones have opened. They belong to those after an [`unpatch`], too: nobody may open
    /// them again.
    opened: HashSet<String>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// How many objects had been loaded when they were last looked at.
static LOOKED: AtomicU64 = AtomicU64::new(0);

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Patches those of these objects, named by path or soname, that are loaded and not patched yet, and what they were
/// linked with. The others are patched by a later [`look`], when they are loaded. May be called again.
pub fn patch(names: impl IntoIterator<Item = String>) {
    let mut state = lock();
    let state = state.get_or_insert_with(State::default);
    state.roots.extend(names);
    state.look();
}

/// Patches what was loaded since the last look, if it belongs to a patched object: one that was asked for by
/// [`patch`], or one that a patched object has opened or was linked with. Cheap if nothing was loaded.
pub fn look() {
    if elf::loaded() == LOOKED.load(Ordering::Relaxed) {
        return;
    }
    if let Some(state) = &mut *lock() {
        state.look();
    }
}

/// Takes all hooks out. Calls that are on their way end as hooked ones.
pub fn unpatch() {
    let patches = match &mut *lock() {
        Some(state) => {
            state.roots.clear();
            std::mem::take(&mut state.patches)
        }
        None => return,
    };
    for patch in patches.into_values() {
        store(&patch.read_only, &patch.slots);
        if !patch.handle.is_null() {
            // SAFETY: it came from dlopen, and was not closed. No lock is held that what ends with it could want.
            unsafe { libc::dlclose(patch.handle) };
        }
    }
}

/// What is patched, and what was refused, by path.
pub fn report() -> Vec<Patched> {
    let state = lock();
    let mut all: Vec<_> = state.iter().flat_map(|state| state.patches.values()).map(|one| one.seen.clone()).collect();
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}

impl State {
    fn look(&mut self) {
        LOOKED.store(elf::loaded(), Ordering::Relaxed);
        let objects = elf::objects(&|function| hook(function).is_some());
        let by_name: HashMap<&str, usize> = (0..objects.len())
            .flat_map(|index| [(&*objects[index].soname, index), (file_name(&objects[index].path), index)])
            .filter(|(name, _)| !name.is_empty())
            .collect();
        let mut open: Vec<usize> = (0..objects.len()).filter(|index| self.is_asked_for(&objects[*index])).collect();
        let mut seen = HashSet::new();
        while let Some(index) = open.pop() {
            let object = &objects[index];
            if seen.insert(index) && self.patch(object) {
                open.extend(object.needed.iter().filter_map(|name| by_name.get(&**name)));
            }
        }
    }

    fn is_asked_for(&self, object: &Object) -> bool {
        let named = |names: &HashSet<String>| names.contains(&object.path) || names.contains(&object.soname);
        !self.roots.is_empty() && (named(&self.roots) || named(&self.opened))
            || self.patches.get(&object.base).is_some_and(|one| one.seen.refused.is_none())
    }

    /// Returns whether it is patched, now or before, so that what it was linked with is to be, too.
    fn patch(&mut self, object: &Object) -> bool {
        if let Some(patch) = self.patches.get(&object.base) {
            return patch.seen.refused.is_none();
        }
        let refused = refusal(object);
        let handle = if refused.is_none() { pin(object) } else { std::ptr::null_mut() };
        if refused.is_none() && handle.is_null() {
            // Unloaded meanwhile.
            return false;
        }
        let slots = if refused.is_none() { &*object.slots } else { &[] };
        let only_conditions = file_name(&object.path).starts_with(CONDITIONS_ONLY);
        let is_hooked = |slot: &&Slot| match &*slot.function {
            "dlopen" if object.has_search_path => false,
            function => !only_conditions || function.starts_with("pthread_cond_"),
        };
        let slots: Vec<&Slot> = slots.iter().filter(is_hooked).collect();
        let only_eintr = EINTR_ONLY.iter().any(|name| file_name(&object.path).starts_with(name));
        let hook = |slot: &Slot| match hooked::failing_by_eintr(&slot.function).filter(|_| only_eintr) {
            None => hook(&slot.function),
            hook => hook,
        };
        let hooks: Vec<_> = slots.iter().filter_map(|slot| Some((slot.address, hook(slot)?))).collect();
        let mut calls: Vec<String> = slots.iter().map(|slot| slot.function.clone()).collect();
        calls.sort();
        calls.dedup();
        let patch = Patch {
            seen: Patched { path: object.path.clone(), calls, refused },
            slots: store(&object.read_only, &hooks),
            read_only: object.read_only.clone(),
            handle,
        };
        self.patches.insert(object.base, patch);
        refused.is_none()
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn refusal(object: &Object) -> Option<&'static str> {
    // SAFETY: pointers, which may be null.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: it fills what it is given. The address is one of ours.
    let found = unsafe { libc::dladdr((refusal as fn(&Object) -> _) as *const c_void, &raw mut info) };
    if found != 0 && info.dli_fbase.addr() == object.base {
        return Some("the hooks themselves");
    }
    let named = |name: &str| REFUSED.iter().find(|(start, _)| name.starts_with(start)).map(|(_, reason)| *reason);
    named(&object.soname).or_else(|| named(file_name(&object.path)))
}

/// A reference that keeps the object loaded; null if it is not any more.
fn pin(object: &Object) -> *mut c_void {
    let Ok(path) = CString::new(&*object.path) else { return std::ptr::null_mut() };
    // SAFETY: a string; nothing new is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    // SAFETY: glibc's handle is the object's `link_map`, which begins with the address that it was loaded to.
    if handle.is_null() || unsafe { *handle.cast::<usize>() } == object.base {
        return handle;
    }
    // SAFETY: it came from dlopen.
    unsafe { libc::dlclose(handle) };
    std::ptr::null_mut()
}

/// Stores addresses in slots of one object, and returns what was there before.
fn store(read_only: &Range<usize>, values: &[(usize, *mut c_void)]) -> Vec<(usize, *mut c_void)> {
    if values.is_empty() {
        return Vec::new();
    }
    let protect = |protection: c_int| {
        // SAFETY: whole pages of a loaded object, which the loader made read-only, and which hold data.
        !read_only.is_empty()
            && unsafe { libc::mprotect(read_only.start as *mut c_void, read_only.len(), protection) } != 0
    };
    let any_protected = values.iter().any(|(address, _)| read_only.contains(address));
    if any_protected && protect(libc::PROT_READ | libc::PROT_WRITE) {
        // Hardened systems refuse it.
        return Vec::new();
    }
    let swap = |(address, value): &(usize, *mut c_void)| {
        // SAFETY: a slot of a loaded object, which is writable now. The loader and other OS threads use it as a whole.
        let slot = unsafe { AtomicPtr::from_ptr(*address as *mut *mut c_void) };
        (*address, slot.swap(*value, Ordering::AcqRel))
    };
    let before = values.iter().map(swap).collect();
    if any_protected {
        protect(libc::PROT_READ);
    }
    before
}

/// The hook of a function.
fn hook(function: &str) -> Option<*mut c_void> {
    if function == "dlopen" { Some(dlopen as *mut c_void) } else { hooked::find(function) }
}

/// What is opened by a patched object is patched before anybody can call it. A driver, say, which its manager was not
/// linked with.
///
/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    // SAFETY: the caller's contract. Only objects call it that have no search path of their own, so that who calls does
    // not matter.
    let handle = unsafe { libc::dlopen(path, flags) };
    if !handle.is_null() && !path.is_null() {
        // SAFETY: as in `pin`.
        let base = unsafe { *handle.cast::<usize>() };
        // Not waited for: this may be called while the loader is locked, by what an object does when it is loaded.
        if let Ok(mut state) = STATE.try_lock()
            && let Some(state) = &mut *state
        {
            let opened = elf::objects(&|_| false).into_iter().find(|object| object.base == base);
            state.opened.extend(opened.map(|object| object.path));
            state.look();
        }
    }
    handle
}
