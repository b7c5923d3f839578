//! A TCP proxy on an OS thread of its own that cuts, stalls or counts what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Default)]
struct Controls {
    /// After how many more bytes from the broker the connection is cut; 0 for never.
    cut_after: AtomicUsize,
    /// Whether nothing passes any more, with the connection left open.
    stalled: AtomicBool,
    /// How many were made, and how many are open.
    connections: AtomicUsize,
    open: AtomicUsize,
}

pub struct Proxy {
    pub port: u16,
    controls: Arc<Controls>,
}

impl Proxy {
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let controls = Arc::new(Controls::default());
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), controls: Arc::clone(&controls) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                controls.connections.fetch_add(1, Ordering::Relaxed);
                // A broker that is down is one that hangs up.
                let Ok(broker) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (from, to) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
                controls.open.fetch_add(1, Ordering::Relaxed);
                let (there, back) = (Arc::clone(&controls), Arc::clone(&controls));
                std::thread::spawn(move || pass(&from, &to, &there, false));
                std::thread::spawn(move || {
                    pass(&broker, &client, &back, true);
                    back.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        proxy
    }

    /// Cuts after so many more bytes from the broker, wherever in a frame that is.
    pub fn cut_after(&self, bytes: usize) {
        self.controls.cut_after.store(bytes, Ordering::Relaxed);
    }

    /// Whether the cut has happened.
    pub fn has_cut(&self) -> bool {
        self.controls.cut_after.load(Ordering::Relaxed) == 0
    }

    pub fn stall(&self, on: bool) {
        self.controls.stalled.store(on, Ordering::Relaxed);
    }

    pub fn connections(&self) -> usize {
        self.controls.connections.load(Ordering::Relaxed)
    }

    pub fn open(&self) -> usize {
        self.controls.open.load(Ordering::Relaxed)
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, controls: &Controls, cuts: bool) {
    let mut buf = [0; 4096];
    while let Ok(mut length @ 1..) = from.read(&mut buf) {
        while controls.stalled.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let left = if cuts { controls.cut_after.load(Ordering::Relaxed) } else { 0 };
        if left > 0 {
            length = length.min(left);
            controls.cut_after.store(left - length, Ordering::Relaxed);
        }
        if to.write_all(&buf[..length]).is_err() || (left > 0 && left == length) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
