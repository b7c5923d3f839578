//! One connection, and the reading of its requests.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use greenloom_http::{Limits, with_head};

use super::classes;
use super::heads::Said;
use super::input::Input;
use super::reader::Reader;
use super::service::Service;
use super::settings::Setting;
use super::words::WORDS;
use crate::http::request;
use crate::http::response::Form;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, bytes, put, unsigned};
use crate::py::{
    self, Args, ClassCell, Gil, GlobalObject, Owned, Payload, Raised, Result, Slot, This, call, call_method, type_error,
};

/// The state of a connection.
pub struct Requests {
    handler: Slot,
    service: Slot,
    sock: Slot,
    reader: Slot,
    /// `[address, socket, state]`
    conn_state: Slot,
    /// What the connection adds to an environ, once a request has come.
    described: Slot,
    /// How response headers are written.
    form: Cell<Form>,
    /// The highest version is 1.0.
    pub version_1_0: Cell<bool>,
    /// An exception comes from reading a request, not from answering one.
    pub receiving: Cell<bool>,
    /// The request that is being answered, or was last.
    pub line: RefCell<Vec<u8>>,
    pub command: Slot,
    /// What a proxy says of the client, if the log has it.
    pub forwarded: Slot,
    pub environ: Slot,
    pub flags: Cell<i64>,
    /// Where the last head is remembered, if it is.
    place: Cell<usize>,
}

static CLASS: ClassCell = ClassCell::unbuilt();

impl Payload for Requests {
    const NAME: &'static CStr = c"greenloom._native.HttpRequests";
    const DOC: &'static CStr = c"HttpRequests(handler, service, reader, conn_state, capitalize, strict)\n--\n\nThe \
      requests of a connection. The socket is the reader's.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Requests {
        Requests {
            handler: Slot::empty(),
            service: Slot::empty(),
            sock: Slot::empty(),
            reader: Slot::empty(),
            conn_state: Slot::empty(),
            described: Slot::empty(),
            form: Cell::new(Form::of(true, false)),
            version_1_0: Cell::new(false),
            receiving: Cell::new(false),
            line: RefCell::default(),
            command: Slot::empty(),
            forwarded: Slot::empty(),
            environ: Slot::empty(),
            flags: Cell::new(0),
            place: Cell::new(0),
        }
    }

    fn made(this: This<'_, Requests>, args: Args<'_>) -> Result<()> {
        let [handler, service, reader, conn_state, capitalize, strict] = args.exactly()?;
        let (Some(read), Some(_)) = (reader.instance::<Reader>(), service.instance::<Service>()) else {
            return type_error(args.gil(), "a reader and a service are needed");
        };
        this.sock.set(Some(read.sock(args.gil())));
        for (slot, object) in [(&this.handler, handler), (&this.service, service), (&this.reader, reader)] {
            slot.set(Some(object.owned()));
        }
        this.conn_state.set(Some(conn_state.owned()));
        this.form.set(Form::of(capitalize.truth()?, strict.truth()?));
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        self.slots().into_iter().for_each(|slot| visit(slot.get()));
    }

    fn clear(&self) {
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }
}

/// A request that was read.
pub struct Request {
    pub environ: Owned,
    pub input: Owned,
    pub flags: i64,
}

/// The objects of a connection, kept for the time of a call.
pub struct Connection<'a> {
    pub this: This<'a, Requests>,
    pub handler: Owned,
    service: Owned,
    pub sock: Owned,
    reader: Owned,
    conn_state: Owned,
}

impl Requests {
    fn slots(&self) -> [&Slot; 9] {
        let Requests { handler, service, sock, reader, conn_state, described, command, forwarded, environ, .. } = self;
        [handler, service, sock, reader, conn_state, described, command, forwarded, environ]
    }

