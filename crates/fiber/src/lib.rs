//! Stacks and the switch: the lowest layer of Greenloom.
//!
//! A [`Fiber`] is a function running on a [`Stack`] of its own. Any fiber of an OS thread may [switch](Fiber::switch)
//! to any other of that thread; the one that switches is suspended until somebody switches back to it. A switch
//! transfers control and nothing else: values, parents, errors and scheduling belong to the layers above.
//!
//! The API is safe. What makes it so is in [`fiber`](Fiber)'s documentation (what keeps a running fiber alive) and in
//! [`Stack`]'s (a stack is reused only when nothing lives on it). This crate holds all the `unsafe` of the Rust side:
//! the switch, the stack pool, the overflow handler, the lifetime erasure behind [`scope()`], fork
//! detection, the processor's clock, looks at the stacks of other OS threads, the signals of an OS thread, and the one
//! system call that takes a descriptor's bare number.
//!
//! It must not know greenlets, hubs, I/O or Python.
//!
//! ```
//! use greenloom_fiber::{Fiber, Resume, Stack};
//! use std::{cell::Cell, rc::Rc};
//!
//! struct Node(Fiber);
//! impl Resume for Node {
//!     fn fiber(&self) -> &Fiber {
//!         &self.0
//!     }
//! }
//!
//! let root = Rc::new(Node(Fiber::root()));
//! let seen = Rc::new(Cell::new(0));
//! let child = {
//!     let (root, seen) = (root.clone(), seen.clone());
//!     Fiber::new(Stack::new(64 * 1024)?, move || {
//!         seen.set(1);
//!         root.0.switch().expect("the root is suspended while we run");
//!         seen.set(2);
//!         root // this one goes on when the fiber has ended
//!     })
//! };
//! child.switch()?;
//! assert_eq!(seen.get(), 1);
//! child.switch()?;
//! assert_eq!(seen.get(), 2);
//! assert!(child.is_finished());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stderr))]
#![warn(missing_debug_implementations)]

#[cfg(not(target_os = "linux"))]
compile_error!("greenloom-fiber runs on Linux only: stacks, guards and the overflow report use its system calls");

#[cfg(panic = "abort")]
compile_error!("greenloom needs panic = \"unwind\": kill, timeout and the isolation of a panic unwind a stack");

use std::io::Write;

mod epoll;
mod fiber;
mod fork;
mod os_thread;
pub mod overflow;
mod scope;
mod signals;
mod snapshot;
mod stack;
mod switch;
mod thread_pointer;
mod ticks;

pub use epoll::epoll_forget;
pub use fiber::{Fiber, Resume, SwitchError, leaked_stacks};
pub use fork::{ForkMutex, fork_generation, hold_over_forks};
pub use os_thread::Unseen;
pub use scope::{Erased, Eraser, scope};
pub use signals::SignalsBlocked;
pub use snapshot::{Registers, Snapshot, read_memory};
pub use stack::{MIN_STACK_SIZE, PoolStats, Stack, StackError, pool_stats};
pub use ticks::{Births, Ticks};

/// Whether code is of this crate, by the path of its source as debug information has it.
///
/// ```
/// assert!(!greenloom_fiber::is_source("src/main.rs"));
/// ```
pub fn is_source(path: &str) -> bool {
    file!().strip_suffix("lib.rs").is_some_and(|folder| path.contains(folder))
}

/// Says so and ends the process: for what must not go on, and no caller could mend. A panic would not do, as the macros
/// of std have it where standard error is full or closed.
#[cold]
#[inline(never)]
pub fn die(message: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "greenloom: {message}");
    std::process::abort();
}
