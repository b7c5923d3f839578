//! The other hooked calls one by one, as C code makes them: sleeps, children, files, names; and where the real call is
//! made.

// What is unsafe here are calls of libc with buffers and descriptors of the test's own.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::fs::File;
use std::io::Write;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;
use std::ptr::null_mut;
use std::rc::Rc;
use std::time::Duration;

use common::{Call, MILLI, lets_others_run, tcp_pair, timed, told};
use greenloom::{sleep, spawn};

mod common;

greenloom_hooks::install!();

fn time(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}

/// By a clock, so much later.
fn later(clock: libc::clockid_t, duration: Duration) -> libc::timespec {
    let mut now = time(Duration::ZERO);
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    time(Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + duration)
}

#[test]
fn sleeps_last_as_long_as_they_are_to() {
    const WHILE: Duration = Duration::from_millis(20);
    fn until(clock: libc::clockid_t) -> c_int {
        unsafe { libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &later(clock, WHILE), null_mut()) }
    }
    let sleeps: [(&str, Call<c_int>); 6] = [
        ("nanosleep", |_| unsafe { libc::nanosleep(&time(WHILE), null_mut()) }),
        ("usleep", |_| unsafe { libc::usleep(20_000) }),
        ("sleep", |_| unsafe { libc::sleep(1) as c_int }),
        ("clock_nanosleep", |_| unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &time(WHILE), null_mut()) }),
        ("until a monotonic time", |_| until(libc::CLOCK_MONOTONIC)),
        ("until a time of day", |_| until(libc::CLOCK_REALTIME)),
    ];
    for (name, call) in sleeps {
        let (result, took) = lets_others_run(move || timed(|| call(0)), || ());
        assert!(result == 0 && took >= WHILE - MILLI, "{name}: {result}, {took:?}");
    }
    let wrong = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    let wrong = spawn(move || unsafe {
        let told = told(libc::nanosleep(&wrong, null_mut()) as isize);
        (told, libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &wrong, null_mut()))
    });
    assert_eq!(wrong.wait().unwrap(), (-(libc::EINVAL as isize), libc::EINVAL));
}

/// Ends after a while, by 7, and is waited for by the calls that are tested.
#[allow(clippy::zombie_processes)]
fn a_child() -> c_int {
    Command::new("sh").args(["-c", "sleep 0.05; exit 7"]).spawn().unwrap().id() as c_int
}

#[test]
fn one_child_is_waited_for_by_each_call() {
    fn whole(status: c_int, pid: isize) -> (isize, c_int) {
        (pid, libc::WEXITSTATUS(status))
    }
    let calls: [(&str, Call<(isize, c_int)>); 4] = [
        ("waitpid", |pid| unsafe {
            let mut status = 0;
            let found = libc::waitpid(pid, &raw mut status, 0);
            whole(status, found as isize)
        }),
        ("wait4", |pid| unsafe {
            let (mut status, mut usage) = (0, mem::zeroed::<libc::rusage>());
            let found = libc::wait4(pid, &raw mut status, 0, &raw mut usage);
            assert!(usage.ru_maxrss > 0);
            whole(status, found as isize)
        }),
        ("waitid", |pid| unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            assert_eq!(libc::waitid(libc::P_PID, pid as u32, &raw mut info, libc::WEXITED), 0);
            (info.si_pid() as isize, info.si_status())
        }),
        ("waitid without a place", |pid| unsafe {
            assert_eq!(libc::waitid(libc::P_PID, pid as u32, null_mut(), libc::WEXITED), 0);
            (pid as isize, 7)
        }),
    ];
    for (name, call) in calls {
        let pid = a_child();
        assert_eq!(lets_others_run(move || call(pid), || ()), (pid as isize, 7), "{name}");
        // It is gone.
        assert_eq!(told(unsafe { libc::waitpid(pid, null_mut(), 0) } as isize), -(libc::ECHILD as isize), "{name}");
    }
}

/// Runs an ignored test of this file in a process of its own, with a variable of the environment.
fn in_a_process_of_its_own(test: &str, (name, value): (&str, &str)) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "--ignored", "--nocapture", test]).env(name, value).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn any_child_is_waited_for() {
    in_a_process_of_its_own("in_a_process_where_there_is_one_child", ("GREENLOOM_HOOKS_FILES", "0"));
}

#[test]
#[ignore = "run by any_child_is_waited_for"]
fn in_a_process_where_there_is_one_child() {
    let pid = a_child();
    let wait = || unsafe {
        let mut status = 0;
        (libc::wait(&raw mut status), libc::WEXITSTATUS(status))
    };
    assert_eq!(lets_others_run(wait, || ()), (pid, 7));
    assert_eq!(spawn(move || told(wait().0 as isize)).wait().unwrap(), -(libc::ECHILD as isize));
}

/// Each returns 1.
const AT_A_PLACE: [(&str, Call); 6] = [
    ("pwrite", |fd| unsafe { libc::pwrite(fd, b"x".as_ptr().cast(), 1, 5) }),
    ("pwrite64", |fd| unsafe { libc::pwrite64(fd, b"y".as_ptr().cast(), 1, 6) }),
    ("pread", |fd| unsafe { libc::pread(fd, [0u8; 1].as_mut_ptr().cast(), 1, 5) }),
    ("pread64", |fd| unsafe { libc::pread64(fd, [0u8; 1].as_mut_ptr().cast(), 1, 6) }),
    ("fsync", |fd| unsafe { libc::fsync(fd) as isize + 1 }),
    ("fdatasync", |fd| unsafe { libc::fdatasync(fd) as isize + 1 }),
];

