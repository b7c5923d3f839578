//! The stack of another OS thread of this process, which does not know that somebody looks.
//!
//! One that waits in the kernel is read from outside: the system says where its stack is and where it goes on, as long
//! as it waits. Nothing is sent to it, so no system call of it ends early. One that runs has its registers in a
//! processor, and no other way is known to have them than a signal: its handler copies them and the stack to a place
//! that is there beforehand, on the alternate signal stack, and the OS thread goes on. One that waits for a processor
//! may be at the end of a system call, which the signal would end with an error: it is left alone until it has run.
//!
//! The signal is one that the program has left as it was: SIGURG, which does nothing where it is not handled, else a
//! real-time signal. The handler stays, since a signal that comes late would end the process without one; if the
//! program takes the signal for itself later, it is the program's, and another one is looked for.

use std::cell::UnsafeCell;
use std::fmt;
use std::fs;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fork_generation;
use crate::snapshot::{Registers, Snapshot, read_memory_into};

/// How much of a stack is copied at most.
const MOST: usize = 256 * 1024;

/// How long an OS thread that runs may take to have a processor, and to come to the handler.
const LIMIT: Duration = Duration::from_millis(200);

/// How often it is looked whether it waits, before it is taken for one that runs, and how long between two looks.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// Why there is nothing to be had of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unseen {
    /// There is no such OS thread in this process, or none any more, or the system does not tell what it does.
    Ended,
    /// It runs, and the signals that the program does not handle are blocked in it.
    NoSignal,
    /// It runs, and the system forbids to send it a signal.
    Forbidden,
    /// It runs, and has not had a processor, or not answered a signal, in time.
    NoAnswer,
    /// Another one is being looked at.
    Busy,
    /// It is not known how this processor keeps its registers for a signal handler.
    Processor,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unseen::Ended => "the OS thread has ended, or the system does not tell what it does",
            Unseen::NoSignal => "it runs, and blocks or handles every signal by which it could be asked",
            Unseen::Forbidden => "it runs, and the system forbids the signal by which it would be asked",
            Unseen::NoAnswer => "it has not had a processor in time, or has not answered a signal",
            Unseen::Busy => "another one is being looked at",
            Unseen::Processor => "it runs, and its registers are not to be had on this processor",
        })
    }
}

impl std::error::Error for Unseen {}

impl Snapshot {
    /// Of the stack of another OS thread of this process, by the system's number of it: the 256 KB from the stack
    /// pointer on. If it waits in the kernel it is not disturbed, and the frame pointer and the link register are not
    /// known. If it runs it handles a signal, for which system calls are begun anew (`SA_RESTART`).
    ///
    /// # Errors
    /// See [`Unseen`].
    ///
    /// ```
    /// use greenloom_fiber::{Snapshot, Unseen};
    ///
    /// assert_eq!(Snapshot::of_os_thread(0), Err(Unseen::Ended));
    /// ```
    pub fn of_os_thread(id: i32) -> Result<Snapshot, Unseen> {
        Snapshot::of_os_thread_until(id, Instant::now() + LIMIT)
    }

