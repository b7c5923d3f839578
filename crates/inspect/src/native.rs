//! Stacks of native code: who called whom, by the unwind tables of the program and its libraries, and what that is
//! called, by their symbols and debug information.
//!
//! A stack is a copy that somebody took: all is found out afterwards, by the OS thread that was asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::ops::Range;

use addr2line::Loader;
use object::{Object, ObjectSection, ObjectSegment, ReadCache};

use crate::protocol::Frame;

/// A stack at one moment.
#[derive(Clone, Debug, Default)]
pub struct NativeStack {
    /// Where it goes on.
    pub instruction: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
    /// The frame pointer; 0 if it is not known, which ends the stack at the first function that needs it.
    pub frame_pointer: u64,
    /// The link register; 0 if it is not known, or there is none.
    pub link: u64,
    /// The memory from the stack pointer up.
    pub memory: Vec<u8>,
}

impl NativeStack {
    fn word(&self, address: u64) -> Result<u64, ()> {
        let at = usize::try_from(address.checked_sub(self.stack_pointer).ok_or(())?).map_err(drop)?;
        let bytes = self.memory.get(at..).and_then(|rest| rest.first_chunk()).ok_or(())?;
        Ok(u64::from_ne_bytes(*bytes))
    }
}

/// How many places in the code are kept in words.
const MOST_KNOWN: usize = 50_000;

/// What is known of the program's code. It is read when it is needed first, and kept.
#[derive(Default)]
pub struct Symbols {
    modules: Vec<Module>,
    unwinder: architecture::Unwinder,
    /// Places in words: a function that was inlined has a frame of its own.
    known: HashMap<u64, Vec<Frame>>,
}

/// A file that is mapped as code.
struct Module {
    path: String,
    code: Range<u64>,
    /// What is added to the file's addresses.
    bias: u64,
    symbols: Option<Loader>,
}

impl Symbols {
    /// The frames of a stack, innermost first, `most` of them at most.
    pub fn frames(&mut self, stack: &NativeStack, most: usize) -> Vec<Frame> {
        // Libraries may have come since the last time.
        if !self.is_code(stack.instruction) {
            self.look_for_modules();
        }
        let mut frames = Vec::new();
        for address in self.unwinder.unwind(stack, most) {
            frames.extend_from_slice(self.in_words(address));
        }
        frames.truncate(most);
        frames
    }

    fn is_code(&self, address: u64) -> bool {
        self.modules.iter().any(|module| module.code.contains(&address))
    }

    fn look_for_modules(&mut self) {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        (self.modules, self.unwinder) = Default::default();
        self.known.clear();
        for mapping in maps.lines().filter_map(Mapping::read) {
            let (module, sections) = Module::read(&mapping).unwrap_or_else(|| Module::without_file(&mapping));
            self.unwinder.add(&module, sections);
            self.modules.push(module);
        }
    }

    fn in_words(&mut self, address: u64) -> &[Frame] {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let module = self.modules.iter().find(|module| module.code.contains(&address));
        self.known.entry(address).or_insert_with(|| match module {
            Some(module) => module.in_words(address.wrapping_sub(module.bias)),
            None => vec![Frame { file: format!("{address:#x}"), ..Frame::default() }],
        })
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

/// A line of `/proc/self/maps` that is code of a file.
struct Mapping<'a> {
    memory: Range<u64>,
    offset: u64,
    path: &'a str,
}

impl Mapping<'_> {
    fn read(line: &str) -> Option<Mapping<'_>> {
        let (fields, path) = line.split_at(line.find('/')?);
        let mut fields = fields.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        fields.next()?.contains('x').then_some(())?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping { memory: hex(from)?..hex(to)?, offset: hex(fields.next()?)?, path })
    }
}

/// The parts of a file by which a stack is unwound, each with its addresses in the file.
#[derive(Default)]
struct Sections {
    eh_frame: Option<(Range<u64>, Vec<u8>)>,
    eh_frame_hdr: Option<(Range<u64>, Vec<u8>)>,
    got: Option<Range<u64>>,
}

