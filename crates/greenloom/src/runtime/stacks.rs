//! Stacks that were copied, for people to read: without the runtime's own frames at either end.

use greenloom_fiber::Snapshot;
use greenloom_inspect::Frame;
use greenloom_inspect::groups::MOST_FRAMES;
use greenloom_inspect::native::Symbols;

/// The frames of a stack, innermost first.
pub(super) fn frames(symbols: &mut Symbols, stack: &Snapshot) -> Vec<Frame> {
    let mut frames = without_base(symbols.frames(stack, 4 * MOST_FRAMES));
    let begin = frames.iter().position(|frame| !waits(frame)).unwrap_or(0);
    frames.drain(..begin);
    frames.truncate(MOST_FRAMES);
    frames
}

/// The frames of the stack of an OS thread as it runs, or waits in the kernel.
pub(super) fn frames_of_running(symbols: &mut Symbols, stack: &Snapshot) -> Vec<Frame> {
    let mut frames = without_base(symbols.frames(stack, 4 * MOST_FRAMES));
    frames.truncate(MOST_FRAMES);
    frames
}

/// Leaves out how its function was called.
fn without_base(mut frames: Vec<Frame>) -> Vec<Frame> {
    let end = frames.iter().rposition(|frame| !calls(frame)).map_or(frames.len(), |last| last + 1);
    frames.truncate(end);
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
