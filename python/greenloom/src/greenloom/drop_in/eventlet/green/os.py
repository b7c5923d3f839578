"""`os` whose reads, writes and waits for children let other green threads run."""

import os as os_orig
import stat as _stat

from eventlet import greenio, greenthread, hubs, patcher

__all__ = os_orig.__all__
__patched__ = ["fdopen", "read", "write", "wait", "wait3", "wait4", "waitid", "waitpid", "open"]

patcher.slurp_properties(os_orig, globals(), ignore=__patched__, srckeys=dir(os_orig))

__original_open__ = os_orig.open
__original_read__ = os_orig.read
__original_wait4__ = os_orig.wait4
__original_waitid__ = os_orig.waitid
__original_waitpid__ = os_orig.waitpid
__original_write__ = os_orig.write

_select = patcher.original("select")
# A blocking pipe that is ready for writing takes this much without blocking.
_PIPE_BUF = getattr(_select, "PIPE_BUF", 512)
_LONGEST_PAUSE = 0.01


def fdopen(fd, *args, **kw):
    """As os.fdopen; returns a GreenPipe, and makes the file descriptor non-blocking."""
    if not isinstance(fd, int):
        raise TypeError(f"fd should be int, not {fd!r}")
    return greenio.GreenPipe(fd, *args, **kw)


def read(fd, n):
    """As os.read. Waits in the hub until there is something to read, and returns b"" if `fd` is closed meanwhile."""
    while True:
        try:
            if not _is_ready(fd, write=False):
                hubs.trampoline(fd, read=True)
            return __original_read__(fd, n)
        except hubs.IOClosed:
            return b""
        except BlockingIOError:
            continue


def write(fd, data):
    """As os.write: returns how many bytes were written. Waits in the hub, and returns early if `fd` is closed
    meanwhile.

    On a non-blocking file descriptor that is what fits; on a blocking one it is all of `data`, as it would be without
    us.
    """
    if _stat.S_ISREG(os_orig.fstat(fd).st_mode):
        return __original_write__(fd, data)
    if not os_orig.get_blocking(fd):
        return _write_some(fd, data)
    data = memoryview(data)
    if not data.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    data = data.cast("B")
    written = 0
    while True:
        some = _write_some(fd, data[written : written + _PIPE_BUF])
        written += some
        if written >= len(data) or not some:
            return written


def _write_some(fd, data):
    while True:
        try:
            if not _is_ready(fd, write=True):
                hubs.trampoline(fd, write=True)
            return __original_write__(fd, data)
        except hubs.IOClosed:
            return 0
        except BlockingIOError:
            continue


def _is_ready(fd, write):
    # Regular files are ready, and could not be waited for. A bad file descriptor is too: the call itself tells.
    poll = _select.poll()
    poll.register(fd, _select.POLLOUT if write else _select.POLLIN)
    return bool(poll.poll(0))


def wait():
    """As os.wait; other green threads run meanwhile."""
    return waitpid(-1, 0)


def waitpid(pid, options):
    """As os.waitpid; other green threads run meanwhile."""
    return _until_changed(lambda options: __original_waitpid__(pid, options), options, 0, pid)


def wait3(options):
    """As os.wait3; other green threads run meanwhile."""
    return wait4(-1, options)


def wait4(pid, options):
    """As os.wait4; other green threads run meanwhile."""
    return _until_changed(lambda options: __original_wait4__(pid, options), options, 0, pid)


def waitid(idtype, id, options, /):
    """As os.waitid; other green threads run meanwhile."""
    pid = id if idtype == os_orig.P_PID else -1
    return _until_changed(lambda options: __original_waitid__(idtype, id, options), options, os_orig.WEXITED, pid)


def _until_changed(look, options, end, pid):
    """Looks for a child that has changed until there is one. The end of the child `pid`, if that is a number of one and
    `options` are those for no more than the end, is waited for; for the rest there is nothing to wait for."""
    if options & os_orig.WNOHANG:
        return look(options)
    pause = 0.0005
    while True:
        found = look(options | os_orig.WNOHANG)
        if found is not None and found[0]:
            return found
        if pid > 0 and options == end and _wait_for_end(pid):
            continue
        greenthread.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _wait_for_end(pid, timeout=None):
    """Waits in the hub until the child ends. Returns False at once if this system cannot tell, None after `timeout`
    seconds."""
    try:
        fd = os_orig.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    try:
        hubs.notify_opened(fd)
        hubs.trampoline(fd, read=True, timeout=timeout, timeout_exc=_Elapsed)
        return True
    except _Elapsed:
        return None
    finally:
        hubs.notify_close(fd)
        os_orig.close(fd)


class _Elapsed(Exception):
    pass


def open(path, flags, mode=0o777, *, dir_fd=None):
    """As os.open; tells the hub that the file descriptor's number has a new meaning."""
    fd = __original_open__(path, flags, mode, dir_fd=dir_fd)
    hubs.notify_opened(fd)
    return fd
