//! What all types of green I/O have, written once.

/// What all types of green I/O have, for one with a field `source: Source<$std>`; then what is named after the colon.
macro_rules! io_type {
    ($type:ident($std:ty): $($more:ident)*) => {
        impl $type {
            /// Takes over what std opened, and makes it non-blocking.
            ///
            /// # Errors
            /// Those of `ioctl`.
            pub fn from_std(std: $std) -> std::io::Result<$type> {
                rustix::io::ioctl_fionbio(&std, true)?;
                Ok($type { source: $crate::net::source::Source::new(std) })
            }

            /// Gives it to std, blocking, as std's users expect. Clones of it block from then on, too.
            ///
            /// # Errors
            /// Those of `ioctl`.
            pub fn into_std(self) -> std::io::Result<$std> {
                let std = self.source.into_inner();
                rustix::io::ioctl_fionbio(&std, false)?;
                Ok(std)
            }

            /// It as std's type, for what has no method here. It is non-blocking, and must stay so.
            pub fn as_std(&self) -> &$std {
                self.source.inner()
            }

            /// Another handle of the same, with its own timeouts and its own registration.
            ///
            /// # Errors
            /// Those of `fcntl`: too many open files.
            pub fn try_clone(&self) -> std::io::Result<$type> {
                Ok($type { source: $crate::net::source::Source::new(self.as_std().try_clone()?) })
            }

            /// Closes it while others may hold references to it: its waiters get an error of kind
            /// `NotConnected` at once, and so does everyone later. A socket is shut down; the descriptor itself goes
            /// with the drop.
            pub fn close(&self) {
                self.source.close();
                // It fails for what is no socket or not connected any more.
                let _ = rustix::net::shutdown(self, rustix::net::Shutdown::Both);
            }

            /// Whether this program has closed it.
            pub fn is_closed(&self) -> bool {
                self.source.is_closed()
            }
        }

        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.source)
            }
        }

        impl $crate::net::waitable::Readiness for $type {
            fn begin_waiting(
                &self,
                direction: Direction,
                choice: $crate::net::waitable::Choice,
            ) -> std::io::Result<bool> {
                self.source.begin_waiting(direction, choice.0)
            }

            fn stop_waiting(&self, direction: Direction, ticket: u64) {
                self.source.stop_waiting(direction, ticket);
            }
        }

        impl $crate::net::Waitable for $type {}

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(self))
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.source.fmt(f)
            }
        }

        $($crate::net::io_type::io_type!(@$more $type);)*
    };
    (@Read $type:ident) => {
        $crate::net::io_type::io_type!(@ReadFor $type);
        $crate::net::io_type::io_type!(@ReadFor &$type);
        $crate::net::io_type::io_type!(@Timeout $type, Direction::Read, read_timeout, set_read_timeout, "read");
    };
    (@Write $type:ident) => {
        $crate::net::io_type::io_type!(@WriteFor $type);
        $crate::net::io_type::io_type!(@WriteFor &$type);
        $crate::net::io_type::io_type!(@Timeout $type, Direction::Write, write_timeout, set_write_timeout, "write");
    };
    (@Datagrams $type:ident) => {
        $crate::net::io_type::io_type!(@Timeout $type, Direction::Read, read_timeout, set_read_timeout, "receive");
        $crate::net::io_type::io_type!(@Timeout $type, Direction::Write, write_timeout, set_write_timeout, "send");

        impl $type {
            /// Sends a datagram to the peer it is connected to. Parks while there is no room for it.
            ///
            /// # Errors
            /// Those of `send`: `NotConnected`, `ConnectionRefused` when the peer said so of an earlier one;
            /// `TimedOut`.
            pub fn send(&self, datagram: &[u8]) -> std::io::Result<usize> {
                self.source.retry(Direction::Write, |socket| socket.send(datagram))
            }

            /// Receives a datagram and returns its length. Parks until there is one. What does not fit is lost. Of a
            /// socket that is [shut down](Self::shutdown) for reading the length is 0.
            ///
            /// # Errors
            /// Those of `recv`: `ConnectionRefused` when the peer said so of an earlier one; `TimedOut`.
            pub fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.receive(|socket| socket.recv(buf), || Ok(0))
            }

            /// Ends reading, writing or both. Who waits to receive goes on.
            ///
            /// # Errors
            /// `NotConnected`.
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.source.shutdown(how)
            }
        }
    };
    (@Accept $type:ident) => {
        $crate::net::io_type::io_type!(@Timeout $type, Direction::Read, timeout, set_timeout, "accept");
    };
    (@Split $type:ident) => {
        impl $type {
            /// Ends reading, writing or both. The peer then reads the end.
            ///
            /// # Errors
            /// `NotConnected`.
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.source.shutdown(how)
            }

            /// The pending error, taken (`SO_ERROR`).
            ///
            /// # Errors
            /// Those of `getsockopt`.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.as_std().take_error()
            }

            /// Halves that borrow the stream, to tell its reader from its writer.
            pub fn split(&self) -> ($crate::net::ReadHalf<'_, Self>, $crate::net::WriteHalf<'_, Self>) {
                $crate::net::split::split(self)
            }

            /// Halves that share the stream, for two green threads, which may be on two hubs. The write half's drop
            /// ends writing.
            ///
            /// ```
            /// use greenloom::net::UnixStream;
            /// use std::io::{Read, Write};
            ///
            /// let (ours, theirs) = UnixStream::pair()?;
            /// let (mut reader, mut writer) = ours.into_split();
            /// let echo = greenloom::spawn(move || std::io::copy(&mut &theirs, &mut &theirs));
            /// greenloom::spawn(move || writer.write_all(b"there and back"));
            /// let mut text = String::new();
            /// reader.read_to_string(&mut text)?;
            /// assert_eq!(text, "there and back");
            /// assert_eq!(echo.wait().unwrap()?, 14);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn into_split(self) -> ($crate::net::OwnedReadHalf<Self>, $crate::net::OwnedWriteHalf<Self>) {
                $crate::net::split::into_split(self)
            }
        }

        impl $crate::net::split::sealed::Sealed for $type {}

        impl $crate::net::Split for $type {
            fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.shutdown(how)
            }
        }
    };
    (@Timeout $type:ident, $direction:expr, $get:ident, $set:ident, $what:literal) => {
        impl $type {
            #[doc = concat!("The longest that one ", $what, " waits.")]
            pub fn $get(&self) -> Option<std::time::Duration> {
                self.source.timeout($direction)
            }

            #[doc = concat!(
                "Sets the longest that one ", $what, " waits before it fails as `TimedOut`; it can be tried again. ",
                "`None`, the default: for ever."
            )]
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn $set(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                self.source.set_timeout($direction, timeout)
            }
        }
    };
    (@ReadFor $type:ty) => {
        impl std::io::Read for $type {
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                self.source.read_vectored(bufs)
            }
        }
    };
    (@WriteFor $type:ty) => {
        impl std::io::Write for $type {
            #[inline]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.source.write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.source.write_vectored(bufs)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(crate) use io_type;