fn a_file() -> File {
    unsafe { File::from_raw_fd(libc::memfd_create(c"file".as_ptr(), 0)) }
}

#[test]
fn files_are_used_on_the_pool_if_that_is_wanted() {
    let file = a_file();
    for (name, call) in AT_A_PLACE {
        let fd = file.as_raw_fd();
        let done = spawn(move || call(fd));
        greenloom::yield_now();
        assert!(done.is_dead(), "{name} did not park");
        assert_eq!(done.wait().unwrap(), 1, "{name}");
    }
    in_a_process_of_its_own("in_a_process_whose_files_are_slow", ("GREENLOOM_HOOKS_FILES", "1"));
}

#[test]
#[ignore = "run by files_are_used_on_the_pool_if_that_is_wanted"]
fn in_a_process_whose_files_are_slow() {
    let file = a_file();
    for (name, call) in AT_A_PLACE {
        let fd = file.as_raw_fd();
        assert_eq!(lets_others_run(move || call(fd), || ()), 1, "{name}");
    }
    let wrong = || told(unsafe { libc::pread(-1, [0u8; 1].as_mut_ptr().cast(), 1, 0) });
    assert_eq!(lets_others_run(wrong, || ()), -(libc::EBADF as isize));
}

unsafe extern "C" {
    fn gethostbyname(name: *const libc::c_char) -> *mut libc::hostent;
    fn gethostbyname_r(
        name: *const libc::c_char,
        entry: *mut libc::hostent,
        buffer: *mut libc::c_char,
        length: usize,
        found: *mut *mut libc::hostent,
        error: *mut c_int,
    ) -> c_int;
}

/// The first address of an entry.
unsafe fn first(entry: *const libc::hostent) -> [u8; 4] {
    unsafe {
        assert_eq!((*entry).h_addrtype, libc::AF_INET);
        **(*entry).h_addr_list.cast::<*const [u8; 4]>()
    }
}

#[test]
fn names_are_looked_up_on_the_pool() {
    let by_name = |name: &'static CStr| move || unsafe { gethostbyname(name.as_ptr()).addr() };
    let local = lets_others_run(by_name(c"localhost"), || ());
    let other = lets_others_run(by_name(c"127.0.0.2"), || ());
    let kept = [local, other].map(|place| unsafe { first(place as *const libc::hostent) });
    assert_eq!(kept, [[127, 0, 0, 1], [127, 0, 0, 2]], "nobody's answer is overwritten by another's");
    // What fails does so as on an OS thread without a hub.
    let plain = std::thread::spawn(by_name(c"")).join().unwrap();
    assert_eq!((lets_others_run(by_name(c""), || ()), plain), (0, 0));

    let into = |length: usize| {
        move || unsafe {
            let (mut entry, mut buffer) = (mem::zeroed(), vec![0; length]);
            let (mut found, mut error) = (null_mut(), 0);
            let name = c"localhost".as_ptr();
            let result =
                gethostbyname_r(name, &raw mut entry, buffer.as_mut_ptr(), length, &raw mut found, &raw mut error);
            (result, (!found.is_null()).then(|| first(found)))
        }
    };
    assert_eq!(lets_others_run(into(1024), || ()), (0, Some([127, 0, 0, 1])));
    assert_eq!(lets_others_run(into(1), || ()), (libc::ERANGE, None));

    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let back = move || unsafe {
        let mut name = [0; 100];
        let length = mem::size_of_val(&address) as libc::socklen_t;
        let result = libc::getnameinfo((&raw const address).cast(), length, name.as_mut_ptr(), 100, null_mut(), 0, 0);
        (result, CStr::from_ptr(name.as_ptr()).to_owned())
    };
    let (result, name) = lets_others_run(back, || ());
    assert!(result == 0 && !name.is_empty(), "{name:?}");
}

#[test]
fn while_a_panic_unwinds_the_real_call_is_made() {
    struct Slow(Rc<Cell<u32>>, Rc<Cell<u32>>);
    impl Drop for Slow {
        fn drop(&mut self) {
            let before = self.0.get();
            std::thread::sleep(5 * MILLI);
            self.1.set(self.0.get() - before);
        }
    }
    let (turns, meanwhile) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(u32::MAX)));
    let other = spawn({
        let turns = Rc::clone(&turns);
        move || {
            loop {
                turns.set(turns.get() + 1);
                greenloom::yield_now();
            }
        }
    });
    let slow = Slow(turns, Rc::clone(&meanwhile));
    let panics = spawn(move || {
        let _slow = slow;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panics.wait().is_err());
    assert_eq!(meanwhile.get(), 0);
    other.kill();
}

#[test]
fn in_the_hub_itself_the_real_call_is_made() {
    let (ours, mut theirs) = tcp_pair();
    let polled = Rc::new(Cell::new(-1));
    greenloom::get_hub().schedule_call_global(Duration::ZERO, {
        let polled = Rc::clone(&polled);
        move || {
            let mut one = libc::pollfd { fd: ours.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            polled.set(unsafe { libc::poll(&raw mut one, 1, 5) });
        }
    });
    sleep(MILLI);
    assert_eq!(polled.get(), 0);
    theirs.write_all(b"x").unwrap();
}
