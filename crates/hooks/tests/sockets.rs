//! The hooked calls at descriptors one by one, as C code makes them: that each parks, and what it returns and leaves
//! behind.

// What is unsafe here are calls of libc with buffers and descriptors of the test's own.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::cell::Cell;
use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Write};
use std::mem;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixDatagram;
use std::ptr::{null, null_mut};
use std::rc::Rc;
use std::time::Duration;

use common::{Call, MILLI, errno, lets_others_run, set_errno, tcp_pair, timed, told};
use greenloom::{sleep, spawn, timeout};

mod common;

greenloom_hooks::install!();

fn buffer_of(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

fn message_of(buffer: &mut libc::iovec) -> libc::msghdr {
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (buffer, 1);
    message
}

fn several_of(buffer: &mut libc::iovec) -> libc::mmsghdr {
    libc::mmsghdr { msg_hdr: message_of(buffer), msg_len: 0 }
}

fn set_of(fd: c_int) -> libc::fd_set {
    unsafe {
        let mut set: libc::fd_set = mem::zeroed();
        libc::FD_SET(fd, &raw mut set);
        set
    }
}

fn epoll_of(fd: c_int) -> File {
    unsafe {
        let epoll = File::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        assert_eq!(libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
        epoll
    }
}

fn poll_of(fd: c_int) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// Each returns 1 when one byte has come.
const RECEIVE: [(&str, Call); 12] = [
    ("read", |fd| unsafe { libc::read(fd, [0u8; 8].as_mut_ptr().cast(), 8) }),
    ("readv", |fd| unsafe { libc::readv(fd, &buffer_of(&mut [0; 8]), 1) }),
    ("recv", |fd| unsafe { libc::recv(fd, [0u8; 8].as_mut_ptr().cast(), 8, 0) }),
    ("recvfrom", |fd| unsafe { libc::recvfrom(fd, [0u8; 8].as_mut_ptr().cast(), 8, 0, null_mut(), null_mut()) }),
    ("recvmsg", |fd| unsafe { libc::recvmsg(fd, &mut message_of(&mut buffer_of(&mut [0; 8])), 0) }),
    ("recvmmsg", |fd| unsafe {
        libc::recvmmsg(fd, &mut several_of(&mut buffer_of(&mut [0; 8])), 1, 0, null_mut()) as isize
    }),
    ("poll", |fd| unsafe { libc::poll(&mut poll_of(fd), 1, -1) as isize }),
    ("ppoll", |fd| unsafe { libc::ppoll(&mut poll_of(fd), 1, null(), null()) as isize }),
    ("select", |fd| unsafe { libc::select(fd + 1, &mut set_of(fd), null_mut(), null_mut(), null_mut()) as isize }),
    ("pselect", |fd| unsafe {
        libc::pselect(fd + 1, &mut set_of(fd), null_mut(), null_mut(), null(), null()) as isize
    }),
    ("epoll_wait", |fd| unsafe {
        let epoll = epoll_of(fd);
        libc::epoll_wait(epoll.as_raw_fd(), &mut mem::zeroed(), 1, -1) as isize
    }),
    ("epoll_pwait", |fd| unsafe {
        let epoll = epoll_of(fd);
        libc::epoll_pwait(epoll.as_raw_fd(), &mut mem::zeroed(), 1, -1, null()) as isize
    }),
];

#[test]
fn what_waits_for_something_to_come_parks_and_leaves_errno_alone() {
    for (name, call) in RECEIVE {
        let (ours, mut theirs) = tcp_pair();
        let receive = move || {
            set_errno(77);
            (call(ours.as_raw_fd()), errno())
        };
        let send = move || {
            theirs.write_all(b"x").unwrap();
            set_errno(78);
        };
        assert_eq!(lets_others_run(receive, send), (1, 77), "{name}");
    }
}

#[test]
fn what_the_program_made_non_blocking_does_not_wait() {
    for (name, call) in &RECEIVE[..6] {
        let (ours, _theirs) = tcp_pair();
        ours.set_nonblocking(true).unwrap();
        let call = *call;
        assert_eq!(spawn(move || told(call(ours.as_raw_fd()))).wait().unwrap(), -(libc::EAGAIN as isize), "{name}");
    }
}

const LENGTH: usize = 8_000_000;

/// Each sends that many bytes at once.
const SEND: [(&str, Call); 7] = [
    ("write", |fd| unsafe { libc::write(fd, vec![7u8; LENGTH].as_ptr().cast(), LENGTH) }),
    ("writev", |fd| {
        let (mut one, mut two) = (vec![7; LENGTH / 2], vec![7; LENGTH / 2]);
        unsafe { libc::writev(fd, [buffer_of(&mut one), buffer_of(&mut two)].as_ptr(), 2) }
    }),
    ("send", |fd| unsafe { libc::send(fd, vec![7u8; LENGTH].as_ptr().cast(), LENGTH, 0) }),
    ("sendto", |fd| unsafe { libc::sendto(fd, vec![7u8; LENGTH].as_ptr().cast(), LENGTH, 0, null(), 0) }),
    ("sendmsg", |fd| unsafe { libc::sendmsg(fd, &message_of(&mut buffer_of(&mut vec![7; LENGTH])), 0) }),
    ("sendmmsg", |fd| unsafe {
        let mut bytes = vec![7; LENGTH];
        let mut buffer = buffer_of(&mut bytes);
        let mut one = several_of(&mut buffer);
        match libc::sendmmsg(fd, &raw mut one, 1, 0) {
            1 => one.msg_len as isize,
            failed => failed as isize,
        }
    }),
    ("sendfile", |fd| unsafe {
        let mut file = File::from_raw_fd(libc::memfd_create(c"sent".as_ptr(), 0));
        file.write_all(&vec![7; LENGTH]).unwrap();
        let mut from = 0;
        let sent = libc::sendfile(fd, file.as_raw_fd(), &raw mut from, LENGTH);
        assert_eq!(from as isize, sent.max(0), "it says how far it came");
        sent
    }),
];

#[test]
fn what_sends_parks_until_all_of_it_is_sent() {
    for (name, call) in SEND {
        let (ours, theirs) = tcp_pair();
        let read = move || {
            let mut all = Vec::new();
            theirs.take(LENGTH as u64).read_to_end(&mut all).unwrap();
            assert!(all.len() == LENGTH && all.iter().all(|byte| *byte == 7));
        };
        assert_eq!(lets_others_run(move || told(call(ours.as_raw_fd())), read), LENGTH as isize, "{name}");
    }
}

#[test]
fn a_limit_of_a_socket_ends_a_wait_to_receive() {
    let limit = 20 * MILLI;
    for (name, call) in &RECEIVE[..6] {
        let (ours, _theirs) = tcp_pair();
        ours.set_read_timeout(Some(limit)).unwrap();
        let call = *call;
        let (result, took) = lets_others_run(move || timed(|| told(call(ours.as_raw_fd()))), || ());
        assert_eq!(result, -(libc::EAGAIN as isize), "{name}");
        assert!(took >= limit, "{name}: {took:?}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_limit(listener.as_raw_fd(), libc::SO_RCVTIMEO, limit);
    let accept = move || unsafe { told(libc::accept(listener.as_raw_fd(), null_mut(), null_mut()) as isize) };
    assert_eq!(lets_others_run(accept, || ()), -(libc::EAGAIN as isize));
}

fn set_limit(fd: c_int, which: c_int, limit: Duration) {
    let value = libc::timeval { tv_sec: 0, tv_usec: limit.subsec_micros().into() };
    let length = mem::size_of_val(&value) as libc::socklen_t;
    assert_eq!(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, which, (&raw const value).cast(), length) }, 0);
}

#[test]
fn a_limit_of_a_socket_ends_a_wait_to_send_with_what_was_sent() {
    for (name, call) in SEND {
        let (ours, _theirs) = tcp_pair();
        ours.set_write_timeout(Some(20 * MILLI)).unwrap();
        let send = move || told(call(ours.as_raw_fd()));
        // The system may find a little more room when the first call has ended.
        let calls = move || (send(), (0..100).map(|_| send()).find(|sent| *sent < 0));
        let (first, refused) = lets_others_run(calls, || ());
        assert!(first > 0 && first < LENGTH as isize, "{name}: {first}");
        assert_eq!(refused, Some(-(libc::EAGAIN as isize)), "{name}");
    }
}

#[test]
fn the_limit_is_one_for_all_parts_of_a_call() {
    let (ours, mut theirs) = tcp_pair();
    ours.set_write_timeout(Some(100 * MILLI)).unwrap();
    ours.set_read_timeout(Some(100 * MILLI)).unwrap();
    let fd = ours.as_raw_fd();
    // Each part comes long before the limit is over, all of them long after.
    let sent = slowly(
        move || unsafe { libc::send(fd, vec![7u8; LENGTH].as_ptr().cast(), LENGTH, 0) },
        move || _ = theirs.read(&mut vec![0; LENGTH / 200]).unwrap(),
    );
    assert!(sent > 0 && sent < LENGTH as isize, "{sent}");
    let (other, mut theirs) = tcp_pair();
    other.set_read_timeout(Some(100 * MILLI)).unwrap();
    let fd = other.as_raw_fd();
    let received = slowly(
        move || unsafe { libc::recv(fd, [0u8; 200].as_mut_ptr().cast(), 200, libc::MSG_WAITALL) },
        move || theirs.write_all(b"x").unwrap(),
    );
    assert!(received > 0 && received < 200, "{received}");
}

/// Calls `step` every 5 ms while `call` waits.
fn slowly(call: impl FnOnce() -> isize + 'static, mut step: impl FnMut() + 'static) -> isize {
    let stepper = spawn(move || {
        loop {
            sleep(5 * MILLI);
            step();
        }
    });
    let result = spawn(call).wait().unwrap();
    stepper.kill();
    result
}

#[test]
fn a_connect_that_nobody_answers_ends_by_its_limit() {
    // Nobody accepts, so that what comes when the queue is full gets no answer.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: listener.local_addr().unwrap().port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let connect = move || {
        let socket = unsafe { File::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
        set_limit(socket.as_raw_fd(), libc::SO_SNDTIMEO, 50 * MILLI);
        let length = mem::size_of_val(&address) as libc::socklen_t;
        let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
        (socket, told(result as isize))
    };
    let mut connected = Vec::new();
    loop {
        let (socket, result) = spawn(connect).wait().unwrap();
        if result != 0 {
            assert_eq!(result, -(libc::EINPROGRESS as isize));
            break;
        }
        connected.push(socket);
        assert!(connected.len() < 10);
    }
    let (_, result) = lets_others_run(connect, || ());
    assert_eq!(result, -(libc::EINPROGRESS as isize));
}

#[test]
fn what_can_never_be_ready_fails_at_once() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (connected, _theirs) = tcp_pair();
    let fds = (reader.as_raw_fd(), writer.as_raw_fd(), connected.as_raw_fd());
    let all = move || unsafe {
        let mut byte = 0u8;
        [
            told(libc::read(fds.1, (&raw mut byte).cast(), 1)),
            told(libc::write(fds.0, (&raw const byte).cast(), 1)),
            told(libc::accept(fds.2, null_mut(), null_mut()) as isize),
            told(libc::accept4(fds.0, null_mut(), null_mut(), 0) as isize),
        ]
    };
    let told = spawn(move || timeout(Duration::from_secs(5), all)).wait().unwrap().unwrap();
    let wanted = [libc::EBADF, libc::EBADF, libc::EINVAL, libc::ENOTSOCK];
    assert_eq!(told, wanted.map(|code| -(code as isize)));
}

#[test]
fn to_a_file_a_large_write_is_one() {
    fn writes_so_far() -> u32 {
        let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        told.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap().parse().unwrap()
    }
    for call in [SEND[0].1, SEND[1].1] {
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"written".as_ptr(), 0)) };
        let (sent, writes) = spawn(move || {
            let before = writes_so_far();
            let sent = told(call(file.as_raw_fd()));
            (sent, writes_so_far() - before)
        })
        .wait()
        .unwrap();
        assert_eq!((sent, writes), (LENGTH as isize, 1));
    }
}

