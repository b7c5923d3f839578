//! Green threads for Rust: code that reads as if it blocked, and runs as an event loop.
//!
//! A green thread costs one page of memory and some tens of nanoseconds to make. It runs on a stack of its own, so
//! anything may block anywhere, without `async`, and every library that is generic over [`Read`](std::io::Read) and
//! [`Write`](std::io::Write) works unchanged. Blocking suspends the green thread alone; its OS thread goes on with the
//! next one that is ready.
//!
//! ```
//! use greenloom::{sleep, spawn};
//! use std::time::Duration;
//!
//! let slow = spawn(|| {
//!     sleep(Duration::from_millis(20));
//!     "slow"
//! });
//! let quick = spawn(|| "quick");
//! assert_eq!(quick.wait()?, "quick");
//! assert_eq!(slow.wait()?, "slow");
//! # Ok::<(), greenloom::JoinError>(())
//! ```
//!
//! # The rules
//!
//! - **A green thread never leaves its OS thread**, so what it captures need not be `Send`, and `Rc`, thread-locals and
//!   lock guards stay sound. Each OS thread has a [hub](Hub), made on first use. More cores mean [more hubs](Hubs).
//! - **Blocking parks.** What blocks here ([`sleep()`], [`sync`], [`queue`], [`net`], ...) lets other green threads
//!   run. What blocks in std stops the whole OS thread: hand it to [`blocking`].
//! - **Kill and timeout unwind.** A killed green thread unwinds from where it is parked, and its destructors run.
//! - **A failure stays where it happened.** A panic in a green thread is an error for whoever
//!   [waits](GreenThread::wait) for it; the hub goes on. It needs `panic = "unwind"`, the default.
//!
//! # Where things are
//!
//! | module | what |
//! |---|---|
//! | this one | [`spawn`] and its family, [`JoinSet`], [`sleep()`], [`interval()`], [`timeout()`], [`scope()`] |
//! | [`greenlet`] | the layer below: switch, throw, parent |
//! | [`sync`], [`queue`], [`select`], [`pool`] | events, semaphores, locks, queues; the first of several; pools |
//! | [`local`] | values of which each green thread has its own |
//! | [`net`], [`io`], [`codec`], [`fs`], [`pipe`], [`process`], [`signal`] | green I/O |
//! | [`hub`], [`Hubs`] | timers, file descriptors, other OS threads |
//! | [`foreign`] | waiting beneath C functions |
//! | [`testing`] | virtual time, replayable schedules, deadlock detection |
//! | [`inspect`], [`instrument`], [`trace`] | what runs, what waits for what; a timeline of it |

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stderr))]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

pub mod blocking;
pub mod codec;
pub mod foreign;
pub mod fs;
pub mod greenlet;
pub mod hub;
pub mod inspect;
pub mod instrument;
pub mod io;
pub mod local;
pub mod net;
pub mod pipe;
pub mod pool;
pub mod process;
pub mod queue;
pub mod select;
pub mod signal;
pub mod sync;
pub mod testing;
pub mod trace;

mod builder;
mod green_thread;
mod hubs;
mod interval;
mod join_set;
mod packet;
mod runtime;
mod scope;
mod sleep;
mod timeout;

pub use builder::Builder;
pub use green_thread::{GreenThread, LinkId, spawn, spawn_after, spawn_after_local, spawn_n};
pub use greenlet::getcurrent;
pub use hub::{Hub, HubHandle, get_hub};
pub use hubs::{Hubs, Remote};
pub use interval::{Interval, MissedTickBehavior, interval, interval_after};
pub use join_set::JoinSet;
pub use runtime::chain::Chain;
pub use runtime::error::{JoinError, Panic, Refused, SpawnError, StackError};
pub use runtime::stack_size::default_stack_size;
pub use scope::{Scope, ScopedThread, scope};
pub use sleep::{sleep, yield_now};
pub use timeout::{Elapsed, timeout};

/// The code in the README and in the guides compiles and runs.
#[cfg(doctest)]
mod guides {
    macro_rules! guides {
        ($($name:ident $path:literal;)*) => {
            $(
                #[doc = include_str!(concat!("../", $path))]
                mod $name {}
            )*
        };
    }

    guides! {
        readme "README.md";
        greenlets "docs/greenlets.md";
        green_threads "docs/green-threads.md";
        io "docs/io.md";
        testing "docs/testing.md";
        hubs "docs/hubs.md";
        service "docs/service.md";
        trace "docs/trace.md";
        inspect "docs/inspect.md";
        design "docs/design.md";
    }
}
