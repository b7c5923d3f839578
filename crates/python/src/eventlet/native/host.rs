//! Green threads as the [`Host`] of the hooked calls: how a C function parks beneath Python.
//!
//! ```text
//! Python:  cursor.execute()             raises the library's error, and then what was thrown in
//! C:         lets go of the lock
//!              poll()                   the hook: fails with ECANCELED if something was thrown in
//! here:          takes the lock, parks, lets go of it again
//! ```
//!
//! A C function that has kept the lock parks as well, since it would block everybody otherwise. But it does not share
//! the OS thread between calls that need not wait: who keeps the lock does not expect that Python runs meanwhile.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenloom_hooks::{Direction, Host, Wait};
use greenloom_hub::blocking::{BlockingPool, DEFAULT_SIZE};

use crate::eventlet::clock::monotonic;
use crate::eventlet::hub::Hub;
use crate::eventlet::hub_class::forget_file;
use crate::eventlet::hub_ref::{self, HubRef};
use crate::eventlet::park::{park_for, park_until};
use crate::eventlet::polling::closed_class;
use crate::eventlet::source::{Descriptor, LastTry, Ready, wait_for};
use crate::eventlet::ticket::Ticket;
use crate::greenlet::{Here, Thread, this_thread, unlocked_record, wait};
use crate::py::ffi;
use crate::py::{self, Gil, Pending, Raised, Result, This};

/// The green threads of Python.
pub struct GreenThreads;

/// The process that runs Python code. A child that C code has forked is another one until Python says otherwise: its
/// interpreter's lock may be held for ever.
static PROCESS: AtomicU64 = AtomicU64::new(u64::MAX);

/// Python runs in this process: at the first install, and in the child of a fork by Python.
pub fn adopt_process() {
    PROCESS.store(greenloom_fiber::fork_generation(), Ordering::Relaxed);
}

/// The running OS thread's record and hub, if green threads can be told apart here.
#[inline]
fn here<'a>() -> Option<(&'a Thread, &'a Hub)> {
    let thread = unlocked_record()?;
    let hub = hub_ref::watching(thread)?;
    let python = PROCESS.load(Ordering::Relaxed) == greenloom_fiber::fork_generation() && !py::is_gone();
    python.then_some((thread, hub))
}

/// Does something with the interpreter's lock, which is held or not afterwards as it was before.
///
/// # Safety
/// The OS thread has a record, and a thread state of Python's.
unsafe fn locked<T>(call: impl FnOnce(Here<'_>) -> T) -> T {
    // SAFETY: the thread state is the OS thread's own; that Python code let go of the lock with it is what makes it
    // known to `PyGILState`. An exception that the C function found is kept.
    unsafe {
        let held = py::is_held();
        if !held {
            ffi::PyEval_RestoreThread(ffi::PyGILState_GetThisThreadState());
        }
        let pending = Pending::take(Gil::assume());
        let value = call(this_thread());
        pending.put_back();
        if !held {
            ffi::PyEval_SaveThread();
        }
        value
    }
}

/// Whether the running greenlet is to raise something as soon as it can: it waits for nothing any more.
fn fails_again(thread: Here<'_>) -> bool {
    thread.interruptions.any() && thread.interruptions.fails_again(thread.ident(), thread.current())
}

/// A park has raised: keeps the exception for when Python is reached. One that tells of a closed file is an answer.
/// `fails` is for a call that fails by it.
fn interrupt(thread: Here<'_>, fails: bool) -> Wait {
    // SAFETY: an exception is pending, and is taken out; the running greenlet.
    unsafe {
        let raised = Pending::take(thread.gil()).into_value();
        let closed =
            closed_class(thread.gil()).is_ok_and(|class| ffi::PyObject_TypeCheck(raised, class.as_ptr().cast()) != 0);
        let Ok(raised) = py::Owned::new(raised) else { return Wait::Interrupted };
        if closed {
            return Wait::Closed;
        }
        thread.interruptions.add(thread.ident(), thread.current(), raised, fails);
        Wait::Interrupted
    }
}

// SAFETY: `run` waits for the job, killed or not. What is raised is kept, so that nothing unwinds; a thread that ends
// at interpreter shutdown is unwound as it is in any C function that takes the lock.
unsafe impl Host for GreenThreads {
    fn can_park(&self) -> bool {
        let Some((thread, hub)) = here() else { return false };
        // SAFETY: needs no lock.
        thread.current() != hub.greenlet() && !unsafe { ffi::PyGILState_GetThisThreadState() }.is_null()
    }

    fn current(&self) -> usize {
        unlocked_record().map_or(0, |thread| thread.current().addr())
    }

    fn wait_fd(&self, fd: BorrowedFd<'_>, direction: Direction, limit: Option<Duration>) -> io::Result<Wait> {
        // SAFETY: `can_park` was true.
        unsafe {
            locked(|thread| {
                if fails_again(thread) {
                    return Ok(Wait::Interrupted);
                }
                wait(thread, fd.as_raw_fd(), direction, limit)
            })
        }
    }

    fn sleep(&self, duration: Duration) -> Wait {
        // SAFETY: `can_park` was true.
        unsafe {
            locked(|thread| {
                if fails_again(thread) {
                    return Wait::Interrupted;
                }
                let ticket = Ticket::take(thread);
                let until = Some(monotonic() + duration);
                let park = || park_until(thread, &ticket, &wait::Wait { what: "C: sleep", at: None, until });
                let parked = match hub_ref::watching(&thread) {
                    Some(hub) => hub.in_call_of_c(thread, park),
                    None => (park(), false),
                };
                match parked {
                    (Ok(Some(_)), true) => Wait::Signalled,
                    (Ok(_), _) => Wait::TimedOut,
                    (Err(Raised), _) => interrupt(thread, false),
                }
            })
        }
    }

    fn yield_now(&self) {
        if py::is_held() {
            return;
        }
        // SAFETY: `can_park` was true.
        unsafe {
            locked(|thread| {
                if !fails_again(thread) && give_turn(thread).is_err() {
                    interrupt(thread, false);
                }
            });
        }
    }

    fn run(&self, job: Box<dyn FnOnce() + Send>) -> bool {
        run_elsewhere(job).is_ok()
    }

    fn closing(&self, fd: RawFd) {
        let has_files = |(_, hub): &(&Thread, &Hub)| {
            // SAFETY: looked at only whether it is there, by the thread that makes it.
            unsafe { hub.polling_if_any() }.is_some()
        };
        // SAFETY: needs no lock.
        if here().is_none_or(|here| !has_files(&here)) || unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
            return;
        }
        // SAFETY: there is a record. The hub is kept by it; an exception is pending where one was raised.
        unsafe {
            locked(|thread| {
                let Some(hub) = This::<Hub>::try_of(hub_ref::object_of(&thread)) else { return };
                if forget_file(hub, fd).is_err() {
                    ffi::PyErr_WriteUnraisable(hub.as_ptr());
                }
            });
        }
    }
}

