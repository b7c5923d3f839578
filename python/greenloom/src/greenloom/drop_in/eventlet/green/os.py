"""`os` whose reads, writes and waits for children let other green threads run."""

import errno as _errno
import fcntl as _fcntl
import os as os_orig
import posix as _posix
import stat as _stat
import warnings as _warnings

from greenloom._native import _limit_by_system, _read_now, _write_now

from eventlet import event, greenio, greenthread, hubs, patcher
from eventlet.greenio.attempt import Patience as _Patience
from eventlet.greenio.py3 import _open_green
from eventlet.support import _fairness
from eventlet.support import functions as _functions
from eventlet.support.clock import monotonic as _monotonic
from eventlet.support.greenlets import getcurrent as _getcurrent

__all__ = os_orig.__all__
__patched__ = ["closerange", "fdopen", "read", "write", "wait", "waitpid", "open", "system"]
__patched__ += [
    name
    for name in (
        *("readv", "writev", "preadv", "pwritev", "sendfile", "splice", "eventfd_read", "eventfd_write", "lockf"),
        *("sched_yield", "wait3", "wait4", "waitid"),
    )
    if hasattr(os_orig, name)
]

patcher.slurp_properties(os_orig, globals(), ignore=__patched__, srckeys=dir(os_orig))

__original_open__ = os_orig.open
__original_read__ = os_orig.read
__original_waitpid__ = os_orig.waitpid
__original_write__ = os_orig.write
_originals = {name: getattr(os_orig, name) for name in __patched__}

_LONGEST_PAUSE = 0.01

_select, _socket = map(patcher.original, ("select", "socket"))
_start_os_thread = patcher.original("_thread").start_new_thread
_poll, _POLLIN, _POLLOUT = _select.poll, _select.POLLIN, _select.POLLOUT


def _patch_in_place(module):
    # A program that asks what a function can do asks for the function that it has.
    for name in ("supports_dir_fd", "supports_effective_ids", "supports_fd", "supports_follow_symlinks"):
        able = getattr(module, name)
        able.update(globals()[function] for function, original in _originals.items() if original in able)


def fdopen(fd, mode="r", buffering=-1, encoding=None, *args, **kw):
    """As os.fdopen; returns a green file, and leaves the file descriptor as it is."""
    if not isinstance(fd, int):
        raise TypeError(f"fd should be int, not {fd!r}")
    if isinstance(fd, bool):
        _warnings.warn("bool is used as a file descriptor", RuntimeWarning, stacklevel=2)
        fd = int(fd)
    return _open_green(fd, mode, buffering, encoding, *args, obeys=True, **kw)


def closerange(fd_low, fd_high):
    """As os.closerange. The hub goes on, even if its own file descriptors were among them."""
    _originals["closerange"](fd_low, fd_high)
    hub = hubs._current_hub()
    if hub is not None and hasattr(hub, "_renew_if_closed"):
        hub._renew_if_closed()


def read(fd, n):
    """As os.read. Waits in the hub until there is something to read, and returns b"" if `fd` is closed meanwhile. Does
    not wait if the program has made the file descriptor non-blocking, and at a terminal no longer than it was told to
    (VMIN and VTIME).
    """
    patience = _patience(fd, False)
    while True:
        data = _read_now(fd, n)
        if data is not None:
            return data
        try:
            hubs.trampoline(fd, read=True, **patience.of_a_wait())
        except hubs.IOClosed:
            return b""
        except BlockingIOError as error:
            if not patience.is_over(error) or not _posix.isatty(fd):
                raise
            return b""


def _patience(fd, write):
    """How long a call waits that the program has told the system of a limit for: a socket's, or a terminal's."""
    return _Patience(lambda: _limit_by_system(fd, write))


def write(fd, data):
    """As os.write: returns how many bytes were written. Waits in the hub, and returns early if `fd` is closed
    meanwhile.

    On a file descriptor that the program has made non-blocking that is what fits; on a blocking one it is all of
    `data`, as it would be without us.
    """
    room = _Room(fd)
    while (written := _write_now(fd, data)) is None:
        if not room.wait():
            return 0
    with memoryview(data) as view, view.cast("B") as rest:
        while 0 < written < len(rest) and _posix.get_blocking(fd) and not _stat.S_ISREG(_posix.fstat(fd).st_mode):
            try:
                some = _write_now(fd, rest[written:])
            except OSError as error:
                if error.errno is None:
                    # A signal's handler has raised it.
                    raise
                # The system tells how much was written, and of the error when it is asked again.
                break
            if some is not None:
                written += some
            elif not room.wait(written):
                break
    return written


