//! Stacks that were copied, for people to read: without the runtime's own frames at either end.

use greenloom_fiber::Snapshot;
use greenloom_inspect::Frame;
use greenloom_inspect::groups::MOST_FRAMES;
use greenloom_inspect::native::{NativeStack, Symbols};

/// The frames of a stack, innermost first.
pub(super) fn frames(symbols: &mut Symbols, stack: Snapshot) -> Vec<Frame> {
    let Snapshot { registers, stack: memory } = stack;
    let stack = NativeStack {
        instruction: registers.instruction as u64,
        stack_pointer: registers.stack_pointer as u64,
        frame_pointer: registers.frame_pointer.unwrap_or(0) as u64,
        link: registers.link as u64,
        memory,
    };
    without_runtime(symbols.frames(&stack, 4 * MOST_FRAMES))
}

/// Leaves out how it waits, and how its function was called.
fn without_runtime(mut frames: Vec<Frame>) -> Vec<Frame> {
    let end = frames.iter().rposition(|frame| !calls(frame)).map_or(frames.len(), |last| last + 1);
    frames.truncate(end);
    let begin = frames.iter().position(|frame| !waits(frame)).unwrap_or(0);
    frames.drain(..begin);
    frames.truncate(MOST_FRAMES);
    frames
}

/// The names of functions tell, and without debug information nothing else; of those that were inlined it may have less
/// than the whole name, and then their files tell.
fn is_of(frame: &Frame, names: &[&str], files: &[&str]) -> bool {
    names.iter().any(|name| frame.function.starts_with(name))
        || files.iter().any(|file| frame.file.contains(file))
        || greenloom_fiber::is_source(&frame.file)
}

/// Whether a frame is of those with which the stack of one that waits begins.
fn waits(frame: &Frame) -> bool {
    is_of(frame, &["greenloom_fiber::", "greenloom::runtime::"], &[folder("stacks.rs")])
}

/// Whether a frame is of those with which a stack ends.
fn calls(frame: &Frame) -> bool {
    const NAMES: [&str; 8] =
        ["greenloom_fiber::", "greenloom::", "core::", "std::", "alloc::", "<core::", "<alloc::", "__rust_try"];
    const STD: [&str; 3] = ["/library/core/src/", "/library/std/src/", "/library/alloc/src/"];
    is_of(frame, &NAMES, &STD) || frame.file.contains(folder("runtime/stacks.rs"))
}

/// The folder of this crate's sources in which this file is `own`, as debug information has it.
fn folder(own: &str) -> &'static str {
    file!().strip_suffix(own).unwrap_or(file!())
}
