//! Answering one request: calls the application, sends a result that is a list of bytes, writes the log.

use std::time::{SystemTime, UNIX_EPOCH};

use super::classes::{INPUT_CLASS, RESPONSE_CLASS};
use super::connection::{Connection, Request};
use super::input::Input;
use super::log;
use super::settings::Setting;
use super::words::WORDS;
use crate::eventlet::local;
use crate::eventlet::socket::stream;
use crate::http::request;
use crate::http::response::{Response, start_of, whole_of};
use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{self, GlobalObject, Owned, Pending, Raised, Result, call_program};

/// One answer in the making.
pub struct Answer<'a> {
    connection: &'a Connection<'a>,
    request: Request,
    response: Owned,
}

impl<'a> Answer<'a> {
    /// Answers the request.
    ///
    /// # Errors
    /// What goes beyond the connection; and that of a connection which is broken.
    #[inline(never)]
    pub fn give(connection: &'a Connection<'a>, request: Request) -> Result<()> {
        let log_output = connection.setting(Setting::LogOutput)?;
        let started = if Object::of(&log_output).truth()? { Some(now()) } else { None };
        if started.is_some() {
            log::note_forwarded(connection, &request.environ)?;
        }
        let this = connection.this;
        let command = this.command.object();
        let method = command.as_ref().and_then(|command| Object::of(command).latin1_octets()).unwrap_or_default();
        let (handler, input) = (connection.handler.clone(), request.input.clone());
        let response = Response::of_request(handler, input, this.version_1_0.get(), method, this.form());
        // SAFETY: a subclass of the payload's type, as was checked when it was given; the lock is held.
        let response = unsafe { py::allocate(RESPONSE_CLASS.object().cast(), response) }?;
        let answer = Answer { connection, request, response };
        let app = connection.setting(Setting::App)?;
        let start = start_of(&answer.response)?;
        // SAFETY: live objects, with the lock held.
        let result = unsafe { call_program(app.as_ptr(), [answer.request.environ.as_ptr(), start.as_ptr()]) };
        drop(start);
        let sent = match &result {
            Ok(result) => answer.send(Object::of(result)),
            Err(Raised) => Err(Raised),
        };
        let sent = sent.or_else(|_| answer.fail());
        let finished = answer.finish(result.ok(), sent);
        let done = match started {
            // In Python it is the last thing of all, unless finishing has failed.
            Some(started) if finished.1 => after(finished.0, || answer.log(started)),
            _ => finished.0,
        };
        // It may be the end of the program, which does what it likes with the file.
        done.or_else(|Raised| after(Err(Raised), || log::write_gathered(connection)))
    }

