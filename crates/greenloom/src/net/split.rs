//! The two halves of a stream: one green thread reads while another one writes.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

pub(super) mod sealed {
    pub trait Sealed {}
}

/// What can be split: a stream of this module, whose references read and write. It is implemented here only.
pub trait Split: sealed::Sealed + Sized {
    /// Ends reading, writing or both; see [`std::net::TcpStream::shutdown`].
    ///
    /// # Errors
    /// `NotConnected`.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

pub(super) fn split<S: Split>(stream: &S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn into_split<S: Split>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Arc::new(stream);
    (OwnedReadHalf(Arc::clone(&stream)), OwnedWriteHalf { stream, end: true })
}

/// The half of a stream that reads; see [`TcpStream::split`](super::TcpStream::split).
#[derive(Debug)]
pub struct ReadHalf<'a, S>(&'a S);

/// The half of a stream that writes; see [`TcpStream::split`](super::TcpStream::split).
#[derive(Debug)]
pub struct WriteHalf<'a, S>(&'a S);

/// The half of a stream that reads; see [`TcpStream::into_split`](super::TcpStream::into_split).
#[derive(Debug)]
pub struct OwnedReadHalf<S: Split>(Arc<S>);

/// The half of a stream that writes; see [`TcpStream::into_split`](super::TcpStream::into_split). Its drop ends
/// writing.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Split> {
    stream: Arc<S>,
    /// Whether dropping it ends writing.
    end: bool,
}

/// The halves are not of one stream; here they are back.
pub struct NotOneStream<S: Split>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Split> fmt::Debug for NotOneStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotOneStream")
    }
}

impl<S: Split> fmt::Display for NotOneStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one stream")
    }
}

impl<S: Split> std::error::Error for NotOneStream<S> {}

impl<S: Split> OwnedReadHalf<S> {
    /// The stream, for its other methods.
    pub fn stream(&self) -> &S {
        &self.0
    }

    /// Joins the halves again.
    ///
    /// # Errors
    /// [`NotOneStream`] when `writer` is another stream's.
    ///
    /// ```
    /// use greenloom::net::UnixStream;
    ///
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (reader, writer) = ours.into_split();
    /// assert!(reader.reunite(writer).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reunite(self, mut writer: OwnedWriteHalf<S>) -> Result<S, NotOneStream<S>> {
        if !Arc::ptr_eq(&self.0, &writer.stream) {
            return Err(NotOneStream(self, writer));
        }
        writer.end = false;
        drop(writer);
        Ok(Arc::into_inner(self.0).expect("a stream has two halves, and one is gone"))
    }
}

impl<S: Split> OwnedWriteHalf<S> {
    /// The stream, for its other methods.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: Split> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.end {
            // It fails when the connection has ended, which is what is wanted.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

macro_rules! read_through {
    ($type:ty, $stream:ident => $inner:expr, $($generics:tt)*) => {
        impl<$($generics)*> Read for $type
        where
            for<'b> &'b S: Read,
        {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let $stream = self;
                $inner.read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                let $stream = self;
                $inner.read_vectored(bufs)
            }
        }
    };
}

macro_rules! write_through {
    ($type:ty, $stream:ident => $inner:expr, $($generics:tt)*) => {
        impl<$($generics)*> Write for $type
        where
            for<'b> &'b S: Write,
        {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                let $stream = self;
                $inner.write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                let $stream = self;
                $inner.write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                let $stream = self;
                $inner.flush()
            }
        }
    };
}

read_through!(ReadHalf<'_, S>, half => (&mut &*half.0), S);
read_through!(OwnedReadHalf<S>, half => (&mut &*half.0), S: Split);
write_through!(WriteHalf<'_, S>, half => (&mut &*half.0), S);
write_through!(OwnedWriteHalf<S>, half => (&mut &*half.stream), S: Split);
