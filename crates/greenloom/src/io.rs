//! What is done with streams of bytes. What std has for them, such as `std::io::copy`, works on green streams as it is.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use crate::net::Split;
use crate::runtime::error::JoinError;
use crate::scope::{ScopedThread, scope};
use crate::select::Select;

/// Copies both ways between two streams until both have ended, and returns how many bytes went from `a` to `b` and from
/// `b` to `a`. When one stream ends, writing to the other is ended, and the other way goes on.
///
/// An error in one way ends both: the other may have lost bytes that it had read and not written.
///
/// Semantics: `tokio::io::copy_bidirectional`.
///
/// # Errors
/// Those of reading and writing; where waiting is not possible.
///
/// ```
/// use greenloom::{io::copy_bidirectional, net::UnixStream, spawn};
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
///
/// let ((mut client, left), (right, mut server)) = (UnixStream::pair()?, UnixStream::pair()?);
/// let proxy = spawn(move || copy_bidirectional(&left, &right));
/// client.write_all(b"ping")?;
/// client.shutdown(Shutdown::Write)?;
/// let (mut request, mut answer) = (String::new(), String::new());
/// server.read_to_string(&mut request)?;
/// server.write_all(b"pong!")?;
/// drop(server);
/// client.read_to_string(&mut answer)?;
/// assert_eq!((&*request, &*answer, proxy.wait().unwrap()?), ("ping", "pong!", (4, 5)));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    A: Split,
    B: Split,
    for<'a> &'a A: Read + Write,
    for<'b> &'b B: Read + Write,
{
    scope(|scope| {
        let there = scope.spawn(|| copy_to_end(a, b));
        let back = scope.spawn(|| copy_to_end(b, a));
        let there_is_first = Select::new().end(there.thread(), || true).end(back.thread(), || false).wait();
        if there_is_first {
            let there = outcome(there).inspect_err(|_| back.kill())?;
            Ok((there, outcome(back)?))
        } else {
            let back = outcome(back).inspect_err(|_| there.kill())?;
            Ok((outcome(there)?, back))
        }
    })
}

fn copy_to_end<A, B: Split>(from: &A, to: &B) -> io::Result<u64>
where
    for<'a> &'a A: Read,
    for<'b> &'b B: Write,
{
    let copied = io::copy(&mut { from }, &mut { to })?;
    match to.shutdown(Shutdown::Write) {
        // The peer is gone already, and has read all it wanted to.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(copied),
        ended => ended.map(|()| copied),
    }
}

fn outcome(thread: ScopedThread<'_, io::Result<u64>>) -> io::Result<u64> {
    match thread.wait() {
        Ok(copied) => copied,
        Err(JoinError::Refused(refused)) => Err(refused.into()),
        Err(error) => Err(io::Error::other(error)),
    }
}
