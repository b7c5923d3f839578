//! Stack overflow: a message that names the fiber, its stack's size and the setting, then the end of the process.
//!
//! A fault in the guard region of the running fiber's stack is an overflow. The handler for SIGSEGV and SIGBUS runs on
//! the OS thread's alternate signal stack and writes one line. Then it goes on to the handler that was there before
//! (Rust's own, or faulthandler's with its traceback), as for every other fault; without one the default action ends
//! the process, so that a core dump shows the fault.
//!
//! It does not know fibers: the installer of the handler says how to find the running one.

use std::cell::Cell;
use std::io::Write;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

static WORDING: OnceLock<(&str, &str)> = OnceLock::new();

/// Sets the words of the message: what a fiber is called by the layer above ("green thread"), and how its users set the
/// size ("raise it with ..."). The first call counts.
pub fn set_wording(noun: &'static str, advice: &'static str) {
    let _ = WORDING.set((noun, advice));
}

static DESCRIBE: OnceLock<fn(&mut dyn Write)> = OnceLock::new();

/// Sets a function that writes what runs, for a layer above that does not name its fibers one by one. It is called in a
/// signal handler: it may read and write to its argument, and nothing else. The first call counts.
pub fn set_describe(describe: fn(&mut dyn Write)) {
    let _ = DESCRIBE.set(describe);
}

/// What the message says of the running fiber.
pub(crate) struct Running {
    pub(crate) id: u64,
    pub(crate) name: Option<&'static str>,
    /// The size of its stack in bytes.
    pub(crate) size: usize,
    /// The addresses of the guard under its stack.
    pub(crate) guard: Range<usize>,
}

/// Finds the running fiber, `None` on a stack that is not a fiber's. It is called in a signal handler.
type FindRunning = fn() -> Option<Running>;

static FIND_RUNNING: OnceLock<FindRunning> = OnceLock::new();

/// Installs the handler, once a process, and an alternate signal stack in an OS thread that has none of this size.
/// Called once an OS thread.
#[cold]
pub(crate) fn install(find_running: FindRunning) {
    FIND_RUNNING.get_or_init(|| {
        install_handler(libc::SIGSEGV, &PREVIOUS_SEGV);
        install_handler(libc::SIGBUS, &PREVIOUS_BUS);
        find_running
    });
    thread_local! {
        static OWN: AlternateStack = const { AlternateStack(Cell::new(ptr::null_mut())) };
    }
    let _ = OWN.try_with(AlternateStack::ensure);
}

static PREVIOUS_SEGV: OnceLock<libc::sigaction> = OnceLock::new();
static PREVIOUS_BUS: OnceLock<libc::sigaction> = OnceLock::new();

fn install_handler(signal: libc::c_int, previous: &OnceLock<libc::sigaction>) {
    // SAFETY: all-zero is a valid sigaction; the handler has the three-argument form that SA_SIGINFO asks for, and
    // sigaction(2) has written the old action where it returned 0.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut old = MaybeUninit::uninit();
        if libc::sigaction(signal, &action, old.as_mut_ptr()) == 0 {
            let _ = previous.set(old.assume_init());
        }
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo for a fault.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(running) = FIND_RUNNING.get().and_then(|find| find())
        && running.guard.contains(&address)
    {
        report(&running);
    }
    let previous = if signal == libc::SIGBUS { PREVIOUS_BUS.get() } else { PREVIOUS_SEGV.get() };
    match previous {
        Some(previous) if previous.sa_sigaction != libc::SIG_DFL && previous.sa_sigaction != libc::SIG_IGN => {
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: the flag says that the handler has this form.
                let chained: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    unsafe { std::mem::transmute(previous.sa_sigaction) };
                chained(signal, info, context);
            } else {
                // SAFETY: without the flag, it has this form.
                let chained: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(previous.sa_sigaction) };
                chained(signal);
            }
        }
        // SAFETY: signal(2) may be called in a handler, and the default action needs no function of ours.
        _ => unsafe {
            libc::signal(signal, libc::SIG_DFL);
        },
    }
}

/// Writes the message without allocating: the process may have faulted anywhere.
fn report(running: &Running) {
    let Running { id, name, size, .. } = running;
    let (noun, advice) = WORDING.get().copied().unwrap_or(("fiber", "give it a larger stack"));
    let mut line = [0u8; 512];
    let mut rest = &mut line[..];
    let _ = match name {
        Some(name) => write!(rest, "\ngreenloom: stack overflow in {noun} {id} {name:?}"),
        None => write!(rest, "\ngreenloom: stack overflow in {noun} {id}"),
    };
    if let Some(describe) = DESCRIBE.get() {
        let _ = rest.write_all(b" ");
        describe(&mut rest);
    }
    let _ = writeln!(rest, ": its stack of {size} bytes is full; {advice}");
    let left = rest.len();
    let length = line.len() - left;
    // SAFETY: the buffer is ours; write(2) is allowed in a signal handler.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length) };
}

/// The alternate signal stack of an OS thread. That which Rust makes has room for one signal on some processors, and a
/// second one that comes meanwhile would end the process.
struct AlternateStack(Cell<*mut libc::c_void>);

impl AlternateStack {
    const SIZE: usize = 64 * 1024;

    fn ensure(&self) {
        let is_enough = |present: libc::stack_t| {
            let is_used = present.ss_flags & libc::SS_ONSTACK != 0;
            is_used || present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= Self::SIZE
        };
        if Self::present().is_none_or(is_enough) {
            return;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let memory =
            unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if memory == libc::MAP_FAILED {
            return;
        }
        let stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: Self::SIZE };
        // SAFETY: the mapping is ours and unused; it is unmapped only after it was switched off, in `drop`.
        if unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } == 0 {
            self.0.set(memory);
        } else {
            // SAFETY: mapped above, and the kernel did not take it.
            unsafe { libc::munmap(memory, Self::SIZE) };
        }
    }

    /// The thread's present one.
    fn present() -> Option<libc::stack_t> {
        let mut present = MaybeUninit::uninit();
        // SAFETY: sets nothing, and has written the present one where it returned 0.
        unsafe { (libc::sigaltstack(ptr::null(), present.as_mut_ptr()) == 0).then(|| present.assume_init()) }
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let memory = self.0.get();
        if memory.is_null() {
            return;
        }
        if Self::present().is_some_and(|present| present.ss_sp == memory) {
            let off = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: Self::SIZE };
            // SAFETY: switches off the one in use, which no handler runs on, since this is no handler.
            unsafe { libc::sigaltstack(&off, ptr::null_mut()) };
        }
        // SAFETY: `ensure` mapped it, and the kernel does not use it any more.
        unsafe { libc::munmap(memory, Self::SIZE) };
    }
}
