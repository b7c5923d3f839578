//! The lines of Python that a thread runs, read by an OS thread that has not the interpreter's lock.
//!
//! What is read may change or go away meanwhile. So the system reads it for us, as it reads another process: an address
//! that leads nowhere is an error and never a fault, and what was read counts only if it has the type that belongs
//! there. What does not is left out.
//!
//! Where a code object has its name and its lines, and how strings are laid out, differs between versions. That is
//! found out once with the lock held, by looking in objects of our own for what public functions say of them.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::version::{FRAME_AT, Frame};
use crate::py::Gil;
use crate::py::ffi::{self, PyObject};

/// A line that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub file: String,
    pub line: u32,
    pub function: String,
}

/// What has to be known for it.
pub struct Unlocked {
    code_type: usize,
    text_type: usize,
    bytes_type: usize,
    /// In a code object: the name, the file, the line table, the first line.
    name: usize,
    file: usize,
    lines: usize,
    first: usize,
    /// Where the instructions begin, in the versions that have them in the code object.
    instructions: usize,
    /// In bytes: where they begin.
    bytes: usize,
    /// Which bits of a string's state say how it is laid out.
    mask: u32,
    texts: [Text; 4],
}

/// How strings of a kind are laid out.
#[derive(Clone, Copy)]
struct Text {
    state: u32,
    at: usize,
    width: usize,
}

/// In a string: where its length and its state are.
const LENGTH: usize = size_of::<PyObject>();
const STATE: usize = LENGTH + size_of::<usize>() + size_of::<isize>();

/// In a string's state: how wide its letters are, whether they are right behind it, and whether all are ASCII. These
/// bits follow those that say whether it is interned, for which versions have more or less room.
const LAID_OUT: u32 = 0b1_1111;

/// Strings are read up to this length, and line tables up to this size.
const LONGEST: usize = 1024;
const LARGEST: usize = 1 << 20;

/// A first line that nothing else in a code object looks like.
const FIRST: c_int = 0x5a_6b7c;

/// Plain data: any bytes are a value of it.
///
/// # Safety
/// So it must be.
unsafe trait Plain: Copy {}
// SAFETY: numbers.
unsafe impl Plain for u32 {}
// SAFETY: numbers.
unsafe impl Plain for usize {}

/// Reads so many bytes from `at` on to `to`. Returns whether all were there.
///
/// # Safety
/// `to` has room for them.
unsafe fn read_to(at: usize, to: *mut c_void, size: usize) -> bool {
    let local = libc::iovec { iov_base: to, iov_len: size };
    let remote = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(at), iov_len: size };
    // SAFETY: the system writes to what has room, says where, and looks itself whether there is something to read.
    unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) == size as isize }
}

fn read<T: Plain>(at: usize) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: there is room for it, and any bytes are a value.
    unsafe { read_to(at, value.as_mut_ptr().cast(), size_of::<T>()).then(|| value.assume_init()) }
}

fn read_bytes(at: usize, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    // SAFETY: there is room for so many.
    unsafe { read_to(at, bytes.as_mut_ptr().cast(), count) }.then_some(bytes)
}

/// A frame as it was at one moment. What its fields point at may not be there.
fn read_frame(at: usize) -> Option<Frame> {
    let mut frame = MaybeUninit::<Frame>::uninit();
    // SAFETY: there is room for it; it is made of numbers and pointers, for which any bytes will do.
    unsafe { read_to(at, frame.as_mut_ptr().cast(), size_of::<Frame>()).then(|| frame.assume_init()) }
}

