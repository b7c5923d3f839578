//! The frames on a socket, and its two directions.
//!
//! A frame is the length of what follows (32 bits), a kind (8 bits), a number (64 bits) and a body; numbers are little
//! endian. What a number and a body mean depends on the kind. Texts in a body that something follows have their length
//! (16 bits) before them; the last part goes to the end.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use greenloom::net::UnixStream;
use greenloom::sync::Event;
use greenloom::{Builder, SpawnError};

/// What the program says.
pub(super) mod asked {
    /// What this socket is: JSON.
    pub const OPEN: u8 = 0;
    /// Flags (8 bits), seconds until it expires and seconds that sending may take (floats; none if zero), an address
    /// as JSON, the message's id if it is a call, the message.
    pub const SEND: u8 = 1;
    /// A queue for answers; its name is the answer.
    pub const REPLIES: u8 = 2;
    /// The name of a queue, the message. There is no answer.
    pub const REPLY: u8 = 3;
    /// Answered when all replies are sent.
    pub const FLUSH: u8 = 4;
    /// All deliveries up to this one are done with.
    pub const DONE_UP_TO: u8 = 5;
    /// This delivery is done with.
    pub const DONE: u8 = 6;
    /// This delivery is to come again.
    pub const AGAIN: u8 = 7;
    /// No more deliveries.
    pub const STOP: u8 = 8;
    /// Nobody waits for the answer to a call any more: its id. The number says [why](super::given_up).
    pub const FORGET: u8 = 9;
    /// Requests were worked on: of each whether it failed (8 bits), how many seconds it took (a float), its method.
    pub const WORKED: u8 = 10;
}

/// What the program is told.
pub(super) mod said {
    /// The socket is open for what it was opened for.
    pub const READY: u8 = 0;
    /// What has this number is done; what it brings.
    pub const DONE: u8 = 1;
    /// What has this number has failed: how (8 bits), why.
    pub const FAILED: u8 = 2;
    /// An answer to a call. The number has bits: 1, it is the last one; 2, it is a failure. The id of the message, and
    /// JSON.
    pub const ANSWER: u8 = 3;
    /// A delivery: the caller's limit for signs of life in seconds (a float, not a number if there is none), unique
    /// id, id, queue for the answer, and JSON, a list of context and message.
    pub const DELIVERY: u8 = 4;
    /// No more deliveries come.
    pub const STOPPED: u8 = 5;
    /// A record for the log: how urgent, as in Python's `logging`, and the text.
    pub const LOG: u8 = 6;
}

/// Bits of what is to be sent.
pub(super) mod flag {
    /// It is an error if nobody has a queue there.
    pub const MANDATORY: u8 = 1;
    /// It gets an envelope.
    pub const ENVELOPE: u8 = 2;
    /// The queue is made, where it is missing.
    pub const DECLARE: u8 = 4;
    /// It was sent before.
    pub const RESENT: u8 = 8;
}

/// Why nobody waits for the answer to a call any more. Otherwise its caller was ended.
pub(super) mod given_up {
    pub const TIMED_OUT: u64 = 1;
    pub const UNDELIVERED: u64 = 2;
}

/// Longer ones are not what a bus takes.
const LONGEST: usize = 1 << 30;
const HEAD: usize = 13;
/// How much is read at once.
const PIECE: usize = 16 * 1024;
/// How many bytes may wait for a program that does not read.
const HIGH_WATER: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub kind: u8,
    pub number: u64,
    pub body: &'a [u8],
}

/// Appends a frame whose body is these parts.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, number: u64, parts: &[&[u8]]) {
    let length = HEAD - 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(length + 4);
    // A bus does not take messages of 4 GB.
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&number.to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// The length of a text that something follows. Names on a bus have at most 255 bytes, ids are as short.
pub(super) fn length(text: &str) -> [u8; 2] {
    u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes()
}

/// Takes apart what a body begins with.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (&[byte], rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(byte)
    }

    /// Seconds; nothing for zero.
    pub fn seconds(&mut self) -> Option<Option<Duration>> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Duration::try_from_secs_f64(f64::from_le_bytes(*bytes)).ok().filter(|time| !time.is_zero()))
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*bytes).into())?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// The text to the end.
    pub fn rest(&mut self) -> Option<&'a str> {
        std::str::from_utf8(std::mem::take(&mut self.0)).ok()
    }
}

