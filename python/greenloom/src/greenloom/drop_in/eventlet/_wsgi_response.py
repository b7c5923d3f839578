"""The response's side of ``eventlet.wsgi``: what ``start_response`` and ``write`` do, and what an application's result becomes."""

import email.utils
import os
import socket
import stat
import time

from eventlet import hubs
from greenloom import _native

__all__ = ["FileWrapper", "Response", "date_line"]

HAS_DATE = _native.HTTP_HAS_DATE
HAS_LENGTH = _native.HTTP_HAS_LENGTH
HAS_CONNECTION = _native.HTTP_HAS_CONNECTION
SAYS_CLOSE = _native.HTTP_SAYS_CLOSE

# A result up to this size goes out in one piece, with its head.
ONE_PIECE = 64 << 10

_date = (0, b"")


def date_line():
    """The Date header of this second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, b"Date: %s\r\n" % email.utils.formatdate(now, usegmt=True).encode())
    return _date[1]


def _one_piece(result):
    """The body that a list or tuple of a few bytes is; None for anything else."""
    if type(result) is not list and type(result) is not tuple:
        return None
    try:
        body = result[0] if len(result) == 1 else b"".join(result)
    except TypeError:
        return None
    return body if type(body) is bytes and len(body) <= ONE_PIECE else None


class FileWrapper:
    """``environ['wsgi.file_wrapper']``: a file as a result. A regular file goes from the kernel's cache to a plain socket
    without passing through Python; anything else is read in blocks of ``blksize`` bytes."""

    def __init__(self, filelike, blksize=64 << 10):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return iter(lambda: self.filelike.read(self.blksize), b"")

    def regular(self):
        """The descriptor, the position and how many bytes are left, if this is a regular file; None otherwise."""
        try:
            descriptor = self.filelike.fileno()
            status = os.fstat(descriptor)
            position = self.filelike.tell()
        except (AttributeError, OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return descriptor, position, max(0, status.st_size - position)


class Response:
    """One response. Its methods :meth:`start` and :meth:`write` are given to the application.

    ``handler`` is the connection's :class:`eventlet.wsgi.HttpProtocol`, whose ``close_connection`` is set when the
    response says so.
    """

    __slots__ = ("bodyless", "chunked", "code", "declared", "flags", "handler", "head", "input", "length", "sent", "written")

    def __init__(self, handler, request_input):
        self.handler = handler
        self.input = request_input
        self.head = None
        self.code = 200
        self.flags = 0
        self.sent = self.chunked = self.bodyless = False
        # What Content-Length says, or -1; how much of the body was written; all that was sent, for the log.
        self.declared = -1
        self.written = self.length = 0

    def start(self, status, response_headers, exc_info=None):
        """``start_response`` of PEP 3333."""
        if exc_info:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        handler = self.handler
        self.head, self.code, self.flags, self.declared = _native.http_response(
            handler.protocol_version, status, response_headers, handler.capitalize_response_headers)
        return self.write

    def write(self, data):
        """The ``write`` of PEP 3333: sends data, after the head if that was not sent."""
        self._send(data)

    def send_result(self, result, minimum_size):
        """Sends what an application returned; pieces are gathered until there are ``minimum_size`` bytes of them."""
        if not self.sent and self.head is not None and hasattr(result, "__len__"):
            body = _one_piece(result)
            if body is not None:
                # No code of the application runs any more.
                if not self.handler.is_already_handled():
                    self._set_length(len(body))
                    self._send(body, last=True)
                return
            self._set_length(sum(map(len, result)))
        if type(result) is FileWrapper and self._send_file(result):
            return
        parts, size = [], 0
        for data in result:
            if not data:
                continue
            if isinstance(data, str):
                data = data.encode("ascii")
            parts.append(data)
            size += len(data)
            if size >= minimum_size:
                self._send(b"".join(parts))
                parts, size = [], 0
        if not self.handler.is_already_handled():
            self._send(b"".join(parts), last=True)

    def fail(self, body):
        """Answers 500 if nothing was sent yet."""
        self.handler.close_connection = True
        if not self.sent:
            self.start("500 Internal Server Error", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
            self._send(body, last=True)

    def is_short(self):
        """Whether less was written than Content-Length promised, so that the client waits for more."""
        return self.written < self.declared and not self.bodyless

    def _set_length(self, total):
        if not self.flags & HAS_LENGTH:
            self.declared = total
        if self.input.should_send_hundred_continue:
            # The body was not asked for and will not be; whether the client sends it nobody knows.
            self.handler.close_connection = True

    def _send(self, data, last=False):
        if self.head is None:
            raise AssertionError("write() before start_response()")
        parts = [] if self.sent else self._begin()
        if self.bodyless:
            pass
        elif self.chunked:
            if data:
                parts += (b"%x\r\n" % len(data), data, b"\r\n")
            if last:
                parts.append(b"0\r\n\r\n")
        elif data:
            if 0 <= self.declared < self.written + len(data):
                # The rest would pass for the next response.
                data = data[:self.declared - self.written]
                self.handler.close_connection = True
            self.written += len(data)
            parts.append(data)
        out = parts[0] if len(parts) == 1 else b"".join(parts)
        if out:
            self.length += len(out)
            self.handler.send_bytes(out)

    def _begin(self):
        """The head. Decides how the body ends, and whether the connection does."""
        self.sent = True
        handler, flags = self.handler, self.flags
        if self.input.wfile is not None:
            self.input.headers_sent = True
        code, command = self.code, handler.command
        # A tunnel's bytes, after 101 or CONNECT, are the application's affair; they have no framing.
        tunnel = code < 200 or (command == "CONNECT" and code < 300)
        self.bodyless = code in (204, 304) or command == "HEAD"
        parts = [self.head]
        if not flags & HAS_DATE:
            parts.append(date_line())
        if flags & SAYS_CLOSE or not handler.may_keep_alive():
            handler.close_connection = True
        if not (tunnel or self.bodyless or flags & HAS_LENGTH):
            if self.declared >= 0:
                parts.append(b"Content-Length: %d\r\n" % self.declared)
            elif handler.request_version == "HTTP/1.1" and handler.protocol_version == "HTTP/1.1":
                self.chunked = True
                parts.append(b"Transfer-Encoding: chunked\r\n")
            else:
                handler.close_connection = True
        if not flags & HAS_CONNECTION:
            parts.append(handler.connection_lines())
        parts.append(b"\r\n")
        return parts

    def _send_file(self, wrapper):
        """Sends a regular file on a plain socket. Returns False if it is not one, or the socket is not."""
        sock = self.handler.plain_socket()
        regular = wrapper.regular() if sock is not None and self.head is not None and not self.sent else None
        if regular is None:
            return False
        descriptor, position, size = regular
        if self.flags & HAS_LENGTH:
            size = min(size, self.declared) if self.declared >= 0 else size
        self._set_length(size)
        self._send(b"", last=True)
        if self.bodyless:
            return True
        while self.written < size:
            try:
                sent = os.sendfile(sock.fileno(), descriptor, position + self.written, min(size - self.written, 1 << 30))
            except BlockingIOError:
                hubs.trampoline(sock, write=True, timeout=sock.gettimeout(), timeout_exc=socket.timeout("timed out"))
                continue
            if not sent:
                break
            self.written += sent
            self.length += sent
        return True
