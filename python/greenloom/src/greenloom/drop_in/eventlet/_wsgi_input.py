"""The request's side of a connection of ``eventlet.wsgi``: buffered reading, and the body as ``wsgi.input``."""

from eventlet import greenio
from greenloom import _native

__all__ = ["ChunkReadError", "Input", "Reader", "Writer"]

Reader = _native.HttpReader

RECEIVE_SIZE = 16 << 10
LARGE_RECEIVE_SIZE = 256 << 10

# The longest line of chunk framing that the native decoder takes, its end included, and one more so that it says no.
CHUNK_LINE = 4097
CHUNKS_END = -2
CHUNKS_DATA_END = -1


class ChunkReadError(ValueError):
    """A request's body is not a sequence of chunks. Where the next request begins is unknown then."""


class Writer:
    """A socket as the file that responses are written to. Nothing is buffered."""

    __slots__ = ("closed", "write")

    def __init__(self, sock):
        self.write = sock.sendall
        self.closed = False

    def writelines(self, lines):
        self.write(b"".join(lines))

    def flush(self):
        pass

    def close(self):
        self.closed = True


class Input(_native.HttpInput):
    """A request's body: ``environ['wsgi.input']``, and ``environ['eventlet.input']`` for what WSGI does not know of.

    Reading blocks the green thread until the bytes are there, and never goes beyond the body. The first read sends the
    100 response that the client may be waiting for.
    """

    hundred_continue_headers = None
    is_hundred_continue_response_sent = False
    # Set once the response has begun: it is too late for a 100 response then.
    headers_sent = None
    _chunk_state = 0
    _decoded = b""
    # What was wrong with the chunks: there is no way back to the next request then.
    _damage = None
    # Whether what was read was lost when reading was interrupted.
    _has_lost = False

    # What the native methods leave: bodies in chunks, those that are to be asked for, and other files.

    def _read(self, length):
        self._invite_body()
        if not self.chunked_input:
            return self._read_plain(self.rfile.read, length)
        return self._read_chunks(length, is_line=False)

    def _readline(self, size):
        self._invite_body()
        if not self.chunked_input:
            return self._read_plain(self.rfile.readline, size)
        return self._read_chunks(size, is_line=True)

    def readlines(self, hint=None):
        """The lines of the body; those after ``hint`` bytes stay unread."""
        lines, size = [], 0
        for line in iter(self.readline, b""):
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self):
        return iter(self.readline, b"")

    def get_socket(self):
        """The connection's socket, for protocols that take it over, websockets say. See also :meth:`take_buffered`."""
        return self._sock

    def take_buffered(self):
        """What came from the socket behind the request already. Who takes the socket over needs it."""
        take = getattr(self.rfile, "take", None)
        return take() if take else b""

    def discard(self, buffer_size=16 << 10):
        """Reads what is left of the body and drops it."""
        while self.read(buffer_size):
            pass

    def _is_read(self):
        return self._chunk_state == CHUNKS_END and self._damage is None

    @property
    def should_send_hundred_continue(self):
        """Whether the client waits for a 100 response that it did not get yet."""
        return self.wfile is not None and not self.is_hundred_continue_response_sent

    def set_hundred_continue_response_headers(self, headers, capitalize_response_headers=True):
        """Headers, a list of pairs, for the 100 response to come."""
        if capitalize_response_headers:
            headers = [("-".join(word.capitalize() for word in name.split("-")), value) for name, value in headers]
        self.hundred_continue_headers = headers

    def send_hundred_continue_response(self):
        """Sends a 100 response now, unless the response itself has begun. After a chunked body another may follow."""
        if self.headers_sent:
            return
        lines = [self.wfile_line]
        lines.extend(_native.http_field(name, value) for name, value in self.hundred_continue_headers or ())
        lines.append(b"\r\n")
        self.wfile.writelines(lines)
        self.wfile.flush()
        if self._chunk_state == CHUNKS_END:
            self._chunk_state = 0

    def _invite_body(self):
        if self.wfile is not None and not self.is_hundred_continue_response_sent:
            self.send_hundred_continue_response()
            self.is_hundred_continue_response_sent = True

    def _read_plain(self, read, size):
        left = (self.content_length or 0) - self.position
        if size is None or size > left:
            size = left
        if size <= 0:
            return b""
        self._check_lost()
        try:
            data = read(size)
        except greenio.SSL.ZeroReturnError:
            data = b""
        except OSError as error:
            raise self._fail(error)
        except BaseException:
            self._interrupted()
            raise
        self.position += len(data)
        return data

    def _read_chunks(self, size, is_line):
        parts, missing = [], size
        try:
            while missing is None or missing > 0:
                piece = self._read_decoded(missing, is_line)
                parts.append(piece)
                if not piece or (is_line and piece.endswith(b"\n")):
                    break
                if missing is not None:
                    missing -= len(piece)
        except BaseException:
            # Who is interrupted, by a Timeout say, may read it again.
            self._decoded = b"".join(parts) + self._decoded
            raise
        return b"".join(parts)

    def _read_decoded(self, limit, is_line):
        """Data from the chunks, at most ``limit`` bytes, of one line if ``is_line``; none only at the body's end."""
        self._check_lost()
        if self._damage is not None:
            raise self._fail(ChunkReadError(self._damage))
        limit = LARGE_RECEIVE_SIZE if limit is None else min(limit, LARGE_RECEIVE_SIZE)
        if self._decoded:
            end = (self._decoded.find(b"\n", 0, limit) + 1 if is_line else 0) or limit
            data, self._decoded = self._decoded[:end], self._decoded[end:]
            return data
        try:
            while self._chunk_state <= 0:
                if self._chunk_state == CHUNKS_END:
                    return b""
                self._read_framing()
            read = self.rfile.readline if is_line else self.rfile.read
            data = read(min(limit, self._chunk_state))
        except greenio.SSL.ZeroReturnError:
            self._chunk_state = CHUNKS_END
            return b""
        except OSError as error:
            raise self._fail(error)
        except BaseException:
            self._interrupted()
            raise
        if not data:
            self._chunk_state = CHUNKS_END
            raise self._fail(OSError("unexpected end of file while parsing chunked data"))
        self._chunk_state = self._chunk_state - len(data) or CHUNKS_DATA_END
        return data

    def _read_framing(self):
        """Reads one line between data."""
        line = self.rfile.readline(CHUNK_LINE)
        try:
            _, used, state = _native.http_chunks(line, self._chunk_state, 1)
        except ValueError as error:
            self._damage = str(error)
            raise self._fail(ChunkReadError(self._damage)) from None
        if used != len(line) or not line:
            self._damage = "unexpected end of file between chunks"
            raise self._fail(ChunkReadError(self._damage))
        self._chunk_state = state

    def _interrupted(self):
        """Reading was interrupted, by a Timeout say. A file that is not ours loses then what it has read."""
        self._has_lost = type(self.rfile) is not Reader

    def _check_lost(self):
        if self._has_lost:
            raise OSError("reading the body was interrupted")

    def _fail(self, error):
        self.failure = error
        return error