    fn response(&self) -> py::This<'_, Response> {
        Object::of(&self.response).instance().expect("it was made here")
    }

    /// The request's body, if it is of the class that we know.
    fn input(&self) -> Option<py::This<'_, Input>> {
        let input = Object::of(&self.request.input);
        // SAFETY: reads the type of a live object.
        let known = unsafe { ffi::Py_TYPE(input.as_ptr()).cast() } == INPUT_CLASS.object();
        if known { input.instance() } else { None }
    }

    /// Sends what the application returned.
    #[inline(never)]
    fn send(&self, result: Object<'_>) -> Result<()> {
        let ordinary = self.input().is_some_and(|input| !input.has_wfile()) && !self.is_already_handled()?;
        if ordinary && let Some(whole) = whole_of(self.response(), result, &self.lines()?, usize::MAX) {
            let sock = Object::of(&self.connection.sock);
            if whole.body.is_empty() {
                return stream::send_all(sock, &[&whole.head]);
            }
            let mut parts = vec![&whole.head[..]];
            for piece in &whole.body {
                parts.push(Object::of(piece).content()?);
            }
            return stream::send_all(sock, &parts);
        }
        let args = [&self.response, &self.request.environ].map(Owned::as_ptr);
        self.by_handler(&WORDS.answer, [args[0], args[1], result.as_ptr()]).map(drop)
    }

    /// Whether the application has answered on the socket by itself.
    fn is_already_handled(&self) -> Result<bool> {
        if local::is_unused(self.connection.gil())? {
            return Ok(false);
        }
        let local = self.connection.service().of_wsgi(self.connection.gil(), Object::word(&WORDS.wsgi_local))?;
        let handled = Object::of(&local).attribute(Object::word(&WORDS.already_handled))?;
        Object::of(&handled).truth()
    }

    /// What tells the client of the connection's future.
    fn lines(&self) -> Result<Vec<u8>> {
        let connection = self.connection;
        let keepalive = connection.setting(Setting::Keepalive)?;
        let asked = self.request.flags & request::ASKED_KEEP_ALIVE != 0;
        // SAFETY: compares addresses.
        let ordinary = keepalive.as_ptr() == unsafe { ffi::Py_True() } && !asked;
        if ordinary && !connection.closes()? && !connection.is_in(&WORDS.closing)? {
            return Ok(Vec::new());
        }
        let lines = self.by_handler(&WORDS.lines, [])?;
        Ok(Object::of(&lines).content()?.to_vec())
    }

    /// Answers for an application that raised what is pending, if that is an error of its own.
    #[cold]
    fn fail(&self) -> Result<()> {
        let error = Pending::take(self.connection.gil()).into_object(self.connection.gil());
        let (response, input) = (self.response.as_ptr(), self.request.input.as_ptr());
        self.by_handler(&WORDS.fail, [response, input, error.as_ptr()]).map(drop)
    }

    /// What follows an answer, whether it was `sent` or not. Says too whether that has come to its end.
    fn finish(&self, result: Option<Owned>, sent: Result<()>) -> (Result<()>, bool) {
        let is_done = sent.is_ok()
            && result.as_ref().is_some_and(|result| is_plain(Object::of(result)))
            && self.input().is_some_and(|input| !input.has_wfile() && input.is_read() == Some(true))
            && !self.response().is_short()
            && self.has_no_hooks();
        if is_done {
            return (sent, true);
        }
        let result = result.unwrap_or_else(|| Owned::none(self.connection.gil()));
        let [response, input, environ] =
            [&self.response, &self.request.input, &self.request.environ].map(Owned::as_ptr);
        let mut is_finished = true;
        let finished = after(sent, || {
            let finished = self.by_handler(&WORDS.finish, [response, input, environ, result.as_ptr()]).map(drop);
            is_finished = finished.is_ok();
            finished
        });
        (finished, is_finished)
    }

    /// Whether the application has left nothing to be called after the answer.
    fn has_no_hooks(&self) -> bool {
        // SAFETY: a dict that is alive, with the lock held; what it has is looked at only.
        unsafe {
            let hooks = ffi::PyDict_GetItemWithError(self.request.environ.as_ptr(), WORDS.posthooks.object());
            !hooks.is_null() && ffi::PyList_CheckExact(hooks) != 0 && ffi::PyList_GET_SIZE(hooks) == 0
        }
    }

    #[inline(never)]
    fn log(&self, started: f64) -> Result<()> {
        let (response, ended) = (self.response(), now());
        if log::write(self.connection, response.code(), response.length(), started, ended)? {
            return Ok(());
        }
        let seconds = ended - started;
        // SAFETY: the lock is held.
        let seconds = unsafe { Owned::new(ffi::PyFloat_FromDouble(seconds)) }?;
        self.by_handler(&WORDS.log_response, [self.response.as_ptr(), seconds.as_ptr()]).map(drop)
    }

    fn by_handler<const N: usize>(&self, method: &GlobalObject, args: [*mut PyObject; N]) -> Result<Owned> {
        let method = Object::of(&self.connection.handler).attribute(Object::word(method))?;
        // SAFETY: live objects, with the lock held.
        unsafe { call_program(method.as_ptr(), args) }
    }
}

/// Does what is to be done whether something has failed or not; its own failure goes before the other one.
fn after(done: Result<()>, then: impl FnOnce() -> Result<()>) -> Result<()> {
    match done {
        Ok(()) => then(),
        Err(Raised) => {
            // SAFETY: an exception is pending, so that the lock is held.
            let pending = Pending::take(unsafe { py::Gil::assume() });
            match then() {
                Ok(()) => {
                    pending.put_back();
                    Err(Raised)
                }
                Err(Raised) => {
                    pending.discard();
                    Err(Raised)
                }
            }
        }
    }
}

/// Whether a result has no `close`.
fn is_plain(result: Object<'_>) -> bool {
    // SAFETY: reads the type of a live object.
    unsafe { ffi::PyList_CheckExact(result.as_ptr()) != 0 || ffi::PyTuple_CheckExact(result.as_ptr()) != 0 }
}

/// The present time, as `time.time()`.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
