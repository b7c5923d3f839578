//! std's blocking calls on green threads: nobody else waits, and each call does what it does on an OS thread.

// What is unsafe here are calls of libc with buffers and descriptors of the test's own.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use common::{MILLI, lets_others_run, tcp_pair};
use greenloom::{spawn, timeout};

mod common;

greenloom_hooks::install!();

#[test]
fn a_sleep_suspends_one_green_thread_only() {
    let began = Instant::now();
    let sleepers: Vec<_> = (0..50).map(|_| spawn(|| thread::sleep(100 * MILLI))).collect();
    for sleeper in sleepers {
        sleeper.wait().unwrap();
    }
    let took = began.elapsed();
    assert!(took >= 100 * MILLI && took < 1000 * MILLI, "{took:?} for 50 sleeps of 100 ms at once");
}

#[test]
fn a_read_of_a_tcp_stream_parks() {
    let (mut ours, mut theirs) = tcp_pair();
    let read = move || {
        let mut buffer = [0; 5];
        ours.read_exact(&mut buffer).unwrap();
        buffer
    };
    assert_eq!(&lets_others_run(read, move || theirs.write_all(b"hello").unwrap()), b"hello");
}

#[test]
fn a_write_that_fills_the_buffers_parks_until_all_is_sent() {
    let (ours, mut theirs) = tcp_pair();
    const LENGTH: usize = 20_000_000;
    let write = move || {
        let sent = unsafe { libc::write(ours.as_raw_fd(), vec![7u8; LENGTH].as_ptr().cast(), LENGTH) };
        ours.shutdown(Shutdown::Both).unwrap();
        drop(ours);
        sent
    };
    let read = move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), LENGTH);
    };
    assert_eq!(lets_others_run(write, read), LENGTH as isize, "one blocking write sends all");
}

#[test]
fn vectored_calls_park_too() {
    let (mut ours, theirs) = tcp_pair();
    let one = vec![1u8; 3_000_000];
    let two = vec![2u8; 3_000_000];
    let write = move || ours.write_vectored(&[IoSlice::new(&one), IoSlice::new(&two)]).unwrap();
    let read = move || {
        let mut all = Vec::new();
        (&theirs).take(6_000_000).read_to_end(&mut all).unwrap();
        assert_eq!((all[0], all[5_999_999], all.len()), (1, 2, 6_000_000));
    };
    assert_eq!(lets_others_run(write, read), 6_000_000);
}

#[test]
fn accept_and_connect_park() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stream, from) = lets_others_run(
        move || listener.accept().unwrap(),
        move || {
            let stream = TcpStream::connect(address).unwrap();
            thread::sleep(MILLI);
            drop(stream);
        },
    );
    assert!(from.ip().is_loopback());
    assert!(stream.peer_addr().is_ok());
}

#[test]
fn a_refused_connect_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = spawn(move || TcpStream::connect(address).unwrap_err().kind()).wait().unwrap();
    assert_eq!(refused, ErrorKind::ConnectionRefused);
}

#[test]
fn a_connect_leaves_the_descriptor_blocking() {
    let (ours, theirs) = tcp_pair();
    for stream in [&ours, &theirs] {
        assert_eq!(unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFL) } & libc::O_NONBLOCK, 0);
    }
}

#[test]
fn a_unix_listener_whose_queue_is_full_is_waited_for() {
    let folder = std::env::temp_dir().join(format!("greenloom-hooks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let path = path.clone();
            spawn(move || UnixStream::connect(path).unwrap())
        })
        .collect();
    thread::sleep(10 * MILLI);
    let servers: Vec<_> = (0..10).map(|_| listener.accept().unwrap()).collect();
    let connected: Vec<_> = clients.into_iter().map(|client| client.wait().unwrap()).collect();
    assert_eq!(servers.len(), connected.len());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_time_limits_of_a_socket_hold() {
    let (ours, _theirs) = tcp_pair();
    ours.set_read_timeout(Some(30 * MILLI)).unwrap();
    let (kind, took) = spawn(move || {
        let began = Instant::now();
        ((&ours).read(&mut [0; 1]).unwrap_err().kind(), began.elapsed())
    })
    .wait()
    .unwrap();
    assert_eq!(kind, ErrorKind::WouldBlock);
    assert!(took >= 30 * MILLI, "{took:?}");
}

#[test]
fn a_socket_that_the_program_made_non_blocking_does_not_wait() {
    let (ours, _theirs) = tcp_pair();
    ours.set_nonblocking(true).unwrap();
    let kind = spawn(move || (&ours).read(&mut [0; 1]).unwrap_err().kind()).wait().unwrap();
    assert_eq!(kind, ErrorKind::WouldBlock);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(spawn(move || listener.accept().unwrap_err().kind()).wait().unwrap(), ErrorKind::WouldBlock);
}

#[test]
fn datagrams_keep_their_bounds() {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = one.local_addr().unwrap();
    let receive = move || {
        let mut buffer = [0; 100];
        let first = one.recv_from(&mut buffer).unwrap().0;
        (first, one.recv_from(&mut buffer).unwrap().0)
    };
    let send = move || {
        other.send_to(b"abc", to).unwrap();
        other.send_to(b"", to).unwrap();
    };
    assert_eq!(lets_others_run(receive, send), (3, 0));
}

#[test]
fn pipes_park_in_both_directions() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    const LENGTH: usize = 1_000_000;
    let write = move || writer.write_all(&vec![5u8; LENGTH]).unwrap();
    let read = move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), LENGTH);
    };
    lets_others_run(write, read);
}