class _Room:
    """The waits of one call that writes, for a file to have room again and again.

    The system's limit is for the whole call; but where it sends in *pieces*, as to a Unix socket, it begins anew with
    each, and at its end there is one more try.
    """

    def __init__(self, fd, pieces=False):
        self._fd, self._pieces, self._is_unix = fd, pieces, None
        self._patience, self._done, self._is_last = _patience(fd, True), 0, False

    def wait(self, done=0):
        """Returns whether it is worth a try: not if the file is closed, or the time is up. That is raised if nothing is
        `done`."""
        if self._is_unix is None and self._patience.left() is not None:
            self._is_unix = _is_unix(self._fd)
        in_pieces = self._is_unix or self._pieces and done
        if in_pieces and done > self._done:
            self._patience, self._done, self._is_last = _patience(self._fd, True), done, False
        try:
            hubs.trampoline(self._fd, write=True, **self._patience.of_a_wait())
        except hubs.IOClosed:
            return False
        except BlockingIOError as error:
            if not self._patience.is_over(error):
                raise
            if in_pieces and not self._is_last:
                self._is_last = True
                return True
            if not done:
                raise
            return False
        return True


def _is_unix(fd):
    with _socket.socket(fileno=os_orig.dup(fd)) as sock:
        return sock.family == _socket.AF_UNIX


def _wait_until_ready(fd, event):
    """Waits in the hub until a call on the file descriptor does not block; not if the program has made it so, nor if
    the call must fail, as the file is not open for it."""
    fails = os_orig.O_WRONLY if event == _POLLIN else os_orig.O_RDONLY
    patience = _patience(fd, event == _POLLOUT)
    while _posix.get_blocking(fd) and _fcntl.fcntl(fd, _fcntl.F_GETFL) & os_orig.O_ACCMODE != fails:
        poll = _poll()
        poll.register(fd, event)
        if poll.poll(0):
            return
        hubs.trampoline(fd, read=event == _POLLIN, write=event == _POLLOUT, **patience.of_a_wait())