#[test]
fn receiving_datagrams_ends_with_a_shutdown() {
    let (ours, _theirs) = UnixDatagram::pair().unwrap();
    let ours = Rc::new(ours);
    let shut = Rc::clone(&ours);
    let shut = move || shut.shutdown(Shutdown::Read).unwrap();
    let receive = move || ours.recv(&mut [0; 4]).unwrap();
    assert_eq!(lets_others_run(receive.clone(), shut), 0);
    assert_eq!(receive(), 0);
}

#[test]
fn several_datagrams_are_received_and_sent_by_one_call() {
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    let sender = Rc::new(theirs);
    let send = |count: u32| {
        let sender = Rc::clone(&sender);
        move || {
            let mut bytes = [1, 2, 3];
            let mut buffers: Vec<_> = bytes.chunks_mut(1).map(buffer_of).collect();
            let mut all: Vec<_> = buffers.iter_mut().map(several_of).collect();
            let sent = unsafe { libc::sendmmsg(sender.as_raw_fd(), all.as_mut_ptr(), count, 0) };
            assert_eq!(sent, count as c_int);
            assert!(all[..count as usize].iter().all(|one| one.msg_len == 1));
        }
    };
    let fd = ours.as_raw_fd();
    let receive = move |flags: c_int, limit: Duration| {
        let mut bytes = [0; 5];
        let mut buffers: Vec<_> = bytes.chunks_mut(1).map(buffer_of).collect();
        let mut all: Vec<_> = buffers.iter_mut().map(several_of).collect();
        let mut limit = libc::timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let received = unsafe { libc::recvmmsg(fd, all.as_mut_ptr(), 5, flags, &raw mut limit) };
        (received, bytes[0])
    };
    // All that is there when the first is; until all are there; until one comes after the limit.
    let first = move || receive(libc::MSG_WAITFORONE, 500 * MILLI);
    assert_eq!(lets_others_run(first, send(3)), (3, 1));
    let (three, two) = (send(3), send(2));
    let both = move || {
        three();
        sleep(5 * MILLI);
        two();
    };
    assert_eq!(lets_others_run(move || receive(0, 999 * MILLI), both).0, 5);
    let (one, two) = (send(1), send(1));
    let late = move || {
        one();
        sleep(30 * MILLI);
        two();
    };
    assert_eq!(lets_others_run(move || receive(0, 20 * MILLI), late).0, 2);
}

