//! What comes from a connection's socket, as the file that a request's body is read from. It keeps what was read too
//! early, and nothing when there is none.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use memchr::memchr;

use super::growing::Growing;
use crate::eventlet::socket::stream;
use crate::py::ffi::PyObject;
use crate::py::object::{Object, bytes};
use crate::py::{Args, Class, ClassCell, Gil, Owned, Payload, Result, Slot, This};

/// How much is asked for at once where a head or a line is looked for.
pub const RECEIVE_SIZE: usize = 16 << 10;

/// The state of a reader.
pub struct Reader {
    sock: Slot,
    data: RefCell<Vec<u8>>,
    /// So much of it is used up.
    used: Cell<usize>,
    closed: Cell<bool>,
}

static CLASS: ClassCell = ClassCell::unbuilt();

impl Payload for Reader {
    const NAME: &'static CStr = c"greenloom._native.HttpReader";
    const DOC: &'static CStr = c"HttpReader(sock)\n--\n\nThe bytes that come from a socket, as a file.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Reader {
        Reader { sock: Slot::empty(), data: RefCell::default(), used: Cell::new(0), closed: Cell::new(false) }
    }

    fn made(this: This<'_, Reader>, args: Args<'_>) -> Result<()> {
        let [sock] = args.exactly()?;
        this.sock.set(Some(sock.owned()));
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.sock.get());
    }

    fn clear(&self) {
        self.sock.set(None);
    }
}

impl Reader {
    /// How much is there that was read too early.
    pub fn available(&self) -> usize {
        self.data.borrow().len() - self.used.get()
    }

    /// Calls `look` with what is there. The bytes are the call's own meanwhile: code of others may run in it.
    pub fn with_data<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let data = self.data.take();
        let result = look(data.get(self.used.get()..).unwrap_or_default());
        self.data.replace(data);
        result
    }

    /// So much of what is there belongs to somebody now.
    pub fn use_up(&self, size: usize) {
        let used = self.used.get() + size;
        if used >= self.data.borrow().len() {
            self.forget();
        } else {
            self.used.set(used);
        }
    }

    fn forget(&self) {
        self.data.take();
        self.used.set(0);
    }

    /// Waits for more bytes and puts them behind those that are there. Returns how many; 0 at the connection's end.
    pub fn fill(&self, gil: Gil<'_>) -> Result<usize> {
        let sock = self.sock(gil);
        stream::receive(Object::of(&sock), RECEIVE_SIZE, |more| {
            let mut data = self.data.borrow_mut();
            data.drain(..self.used.take());
            data.extend_from_slice(more);
            more.len()
        })
    }

    /// The socket.
    pub fn sock(&self, gil: Gil<'_>) -> Owned {
        self.sock.object().unwrap_or_else(|| Owned::none(gil))
    }

    /// Takes up to `most` of what is there.
    fn take_some(&self, most: usize, into: &mut Growing) -> Result<()> {
        let taken = self.with_data(|data| {
            let part = &data[..most.min(data.len())];
            into.append(part).map(|()| part.len())
        })?;
        self.use_up(taken);
        Ok(())
    }

    /// Gives back what was taken: who is interrupted, by a Timeout say, may read it again, or the end of the body would
    /// be looked for in the next request.
    fn put_back(&self, part: &[u8]) {
        self.data.borrow_mut().splice(..self.used.take(), part.iter().copied());
    }

    /// `size` bytes, or all up to the end if there is none; fewer only at the end.
    pub fn read(&self, gil: Gil<'_>, size: Option<usize>) -> Result<Owned> {
        let size = size.unwrap_or(usize::MAX);
        let mut whole = Growing::new(gil, size)?;
        self.take_some(size, &mut whole)?;
        let sock = self.sock(gil);
        while whole.length() < size {
            let got = whole.fill(|room| {
                // SAFETY: the room is there, in bytes that nobody else has, and stays while others run.
                unsafe { stream::receive_into(Object::of(&sock), room.as_mut_ptr().cast(), room.len()) }
            });
            match got {
                Ok(0) => break,
                Ok(_) => {}
                Err(raised) => {
                    self.put_back(whole.so_far());
                    return Err(raised);
                }
            }
        }
        whole.finish()
    }

    /// A line with its end; less at the end, or if it is longer than `size`.
    pub fn readline(&self, gil: Gil<'_>, size: Option<usize>) -> Result<Owned> {
        let size = size.unwrap_or(usize::MAX);
        let mut searched = 0;
        loop {
            let end = self.with_data(|data| memchr(b'\n', &data[searched..]).map(|at| searched + at + 1));
            searched = self.available();
            let is_whole = end.is_some() || searched >= size;
            if !is_whole && self.fill(gil)? > 0 {
                continue;
            }
            let length = end.unwrap_or_else(|| self.available()).min(size);
            let line = self.with_data(|data| bytes(gil, &data[..length]))?;
            self.use_up(length);
            return Ok(line);
        }
    }
}

fn size_of(argument: Option<Object<'_>>) -> Result<Option<usize>> {
    argument.map_or(Ok(None), |size| Ok(usize::try_from(size.number()?).ok()))
}

fn read(this: This<'_, Reader>, args: Args<'_>) -> Result<Owned> {
    let ([], [size]) = args.parse("read", [], ["size"])?;
    Reader::read(&this, this.gil(), size_of(size)?)
}

fn readline(this: This<'_, Reader>, args: Args<'_>) -> Result<Owned> {
    let ([], [size]) = args.parse("readline", [], ["size"])?;
    Reader::readline(&this, this.gil(), size_of(size)?)
}

fn take(this: This<'_, Reader>, _: Args<'_>) -> Result<Owned> {
    let data = this.with_data(|data| bytes(this.gil(), data))?;
    this.forget();
    Ok(data)
}

fn close(this: This<'_, Reader>, _: Args<'_>) -> Result<Owned> {
    this.closed.set(true);
    this.forget();
    Ok(Owned::none(this.gil()))
}

fn set_data(this: This<'_, Reader>, value: Option<Owned>) -> Result<()> {
    this.forget();
    if let Some(value) = value {
        this.data.replace(Object::of(&value).content()?.to_vec());
    }
    Ok(())
}

pub fn class() -> Class<Reader> {
    Class::new()
        .method(
            c"read",
            read,
            c"read($self, size=-1)\n--\n\n*size* bytes, or all up to the end; fewer only at the end. Blocks until they \
              are there.",
        )
        .method(
            c"readline",
            readline,
            c"readline($self, size=-1)\n--\n\nA line with its end; less at the end, or if it is longer than *size*. \
              Blocks until it is there.",
        )
        .method(c"take", take, c"take($self)\n--\n\nWhat was read from the socket and belongs to nobody yet.")
        .method(c"close", close, c"close($self)\n--\n\nForgets what is there.")
        .property(
            c"data",
            |this| this.with_data(|data| bytes(this.gil(), data)),
            set_data,
            c"What was read too early.",
        )
        .flag(c"closed", |reader| &reader.closed, c"Whether it was closed.")
        .getter(c"sock", |this| Ok(this.sock(this.gil())), c"The socket.")
}
