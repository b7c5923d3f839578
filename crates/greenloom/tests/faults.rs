//! Faults: stack overflow, no memory for stacks, too many open files, fork. Those that end a process do so in a child,
//! which is this test program, told by an environment variable what to do.

use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::time::Duration;

use greenloom::{Builder, Chain, SpawnError, get_hub, sleep, spawn, yield_now};

/// Runs a test of this file, `name`, as a child that goes into its `in_child` branch.
fn child(name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("GREENLOOM_TEST_CHILD", name)
        .output()
        .unwrap()
}

fn in_child(name: &str) -> bool {
    std::env::var("GREENLOOM_TEST_CHILD").is_ok_and(|value| value == name)
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[depth as usize % 64] }
}

fn overflow_in_child(name: &str, thread: &str) -> String {
    let output = child(name);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{errors}");
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{errors}");
    assert!(errors.contains(&format!("stack overflow in green thread {thread}")), "{errors}");
    assert!(errors.contains("GREENLOOM_STACK_SIZE") && errors.contains("Builder::stack_size"), "{errors}");
    errors
}

#[test]
fn a_stack_overflow_names_the_green_thread_its_size_and_the_setting() {
    let name = "a_stack_overflow_names_the_green_thread_its_size_and_the_setting";
    if in_child(name) {
        let deep = Builder::new().name("digger").stack_size(100 * 1024).spawn(|| recurse(0)).unwrap();
        deep.wait().unwrap();
        unreachable!();
    }
    let errors = overflow_in_child(name, "");
    assert!(errors.contains("\"digger\"") && errors.contains(&(100 * 1024).to_string()), "{errors}");
}

#[test]
fn a_stack_overflow_on_an_os_threads_own_stack_is_rusts() {
    let name = "a_stack_overflow_on_an_os_threads_own_stack_is_rusts";
    if in_child(name) {
        spawn(yield_now).wait().unwrap();
        recurse(0);
        unreachable!();
    }
    let output = child(name);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("has overflowed its stack"), "{errors}");
    assert!(!errors.contains("greenloom:"), "{errors}");
}

#[test]
fn the_message_of_a_panic_names_the_green_thread() {
    let name = "the_message_of_a_panic_names_the_green_thread";
    if in_child(name) {
        let named = Builder::new().name("carrier").spawn(|| panic!("dropped it")).unwrap();
        named.wait().unwrap_err();
        let unnamed = spawn(|| panic!("lost it"));
        let id = unnamed.greenlet().id();
        unnamed.wait().unwrap_err();
        eprintln!("unnamed: {id}");
        get_hub().schedule_call_global(Duration::ZERO, || panic!("in the hub"));
        sleep(Duration::from_millis(1));
        spawn(|| sleep(Duration::from_secs(9))).kill();
        let _ = std::panic::catch_unwind(|| panic!("at the root"));
        std::panic::set_hook(Box::new(|info| eprintln!("a hook of the program: {info}")));
        spawn(|| panic!("once more")).wait().unwrap_err();
        std::process::exit(0);
    }
    let errors = String::from_utf8_lossy(&child(name).stderr).into_owned();
    let lines: Vec<&str> = errors.lines().collect();
    // The line before what std's hook writes, which is an empty one, a head and the message.
    let before = |message: &str| {
        let at = lines.iter().position(|line| *line == message).unwrap_or_else(|| panic!("{errors}"));
        lines[at.saturating_sub(3)]
    };
    assert!(before("dropped it").starts_with("greenloom: green thread "), "{errors}");
    assert!(before("dropped it").ends_with(" \"carrier\" panics:"), "{errors}");
    let id = lines.iter().find_map(|line| line.strip_prefix("unnamed: ")).unwrap();
    assert_eq!(before("lost it"), format!("greenloom: green thread {id} panics:"), "{errors}");
    assert_eq!(before("in the hub"), "greenloom: a function that the hub calls panics:", "{errors}");
    assert_eq!(lines.iter().filter(|line| line.ends_with(" panics:")).count(), 3, "{errors}");
    assert!(errors.contains("a hook of the program: panicked at"), "{errors}");
}

#[test]
fn a_stack_too_small_is_an_error_with_the_number() {
    let error = Builder::new().stack_size(100).spawn(|| ()).unwrap_err();
    assert!(matches!(error, SpawnError::Stack(_)));
    assert!(Chain(&error).to_string().contains("100 bytes is too small"), "{error}");
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: lowers a limit of this process.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

#[test]
fn no_memory_for_stacks_is_an_error_with_the_numbers() {
    let name = "no_memory_for_stacks_is_an_error_with_the_numbers";
    if in_child(name) {
        limit(libc::RLIMIT_AS, 1 << 30);
        let mut threads = Vec::new();
        let error = loop {
            match Builder::new().stack_size(1 << 20).spawn(|| sleep(Duration::from_secs(1))) {
                Ok(thread) => threads.push(thread),
                Err(error) => break Chain(&error).to_string(),
            }
        };
        assert!(threads.len() > 100, "{} fit", threads.len());
        assert!(error.contains("1048576 bytes") && error.contains("no memory"), "{error}");
        // What there is goes on.
        drop(threads.pop());
        threads.pop().unwrap().wait().unwrap();
        return;
    }
    let output = child(name);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn no_fds_for_a_hub_is_an_error() {
    let name = "no_fds_for_a_hub_is_an_error";
    if in_child(name) {
        limit(libc::RLIMIT_NOFILE, 3);
        std::thread::spawn(|| {
            let error = greenloom::hub::try_get_hub().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert!(matches!(Builder::new().spawn(|| ()), Err(SpawnError::Hub(_))));
        })
        .join()
        .unwrap();
        return;
    }
    let output = child(name);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_child_of_a_fork_goes_on_with_a_fresh_poller() {
    let name = "the_child_of_a_fork_goes_on_with_a_fresh_poller";
    if in_child(name) {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let fd = reader.as_raw_fd();
        assert!(fd >= 0);
        // The poller knows the pipe before the fork, and a green thread waits on it.
        let handed = reader.try_clone().unwrap();
        let waiter = spawn(move || {
            greenloom::hub::trampoline(&handed, greenloom::hub::Direction::Read, Some(Duration::from_secs(5)))
        });
        sleep(Duration::from_millis(5));
        // SAFETY: this process has one OS thread that runs anything (the test's), and the child ends by _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // The child: timers, spawns and the wait work, on its own epoll instance.
            let slept = spawn(|| sleep(Duration::from_millis(1))).wait().is_ok();
            use std::io::Write;
            writer.write_all(b"c").unwrap();
            let woken = waiter.wait().unwrap().is_ok();
            // SAFETY: ends the child without running the test harness's exit handlers.
            unsafe { libc::_exit(if slept && woken { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(status, 0, "the child failed");
        // The parent's poller is its own: it sees what the child wrote, once.
        waiter.wait().unwrap().unwrap();
        use std::io::Read;
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"c");
        assert_eq!(get_hub().io_waiting_count(), 0);
        return;
    }
    let output = child(name);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
