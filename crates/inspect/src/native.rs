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
use greenloom_fiber::{Registers, Snapshot};
use object::{Object, ObjectSection, ObjectSegment, ReadCache};

use crate::protocol::Frame;

/// The word at an address of a stack that was copied.
fn word_at(stack: &Snapshot, address: u64) -> Result<u64, ()> {
    let at = usize::try_from(address).ok().and_then(|at| at.checked_sub(stack.registers.stack_pointer)).ok_or(())?;
    let bytes = stack.stack.get(at..).and_then(|rest| rest.first_chunk()).ok_or(())?;
    Ok(u64::from_ne_bytes(*bytes))
}

/// How many places in the code are kept in words.
const MOST_KNOWN: usize = 50_000;

/// What is known of the program's code. It is read when it is needed first, and kept.
#[derive(Default)]
pub struct Symbols {
    /// Code of files, in the order of addresses.
    mappings: Vec<Mapping>,
    modules: Vec<Module>,
    unwinder: architecture::Unwinder,
    /// Places in words: a function that was inlined has a frame of its own.
    known: HashMap<u64, Vec<Frame>>,
}

/// A file that is mapped as code, and was read.
struct Module {
    path: String,
    code: Range<u64>,
    /// What is added to the file's addresses.
    bias: u64,
    symbols: Option<Loader>,
}

impl Symbols {
    /// Called before stacks are looked at: libraries may have come and gone since the last time, and others may be
    /// where they were.
    pub fn renew(&mut self) {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mappings: Vec<_> = maps.lines().filter_map(Mapping::read).collect();
        if !mappings.iter().map(|mapping| &mapping.line).eq(self.mappings.iter().map(|mapping| &mapping.line)) {
            *self = Symbols { mappings, ..Symbols::default() };
        }
    }

    /// The frames of a stack, innermost first, `most` of them at most.
    pub fn frames(&mut self, stack: &Snapshot, most: usize) -> Vec<Frame> {
        self.look_for_modules(stack);
        let mut frames = Vec::new();
        for address in self.unwinder.unwind(stack, most, &self.modules) {
            frames.extend_from_slice(self.in_words(address));
        }
        frames.truncate(most);
        frames
    }

    /// Reads the files whose code the stack may lead through: a program may have hundreds of libraries.
    fn look_for_modules(&mut self, stack: &Snapshot) {
        let Registers { instruction, link, .. } = stack.registers;
        let words = stack.stack.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
        for word in [instruction as u64, link as u64].into_iter().chain(words) {
            let index = self.mappings.partition_point(|mapping| mapping.memory.end <= word);
            if let Some(mapping) = self.mappings.get_mut(index)
                && mapping.memory.contains(&word)
                && !std::mem::replace(&mut mapping.is_read, true)
            {
                let (module, sections) = Module::read(mapping).unwrap_or_else(|| Module::without_file(mapping));
                self.unwinder.add(&module, sections);
                self.modules.push(module);
            }
        }
    }

    fn in_words(&mut self, address: u64) -> &[Frame] {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let module = module_of(&self.modules, address);
        self.known.entry(address).or_insert_with(|| match module {
            Some(module) => module.in_words(address.wrapping_sub(module.bias)),
            None => vec![Frame { file: format!("{address:#x}"), ..Frame::default() }],
        })
    }
}

