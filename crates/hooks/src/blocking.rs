//! Calls that are made on an OS thread that may block, while the green thread waits.

use crate::host::Host;
use crate::wait::{errno, set_errno};

/// Makes the call on another OS thread, or, if there is none, here. Its errno comes with it.
///
/// The call may use whatever the caller may: this returns only when it is done.
pub(crate) fn run(host: &dyn Host, call: impl Fn() -> isize) -> isize {
    let mut answer = None;
    let job = || answer = Some((call(), errno()));
    // The lifetime of what it borrows, and that raw pointers are in it, is nothing that the other thread has to know.
    let job: Box<dyn FnOnce() + '_> = Box::new(job);
    // SAFETY: `Host::run` returns only when the job is done, or was dropped; until then this frame, which has all that
    // is borrowed, stays. The green thread is suspended, so nobody else uses it at the same time. What is called is
    // libc's, which does not ask which OS thread it runs on.
    let job: Box<dyn FnOnce() + Send> = unsafe { std::mem::transmute(job) };
    if !host.run(job) {
        return call();
    }
    match answer {
        Some((result, code)) => {
            set_errno(code);
            result
        }
        None => call(),
    }
}