#[test]
fn files_are_read_and_written() {
    let path = std::env::temp_dir().join(format!("greenloom-hooks-file-{}", std::process::id()));
    let copy = path.clone();
    let text = spawn(move || {
        std::fs::write(&copy, "text").unwrap();
        let mut read = String::new();
        File::open(&copy).unwrap().read_to_string(&mut read).unwrap();
        read
    });
    assert_eq!(text.wait().unwrap(), "text");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_child_is_waited_for_with_its_output() {
    let began = Instant::now();
    let children: Vec<_> = (0..10)
        .map(|number| {
            spawn(move || {
                let script = format!("sleep 0.2; echo {number}; exit {number}");
                let output = output_of(Command::new("sh").args(["-c", &script]));
                (String::from_utf8(output.stdout).unwrap(), output.status.code())
            })
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        assert_eq!(child.wait().unwrap(), (format!("{number}\n"), Some(number as i32)));
    }
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?} for 10 children of 200 ms", began.elapsed());
}

fn output_of(command: &mut Command) -> std::process::Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn any_child_is_waited_for() {
    let group = unsafe { libc::getpgrp() };
    // Another test's child is not taken: only this group's, which is made for it.
    let mut command = Command::new("sleep");
    let child = std::os::unix::process::CommandExt::process_group(command.arg("0.05"), 0).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    assert_ne!(pid, group);
    let waiter = spawn(move || {
        let mut status = 0;
        let found = unsafe { libc::waitpid(-pid, &raw mut status, 0) };
        drop(child);
        (found, status)
    });
    let ticks = spawn(|| (0..3).for_each(|_| thread::sleep(MILLI)));
    ticks.wait().unwrap();
    assert_eq!(waiter.wait().unwrap(), (pid, 0));
}

#[test]
fn a_name_is_looked_up() {
    let found = spawn(|| std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80)).unwrap().count());
    assert!(found.wait().unwrap() > 0);
}

#[test]
fn poll_waits_for_the_first_of_several() {
    let ((one, one_far), (two, mut two_far)) = (tcp_pair(), tcp_pair());
    let poll = move || {
        let fd = |stream: &TcpStream| libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut fds = [fd(&one), fd(&two)];
        let found = unsafe { libc::poll(fds.as_mut_ptr(), 2, 5_000) };
        (found, fds[0].revents, fds[1].revents)
    };
    let release = move || {
        two_far.write_all(b"x").unwrap();
        thread::sleep(20 * MILLI);
        drop(one_far);
    };
    assert_eq!(lets_others_run(poll, release), (1, 0, libc::POLLIN));
}

#[test]
fn poll_and_select_give_up_in_time() {
    let (ours, _theirs) = tcp_pair();
    let (polled, selected, left, took) = spawn(move || {
        let began = Instant::now();
        let mut fd = libc::pollfd { fd: ours.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let polled = unsafe { libc::poll(&raw mut fd, 1, 20) };
        let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
        unsafe { libc::FD_SET(ours.as_raw_fd(), &raw mut set) };
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        let null = std::ptr::null_mut();
        let selected = unsafe { libc::select(ours.as_raw_fd() + 1, &raw mut set, null, null, &raw mut time) };
        (polled, selected, time.tv_usec, began.elapsed())
    })
    .wait()
    .unwrap();
    assert_eq!((polled, selected, left), (0, 0, 0));
    assert!(took >= 40 * MILLI, "{took:?}");
}

#[test]
fn select_tells_which_is_ready() {
    let (ours, mut theirs) = tcp_pair();
    let select = move || {
        let fd = ours.as_raw_fd();
        let (mut read, mut write): (libc::fd_set, libc::fd_set) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        unsafe { libc::FD_SET(fd, &raw mut read) };
        let null = std::ptr::null_mut();
        let found = unsafe { libc::select(fd + 1, &raw mut read, &raw mut write, null, std::ptr::null_mut()) };
        (found, unsafe { libc::FD_ISSET(fd, &raw const read) }, unsafe { libc::FD_ISSET(fd, &raw const write) })
    };
    assert_eq!(lets_others_run(select, move || theirs.write_all(b"x").unwrap()), (1, true, false));
}

#[test]
fn two_may_wait_for_one_descriptor() {
    let (ours, mut theirs) = tcp_pair();
    let ours = Rc::new(ours);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let ours = Rc::clone(&ours);
            spawn(move || (&*ours).read(&mut [0; 1]).unwrap())
        })
        .collect();
    thread::sleep(5 * MILLI);
    theirs.write_all(b"ab").unwrap();
    assert_eq!(readers.into_iter().map(|reader| reader.wait().unwrap()).sum::<usize>(), 2);
}

