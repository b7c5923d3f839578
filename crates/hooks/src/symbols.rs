//! The list of what is hooked, once, for all who need it: libc's own functions, and the symbols that
//! [`install!`](crate::install) defines.

/// Calls the macro `$callback` with the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __hooked_calls {
    ($($callback:tt)+) => {
        $($callback)+! {
            read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t;
            readv(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t;
            write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t;
            writev(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t;
            recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t;
            recvfrom(
                fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int, address: *mut sockaddr,
                address_length: *mut socklen_t
            ) -> ssize_t;
            recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
            recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, limit: *mut timespec) -> c_int;
            send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t;
            sendto(
                fd: c_int, buffer: *const c_void, length: size_t, flags: c_int, address: *const sockaddr,
                address_length: socklen_t
            ) -> ssize_t;
            sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
            sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
            sendfile(output: c_int, input: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
            sendfile64(output: c_int, input: c_int, offset: *mut off64_t, count: size_t) -> ssize_t;
            connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
            accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
            accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int;
            poll(fds: *mut pollfd, count: nfds_t, limit: c_int) -> c_int;
            ppoll(fds: *mut pollfd, count: nfds_t, limit: *const timespec, mask: *const sigset_t) -> c_int;
            select(
                count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, limit: *mut timeval
            ) -> c_int;
            pselect(
                count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, limit: *const timespec,
                mask: *const sigset_t
            ) -> c_int;
            epoll_wait(epoll: c_int, events: *mut epoll_event, count: c_int, limit: c_int) -> c_int;
            epoll_pwait(
                epoll: c_int, events: *mut epoll_event, count: c_int, limit: c_int, mask: *const sigset_t
            ) -> c_int;
            nanosleep(duration: *const timespec, left: *mut timespec) -> c_int;
            clock_nanosleep(clock: clockid_t, flags: c_int, time: *const timespec, left: *mut timespec) -> c_int;
            usleep(microseconds: c_uint) -> c_int;
            sleep(seconds: c_uint) -> c_uint;
            getaddrinfo(
                node: *const c_char, service: *const c_char, hints: *const addrinfo, found: *mut *mut addrinfo
            ) -> c_int;
            getnameinfo(
                address: *const sockaddr, length: socklen_t, node: *mut c_char, node_length: socklen_t,
                service: *mut c_char, service_length: socklen_t, flags: c_int
            ) -> c_int;
            gethostbyname(name: *const c_char) -> *mut hostent;
            gethostbyname_r(
                name: *const c_char, entry: *mut hostent, buffer: *mut c_char, length: size_t,
                found: *mut *mut hostent, error: *mut c_int
            ) -> c_int;
            wait(status: *mut c_int) -> pid_t;
            waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t;
            wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
            waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int;
            flock(fd: c_int, operation: c_int) -> c_int;
            pread(fd: c_int, buffer: *mut c_void, length: size_t, offset: off_t) -> ssize_t;
            pread64(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t) -> ssize_t;
            pwrite(fd: c_int, buffer: *const c_void, length: size_t, offset: off_t) -> ssize_t;
            pwrite64(fd: c_int, buffer: *const c_void, length: size_t, offset: off64_t) -> ssize_t;
            fsync(fd: c_int) -> c_int;
            fdatasync(fd: c_int) -> c_int;
            close(fd: c_int) -> c_int;
            dup2(old: c_int, new: c_int) -> c_int;
            dup3(old: c_int, new: c_int, flags: c_int) -> c_int;
        }
    };
}

/// Defines the symbols, each as a call of the function of that name in [`calls`](crate::calls).
#[doc(hidden)]
#[macro_export]
macro_rules! __define_symbols {
    ($($name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        const _: () = {
            #[allow(unused_imports)]
            use $crate::libc::*;
            $(
                // SAFETY: it has the signature of libc's function of that name, and does what that does.
                #[unsafe(no_mangle)]
                unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                    // SAFETY: the caller keeps libc's contract, which is this one's, too.
                    unsafe { $crate::calls::$name($($argument),*) }
                }
            )*
        };
    };
}

/// Puts the hooked calls into the executable, before libc's: write it once, in the root of the crate that has `main`
/// (or of an integration test).
///
/// ```
/// greenloom_hooks::install!();
///
/// fn main() {
///     let began = std::time::Instant::now();
///     let sleepers: Vec<_> = (0..100)
///         .map(|_| greenloom::spawn(|| std::thread::sleep(std::time::Duration::from_millis(50))))
///         .collect();
///     for sleeper in sleepers {
///         sleeper.wait().unwrap();
///     }
///     assert!(began.elapsed().as_millis() < 1000); // not 5 s
/// }
/// ```
#[macro_export]
macro_rules! install {
    () => {
        $crate::__hooked_calls!($crate::__define_symbols);
    };
}
