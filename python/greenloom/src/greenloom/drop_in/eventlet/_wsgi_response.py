"""The response's side of ``eventlet.wsgi``: what ``write`` does, and what an application's result becomes."""

import errno
import io
import os
import socket
import stat
import tempfile

from eventlet import hubs
from eventlet.green.os import _sendfile_now
from greenloom import _native

__all__ = ["FileWrapper", "Response"]

HAS_LENGTH = _native.HTTP_HAS_LENGTH
SAYS_CLOSE = _native.HTTP_SAYS_CLOSE
NO_ENDING = _native.HTTP_NO_ENDING
CHUNKED_ENDING = _native.HTTP_CHUNKED_ENDING
# How results iterate that are read as often as one likes.
_READ_AGAIN = (list.__iter__, tuple.__iter__)


class FileWrapper:
    """``environ['wsgi.file_wrapper']``: a file as a result. A regular file goes from the kernel's cache to a plain
    socket without passing through Python; anything else is read in blocks of ``blksize`` bytes."""

    def __init__(self, filelike, blksize=64 << 10):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        while data := self.filelike.read(self.blksize):
            yield data

    def regular(self):
        """The descriptor, the position and how many bytes are left, if this is a regular file; None otherwise."""
        file = self.filelike
        if type(file) is tempfile._TemporaryFileWrapper:
            file = file.file
        raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
        if type(raw) is not io.FileIO:
            # What reads a compressed file, say, has its descriptor too, and other bytes than that.
            return None
        try:
            descriptor = file.fileno()
            status = os.fstat(descriptor)
            position = file.tell()
        except (AttributeError, OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return descriptor, position, max(0, status.st_size - position)


class Response(_native.HttpResponse):
    """One response. Its methods ``start`` and :meth:`write` are given to the application.

    ``handler`` is the connection's :class:`eventlet.wsgi.HttpProtocol`, whose ``close_connection`` is set when the
    response says so; ``input`` is the request's body.
    """

    # Whether the status or the method forbids a body; whether what follows the head is no body; whether the body comes
    # in chunks.
    bodyless = unframed = chunked = False
    # Whether nothing can follow: the last part was sent, or sending one was interrupted, by a Timeout say, so that half
    # of it may have gone out.
    is_over = False

    def _raise_again(self, exc_info):
        try:
            raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info = None

    def _dropped(self, name, value):
        """Says that a header of the application was not sent: the end of the body is the server's to say."""
        handler = self.handler
        # Many frameworks say of a response without a body that its length is 0.
        log = handler.server.log.debug if value == "0" else handler.server.log.error
        log("({}) dropped {}: {} of the response to {!r}".format(handler.server.pid, name, value, handler.requestline))

    def write(self, data):
        """The ``write`` of PEP 3333: sends data, after the head if that was not sent."""
        self._send(data if isinstance(data, bytes) else memoryview(data).tobytes())

    # What `start` returns is the response itself.
    __call__ = write

    def send_result(self, result, minimum_size):
        """Sends what an application returned; pieces are gathered until there are ``minimum_size`` bytes of them."""
        # One that knows how many pieces it has is a whole response, whose length may be said. Only of what is known to
        # be there a second time the length is counted before; else if all was gathered before anything was sent.
        is_whole = not self.sent and self.started and hasattr(result, "__len__")
        if is_whole and getattr(type(result), "__iter__", None) in _READ_AGAIN:
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
        if self.handler.is_already_handled():
            return
        if is_whole and not self.sent:
            self._set_length(size)
        self._send(b"".join(parts), last=True)

    def fail(self, status, body=b""):
        """Answers that the request failed, if nothing was sent yet."""
        self.handler.close_connection = True
        if not self.sent:
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
            self.start(status, headers)
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
        if self.is_over:
            raise BrokenPipeError(errno.EPIPE, "the response is over")
        if self.sent:
            data = self._frame(data, last)
        else:
            if not self.started:
                raise AssertionError("write() before start_response()")
            self._begin()
            data = self._frame(data, last)
            data = self.finish(self._ending(), self.handler.connection_lines(), data)
        if data:
            self.length += len(data)
            try:
                self.handler.send_bytes(data)
            except BaseException:
                self.is_over = self.handler.close_connection = True
                raise
        self.is_over = last

    def _begin(self):
        """Decides how the body ends, and whether the connection does."""
        self.sent = True
        handler, code = self.handler, self.code
        if self.input.wfile is not None:
            self.input.headers_sent = True
        if self.flags & SAYS_CLOSE:
            handler.close_connection = True
        if handler.command == "HEAD" or code == 204 or code == 304:
            self.bodyless = True
        elif code < 200 or (code < 300 and handler.command == "CONNECT"):
            # A tunnel's bytes are the application's affair.
            self.unframed = True
            self.declared = -1
        elif self.declared < 0 and not self.flags & HAS_LENGTH:
            if handler.request_version == "HTTP/1.1" and handler.protocol_version == "HTTP/1.1":
                self.chunked = True
            else:
                handler.close_connection = True

    def _ending(self):
        if self.chunked:
            return CHUNKED_ENDING
        if self.bodyless or self.unframed or self.flags & HAS_LENGTH:
            return NO_ENDING
        return self.declared

    def _frame(self, data, last):
        """A part of the body as it is sent."""
        if self.bodyless:
            return b""
        if self.chunked:
            framed = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
            return framed + b"0\r\n\r\n" if last else framed
        if 0 <= self.declared < self.written + len(data):
            # The rest would pass for the next response.
            data = data[:self.declared - self.written]
            self.handler.close_connection = True
        self.written += len(data)
        return data

    def _send_file(self, wrapper):
        """Sends a regular file on a plain socket. Returns False if it is not one, or the socket is not."""
        sock = self.handler.plain_socket()
        regular = wrapper.regular() if sock is not None and self.started and not self.sent else None
        if regular is None:
            return False
        descriptor, position, size = regular
        if self.flags & HAS_LENGTH and self.declared >= 0:
            size = min(size, self.declared)
        self._set_length(size)
        self._send(b"", last=True)
        self._send_descriptor(sock, descriptor, position, size)
        return True

    def _send_descriptor(self, sock, descriptor, position, size):
        while self.written < size and not self.bodyless:
            left = min(size - self.written, 1 << 30)
            sent = _sendfile_now(sock.fileno(), descriptor, position + self.written, left)
            if sent is None:
                hubs.trampoline(sock, write=True, timeout=sock.gettimeout(), timeout_exc=socket.timeout("timed out"))
                continue
            if not sent:
                break
            self.written += sent
            self.length += sent