/// What is registered stays so, and is found again by the next wait: the number may be another file's then.
fn wait(thread: Here<'_>, fd: RawFd, direction: Direction, limit: Option<Duration>) -> io::Result<Wait> {
    let Some(hub) = hub_ref::watching(&thread) else { return Err(io::ErrorKind::Unsupported.into()) };
    let direction = match direction {
        Direction::Read => greenloom_hub::Direction::Read,
        Direction::Write => greenloom_hub::Direction::Write,
    };
    let key = {
        // SAFETY: used at once.
        let Ok(polling) = (unsafe { hub.polling(thread) }) else {
            // SAFETY: the lock is held.
            unsafe { ffi::PyErr_Clear() };
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut sources = polling.sources().borrow_mut();
        let key = polling.register(&mut sources, fd)?;
        sources.expect_edge(key, direction);
        key
    };
    let deadline = limit.map(|limit| monotonic() + limit);
    let descriptor = Descriptor { fd, direction };
    let park = || wait_for(thread, hub, key, descriptor, LastTry::NotMade, deadline);
    match hub.in_call_of_c(thread, park) {
        (Ok(Ready::Yes), true) => Ok(Wait::Signalled),
        (Ok(Ready::Yes), false) => Ok(Wait::Ready),
        (Ok(Ready::TimedOut), _) => Ok(Wait::TimedOut),
        (Ok(Ready::Busy), _) => Err(io::ErrorKind::ResourceBusy.into()),
        (Err(Raised), _) => Ok(interrupt(thread, true)),
    }
}

fn give_turn(thread: Here<'_>) -> Result<()> {
    let alarm = HubRef::of(thread)?.wake_me(thread, 0.0)?;
    let parked = park_for(thread, "");
    if let Some(alarm) = alarm {
        alarm.cancel(&thread);
    }
    parked.map(drop)
}

/// A pool of an OS thread, and the process that it belongs to.
type Pool = Option<(u64, BlockingPool)>;

thread_local! {
    /// One for each OS thread that has a hub: a lock around one for all could be held by another one during a fork.
    static POOL: RefCell<Pool> = const { RefCell::new(None) };
}

fn pool() -> BlockingPool {
    let process = greenloom_fiber::fork_generation();
    POOL.with_borrow_mut(|pool| match pool {
        Some((owner, pool)) if *owner == process => pool.clone(),
        _ => {
            let new = BlockingPool::new(NonZeroUsize::new(DEFAULT_SIZE).expect("it is not 0"));
            // The threads of the parent's are not here, and its lock may be held for ever.
            std::mem::forget(pool.replace((process, new.clone())));
            new
        }
    })
}

/// Runs a job on another OS thread, and waits until it is done, whatever is thrown in meanwhile.
fn run_elsewhere(job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    // SAFETY: it takes no pointers.
    let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and is nobody else's.
    let done = unsafe { File::from_raw_fd(number) };
    let mut bell = done.try_clone()?;
    pool().run(job, move |_| _ = bell.write_all(&1u64.to_ne_bytes()))?;
    // SAFETY: `can_park` was true.
    unsafe {
        locked(|thread| {
            // What is thrown in is kept until then: a park would raise it at once.
            let mut kept = None;
            while !is_done(&done, Duration::ZERO) {
                kept = kept.or(thread.interruptions.take(thread.ident(), thread.current()));
                if wait(thread, number, Direction::Read, None).is_err() {
                    is_done(&done, Duration::MAX);
                }
            }
            if let Some(kept) = kept {
                thread.interruptions.add(thread.ident(), thread.current(), kept, false);
            }
        });
    }
    GreenThreads.closing(number);
    Ok(())
}

/// Whether the bell has rung, or rings within the time; the OS thread waits.
fn is_done(bell: &File, limit: Duration) -> bool {
    let mut one = libc::pollfd { fd: bell.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = if limit.is_zero() { 0 } else { -1 };
    // SAFETY: `one` lives over the call.
    unsafe { libc::poll(&raw mut one, 1, milliseconds) > 0 }
}