def readv(fd, buffers, /):
    """As os.readv. Waits in the hub until there is something to read."""
    try:
        return _originals["preadv"](fd, buffers, -1, os_orig.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in _WOULD_BLOCK:
            raise
    _wait_until_ready(fd, _POLLIN)
    return _originals["readv"](fd, buffers)


#: Or cannot be asked not to.
_WOULD_BLOCK = (_errno.EAGAIN, _errno.EOPNOTSUPP, _errno.ENOSYS, _errno.ESPIPE)


def writev(fd, buffers, /):
    """As os.writev: the buffers are written as one. Waits in the hub as `write` does."""
    if 0 < len(buffers) <= _MOST_BUFFERS:
        data = b"".join(buffers)
        if data and _posix.get_blocking(fd):
            return write(fd, data)
    return _originals["writev"](fd, buffers)


#: More buffers are refused (IOV_MAX).
_MOST_BUFFERS = 1024


def preadv(fd, buffers, offset, flags=0, /):
    """As os.preadv. At the offset -1, the file's position, it waits in the hub as `readv` does."""
    if offset == -1 and not flags & os_orig.RWF_NOWAIT:
        _wait_until_ready(fd, _POLLIN)
    return _originals["preadv"](fd, buffers, offset, flags)


def pwritev(fd, buffers, offset, flags=0, /):
    """As os.pwritev. At the offset -1, the file's position, it waits in the hub as `write` does."""
    if offset == -1 and not flags:
        return writev(fd, buffers)
    return _originals["pwritev"](fd, buffers, offset, flags)


def splice(src, dst, count, *args, **kw):
    """As os.splice. Waits in the hub until there is something in the pipe, or room."""
    if count:
        _wait_until_ready(src, _POLLIN)
        _wait_until_ready(dst, _POLLOUT)
    return _originals["splice"](src, dst, count, *args, **kw)


def eventfd_read(fd):
    """As os.eventfd_read. Waits in the hub until the counter is not zero."""
    _wait_until_ready(fd, _POLLIN)
    return _originals["eventfd_read"](fd)


def eventfd_write(fd, value):
    """As os.eventfd_write. Waits in the hub until there is room for 1; more can block."""
    _wait_until_ready(fd, _POLLOUT)
    return _originals["eventfd_write"](fd, value)


def lockf(fd, command, length, /):
    """As os.lockf. Other green threads run while another process has the lock."""
    if command != os_orig.F_LOCK:
        return _originals["lockf"](fd, command, length)

    def take():
        try:
            _originals["lockf"](fd, os_orig.F_TLOCK, length)
        except (BlockingIOError, PermissionError):
            return None
        return True

    _wait_until(take)


def sendfile(out_fd, in_fd, offset, count, *args, **kw):
    """As os.sendfile: a blocking socket takes all that there is, anything else what fits. Waits in the hub until there
    is room; reading the file blocks."""
    done, room = 0, _Room(out_fd, pieces=True)
    while _posix.get_blocking(out_fd):
        try:
            sent = _sendfile_now(out_fd, in_fd, offset, count - done, *args, **kw)
        except OSError as error:
            if not done or error.errno is None:
                raise
            return done
        if sent is None:
            if not room.wait(done):
                return done
            continue
        done += sent
        if not sent or done == count or not _stat.S_ISSOCK(_posix.fstat(out_fd).st_mode):
            return done
        if offset is not None:
            offset += sent
    return done or _originals["sendfile"](out_fd, in_fd, offset, count, *args, **kw)


def _sendfile_now(out_fd, *args, **kw):
    """As os.sendfile, but returns None if that would block, whatever the file descriptor's flag."""
    blocking = _posix.get_blocking(out_fd)
    if blocking:
        # The call has no flag of its own for that.
        os_orig.set_blocking(out_fd, False)
    try:
        return _originals["sendfile"](out_fd, *args, **kw)
    except BlockingIOError:
        return None
    finally:
        if blocking:
            os_orig.set_blocking(out_fd, True)


def wait():
    """As os.wait; other green threads run meanwhile."""
    return waitpid(-1, 0)


def waitpid(pid, options):
    """As os.waitpid; other green threads run meanwhile."""
    return _wait_for_child(__original_waitpid__, pid, options)


def wait3(options):
    """As os.wait3; other green threads run meanwhile."""
    return wait4(-1, options)


def wait4(pid, options):
    """As os.wait4; other green threads run meanwhile."""
    return _wait_for_child(_originals["wait4"], pid, options)


def waitid(idtype, id, options):
    """As os.waitid; other green threads run meanwhile."""
    waitid = _originals["waitid"]
    if options & os_orig.WNOHANG:
        return waitid(idtype, id, options)
    ends = idtype == os_orig.P_PID and options & os_orig.WEXITED and not options & ~(os_orig.WEXITED | os_orig.WNOWAIT)
    return _wait_until(lambda: waitid(idtype, id, options | os_orig.WNOHANG), id if ends else 0)


def _wait_for_child(wait, pid, options):
    if options & os_orig.WNOHANG:
        return wait(pid, options)

    def look():
        found = wait(pid, options | os_orig.WNOHANG)
        return found if found[0] else None

    return _wait_until(look, 0 if options else pid)


def _wait_until(look, pid=0, timeout=float("inf")):
    """Returns what `look` returns, once that is not None; None after `timeout` seconds. `pid` is the child whose end is
    waited for, if it is one."""
    end, pause = _monotonic() + timeout, 0.0005
    while (found := look()) is None:
        if pid > 0 and _wait_for_end(pid):
            continue
        left = end - _monotonic()
        if left <= 0:
            return None
        greenthread.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return found


def _wait_for_end(pid, timeout=None):
    """Waits in the hub until the child ends. Returns False at once if this system cannot tell, None after `timeout`
    seconds."""
    try:
        fd = _posix.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    process = _posix.getpid()
    try:
        hubs.notify_opened(fd)
        hubs.trampoline(fd, read=True, timeout=timeout, timeout_exc=_Elapsed)
        return True
    except _Elapsed:
        return None
    finally:
        hubs.notify_close(fd)
        if _posix.getpid() == process:
            # In the child of a fork the number may be another file's.
            _posix.close(fd)


class _Elapsed(Exception):
    pass


def open(path, flags, mode=0o777, *, dir_fd=None):
    """As os.open; tells the hub that the file descriptor's number has a new meaning."""
    fd = __original_open__(path, flags, mode, dir_fd=dir_fd)
    hubs.notify_opened(fd)
    return fd


def system(command):
    """As os.system; other green threads run while the command does."""
    if hubs.get_hub().greenlet is _getcurrent():
        return _originals["system"](command)
    done = event.Event()
    # The system ignores signals of the terminal meanwhile, and knows how: it is called in an OS thread.
    _start_os_thread(_run_system, (command, done))
    return done.wait()


def _run_system(command, done):
    try:
        status = _originals["system"](command)
    except BaseException as error:
        done.send_exception(error)
    else:
        done.send(status)


def sched_yield():
    """As os.sched_yield; other green threads have their turn, too."""
    _originals["sched_yield"]()
    hub = hubs._current_hub()
    if hub is not None and hub.greenlet is not greenthread.getcurrent():
        greenthread.sleep(0)


_fairness.make_fair("os", globals())
_functions.stand_for_those_of_c(os_orig, globals(), __patched__)
