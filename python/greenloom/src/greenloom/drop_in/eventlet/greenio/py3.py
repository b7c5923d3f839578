"""Green files: for pipes, terminals and whatever else one waits for."""

import errno
import functools
import io
import os as _os
import posix as _posix
import socket as _socket
import stat as _stat
import warnings

from greenloom._native import Descriptor, _limit_by_system, _read_now, _readinto_now, _write_now

from eventlet.event import Event
from eventlet.greenio.attempt import Patience
from eventlet.hubs import IOClosed, notify_close, notify_opened, trampoline

__all__ = ["_fileobject", "GreenPipe"]

_fileobject = _socket.SocketIO


class GreenFileIO(io.RawIOBase):
    """A raw file like ``io.FileIO``, which waits with the hub where reading or writing would block. Regular files never
    do, so they block the OS thread as always.

    Its descriptor is left as it is, since others may share it. If the program has made it non-blocking, the file waits
    all the same, unless *obeys*.

    :param name: a number, which it closes at the end if *closefd*; or the name of a file
    """

    def __init__(self, name, mode="r", closefd=True, opener=None, *, obeys=False):
        if isinstance(name, int):
            fileno = name
            self.name = fileno
            if _stat.S_ISDIR(_posix.fstat(fileno).st_mode):
                raise IsADirectoryError(errno.EISDIR, _os.strerror(errno.EISDIR), fileno)
        else:
            with io.FileIO(name, mode.replace("t", "").replace("b", ""), opener=opener) as file:
                fileno = _posix.dup(file.fileno())
                self.name = name
        notify_opened(fileno)
        self._fileno = fileno
        self._obeys = obeys
        self._turn = None
        self._parked = 0
        self._mode = mode
        self._close_fd = closefd
        self._seekable = None
        self._waiter = Descriptor(fileno)

    @property
    def mode(self):
        """The mode as ``io.FileIO`` has it."""
        kind = self._mode.replace("+", "")
        if kind in ("a", "x"):
            return f"{kind}b+" if "+" in self._mode else f"{kind}b"
        return "rb+" if "+" in self._mode else f"{kind}b"

    @property
    def closefd(self):
        """Whether the descriptor is closed with it."""
        return self._close_fd

    def fileno(self):
        """The file descriptor."""
        self._checkClosed()
        return self._fileno

    def readable(self):
        """Whether it was opened for reading."""
        return "r" in self._mode or "+" in self._mode

    def writable(self):
        """Whether it was opened for writing."""
        return any(letter in self._mode for letter in "wax+")

    def seekable(self):
        """Whether it has a position."""
        self._checkClosed()
        if self._seekable is None:
            try:
                _posix.lseek(self._fileno, 0, _os.SEEK_CUR)
                self._seekable = True
            except OSError as error:
                if error.errno != errno.ESPIPE:
                    raise
                self._seekable = False
        return self._seekable

    def isatty(self):
        """Whether it is a terminal."""
        self._checkClosed()
        return _posix.isatty(self._fileno)

    def _try(self, wait, function, argument, nothing=None):
        """None if it would block, and the program has said not to wait; `nothing` when a terminal has waited for as
        long as it was told to."""
        self._checkClosed()
        while True:
            try:
                result = function(self._fileno, argument, self._obeys)
            except BlockingIOError:
                return None
            if result is not None:
                return result
            self._parked += 1
            try:
                is_over = wait() is False
            finally:
                self._parked -= 1
                if self._turn is not None:
                    turn, self._turn = self._turn, None
                    turn.send()
            if self.closed:
                raise OSError(errno.EBADF, _os.strerror(errno.EBADF))
            if is_over:
                return nothing if self.isatty() else None

    def _wait_to_read(self):
        """Returns False once the time is up that the program has told the system of."""
        seconds = _limit_by_system(self._fileno, False)
        if seconds is None:
            return self._waiter.wait_read()
        patience = Patience(lambda: seconds)
        try:
            trampoline(self._fileno, read=True, **patience.of_a_wait())
        except IOClosed:
            pass
        except BlockingIOError as error:
            if not patience.is_over(error):
                raise
            return False
        return True

    def _wait_for_turn(self):
        """While another green thread is in the midst of an operation of a buffer over this: waits. Returns whether one
        was."""
        if not self._parked:
            return False
        if self._turn is None:
            self._turn = Event()
        self._turn.wait()
        return True

    def read(self, size=-1):
        """Reads up to *size* bytes, or all; waits for the first."""
        if size is None or size < 0:
            return self.readall()
        return self._try(self._wait_to_read, _read_now, size, b"")

    def readall(self):
        """Reads to the end."""
        parts = []
        while part := self.read(io.DEFAULT_BUFFER_SIZE):
            parts.append(part)
        return b"".join(parts) if parts else part

    def readinto(self, buffer):
        """Reads into a buffer; returns how many bytes."""
        return self._try(self._wait_to_read, _readinto_now, buffer, 0)

    def write(self, data):
        """Writes all; waits for room again and again. Returns how many bytes that are: fewer if the rest cannot be
        written any more."""
        with memoryview(data) as view, view.cast("B") as rest:
            done = 0
            while done < len(rest):
                try:
                    written = self._try(self._waiter.wait_write, _write_now, rest[done:])
                except BrokenPipeError:
                    if not done:
                        raise
                    # The next call raises it, as the system has it.
                    return done
                if written is None:
                    return done or None
                done += written
            return done

    def seek(self, offset, whence=_os.SEEK_SET):
        """Moves the position; returns it."""
        self._checkClosed()
        return _posix.lseek(self._fileno, offset, whence)

    def tell(self):
        """The position."""
        return self.seek(0, _os.SEEK_CUR)

    def truncate(self, size=None):
        """Cuts the file to *size*, or at the position, and moves there; returns the size."""
        if size is None or size == -1:
            size = self.tell()
        _posix.ftruncate(self._fileno, size)
        self.seek(size)
        return size

    def close(self):
        """Closes it; its waiters get an OSError."""
        if self.closed:
            return
        super().close()
        if not hasattr(self, "_waiter"):
            return
        self._waiter.close()
        notify_close(self._fileno)
        if self._close_fd:
            _posix.close(self._fileno)