impl Module {
    fn read(mapping: &Mapping<'_>) -> Option<(Module, Sections)> {
        let cache = ReadCache::new(fs::File::open(mapping.path).ok()?);
        let file = object::File::parse(&cache).ok()?;
        // Whole pages are mapped, a part's first one from its beginning.
        let is_it = |(offset, size): (u64, u64)| {
            mapping.offset <= offset + size && offset < mapping.offset + (mapping.memory.end - mapping.memory.start)
        };
        let is_code = |part: &object::Segment<'_, '_, _>| part.permissions().executable() && is_it(part.file_range());
        let part = file.segments().find(is_code)?;
        let bias = mapping.memory.start.wrapping_add(part.file_range().0).wrapping_sub(mapping.offset);
        let section = |name| {
            let section = file.section_by_name(name)?;
            let addresses = section.address()..section.address() + section.size();
            Some((addresses, section.data().ok()?.to_vec()))
        };
        let sections = Sections {
            eh_frame: section(".eh_frame"),
            eh_frame_hdr: section(".eh_frame_hdr"),
            got: section(".got").map(|(addresses, _)| addresses),
        };
        let module = Module {
            path: mapping.path.into(),
            code: mapping.memory.clone(),
            bias: bias.wrapping_sub(part.address()),
            symbols: Loader::new(mapping.path).ok(),
        };
        Some((module, sections))
    }

    /// One whose file was deleted or replaced since: it has no symbols.
    fn without_file(mapping: &Mapping<'_>) -> (Module, Sections) {
        let bias = mapping.memory.start.wrapping_sub(mapping.offset);
        let module = Module { path: mapping.path.into(), code: mapping.memory.clone(), bias, symbols: None };
        (module, Sections::default())
    }

    /// A place in the file: the function, and those that were inlined there; at least the file and the address.
    fn in_words(&self, address: u64) -> Vec<Frame> {
        let place = || format!("{}+{address:#x}", self.path);
        let mut found = Vec::new();
        if let Some(Ok(mut frames)) = self.symbols.as_ref().map(|symbols| symbols.find_frames(address)) {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.as_ref().and_then(|name| Some(without_types(&name.demangle().ok()?)));
                let location = frame.location.as_ref().and_then(|at| Some((at.file?.to_owned(), at.line?)));
                let (file, line) = location.unwrap_or_else(|| (place(), 0));
                found.push(Frame { file, line, function: name.unwrap_or_default() });
            }
        }
        if found.is_empty() {
            found.push(Frame { file: place(), ..Frame::default() });
        }
        // The symbol has the whole path, of which debug information for lines has the end.
        let symbol = self.symbols.as_ref().and_then(|symbols| symbols.find_symbol(address));
        if let (Some(symbol), Some(function)) = (symbol, found.last_mut()) {
            function.function = without_types(&addr2line::demangle_auto(Cow::Borrowed(symbol), None));
        }
        found
    }
}

