//! Pipes.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let (mut reader, mut writer) = greenloom::pipe::pipe()?;
//! greenloom::spawn(move || writer.write_all(b"through the pipe"));
//! let mut text = String::new();
//! reader.read_to_string(&mut text)?;
//! assert_eq!(text, "through the pipe");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;

use greenloom_hub::Direction;

use crate::net::io_type::io_type;
use crate::net::source::{Short, Source, Stream};

/// A pipe that is closed when a program is executed. What is written to one end is read from the other.
///
/// # Errors
/// Those of `pipe2`: too many open files.
pub fn pipe() -> io::Result<(Reader, Writer)> {
    let (reader, writer) = io::pipe()?;
    Ok((Reader::from_std(reader)?, Writer::from_std(writer)?))
}

/// The end of a pipe that is read. Mirrors [`std::io::PipeReader`].
///
/// Other files that can be waited for are read through it, too: `Reader::from_std(PipeReader::from(owned_fd))`.
pub struct Reader {
    source: Source<io::PipeReader>,
}

io_type!(Reader(io::PipeReader): Read);

/// The end of a pipe that is written. Mirrors [`std::io::PipeWriter`]. Writing when nobody reads any more fails as
/// `BrokenPipe`.
pub struct Writer {
    source: Source<io::PipeWriter>,
}

io_type!(Writer(io::PipeWriter): Write);

impl Stream for io::PipeReader {
    const SHORT: Short = Short::MeansNothing;
}

impl Stream for io::PipeWriter {
    const SHORT: Short = Short::MeansNothing;
}