#[test]
fn a_descriptor_that_is_closed_under_a_waiting_call_is_bad() {
    let (ours, _theirs) = tcp_pair();
    let fd = ours.as_raw_fd();
    let reader = spawn(move || {
        let mut byte = 0u8;
        let read = unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
        (read, std::io::Error::last_os_error().raw_os_error())
    });
    thread::sleep(5 * MILLI);
    drop(ours);
    assert_eq!(reader.wait().unwrap(), (-1, Some(libc::EBADF)));
}

#[test]
fn a_number_that_is_used_again_is_another_file() {
    for _ in 0..20 {
        let (ours, mut theirs) = tcp_pair();
        let read = move || (&ours).read(&mut [0; 1]).unwrap();
        assert_eq!(lets_others_run(read, move || theirs.write_all(b"x").unwrap()), 1);
    }
}

#[test]
fn a_wait_that_times_out_breaks_the_connection() {
    let (ours, mut theirs) = tcp_pair();
    let waiter = spawn(move || {
        let result = timeout(10 * MILLI, || (&ours).read(&mut [0; 1]).map_err(|error| error.raw_os_error()));
        // What would have been read later is not taken for another answer.
        (result, (&ours).read(&mut [0; 1]).unwrap())
    });
    assert_eq!(waiter.wait().unwrap(), (Ok(Err(Some(libc::ECANCELED))), 0));
    assert!(theirs.write_all(b"late").and_then(|()| theirs.read(&mut [0; 1])).is_ok_and(|read| read == 0));
}

#[test]
fn a_killed_green_thread_ends_at_its_next_park_in_rust() {
    let (ours, _theirs) = tcp_pair();
    let after = Rc::new(Cell::new(false));
    let seen = Rc::clone(&after);
    let victim = spawn(move || {
        let failed = (&ours).read(&mut [0; 1]).is_err();
        seen.set(failed);
        greenloom::sleep(Duration::from_secs(60));
        unreachable!("it unwinds from here");
    });
    thread::sleep(5 * MILLI);
    victim.kill();
    assert!(victim.wait().is_err());
    assert!(after.get(), "the call failed, and the code after it ran");
}

#[test]
fn a_call_that_never_waits_lets_others_run_all_the_same() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let done = Rc::new(Cell::new(false));
    let seen = Rc::clone(&done);
    let busy = spawn(move || {
        let began = Instant::now();
        while !seen.get() && began.elapsed() < Duration::from_secs(10) {
            writer.write_all(b"x").unwrap();
            reader.read_exact(&mut [0; 1]).unwrap();
        }
        seen.get()
    });
    let ticker = spawn(move || {
        for _ in 0..5 {
            thread::sleep(MILLI);
        }
        done.set(true);
    });
    assert!(busy.wait().unwrap(), "the ticker had its turns");
    ticker.wait().unwrap();
}

#[test]
fn a_lock_of_a_file_is_waited_for() {
    let path = std::env::temp_dir().join(format!("greenloom-hooks-lock-{}", std::process::id()));
    let (mine, other) = (File::create(&path).unwrap(), File::create(&path).unwrap());
    mine.lock().unwrap();
    lets_others_run(
        move || other.lock().unwrap(),
        move || {
            thread::sleep(5 * MILLI);
            mine.unlock().unwrap();
        },
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn an_os_thread_without_a_hub_blocks() {
    let (ours, mut theirs) = tcp_pair();
    let reader = thread::spawn(move || {
        let read = (&ours).read(&mut [0; 1]).unwrap();
        thread::sleep(MILLI);
        read
    });
    theirs.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap(), 1);
}

#[test]
fn a_signal_handler_is_not_suspended() {
    extern "C" fn handler(_: i32) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
        IN_HANDLER.set(COUNT.get());
    }
    thread_local! {
        static COUNT: Cell<u32> = const { Cell::new(0) };
        static IN_HANDLER: Cell<u32> = const { Cell::new(u32::MAX) };
    }
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as usize) };
    let other = spawn(|| COUNT.set(COUNT.get() + 1));
    spawn(|| {
        let before = COUNT.get();
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1) };
        assert_eq!((IN_HANDLER.get(), COUNT.get()), (before, before), "nobody ran while the handler slept");
    })
    .wait()
    .unwrap();
    other.wait().unwrap();
}

#[test]
fn a_child_of_fork_uses_the_plain_calls() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    greenloom::get_hub();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        thread::sleep(MILLI);
        let wrote = writer.write_all(b"child").is_ok();
        unsafe { libc::_exit(i32::from(!wrote)) };
    }
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!((text.as_str(), status), ("child", 0));
}