/// A function's name without the types at its end for which it was compiled: `retry<std::net::TcpListener>` is `retry`.
fn without_types(name: &str) -> String {
    let mut depth = 0;
    let begin = name.char_indices().rev().find(|(at, character)| {
        match character {
            // An arrow is none.
            '>' if !name[..*at].ends_with('-') => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let end = begin.map_or(name.len(), |(at, character)| at + if character == '<' { 0 } else { character.len_utf8() });
    let short = name[..end].trim_end_matches("::");
    if short.is_empty() { name.into() } else { short.into() }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod architecture {
    use framehop::{CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, UnwinderNative};
    use framehop::{UnwindRegsNative, Unwinder as _};

    use super::{Module, NativeStack, Sections};

    /// Finds out who called whom.
    pub(super) struct Unwinder {
        unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
        cache: CacheNative<MayAllocateDuringUnwind>,
    }

    impl Default for Unwinder {
        fn default() -> Unwinder {
            Unwinder { unwinder: UnwinderNative::new(), cache: CacheNative::new_in() }
        }
    }

    impl Unwinder {
        pub fn add(&mut self, module: &Module, sections: Sections) {
            let Sections { eh_frame, eh_frame_hdr, got } = sections;
            let (eh_frame_svma, eh_frame) = eh_frame.unzip();
            let (eh_frame_hdr_svma, eh_frame_hdr) = eh_frame_hdr.unzip();
            let sections = ExplicitModuleSectionInfo {
                eh_frame_svma,
                eh_frame,
                eh_frame_hdr_svma,
                eh_frame_hdr,
                got_svma: got,
                ..ExplicitModuleSectionInfo::default()
            };
            let (path, code) = (module.path.clone(), module.code.clone());
            self.unwinder.add_module(framehop::Module::new(path, code, module.bias, sections));
        }

        /// The places in the code, innermost first: behind a call, the call.
        pub fn unwind(&mut self, stack: &NativeStack, most: usize) -> Vec<u64> {
            let mut word = |address| stack.word(address);
            let mut frames = self.unwinder.iter_frames(stack.instruction, registers(stack), &mut self.cache, &mut word);
            let mut found = Vec::new();
            while found.len() < most
                && let Ok(Some(frame)) = frames.next()
            {
                found.push(frame.address_for_lookup());
            }
            found
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn registers(stack: &NativeStack) -> UnwindRegsNative {
        UnwindRegsNative::new(stack.instruction, stack.stack_pointer, stack.frame_pointer)
    }

    #[cfg(target_arch = "aarch64")]
    fn registers(stack: &NativeStack) -> UnwindRegsNative {
        UnwindRegsNative::new(stack.link, stack.stack_pointer, stack.frame_pointer)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod architecture {
    use super::{Module, NativeStack, Sections};

    /// Nobody knows how to unwind here: a stack is its innermost frame.
    #[derive(Default)]
    pub(super) struct Unwinder;

    impl Unwinder {
        pub fn add(&mut self, _: &Module, _: Sections) {}

        pub fn unwind(&mut self, stack: &NativeStack, _: usize) -> Vec<u64> {
            vec![stack.instruction]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_at_the_end_of_a_name_are_left_out() {
        let names = [
            ("wait<app::Waiters<()>>", "wait"),
            ("std::panic::catch_unwind::<fn(u8) -> i32, ()>", "std::panic::catch_unwind"),
            ("app::Event<T>::wait", "app::Event<T>::wait"),
            ("{closure#0}<(), app::main>", "{closure#0}"),
            ("<app::Server as app::Serve>", "<app::Server as app::Serve>"),
            ("main", "main"),
        ];
        for (whole, short) in names {
            assert_eq!(without_types(whole), short);
        }
    }

    #[test]
    fn code_whose_file_is_gone_is_told_by_file_and_offset() {
        let line = "7f0000001000-7f0000003000 r-xp 00004000 08:01 77 /opt/server (deleted)";
        let (module, _) = Module::without_file(&Mapping::read(line).unwrap());
        let told = Frame { file: "/opt/server (deleted)+0x4010".into(), ..Frame::default() };
        assert_eq!(module.in_words(0x7f00_0000_1010 - module.bias), [told]);
        assert!(Mapping::read("7f0000003000-7f0000004000 r--p 00006000 08:01 77 /opt/server").is_none());
        assert!(Mapping::read("7ffc0000-7ffd0000 r-xp 00000000 00:00 0 [vdso]").is_none());
    }

    #[test]
    fn a_stack_that_makes_no_sense_ends() {
        let nonsense =
            NativeStack { instruction: 1, stack_pointer: u64::MAX - 7, memory: vec![255; 64], ..Default::default() };
        assert_eq!(Symbols::default().frames(&nonsense, 10).len(), 1);
        assert_eq!(nonsense.word(u64::MAX - 8), Err(()));
        assert_eq!(nonsense.word(0), Err(()));
    }
}
