//! Stacks in a process that locks its memory. In a file of its own, because that is for the whole process.

use greenloom_fiber::Stack;

/// A value of `/proc/self/status` in KiB.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether the system can read the byte at an address for us.
fn is_readable(address: *const u8) -> bool {
    let mut pipe = [0; 2];
    // SAFETY: fills in two descriptors, and asks the system to read an address, which it refuses if it must.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let written = libc::write(pipe[1], address.cast(), 1);
        libc::close(pipe[0]);
        libc::close(pipe[1]);
        written == 1
    }
}

fn lock(flags: libc::c_int) -> bool {
    // SAFETY: locks memory, and changes nothing in it.
    let locked = unsafe { libc::mlockall(flags) } == 0;
    if !locked {
        eprintln!("not tested: mlockall is not allowed here: {}", std::io::Error::last_os_error());
    }
    locked
}

#[test]
fn a_process_that_locks_its_memory_gets_stacks_that_take_what_they_touch_with_guards() {
    const SIZE: usize = 8 << 20;
    if !lock(libc::MCL_FUTURE) {
        return;
    }
    let (locked, resident) = (status("VmLck"), status("VmRSS"));
    let stacks: Vec<Stack> = (0..4).map(|_| Stack::new(SIZE).unwrap()).collect();
    assert!(status("VmLck") < locked + 1024, "{} KiB are locked, and were {locked}", status("VmLck"));
    assert!(status("VmRSS") < resident + 1024, "{} KiB are resident, and were {resident}", status("VmRSS"));
    for stack in &stacks {
        assert!(is_readable(stack.bottom()) && !is_readable(stack.bottom().wrapping_sub(1)));
    }

    // Now the uncut rest of the mapping is locked, where Linux refuses guards that cost nothing.
    if !lock(libc::MCL_CURRENT | libc::MCL_ONFAULT) {
        return;
    }
    let more = Stack::new(SIZE).unwrap();
    assert!(is_readable(more.bottom()) && !is_readable(more.bottom().wrapping_sub(1)));
}