impl Unlocked {
    /// Finds out what has to be known; nothing if this interpreter is not as expected.
    pub fn learn(gil: Gil<'_>) -> Option<Unlocked> {
        let samples: [&[u8]; 4] = [b"ab", "\u{e9}b".as_bytes(), "\u{3b1}b".as_bytes(), "\u{1f40d}b".as_bytes()];
        let texts = samples.map(|sample| text_of(gil, sample));
        let [Some(one), Some(two), Some(three), Some(four)] = texts else { return None };
        let texts = [one, two, three, four];
        let tells = |shift: &u32| texts.iter().all(|text| (text.state >> shift & 7) as usize == text.width);
        let mask = LAID_OUT << [2, 8, 16].into_iter().find(tells)?;
        let texts = texts.map(|text| Text { state: text.state & mask, ..text });
        // SAFETY: with the lock held; objects of our own, looked at as far as their types say they are large.
        unsafe {
            let code = Sample(ffi::PyCode_NewEmpty(c"a file".as_ptr(), c"a_name".as_ptr(), FIRST).cast());
            let bytes = Sample(ffi::PyBytes_FromStringAndSize(c"some".as_ptr(), 4));
            if code.0.is_null() || bytes.0.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            let code_type = &raw const ffi::PyCode_Type;
            let size = usize::try_from((*code_type).tp_basicsize).ok()?;
            Some(Unlocked {
                code_type: code_type as usize,
                text_type: &raw const ffi::PyUnicode_Type as usize,
                bytes_type: &raw const ffi::PyBytes_Type as usize,
                name: code.place_of(c"co_name", size)?,
                file: code.place_of(c"co_filename", size)?,
                lines: code.place_of(c"co_linetable", size)?,
                first: code.place_of_number(FIRST as u32, size)?,
                instructions: size,
                bytes: ffi::PyBytes_AsString(bytes.0) as usize - bytes.0 as usize,
                mask,
                texts,
            })
        }
    }

    /// The innermost lines that the thread with this state runs, at most `most`. Any number will do for the state: it
    /// may be that of a thread which has ended.
    pub fn lines(&self, state: usize, most: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut at = FRAME_AT.iter().try_fold(state, |at, offset| read::<usize>(at.checked_add(*offset)?));
        // Frames that are no functions are not counted, so the walk needs an end of its own.
        for _ in 0..4 * most {
            let Some(frame) = at.filter(|at| *at != 0).and_then(read_frame) else { break };
            lines.extend(self.line(&frame));
            if lines.len() >= most {
                break;
            }
            at = Some(frame.previous() as usize);
        }
        lines
    }

    fn line(&self, frame: &Frame) -> Option<Line> {
        let code = frame.code();
        if code == 0 || read::<usize>(type_of(code))? != self.code_type {
            return None;
        }
        let part = |offset: usize| read::<usize>(code.checked_add(offset)?);
        let function = part(self.name).and_then(|name| self.text(name)).unwrap_or_default();
        let file = part(self.file).and_then(|file| self.text(file)).unwrap_or_default();
        let first = read::<u32>(code.checked_add(self.first)?)?;
        let begin = code.checked_add(self.instructions)?;
        let table = part(self.lines).and_then(|table| self.table(table));
        let line = table.and_then(|table| line_at(&table, first, frame.offset_in(begin))).unwrap_or(first);
        (!function.is_empty()).then_some(Line { file, line, function })
    }

    fn text(&self, at: usize) -> Option<String> {
        if read::<usize>(type_of(at))? != self.text_type {
            return None;
        }
        let length = read::<usize>(at.checked_add(LENGTH)?)?;
        let state = read::<u32>(at.checked_add(STATE)?)? & self.mask;
        let Text { at: begin, width, .. } = *self.texts.iter().find(|text| text.state == state)?;
        let bytes = read_bytes(at.checked_add(begin)?, length.min(LONGEST) * width)?;
        let letter = |bytes: &[u8]| {
            let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
            char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        Some(bytes.chunks(width).map(letter).collect())
    }

    fn table(&self, at: usize) -> Option<Vec<u8>> {
        if read::<usize>(type_of(at))? != self.bytes_type {
            return None;
        }
        let size = read::<usize>(at.checked_add(LENGTH)?).filter(|size| *size <= LARGEST)?;
        read_bytes(at.checked_add(self.bytes)?, size)
    }
}

/// Where an object says of what type it is.
fn type_of(object: usize) -> usize {
    object.wrapping_add(std::mem::offset_of!(PyObject, ob_type))
}

/// How a string like this one is laid out.
fn text_of(_: Gil<'_>, sample: &[u8]) -> Option<Text> {
    // SAFETY: the token says that the lock is held; a string of our own, which has a state.
    unsafe {
        let text = Sample(ffi::PyUnicode_FromStringAndSize(sample.as_ptr().cast(), sample.len() as isize));
        if text.0.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Text {
            state: text.0.cast::<u8>().add(STATE).cast::<u32>().read(),
            at: ffi::PyUnicode_DATA(text.0) as usize - text.0 as usize,
            width: ffi::PyUnicode_KIND(text.0) as usize,
        })
    }
}

