//! The signals that reach an OS thread.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// As long as this lives, the OS thread that made it gets no signals but those of its own faults, and neither do those
/// that it starts meanwhile, ever: an OS thread of which the program knows nothing must take no signal from it. A
/// program that blocks one in all its OS threads to wait for it (`sigwait`) would otherwise not get it, or end by it.
///
/// ```
/// use greenloom_fiber::SignalsBlocked;
///
/// let blocked = SignalsBlocked::all_but(None)?;
/// let thread = std::thread::spawn(|| "no handler runs here");
/// drop(blocked);
/// # drop(thread.join());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    /// Blocks them, and lets one through, if that is wanted.
    ///
    /// # Errors
    /// Those of the system, which has no reason for any.
    pub fn all_but(one: Option<libc::c_int>) -> io::Result<SignalsBlocked> {
        const FAULTS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: sigfillset fills the set before it is used, sigdelset refuses numbers that are no signal's, and
        // pthread_sigmask has written the mask before where it returned 0.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in FAULTS.into_iter().chain(one) {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
                0 => Ok(SignalsBlocked(before.assume_init())),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: it is a mask that an OS thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

impl std::fmt::Debug for SignalsBlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalsBlocked").finish_non_exhaustive()
    }
}
