//! How large stacks are that are not given a size.

use std::sync::OnceLock;

/// The stack size in bytes of green threads that are not given one: `GREENLOOM_STACK_SIZE` when the process starts,
/// else 256 KiB.
///
/// Only what a green thread touches takes memory, so the size costs address space and half a kilobyte of page tables.
pub fn default_stack_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let Ok(text) = std::env::var("GREENLOOM_STACK_SIZE") else { return 256 * 1024 };
        match text.parse() {
            Ok(size) if size >= greenloom_fiber::MIN_STACK_SIZE => size,
            _ => {
                let smallest = greenloom_fiber::MIN_STACK_SIZE;
                panic!("GREENLOOM_STACK_SIZE={text:?} is no number of bytes of at least {smallest}");
            }
        }
    })
}