/// An object to learn from. It is made and dropped with the lock held.
struct Sample(*mut PyObject);

impl Sample {
    /// Where it has an attribute. Of several places the last: in our sample other parts may be the same object, such as
    /// no bytes, and those stand before it; the name is followed by the one that tells of the classes around it.
    ///
    /// # Safety
    /// The lock is held, and the object has so many bytes.
    unsafe fn place_of(&self, attribute: &std::ffi::CStr, size: usize) -> Option<usize> {
        // SAFETY: as for this function. The object keeps what it has.
        unsafe {
            let value = Sample(ffi::PyObject_GetAttrString(self.0, attribute.as_ptr()));
            if value.0.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            let words = std::slice::from_raw_parts(self.0.cast::<usize>(), size / size_of::<usize>());
            let place = words.iter().rposition(|word| *word == value.0 as usize)?;
            Some(place * size_of::<usize>())
        }
    }

    /// Where it has a number.
    ///
    /// # Safety
    /// As for [`place_of`](Self::place_of).
    unsafe fn place_of_number(&self, number: u32, size: usize) -> Option<usize> {
        // SAFETY: as for this function.
        let words = unsafe { std::slice::from_raw_parts(self.0.cast::<u32>(), size / size_of::<u32>()) };
        words.iter().position(|word| *word == number).map(|place| place * size_of::<u32>())
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // SAFETY: its own reference, with the lock held.
        unsafe { ffi::xdecref(self.0) };
    }
}

/// The line of the instruction at an offset, by the table of 3.10: pairs of how many bytes, and how many lines further
/// these are than what was before. 3.10's `Objects/lnotab_notes.txt` describes it.
#[cfg(not(Py_3_11))]
fn line_at(table: &[u8], first: u32, offset: usize) -> Option<u32> {
    const NO_LINE: i8 = -128;
    let (mut line, mut end) = (i64::from(first), 0);
    for pair in table.chunks_exact(2) {
        let (bytes, lines) = (pair[0], pair[1] as i8);
        end += usize::from(bytes);
        if lines != NO_LINE {
            line += i64::from(lines);
        }
        if offset < end {
            return u32::try_from(line).ok().filter(|_| lines != NO_LINE);
        }
    }
    None
}

/// The line of the instruction at an offset, by the table of 3.11 and later, whose entries CPython's
/// `InternalDocs/code_objects.md` describes.
#[cfg(Py_3_11)]
fn line_at(table: &[u8], first: u32, offset: usize) -> Option<u32> {
    const UNIT: usize = 2;
    let (mut line, mut end) = (i64::from(first), 0);
    let mut rest = table;
    while let Some((head, after)) = rest.split_first() {
        end += (usize::from(head & 7) + 1) * UNIT;
        let code = head >> 3 & 15;
        line += match code {
            10..=12 => i64::from(code) - 10,
            13 | 14 => signed_number(after),
            _ => 0,
        };
        if offset < end {
            return u32::try_from(line).ok().filter(|_| code != 15);
        }
        // Only the first byte of an entry has the highest bit.
        let next = after.iter().position(|byte| byte & 0x80 != 0)?;
        rest = &after[next..];
    }
    None
}

/// A number of six bits a byte, the lowest first, of which the lowest is its sign.
#[cfg(Py_3_11)]
fn signed_number(bytes: &[u8]) -> i64 {
    let (mut number, mut shift) = (0_u64, 0);
    for byte in bytes.iter().take(10) {
        number |= u64::from(byte & 63) << shift;
        shift += 6;
        if byte & 64 == 0 {
            break;
        }
    }
    let size = (number >> 1) as i64;
    if number & 1 == 0 { size } else { -size }
}
