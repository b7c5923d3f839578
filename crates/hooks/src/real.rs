//! libc's own functions, found behind the hooked ones when first called.

use std::ffi::{CStr, c_void};
use std::io::Write;
use std::sync::atomic::{AtomicPtr, Ordering};

#[allow(clippy::wildcard_imports)]
use libc::*;

struct Real {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Real {
    #[inline]
    fn get(&self) -> *mut c_void {
        let address = self.address.load(Ordering::Relaxed);
        if address.is_null() { self.find() } else { address }
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        // SAFETY: the name ends with a zero byte. dlsym is safe to call from any OS thread.
        let address = unsafe { dlsym(RTLD_NEXT, self.name.as_ptr()) };
        if address.is_null() {
            let _ = writeln!(std::io::stderr(), "greenloom-hooks: this libc has no {:?}; the process ends", self.name);
            std::process::abort();
        }
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

macro_rules! reals {
    ($($name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        $(
            /// libc's.
            ///
            /// # Safety
            /// Its own contract.
            #[inline]
            #[allow(dead_code)] // `sendfile` is `sendfile64`.
            pub unsafe fn $name($($argument: $type),*) -> $result {
                static REAL: Real = Real {
                    name: match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => unreachable!(),
                    },
                    address: AtomicPtr::new(std::ptr::null_mut()),
                };
                // SAFETY: libc's function of that name has this signature.
                let real: unsafe extern "C" fn($($type),*) -> $result = unsafe { std::mem::transmute(REAL.get()) };
                // SAFETY: the caller keeps its contract.
                unsafe { real($($argument),*) }
            }
        )*
    };
}

crate::__hooked_calls!(reals);

// Locks with a clock of their own: younger than the oldest glibc, where nobody calls them, or not in the crate libc.
reals! {
    pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec) -> c_int;
    pthread_cond_clockwait(
        condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec
    ) -> c_int;
    pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, until: *const timespec) -> c_int;
    pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, until: *const timespec) -> c_int;
    pthread_rwlock_clockrdlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec) -> c_int;
    pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec) -> c_int;
    sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, until: *const timespec) -> c_int;
}