/// What comes from the program.
pub(super) struct Inlet {
    stream: Rc<UnixStream>,
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    used: usize,
}

impl Inlet {
    pub fn new(stream: Rc<UnixStream>) -> Inlet {
        Inlet { stream, buffer: Vec::new(), used: 0 }
    }

    /// Parks until there is a frame; nothing at the end.
    pub fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let length = loop {
            let rest = &self.buffer[self.used..];
            if let Some(length) = rest.first_chunk().map(|length| u32::from_le_bytes(*length) as usize + 4) {
                if !(HEAD..=LONGEST).contains(&length) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an impossible length"));
                }
                if rest.len() >= length {
                    break length;
                }
            }
            if !self.fill()? {
                return Ok(None);
            }
        };
        let frame = &self.buffer[self.used..self.used + length];
        self.used += length;
        let number = frame[5..HEAD].try_into().expect("a head has eight bytes for the number");
        Ok(Some(Frame { kind: frame[4], number: u64::from_le_bytes(number), body: &frame[HEAD..] }))
    }

    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let had = self.buffer.len();
        self.buffer.resize(had + PIECE, 0);
        let read = (&*self.stream).read(&mut self.buffer[had..]);
        self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
        read.map(|count| count > 0)
    }
}

/// What goes to the program: frames of one turn of the hub leave together.
pub(super) struct Outbox {
    waiting: RefCell<Vec<u8>>,
    /// Sent when there is something to write, or it is the end.
    filled: Event<()>,
    /// Sent when there is room again.
    passable: Event<()>,
    closing: Cell<bool>,
    gone: Cell<bool>,
    finished: Event<()>,
}

impl Outbox {
    /// # Errors
    /// When there is no memory for its green thread.
    pub fn open(stream: &Rc<UnixStream>) -> Result<Rc<Outbox>, SpawnError> {
        let outbox = Rc::new(Outbox {
            waiting: RefCell::default(),
            filled: Event::new(),
            passable: Event::new(),
            closing: Cell::new(false),
            gone: Cell::new(false),
            finished: Event::new(),
        });
        let (writer, stream) = (Rc::clone(&outbox), Rc::clone(stream));
        Builder::new().name("bridge writer").spawn(move || writer.write_to(&stream))?;
        Ok(outbox)
    }

    fn write_to(&self, mut stream: &UnixStream) {
        let mut piece = Vec::new();
        loop {
            std::mem::swap(&mut piece, &mut *self.waiting.borrow_mut());
            if piece.is_empty() {
                if self.closing.get() {
                    break;
                }
                self.filled.reset();
                let _ = self.filled.wait();
                continue;
            }
            if stream.write_all(&piece).is_err() {
                break;
            }
            piece.clear();
            let _ = self.passable.send(());
        }
        self.gone.set(true);
        let _ = self.passable.send(());
        let _ = self.finished.send(());
    }

    /// Appends frames. Does not wait.
    pub fn put(&self, append: impl FnOnce(&mut Vec<u8>)) {
        if !self.gone.get() {
            append(&mut self.waiting.borrow_mut());
            let _ = self.filled.send(());
        }
    }

    /// Whether the program is known to have closed the socket.
    pub fn is_gone(&self) -> bool {
        self.gone.get() || self.closing.get()
    }

    /// Parks while too much waits for the program. Returns whether it is still there.
    pub fn wait_passable(&self) -> bool {
        while !self.gone.get() && self.waiting.borrow().len() >= HIGH_WATER {
            self.passable.reset();
            let _ = self.passable.wait();
        }
        !self.gone.get()
    }

    /// The program has closed the socket.
    pub fn leave(&self) {
        self.closing.set(true);
        let _ = self.filled.send(());
    }

    /// Writes what is left and parks until that is done, or nobody reads it.
    pub fn close(&self) {
        self.leave();
        let _ = self.finished.wait_timeout(Duration::from_secs(5));
    }
}
