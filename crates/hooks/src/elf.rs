//! The shared objects of this process, and the places in them where the addresses of imported functions are kept.
//!
//! ```text
//! a call of poll in libpq:   call poll@plt  ->  jmp *slot     slot: in the global offset table, filled by the loader
//! ```
//!
//! What is read is what the loader itself reads at run time: the program headers (`dl_iterate_phdr`), the dynamic
//! section, and of the relocations those of imported functions: `JUMP_SLOT`, and `GLOB_DAT` for calls that go without
//! a stub. A function whose address lies in a table of data (`R_X86_64_64`) is not found.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;
use std::ptr;

use libc::{Elf64_Phdr, Elf64_Sym, dl_phdr_info};

/// A shared object, as it was when it was looked at.
#[derive(Debug)]
pub(crate) struct Object {
    /// As it was opened. Empty for the executable.
    pub path: String,
    /// What is added to its addresses.
    pub base: usize,
    /// Its own name; empty if it has none.
    pub soname: String,
    /// The names of those that it was linked with.
    pub needed: Vec<String>,
    /// Whether it says where a `dlopen` by it is to look.
    pub has_search_path: bool,
    /// What became read-only after the loader had filled it.
    pub read_only: Range<usize>,
    /// The wanted functions that it imports.
    pub slots: Vec<Slot>,
}

/// Where a function's address is kept.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub function: String,
    pub address: usize,
}

/// All objects but the executable and the kernel's. `wanted` says of which functions slots are listed.
pub(crate) fn objects(wanted: &dyn Fn(&str) -> bool) -> Vec<Object> {
    struct Search<'a> {
        wanted: &'a dyn Fn(&str) -> bool,
        found: Vec<Object>,
    }
    /// # Safety
    /// Called by `dl_iterate_phdr`, with a `Search`.
    unsafe extern "C" fn visit(info: *mut dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
        // SAFETY: the loader lends its information, and the search is the one below; no object is unloaded meanwhile.
        unsafe {
            let search = &mut *search.cast::<Search<'_>>();
            search.found.extend(read(&*info, search.wanted));
        }
        0
    }
    let mut search = Search { wanted, found: Vec::new() };
    // SAFETY: `visit` matches, and the search lives over the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// How many objects were ever loaded, which changes when one more is.
pub(crate) fn loaded() -> u64 {
    /// # Safety
    /// Called by `dl_iterate_phdr`, with a number.
    unsafe extern "C" fn visit(info: *mut dl_phdr_info, _: usize, count: *mut c_void) -> c_int {
        // SAFETY: the loader lends its information, and the number is the one below.
        unsafe { *count.cast::<u64>() = (*info).dlpi_adds };
        // The first tells all.
        1
    }
    let mut count = 0u64;
    // SAFETY: `visit` matches, and the number lives over the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut count).cast()) };
    count
}

/// What the dynamic section says.
#[derive(Default)]
struct Dynamic {
    strings: usize,
    symbols: usize,
    /// Relocations with addends, and their size in bytes: those of calls, and the others.
    calls: (usize, usize),
    data: (usize, usize),
    soname: Option<usize>,
    needed: Vec<usize>,
    has_search_path: bool,
}

/// One entry of it.
#[repr(C)]
struct Entry {
    tag: i64,
    value: usize,
}

#[repr(C)]
struct Relocation {
    offset: usize,
    info: u64,
    addend: i64,
}

const DT_NEEDED: i64 = 1;
const DT_PLTRELSZ: i64 = 2;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_SONAME: i64 = 14;
const DT_RPATH: i64 = 15;
const DT_JMPREL: i64 = 23;
const DT_RUNPATH: i64 = 29;

/// The relocations of imported functions.
#[cfg(target_arch = "x86_64")]
const FUNCTIONS: [u64; 2] = [7, 6];
#[cfg(target_arch = "aarch64")]
const FUNCTIONS: [u64; 2] = [1026, 1025];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FUNCTIONS: [u64; 0] = [];

