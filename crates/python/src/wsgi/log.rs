//! The access log. A line in the usual form is made here, and goes to the log's file without a logger's method in
//! between if the logger is our own; another form is the handler's affair.

use super::connection::Connection;
use super::log_file;
use super::settings::Setting;
use super::words::WORDS;
use crate::py::ffi;
use crate::py::object::{Object, latin1};
use crate::py::{Owned, Result, call_method};

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
    let service = connection.service();
    let format = connection.setting(Setting::LogFormat)?;
    let usual = service.of_wsgi(connection.gil(), Object::word(&WORDS.default_log_format))?;
    if format.as_ptr() != usual.as_ptr() {
        return Ok(false);
    }
    // The room of the last line; another one where the handler's clock or the log's file lets others run meanwhile.
    let mut line = service.line.take();
    line.clear();
    let fits = begin(connection, ended as u64, &mut line)?;
    if fits {
        line.extend_from_slice(b"\" ");
        append_number(code, 1, &mut line);
        line.push(b' ');
        append_number(length, 1, &mut line);
        line.push(b' ');
        append_seconds(ended - started, &mut line);
        give(connection, &mut line, ended as u64)?;
    }
    service.line.replace(line);
    Ok(fits)
}

/// Writes the lines that are gathered.
pub fn write_gathered(connection: &Connection<'_>) -> Result<()> {
    let log = connection.setting(Setting::Log)?;
    log_file::ours(Object::of(&log))?.map_or(Ok(()), log_file::write_lines)
}

/// Begins a line, up to the request's. Returns false if there is more to be said of the client than fits here.
fn begin(connection: &Connection<'_>, second: u64, line: &mut Vec<u8>) -> Result<bool> {
    let described = connection.described()?;
    let Some([_, _, host, _, _]) = Object::of(&described).tuple_items() else { return Ok(false) };
    let Some(host) = host.latin1_octets() else { return Ok(false) };
    if let Some(forwarded) = connection.this.forwarded.object() {
        let Some(forwarded) = Object::of(&forwarded).latin1_octets() else { return Ok(false) };
        line.extend(forwarded.iter().filter(|byte| **byte != b' '));
        if !forwarded.is_empty() {
            line.push(b',');
        }
    }
    line.extend_from_slice(host);
    line.extend_from_slice(b" - - [");
    append_date(connection, second, line)?;
    line.extend_from_slice(b"] \"");
    line.extend_from_slice(&connection.this.line.borrow());
    Ok(true)
}

/// A number of at least so many digits. The formatting of the standard library takes several times as long.
fn append_number(number: i64, least: usize, line: &mut Vec<u8>) {
    if number < 0 {
        line.push(b'-');
    }
    let (mut digits, mut rest) = ([b'0'; 20], number.unsigned_abs());
    let mut start = digits.len();
    while rest > 0 || digits.len() - start < least {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    line.extend_from_slice(&digits[start..]);
}

/// Seconds with six places, by whole numbers: those of a float take longer.
fn append_seconds(seconds: f64, line: &mut Vec<u8>) {
    let micros = (seconds * 1e6).round() as i64;
    // The clock may have been set back.
    if micros < 0 {
        line.push(b'-');
    }
    let micros = micros.saturating_abs();
    append_number(micros / 1_000_000, 1, line);
    line.push(b'.');
    append_number(micros % 1_000_000, 6, line);
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

/// Hands a line of this second to the log.
fn give(connection: &Connection<'_>, line: &mut Vec<u8>, second: u64) -> Result<()> {
    let log = connection.setting(Setting::Log)?;
    if let Some(ours) = log_file::ours(Object::of(&log))? {
        line.push(b'\n');
        return log_file::put(ours, line, second);
    }
    let line = latin1(connection.gil(), line)?;
    // SAFETY: live objects, with the lock held.
    unsafe { call_method(log.as_ptr(), WORDS.info.object(), [line.as_ptr()]) }.map(drop)
}