fn module_of(modules: &[Module], address: u64) -> Option<&Module> {
    modules.iter().find(|module| module.code.contains(&address))
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

/// A line of `/proc/self/maps` that is code of a file.
struct Mapping {
    /// All of it, the number of the file included.
    line: String,
    memory: Range<u64>,
    offset: u64,
    path: String,
    /// Whether there is a module of it.
    is_read: bool,
}

impl Mapping {
    fn read(line: &str) -> Option<Mapping> {
        let (fields, path) = line.split_at(line.find('/')?);
        let mut fields = fields.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        fields.next()?.contains('x').then_some(())?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let memory = hex(from)?..hex(to)?;
        let (offset, line, path) = (hex(fields.next()?)?, line.into(), path.into());
        Some(Mapping { line, memory, offset, path, is_read: false })
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
    fn read(mapping: &Mapping) -> Option<(Module, Sections)> {
        let cache = ReadCache::new(fs::File::open(&mapping.path).ok()?);
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
            path: mapping.path.clone(),
            code: mapping.memory.clone(),
            bias: bias.wrapping_sub(part.address()),
            symbols: Loader::new(&mapping.path).ok(),
        };
        Some((module, sections))
    }

    /// One whose file was deleted or replaced since: it has no symbols.
    fn without_file(mapping: &Mapping) -> (Module, Sections) {
        let bias = mapping.memory.start.wrapping_sub(mapping.offset);
        let module = Module { path: mapping.path.clone(), code: mapping.memory.clone(), bias, symbols: None };
        (module, Sections::default())
    }

    /// Where the function begins that has an address.
    #[cfg(target_arch = "x86_64")]
    fn function_of(&self, address: u64) -> Option<u64> {
        let symbol = self.symbols.as_ref()?.find_symbol_info(address.wrapping_sub(self.bias))?;
        Some(symbol.address().wrapping_add(self.bias))
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
    use framehop::{CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, UnwinderNative};
    use framehop::{UnwindRegsNative, Unwinder as _};
    use greenloom_fiber::Snapshot;

    use super::{Module, Sections, word_at};

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
        pub fn unwind(&mut self, stack: &Snapshot, most: usize, modules: &[Module]) -> Vec<u64> {
            let mut word = |address| word_at(stack, address);
            let mut registers = registers(stack);
            let mut frame = FrameAddress::from_instruction_pointer(stack.registers.instruction as u64);
            let mut found = Vec::new();
            while found.len() < most {
                found.push(frame.address_for_lookup());
                let before = registers;
                let mut next = self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, &mut word);
                let here = frame.address_for_lookup();
                if !matches!(next, Ok(Some(_)))
                    && let Some(known) = frame_pointer::find(stack, before, here, modules)
                {
                    registers = known;
                    next = self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, &mut word);
                }
                match next.ok().flatten().and_then(FrameAddress::from_return_address) {
                    Some(caller) => frame = caller,
                    None => break,
                }
            }
            found
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn registers(stack: &Snapshot) -> UnwindRegsNative {
        let registers = stack.registers;
        let frame_pointer = registers.frame_pointer.unwrap_or(0);
        UnwindRegsNative::new(registers.instruction as u64, registers.stack_pointer as u64, frame_pointer as u64)
    }

    #[cfg(target_arch = "aarch64")]
    fn registers(stack: &Snapshot) -> UnwindRegsNative {
        let registers = stack.registers;
        let frame_pointer = registers.frame_pointer.unwrap_or(0);
        UnwindRegsNative::new(registers.link as u64, registers.stack_pointer as u64, frame_pointer as u64)
    }

    /// The frame pointer of a function that needs it, where it is not known: the system does not tell it of an OS
    /// thread that waits. Such a function has laid its caller's on the stack right under the address where the caller
    /// goes on. That place is known from others, which may be left over from earlier calls, by the instruction before
    /// that address, if it calls this very function. A function that was called through a register is not found so.
    #[cfg(target_arch = "x86_64")]
    mod frame_pointer {
        use framehop::UnwindRegsNative;
        use greenloom_fiber::{Snapshot, read_memory};

        use super::super::{Module, module_of, word_at};

        /// The registers with it, if it is not known and can be found.
        pub fn find(
            stack: &Snapshot,
            mut registers: UnwindRegsNative,
            address: u64,
            modules: &[Module],
        ) -> Option<UnwindRegsNative> {
            if registers.bp() != 0 {
                return None;
            }
            let function = module_of(modules, address)?.function_of(address)?;
            let calls = |caller: u64| module_of(modules, caller).is_some() && called_before(caller) == Some(function);
            let first = registers.sp().checked_next_multiple_of(16)?;
            let end = stack.registers.stack_pointer.saturating_add(stack.stack.len()) as u64;
            registers.set_bp((first..end).step_by(16).find(|at| word_at(stack, at + 8).is_ok_and(calls))?);
            Some(registers)
        }

        /// The address that the call before an address calls.
        fn called_before(address: u64) -> Option<u64> {
            let code = read_memory(usize::try_from(address.checked_sub(6)?).ok()?, 6);
            let code: [u8; 6] = code.try_into().ok()?;
            let [first, second, offset @ ..] = code;
            let target = address.wrapping_add_signed(i32::from_le_bytes(offset).into());
            match (first, second) {
                (_, 0xe8) => through_table(target).or(Some(target)),
                (0xff, 0x15) => pointer_at(target),
                _ => None,
            }
        }

        /// The target of a jump of the linker's table of functions in other libraries.
        fn through_table(address: u64) -> Option<u64> {
            let code = read_memory(usize::try_from(address).ok()?, 16);
            // Before the jump there may be a mark for indirect jumps, and a prefix.
            let code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(&code);
            let code = code.strip_prefix(&[0xf2]).unwrap_or(code);
            let offset = code.strip_prefix(&[0xff, 0x25])?.first_chunk()?;
            let read = 16 - (code.len() - 6);
            pointer_at((address + read as u64).wrapping_add_signed(i32::from_le_bytes(*offset).into()))
        }

        fn pointer_at(address: u64) -> Option<u64> {
            let word = read_memory(usize::try_from(address).ok()?, 8);
            Some(u64::from_ne_bytes(word.try_into().ok()?))
        }
    }

    #[cfg(target_arch = "aarch64")]
    mod frame_pointer {
        use framehop::UnwindRegsNative;
        use greenloom_fiber::Snapshot;

        use super::super::Module;

        /// It is not looked for: without the link register a function that calls nobody ends the stack before.
        pub fn find(_: &Snapshot, _: UnwindRegsNative, _: u64, _: &[Module]) -> Option<UnwindRegsNative> {
            None
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod architecture {
    use greenloom_fiber::Snapshot;

    use super::{Module, Sections};

    /// Nobody knows how to unwind here: a stack is its innermost frame.
    #[derive(Default)]
    pub(super) struct Unwinder;

    impl Unwinder {
        pub fn add(&mut self, _: &Module, _: Sections) {}

        pub fn unwind(&mut self, stack: &Snapshot, _: usize, _: &[Module]) -> Vec<u64> {
            vec![stack.registers.instruction as u64]
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
    fn files_are_read_where_a_stack_leads_and_once() {
        let here = Registers { instruction: without_types as *const () as usize, ..Registers::default() };
        let mut symbols = Symbols::default();
        symbols.renew();
        let frames = symbols.frames(&Snapshot { registers: here, stack: Vec::new() }, 10);
        assert!(frames[0].function.ends_with("native::without_types"), "{frames:?}");
        assert_eq!(symbols.modules.len(), 1);
        // Code that is no file's, as a compiler at run time makes it.
        symbols.renew();
        let elsewhere = Registers { instruction: 1, ..Registers::default() };
        symbols.frames(&Snapshot { registers: elsewhere, stack: Vec::new() }, 10);
        assert_eq!(symbols.modules.len(), 1);
    }

    #[test]
    fn what_was_read_is_forgotten_when_another_file_is_there() {
        let here = Registers { instruction: without_types as *const () as usize, ..Registers::default() };
        let here = Snapshot { registers: here, stack: Vec::new() };
        let mut symbols = Symbols::default();
        symbols.renew();
        symbols.frames(&here, 10);
        symbols.renew();
        assert_eq!(symbols.modules.len(), 1);
        // As it was before: a library of the same name, which was closed since, and built anew.
        let mapping = symbols.mappings.iter_mut().find(|mapping| mapping.is_read).unwrap();
        mapping.line = mapping.line.replace(" r-xp ", " r-xp 0");
        symbols.renew();
        assert!(symbols.modules.is_empty() && symbols.known.is_empty());
        assert!(symbols.frames(&here, 10)[0].function.ends_with("native::without_types"));
    }

    #[test]
    fn a_stack_that_makes_no_sense_ends() {
        let registers = Registers { instruction: 1, stack_pointer: usize::MAX - 7, ..Registers::default() };
        let nonsense = Snapshot { registers, stack: vec![255; 64] };
        assert_eq!(Symbols::default().frames(&nonsense, 10).len(), 1);
        assert_eq!(word_at(&nonsense, u64::MAX - 8), Err(()));
        assert_eq!(word_at(&nonsense, 0), Err(()));
    }
}
