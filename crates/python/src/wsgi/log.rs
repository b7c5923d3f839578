//! The access log. A line in the usual form is made here, and goes to the log's file without a logger's method in
//! between if that is our own; another form is the handler's affair.

use std::io::Write;

use super::classes::FILE_INFO;
use super::connection::Connection;
use super::settings::Setting;
use super::words::WORDS;
use crate::py::ffi;
use crate::py::object::{Object, latin1};
use crate::py::{Owned, Result, call, call_method};

/// Notes what a proxy says of the client, before the application can change it.
pub fn note_forwarded(connection: &Connection<'_>, environ: &Owned) -> Result<()> {
    let asked = connection.setting(Setting::LogXForwardedFor)?;
    let forwarded = if Object::of(&asked).truth()? {
        // SAFETY: a live dict and a string, with the lock held; what it has is alive.
        unsafe { Object::new_or_none(ffi::PyDict_GetItemWithError(environ.as_ptr(), WORDS.forwarded.object())) }
    } else {
        None
    };
    connection.this.forwarded.set(forwarded.map(Object::owned));
    Ok(())
}

/// Writes the line of an answer. Returns false if the handler must.
pub fn write(connection: &Connection<'_>, code: i64, length: i64, started: f64, ended: f64) -> Result<bool> {
    let format = connection.setting(Setting::LogFormat)?;
    let usual = connection.service().of_wsgi(connection.gil(), Object::word(&WORDS.default_log_format))?;
    if format.as_ptr() != usual.as_ptr() {
        return Ok(false);
    }
    let Some(mut line) = begin(connection, ended as u64)? else { return Ok(false) };
    // In memory, where writing does not fail.
    let _ = write!(line, "\" {code} {length} ");
    append_seconds(ended - started, &mut line);
    give(connection, line)?;
    Ok(true)
}

/// The line up to the request's. None if there is more to be said of the client than fits here.
fn begin(connection: &Connection<'_>, second: u64) -> Result<Option<Vec<u8>>> {
    let described = connection.described()?;
    let Some([_, _, host, _, _]) = Object::of(&described).tuple_items() else { return Ok(None) };
    let Some(host) = host.latin1_octets() else { return Ok(None) };
    let mut line = Vec::with_capacity(160);
    if let Some(forwarded) = connection.this.forwarded.object() {
        let Some(forwarded) = Object::of(&forwarded).latin1_octets() else { return Ok(None) };
        line.extend(forwarded.iter().filter(|byte| **byte != b' '));
        if !forwarded.is_empty() {
            line.push(b',');
        }
    }
    line.extend_from_slice(host);
    line.extend_from_slice(b" - - [");
    append_date(connection, second, &mut line)?;
    line.extend_from_slice(b"] \"");
    line.extend_from_slice(&connection.this.line.borrow());
    Ok(Some(line))
}

/// Seconds with six places, by whole numbers: those of a float take longer.
fn append_seconds(seconds: f64, line: &mut Vec<u8>) {
    let micros = (seconds * 1e6).round() as i64;
    // The clock may have been set back.
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, part) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    // In memory, where writing does not fail.
    let _ = write!(line, "{sign}{whole}.{part:06}");
}

/// The present second, as the handler writes it.
fn append_date(connection: &Connection<'_>, second: u64, line: &mut Vec<u8>) -> Result<()> {
    let service = connection.service();
    if service.date.borrow().0 != second {
        // SAFETY: live objects, with the lock held.
        let text = unsafe { call_method(connection.handler.as_ptr(), WORDS.date_time.object(), []) }?;
        service.date.replace((second, Object::of(&text).latin1_octets().unwrap_or_default().to_vec()));
    }
    line.extend_from_slice(&service.date.borrow().1);
    Ok(())
}

/// Hands a line to the log.
fn give(connection: &Connection<'_>, mut line: Vec<u8>) -> Result<()> {
    let log = connection.setting(Setting::Log)?;
    let info = Object::of(&log).attribute(Object::word(&WORDS.info))?;
    // SAFETY: live objects, with the lock held.
    unsafe {
        if ffi::function_of_method(info.as_ptr()) == FILE_INFO.object() {
            line.push(b'\n');
            let line = latin1(connection.gil(), &line)?;
            let file = Object::of(&log).attribute(Object::word(&WORDS.log))?;
            return call_method(file.as_ptr(), WORDS.write.object(), [line.as_ptr()]).map(drop);
        }
        let line = latin1(connection.gil(), &line)?;
        call(info.as_ptr(), [line.as_ptr()]).map(drop)
    }
}