#[test]
fn a_signal_that_the_mask_of_a_wait_lets_in_ends_it() {
    extern "C" fn handler(_: c_int) {
        SEEN.set(SEEN.get() + 1);
    }
    thread_local! {
        static SEEN: Cell<u32> = const { Cell::new(0) };
    }
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    unsafe {
        libc::signal(libc::SIGUSR2, handler as *const () as usize);
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut());
    }
    const ALL: fn() -> libc::sigset_t = || unsafe { mem::zeroed() };
    let calls: [(&str, Call); 3] = [
        ("ppoll", |fd| unsafe { libc::ppoll(&mut poll_of(fd), 1, null(), &ALL()) as isize }),
        ("pselect", |fd| unsafe {
            libc::pselect(fd + 1, &mut set_of(fd), null_mut(), null_mut(), null(), &ALL()) as isize
        }),
        ("epoll_pwait", |fd| unsafe {
            let epoll = epoll_of(fd);
            libc::epoll_pwait(epoll.as_raw_fd(), &mut mem::zeroed(), 1, -1, &ALL()) as isize
        }),
    ];
    for (number, (name, call)) in calls.into_iter().enumerate() {
        let (ours, _theirs) = tcp_pair();
        let raise = || assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) }, 0);
        let result = lets_others_run(move || told(call(ours.as_raw_fd())), raise);
        assert_eq!((result, SEEN.get()), (-(libc::EINTR as isize), number as u32 + 1), "{name}");
    }
}

#[test]
fn a_stream_that_was_connected_is_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move || unsafe { libc::accept4(listener.as_raw_fd(), null_mut(), null_mut(), libc::SOCK_CLOEXEC) };
    let fd = lets_others_run(accept, move || drop(TcpStream::connect(address).unwrap()));
    let file = unsafe { File::from_raw_fd(fd) };
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}
