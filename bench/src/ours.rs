//! Every use of greenloom: what it does in each figure, its echo server, and its HTTP server.

use std::{
    cell::Cell,
    hint::black_box,
    io::{self, Read, Write},
    rc::Rc,
    time::Duration,
};

use greenloom::{
    Builder, GreenThread, Hubs,
    greenlet::{Current, Greenlet},
    net::{ListenOptions, TcpStream},
    queue::LightQueue,
};
use greenloom_web::{
    Body, ServerOptions,
    http::{HeaderValue, Response, header},
};

use crate::{
    figure::{Sample, Scale, Skip},
    http::{BODY, Inbox, RESPONSE},
    listen::{ANY_PORT, BACKLOG, announce},
    stopwatch::nanoseconds,
};

/// Two greenlets that switch to each other; neither is the root.
pub fn switch(scale: Scale) -> Result<Sample, Skip> {
    let main = Current::<Sample>::here();
    let a = Greenlet::new(&main, move |me: &Current<u64>, _| {
        let back = me.receiver();
        let b = Greenlet::new(me, move |me: &Current<u64>, mut value| {
            loop {
                value = me.switch(&back, value + 1)?;
            }
        });
        Ok(nanoseconds(scale, |count| {
            let mut value = 0;
            // There and back again: two switches.
            for _ in 0..count / 2 {
                value = me.switch(&b, value).expect("b goes on for ever");
            }
            assert_eq!(black_box(value), count / 2);
        }))
    });
    main.switch(&a, 0).map_err(|error| Skip::failed(error.to_string()))
}

pub fn yielding(scale: Scale, green_threads: u64) -> Result<Sample, Skip> {
    Ok(nanoseconds(scale, |count| {
        let taking_turns = move || {
            for _ in 0..count / green_threads {
                greenloom::yield_now();
            }
        };
        let threads: Vec<_> = (0..green_threads).map(|_| greenloom::spawn(taking_turns)).collect();
        threads.into_iter().for_each(ended);
    }))
}

pub fn spawn(scale: Scale) -> Result<Sample, Skip> {
    Ok(nanoseconds(scale, |count| ended(greenloom::spawn(move || spawn_and_wait(count)))))
}

pub fn spawn_from_main(scale: Scale) -> Result<Sample, Skip> {
    Ok(nanoseconds(scale, spawn_and_wait))
}

fn spawn_and_wait(count: u64) {
    for _ in 0..count {
        ended(greenloom::spawn(|| ()));
    }
}

fn ended(thread: GreenThread<()>) {
    thread.wait().expect("the green thread does not panic");
}

pub fn hop(scale: Scale) -> Result<Sample, Skip> {
    Ok(nanoseconds(scale, |count| {
        let there = Rc::new(LightQueue::new(1));
        let arriving = Rc::clone(&there);
        let producer = greenloom::spawn(move || (0..count).for_each(|item| there.put(item).expect("nobody closes it")));
        let consumer = greenloom::spawn(move || (0..count).for_each(|item| assert_eq!(arriving.get(), Ok(item))));
        ended(producer);
        ended(consumer);
    }))
}

/// Makes `count` green threads, and returns when all of them sleep.
pub fn fall_asleep(count: u64, stack_size: Option<usize>, sleep: Duration) {
    let builder = stack_size.map_or_else(Builder::new, |bytes| Builder::new().stack_size(bytes));
    let asleep = Rc::new(Cell::new(0));
    for _ in 0..count {
        let asleep = Rc::clone(&asleep);
        let sleeper = move || {
            asleep.set(asleep.get() + 1);
            greenloom::sleep(sleep);
        };
        builder.clone().spawn(sleeper).expect("there is memory for a stack");
    }
    while asleep.get() < count {
        greenloom::yield_now();
    }
}

/// The echo: one green thread a connection, in this thread's hub or dealt out to hubs on threads of their own.
pub fn serve(threads: usize) -> io::Result<()> {
    let hubs = if threads == 1 { None } else { Some(Hubs::new(threads)?) };
    let listener = ListenOptions::new().backlog(BACKLOG).bind(ANY_PORT)?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept()?;
        // An error is a client that left.
        match &hubs {
            None => greenloom::spawn_n(move || drop(answer(stream))),
            Some(hubs) => drop(hubs.spawn(move || answer(stream).ok())),
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::new();
    loop {
        let arrived = stream.read(inbox.room())?;
        if arrived == 0 {
            return Ok(());
        }
        for _ in 0..inbox.take(arrived) {
            stream.write_all(RESPONSE)?;
        }
    }
}

/// HTTP/1.1 by `greenloom-web`, in this thread's hub.
pub fn serve_http() -> io::Result<()> {
    let listener = ListenOptions::new().backlog(BACKLOG).bind(ANY_PORT)?;
    announce(listener.local_addr()?)?;
    let server = ServerOptions::new().start(listener, |_request| {
        let mut response = Response::new(Body::from(BODY));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    })?;
    server.wait()
}
