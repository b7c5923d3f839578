//! TCP.

use std::io::{Read, Write};
use std::time::Duration;

use greenloom::net::{TcpListener, TcpStream};
use greenloom::{get_hub, spawn, yield_now};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn what_is_written_is_read_in_order() {
    let (mut ours, mut theirs) = pair();
    let echo = spawn(move || {
        let mut buf = [0; 7];
        loop {
            match theirs.read(&mut buf).unwrap() {
                0 => return,
                n => theirs.write_all(&buf[..n]).unwrap(),
            }
        }
    });
    for round in 0..100u32 {
        ours.write_all(&round.to_be_bytes()).unwrap();
        let mut answer = [0; 4];
        ours.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_be_bytes(answer), round);
    }
    drop(ours);
    echo.wait().unwrap();
}

#[test]
fn others_run_while_one_reads() {
    let (ours, theirs) = pair();
    let reader = spawn(move || (&ours).read(&mut [0]).unwrap());
    yield_now();
    assert!(!reader.dead());
    assert_eq!(get_hub().io_waiting_count(), 1);
    (&theirs).write_all(b"x").unwrap();
    assert_eq!(reader.wait().unwrap(), 1);
    assert_eq!(get_hub().io_waiting_count(), 0);
}