/// # Safety
/// A loaded object, which stays loaded meanwhile.
unsafe fn read(info: &dl_phdr_info, wanted: &dyn Fn(&str) -> bool) -> Option<Object> {
    // SAFETY: the loader's information is of a loaded object: its headers, its name, and what they point to.
    unsafe {
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        let base = usize::try_from(info.dlpi_addr).ok()?;
        let path = CStr::from_ptr(info.dlpi_name).to_string_lossy().into_owned();
        let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC)?;
        // The kernel's object is in no file, and its dynamic section was not made ready.
        if path.is_empty() || path.starts_with("linux-") {
            return None;
        }
        let dynamic = read_dynamic(base, base + dynamic.p_vaddr as usize);
        let text =
            |offset: usize| CStr::from_ptr((dynamic.strings + offset) as *const _).to_string_lossy().into_owned();
        Some(Object {
            path,
            base,
            soname: dynamic.soname.map(text).unwrap_or_default(),
            needed: dynamic.needed.iter().copied().map(text).collect(),
            has_search_path: dynamic.has_search_path,
            read_only: read_only_part(base, headers),
            slots: slots(base, &dynamic, wanted),
        })
    }
}

/// # Safety
/// The dynamic section of a loaded object is at `at`.
unsafe fn read_dynamic(base: usize, at: usize) -> Dynamic {
    let mut dynamic = Dynamic::default();
    let mut entry = at as *const Entry;
    loop {
        // SAFETY: the section ends with an entry whose tag is 0.
        let Entry { tag, value } = unsafe { ptr::read(entry) };
        // The loader has made addresses of offsets, but where the section is read-only.
        let address = if value < base { base + value } else { value };
        match tag {
            0 => return dynamic,
            DT_NEEDED => dynamic.needed.push(value),
            DT_PLTRELSZ => dynamic.calls.1 = value,
            DT_STRTAB => dynamic.strings = address,
            DT_SYMTAB => dynamic.symbols = address,
            DT_RELA => dynamic.data.0 = address,
            DT_RELASZ => dynamic.data.1 = value,
            DT_SONAME => dynamic.soname = Some(value),
            DT_RPATH | DT_RUNPATH => dynamic.has_search_path = true,
            DT_JMPREL => dynamic.calls.0 = address,
            _ => {}
        }
        entry = entry.wrapping_add(1);
    }
}

/// # Safety
/// The dynamic section of a loaded object.
unsafe fn slots(base: usize, dynamic: &Dynamic, wanted: &dyn Fn(&str) -> bool) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (start, size) in [dynamic.calls, dynamic.data] {
        let count = if start == 0 { 0 } else { size / size_of::<Relocation>() };
        for index in 0..count {
            // SAFETY: the section says where the relocations are and how many; theirs are the symbols, and these name
            // what is among the strings.
            let (offset, name) = unsafe {
                let relocation = ptr::read((start as *const Relocation).add(index));
                if !FUNCTIONS.contains(&(relocation.info & 0xffff_ffff)) {
                    continue;
                }
                let symbol = (dynamic.symbols as *const Elf64_Sym).add((relocation.info >> 32) as usize);
                (relocation.offset, CStr::from_ptr((dynamic.strings + (*symbol).st_name as usize) as *const _))
            };
            if let Some(function) = name.to_str().ok().filter(|name| wanted(name)) {
                slots.push(Slot { function: function.to_owned(), address: base + offset });
            }
        }
    }
    slots
}

/// What the loader has made read-only: whole pages.
fn read_only_part(base: usize, headers: &[Elf64_Phdr]) -> Range<usize> {
    let Some(header) = headers.iter().find(|header| header.p_type == libc::PT_GNU_RELRO) else { return 0..0 };
    // SAFETY: it takes no pointers.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size");
    let start = base + header.p_vaddr as usize;
    let end = start + header.p_memsz as usize;
    start / page * page..end / page * page
}