    /// The same, where one that runs is waited for until then, and not at all if that is past: for those who look at
    /// many, with one limit for all.
    ///
    /// # Errors
    /// See [`Unseen`].
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// use greenloom_fiber::{Snapshot, Unseen};
    ///
    /// assert_eq!(Snapshot::of_os_thread_until(0, Instant::now()), Err(Unseen::Ended));
    /// ```
    pub fn of_os_thread_until(id: i32, until: Instant) -> Result<Snapshot, Unseen> {
        let (mut looks, mut before) = (0, None);
        loop {
            if let Some(snapshot) = waiting(id)? {
                return Ok(snapshot);
            }
            let (now, time) = (Instant::now(), time_on_processor(id)?);
            if now >= until {
                return Err(Unseen::NoAnswer);
            }
            // The number may be another one's by now, which has run for less.
            let ran = |(then, time_then)| 2 * time.saturating_sub(time_then) > now - then;
            let runs = before.replace((now, time)).is_some_and(ran);
            looks += 1;
            if runs && looks >= LOOKS {
                return running(id, until);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// Of one that waits in the kernel; `None` if it does not, or has gone on meanwhile.
fn waiting(id: i32) -> Result<Option<Snapshot>, Unseen> {
    let told = || fs::read_to_string(format!("/proc/self/task/{id}/syscall")).map_err(|_| Unseen::Ended);
    let before = told()?;
    let words: Vec<_> = before.split_whitespace().collect();
    let word = |word: &str| usize::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    // The call and its arguments, or -1; the stack pointer; where it goes on. One that runs is one word.
    let &[_, .., stack_pointer, instruction] = words.as_slice() else { return Ok(None) };
    let (Some(stack_pointer), Some(instruction)) = (word(stack_pointer), word(instruction)) else { return Ok(None) };
    let registers = Registers { instruction, stack_pointer, ..Registers::default() };
    let snapshot = Snapshot::of(registers, MOST);
    Ok((told()? == before).then_some(snapshot))
}

/// How long an OS thread has been on a processor.
fn time_on_processor(id: i32) -> Result<Duration, Unseen> {
    // As the system counts the clocks of OS threads: the time that they were scheduled.
    const SCHEDULED_OF_ONE: libc::clockid_t = 6;
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_gettime(2) has written the time where it returned 0.
    let time = unsafe {
        if libc::clock_gettime(!id << 3 | SCHEDULED_OF_ONE, time.as_mut_ptr()) != 0 {
            return Err(Unseen::Ended);
        }
        time.assume_init()
    };
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// What the handler is asked, and what it answers.
struct Request {
    /// The generation of the process, the OS thread that is asked, and how far that is, in one. In the child of a fork
    /// a request of the parent's is of another generation, and void.
    state: AtomicU64,
    answer: UnsafeCell<Answer>,
}

struct Answer {
    registers: Registers,
    size: usize,
    stack: [u8; MOST],
}

// SAFETY: the answer is written by the handler alone, while the state is COPIES, to which only one comes; and read
// while it is DONE by whoever has asked, which takes the state on from there.
unsafe impl Sync for Request {}

/// Memory of the answer is used from the first one on.
static REQUEST: Request = Request {
    state: AtomicU64::new(IDLE),
    answer: UnsafeCell::new(Answer {
        registers: Registers { instruction: 0, stack_pointer: 0, frame_pointer: None, link: 0 },
        size: 0,
        stack: [0; MOST],
    }),
};

const IDLE: u64 = 0;
const ASKED: u64 = 1;
const COPIES: u64 = 2;
const DONE: u64 = 3;
const PHASES: u64 = 3;

/// A state without its phase.
fn request(id: i32) -> u64 {
    fork_generation() << 34 | u64::from(id.cast_unsigned()) << 2
}

/// Of one that runs.
fn running(id: i32, until: Instant) -> Result<Snapshot, Unseen> {
    let signal = free_signal(id)?;
    let (request, before) = (request(id), REQUEST.state.load(Ordering::Acquire));
    let is_free = before & PHASES == IDLE || before >> 34 != request >> 34;
    let change = |from, to| REQUEST.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if !is_free || !change(before, request | ASKED) {
        return Err(Unseen::Busy);
    }
    // It may wait by now, in a system call that the signal would end.
    if let Some(found) = waiting(id).transpose() {
        REQUEST.state.store(IDLE, Ordering::Release);
        return found;
    }
    // SAFETY: a signal that is handled, to an OS thread of this process or to none.
    if unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, signal) } != 0 {
        let has_ended = std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
        REQUEST.state.store(IDLE, Ordering::Release);
        return Err(if has_ended { Unseen::Ended } else { Unseen::Forbidden });
    }
    while REQUEST.state.load(Ordering::Acquire) != request | DONE {
        // If it copies already, it will be done.
        if Instant::now() > until && change(request | ASKED, IDLE) {
            return Err(Unseen::NoAnswer);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    // SAFETY: it is DONE: the handler has written it and is through with it.
    let snapshot = unsafe {
        let answer = &*REQUEST.answer.get();
        Snapshot { registers: answer.registers, stack: answer.stack[..answer.size].to_vec() }
    };
    REQUEST.state.store(IDLE, Ordering::Release);
    // Without a stack pointer it is not known where the handler was to look.
    if snapshot.registers.stack_pointer == 0 { Err(Unseen::Processor) } else { Ok(snapshot) }
}

/// A signal that is not the program's and reaches the OS thread. Its handler is ours from now on.
fn free_signal(id: i32) -> Result<libc::c_int, Unseen> {
    let blocked = blocked_signals(id).ok_or(Unseen::Ended)?;
    let real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev();
    let mut reach = std::iter::once(libc::SIGURG).chain(real_time).filter(|signal| blocked >> (signal - 1) & 1 == 0);
    reach.find(|signal| take(*signal)).ok_or(Unseen::NoSignal)
}

/// The set of those that wait until the OS thread lets them through: a signal that is never let through would stay.
fn blocked_signals(id: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/self/task/{id}/status")).ok()?;
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
    u64::from_str_radix(blocked.trim(), 16).ok()
}

/// Makes a signal ours, unless it is the program's. Returns whether it is ours.
fn take(signal: libc::c_int) -> bool {
    let ours = handler as *const () as usize;
    // SAFETY: all-zero is a valid sigaction; the handler has the three-argument form that SA_SIGINFO asks for, and
    // sigaction(2) has written the present action where it returned 0.
    unsafe {
        let mut present = MaybeUninit::<libc::sigaction>::uninit();
        if libc::sigaction(signal, ptr::null(), present.as_mut_ptr()) != 0 {
            return false;
        }
        let present = present.assume_init().sa_sigaction;
        if present != ours && present != libc::SIG_DFL {
            return false;
        }
        // Whoever has put it back may have done so without the flags.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ours;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigaction(signal, &action, ptr::null_mut()) == 0
    }
}

/// Copies the stack of the OS thread that is asked: makes two system calls and touches nothing but the request.
extern "C" fn handler(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let asked = REQUEST.state.load(Ordering::Acquire);
    // SAFETY: cannot fail. Old C libraries have no function for it.
    let here = unsafe { libc::syscall(libc::SYS_gettid) };
    let is_meant = asked & PHASES == ASKED && u32::try_from(here) == Ok((asked >> 2) as u32);
    let copies = asked ^ ASKED ^ COPIES;
    let state = &REQUEST.state;
    if !is_meant || state.compare_exchange(asked, copies, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return;
    }
    // SAFETY: the state is COPIES, to which this has brought it. The kernel passes the context that it interrupted; an
    // OS thread has an `errno`, which must be what it was when that goes on.
    unsafe {
        let errno = *libc::__errno_location();
        let answer = &mut *REQUEST.answer.get();
        answer.registers = registers(&*context.cast());
        answer.size = read_memory_into(answer.registers.stack_pointer, &mut answer.stack);
        *libc::__errno_location() = errno;
    }
    state.store(asked | DONE, Ordering::Release);
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let register = |number: libc::c_int| context.uc_mcontext.gregs[number as usize] as usize;
    Registers {
        instruction: register(libc::REG_RIP),
        stack_pointer: register(libc::REG_RSP),
        frame_pointer: Some(register(libc::REG_RBP)),
        link: 0,
    }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let context = &context.uc_mcontext;
    Registers {
        instruction: context.pc as usize,
        stack_pointer: context.sp as usize,
        frame_pointer: Some(context.regs[29] as usize),
        link: context.regs[30] as usize,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn registers(_: &libc::ucontext_t) -> Registers {
    Registers::default()
}