    pub fn connection(this: This<'_, Requests>) -> Result<Connection<'_>> {
        let kept = |slot: &Slot| match slot.object() {
            Some(object) => Ok(object),
            None => py::runtime_error(this.gil(), "the connection is gone"),
        };
        Ok(Connection {
            this,
            handler: kept(&this.handler)?,
            service: kept(&this.service)?,
            sock: kept(&this.sock)?,
            reader: kept(&this.reader)?,
            conn_state: kept(&this.conn_state)?,
        })
    }

    /// How response headers are written.
    pub fn form(&self) -> Form {
        self.form.get()
    }
}

impl Connection<'_> {
    pub fn gil(&self) -> Gil<'_> {
        self.this.gil()
    }

    pub fn service(&self) -> This<'_, Service> {
        Object::of(&self.service).instance().expect("it was checked when it was given")
    }

    fn reader(&self) -> This<'_, Reader> {
        Object::of(&self.reader).instance().expect("it was checked when it was given")
    }

    /// What an attribute of the server says.
    pub fn setting(&self, setting: Setting) -> Result<Owned> {
        self.service().setting(self.gil(), setting)
    }

    /// Whether the connection is in this state.
    pub fn is_in(&self, state: &'static GlobalObject) -> Result<bool> {
        // SAFETY: a live list; an IndexError if it has no such item. The item is looked at only.
        unsafe {
            let present = ffi::PyList_GetItem(self.conn_state.as_ptr(), 2);
            if present.is_null() {
                return Err(Raised);
            }
            let (present, state) = (Object::new(present), Object::word(state));
            Ok(present.as_ptr() == state.as_ptr() || present.latin1_octets() == state.latin1_octets())
        }
    }

    /// Puts it into a state, unless it is to be closed.
    pub fn enter(&self, state: &'static GlobalObject) -> Result<bool> {
        if self.is_in(&WORDS.closing)? {
            return Ok(false);
        }
        let state = Object::word(state).owned();
        // SAFETY: a live list; the reference is given away.
        match unsafe { ffi::PyList_SetItem(self.conn_state.as_ptr(), 2, state.into_raw()) } {
            0 => Ok(true),
            _ => Err(Raised),
        }
    }

    /// Whether the handler says that the connection is to be closed.
    pub fn closes(&self) -> Result<bool> {
        let closes = Object::of(&self.handler).attribute(Object::word(&WORDS.close_connection))?;
        Object::of(&closes).truth()
    }

    pub fn set_closes(&self, closes: bool) -> Result<()> {
        let value = Owned::bool(self.gil(), closes);
        let name = WORDS.close_connection.object();
        // SAFETY: live objects, with the lock held.
        match unsafe { ffi::PyObject_SetAttr(self.handler.as_ptr(), name, value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Reads the next request. None if the client has no more.
    #[inline(never)]
    pub fn receive(&self) -> Result<Option<Request>> {
        let (reader, mut begun) = (self.reader(), false);
        let waits_shorter = self.keepalive_seconds()?;
        if let Some(seconds) = &waits_shorter {
            self.set_timeout(seconds)?;
        }
        loop {
            if reader.available() > 0 {
                let request = reader.with_data(|data| self.read_head(data))?;
                if !begun && (request.is_some() || reader.with_data(has_line)) {
                    // From its first line on, a request has the socket's own timeout, and a graceful stop waits for it.
                    begun = true;
                    self.enter(&WORDS.request)?;
                    if waits_shorter.is_some() {
                        self.set_timeout(&self.setting(Setting::SocketTimeout)?)?;
                    }
                }
                if let Some((request, length)) = request {
                    reader.use_up(length);
                    return Ok(Some(request));
                }
            }
            if reader.fill(self.gil())? == 0 || (!begun && self.is_in(&WORDS.closing)?) {
                return Ok(None);
            }
        }
    }

    /// How many seconds a client may wait with its next request, if that is a number.
    fn keepalive_seconds(&self) -> Result<Option<Owned>> {
        let keepalive = self.setting(Setting::Keepalive)?;
        // SAFETY: reads the type of a live object.
        let is_bool = unsafe { ffi::PyBool_Check(keepalive.as_ptr()) != 0 };
        Ok(if is_bool || !Object::of(&keepalive).truth()? { None } else { Some(keepalive) })
    }

    fn set_timeout(&self, seconds: &Owned) -> Result<()> {
        // SAFETY: live objects, with the lock held.
        unsafe { call_method(self.sock.as_ptr(), WORDS.settimeout.object(), [seconds.as_ptr()]) }.map(drop)
    }

    /// The request that the bytes begin with, and the length of its head; none while that is incomplete.
    fn read_head(&self, data: &[u8]) -> Result<Option<(Request, usize)>> {
        let limits = self.service().limits(Object::of(&self.handler))?;
        let head = match self.known_head(data, &limits)? {
            Some(head) => Some(head),
            None => self.parse_head(data, &limits)?,
        };
        head.map(|(environ, said)| self.request(data, environ, said)).transpose()
    }

    /// What the connection's last head says, if the bytes begin with it again.
    fn known_head(&self, data: &[u8], limits: &Limits) -> Result<Option<(Owned, Said)>> {
        let (service, place) = (self.service(), self.this.place.get());
        if !service.heads.begins(place, data, limits) {
            return Ok(None);
        }
        let Some(base) = service.known_base(self.gil())? else { return Ok(None) };
        service.heads.again(place, data, limits, &base)
    }

    // A frame of its own, which has gone when others are called: what it needs of the stack, an idle connection would
    // keep.
    #[inline(never)]
    fn parse_head(&self, data: &[u8], limits: &Limits) -> Result<Option<(Owned, Said)>> {
        let (gil, service) = (self.gil(), self.service());
        let read = with_head(data, limits, |head| {
            let start = offset_of(head.line, data);
            let base = service.base(gil)?;
            let environ = service.heads.environ(head, &base, &data[start + head.line.len()..head.length])?;
            let said = Said {
                method: request::put_line(&environ, head)?,
                flags: request::flags(head),
                body: request::body_length(&head.framing),
                line: start..start + head.line.len(),
                length: head.length,
            };
            if service.known_base(gil)?.is_some() {
                self.this.place.set(service.heads.note(&data[..head.length], limits, &base, &environ, &said)?);
            }
            Ok((environ, said))
        });
        match read {
            Ok(head) => head.transpose(),
            Err(refusal) => request::refuse(gil, refusal),
        }
    }

    /// The request whose head has said this, and the length of the head.
    fn request(&self, data: &[u8], environ: Owned, said: Said) -> Result<(Request, usize)> {
        let described = self.described()?;
        let Some(connection) = Object::of(&described).tuple_items() else {
            return type_error(self.gil(), "a connection is described by five");
        };
        request::put_connection(&environ, connection)?;
        self.this.command.set(Some(said.method));
        let mut line = self.this.line.borrow_mut();
        line.clear();
        line.extend_from_slice(&data[said.line]);
        drop(line);
        let input = self.input(said.flags, said.body)?;
        for key in [&WORDS.wsgi_input, &WORDS.eventlet_input] {
            put(&environ, Object::word(key), &input)?;
        }
        Ok((Request { environ, input, flags: said.flags }, said.length))
    }

    /// The body of a request.
    fn input(&self, flags: i64, length: u64) -> Result<Owned> {
        let gil = self.gil();
        let class = self.service().input_class(gil)?;
        let (reader, sock) = (self.reader.clone(), self.sock.clone());
        let (chunked, is_http_1_0) = (flags & request::CHUNKED != 0, flags & request::VERSION_1_1 == 0);
        let expects = flags & request::EXPECTS_CONTINUE != 0;
        let wfile = if expects { Some(Object::of(&self.handler).attribute(Object::word(&WORDS.wfile))?) } else { None };
        if classes::is_input(Object::of(&class)) {
            let input = Input::of_request(reader, sock, length, chunked, is_http_1_0);
            if let Some(wfile) = wfile {
                input.wait_to_be_asked(wfile, bytes(gil, b"HTTP/1.1 100 Continue\r\n")?);
            }
            // SAFETY: a subclass of the payload's type, as was checked; the lock is held.
            return unsafe { py::allocate(class.as_ptr().cast(), input) };
        }
        let line = match &wfile {
            Some(_) => bytes(gil, b"HTTP/1.1 100 Continue\r\n")?,
            None => Owned::none(gil),
        };
        let (wfile, length) = (wfile.unwrap_or_else(|| Owned::none(gil)), unsigned(gil, length)?);
        let chunked = Owned::bool(gil, chunked);
        // SAFETY: live objects, with the lock held.
        unsafe {
            let args = [&reader, &length, &sock, &wfile, &line, &chunked].map(Owned::as_ptr);
            let input = call(class.as_ptr(), args)?;
            if is_http_1_0 {
                let name = c"is_http_1_0".as_ptr();
                if ffi::PyObject_SetAttrString(input.as_ptr(), name, ffi::Py_True()) < 0 {
                    return Err(Raised);
                }
            }
            Ok(input)
        }
    }

    /// What the connection adds to an environ.
    pub fn described(&self) -> Result<Owned> {
        if let Some(described) = self.this.described.object() {
            return Ok(described);
        }
        // SAFETY: live objects, with the lock held.
        let described = unsafe { call_method(self.handler.as_ptr(), WORDS.described.object(), []) }?;
        self.this.described.set(Some(described.clone()));
        Ok(described)
    }
}

/// Where a part of the bytes begins.
fn offset_of(part: &[u8], data: &[u8]) -> usize {
    let at = (part.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
    if at < data.len() { at } else { 0 }
}

/// Whether a line is there that is not empty.
fn has_line(data: &[u8]) -> bool {
    let start = data.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(data.len());
    data[start..].contains(&b'\n')
}