def _in_turn(base, names):
    """A class of buffers that wait for each other's operations: the lock in *base* knows OS threads only, and takes a
    green thread that comes while another waits in the raw file for the same one.
    """

    def method(name):
        original = getattr(base, name)

        @functools.wraps(original)
        def in_turn(self, *args, **kwargs):
            while True:
                try:
                    return original(self, *args, **kwargs)
                except RuntimeError:
                    if not self.raw._wait_for_turn():
                        raise

        return in_turn

    return type(base.__name__, (base,), {name: method(name) for name in names.split()} | {"__module__": __name__})


_BufferedReader = _in_turn(io.BufferedReader, "read read1 readinto readinto1 readline peek seek tell close")
_BufferedWriter = _in_turn(io.BufferedWriter, "write flush seek tell truncate close")
_BufferedRandom = _in_turn(
    io.BufferedRandom, "read read1 readinto readinto1 readline peek write flush seek tell truncate close"
)


def GreenPipe(name, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    """Opens a file as the built-in ``open`` does, green: reading and writing suspend the green thread while a pipe is
    empty or full.

    :param name: a file's name or number; or a file object, which is closed, and whose descriptor is used further
    """
    if hasattr(name, "fileno"):
        fileno = _posix.dup(name.fileno())
        name.close()
        name = fileno
    return _open_green(name, mode, buffering, encoding, errors, newline, closefd, opener)


def _open_green(
    name, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None, *, obeys=False
):
    binary = "b" in mode
    raw_mode = mode.replace("b", "").replace("t", "").replace("U", "")
    _check_mode(mode, raw_mode, binary, encoding, errors, newline)
    if binary and buffering == 1:
        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used",
            RuntimeWarning,
            stacklevel=3,
        )
    raw = GreenFileIO(name, raw_mode, closefd, opener, obeys=obeys)
    try:
        return _buffered(raw, raw_mode, binary, buffering, encoding, errors, newline, mode)
    except BaseException:
        raw.close()
        raise


def _check_mode(mode, raw_mode, binary, encoding, errors, newline):
    kinds = raw_mode.replace("+", "")
    if len(kinds) != 1 or kinds not in "rwax" or raw_mode.count("+") > 1 or binary and "t" in mode:
        raise ValueError(f"invalid mode: {mode!r}")
    for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if binary and value is not None:
            raise ValueError(f"binary mode doesn't take an {name} argument")


def _buffered(raw, raw_mode, binary, buffering, encoding, errors, newline, mode):
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    line_buffering = buffering == 1 and not binary or buffering < 0 and raw.isatty()
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    if "+" in raw_mode:
        buffer = _BufferedRandom(raw, size)
    elif raw_mode == "r":
        buffer = _BufferedReader(raw, size)
    else:
        buffer = _BufferedWriter(raw, size)
    if binary:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering)
    text.mode = mode
    return text
