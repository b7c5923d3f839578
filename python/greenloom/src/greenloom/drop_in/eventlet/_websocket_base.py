"""What all websockets have in common, and those of the drafts, known as hixie-75 and hixie-76."""

import collections
import errno
import sys

import eventlet
from eventlet import greenio
from eventlet import semaphore
from eventlet.green import socket

# A closing frame that does not go out in so many seconds is given up, and so is what a client that failed still sends.
CLOSE_SECONDS = 1
RECEIVE_SIZE = 16 << 10


class BadRequest(Exception):
    """The handshake is refused."""

    def __init__(self, status="400 Bad Request", body=None, headers=None):
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


class ConnectionClosedError(Exception):
    """The other side has closed the connection, in a proper way or not."""


class FailedConnectionError(Exception):
    """The other side broke the protocol; the connection is closed with this status and message."""

    def __init__(self, status, message):
        super().__init__(status, message)
        self.status = status
        self.message = message


class ProtocolError(ValueError):
    """A frame that must not be sent."""


def _send_some(sock, data):
    """Sends what there is room for; waits for room if there is none. An error means that nothing was sent."""
    while True:
        try:
            return sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if sock.gettimeout() == 0:
                raise
            sock._write_trampoline()


class WebSocket:
    """A websocket of the drafts, and what all have in common.

    ``path``, ``origin``, ``protocol`` and ``environ`` say what the handshake said. Any green thread may :meth:`send`;
    one at a time may :meth:`wait`.
    """

    def __init__(self, sock, environ, version=76):
        self.log = environ.get("wsgi.errors", sys.stderr)
        self.log_context = "server={}/{} client={}:{}".format(
            environ.get("HTTP_HOST"), environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT"))
        self.socket = sock
        self.environ = environ
        self.origin = environ.get("HTTP_ORIGIN")
        self.protocol = environ.get("HTTP_WEBSOCKET_PROTOCOL")
        self.path = environ.get("PATH_INFO")
        self.version = version
        self.websocket_closed = False
        self._buf = b""
        self._msgs = collections.deque()
        self._sendlock = semaphore.Semaphore()
        # Whether a closing frame was sent, or half a frame: nothing may follow it.
        self._has_closed = False
        # Whether the last error came from outside, while there was nothing to read.
        self._was_interrupted = False

    def _pack_message(self, message):
        if isinstance(message, str):
            message = message.encode()
        elif not isinstance(message, bytes):
            message = str(message).encode()
        return b"\x00" + message + b"\xff"

    def _parse_messages(self):
        """Takes the whole messages out of the buffer."""
        messages, buffer = [], self._buf
        while buffer:
            if buffer[0] == 0:
                end = buffer.find(b"\xff")
                if end < 0:
                    break
                messages.append(buffer[1:end].decode("utf-8", "replace"))
                buffer = buffer[end + 1:]
            elif buffer[0] == 255 and buffer[1:2] in (b"", b"\x00"):
                # The closing handshake, once its second byte is here.
                self.websocket_closed = len(buffer) > 1
                break
            else:
                raise ValueError("not the beginning of a websocket message: {!r}".format(buffer[:20]))
        self._buf = buffer
        return messages

    def send(self, message):
        """Sends a message: a string, bytes, or what ``str`` makes of anything else.

        Raises OSError, with EPIPE say, if the other side has gone. Who is interrupted, by a Timeout say, may go on
        unless a part of the message has gone out: no other can follow it then.
        """
        self._send_made(lambda: self._pack_message(message))

    def _send(self, frame):
        self._send_made(lambda: frame)

    def _send_made(self, make):
        # Two green threads must not send into each other's frames, nor make them in another order than they are sent.
        self._sendlock.acquire()
        try:
            if self._has_closed:
                raise OSError(errno.EPIPE, "the websocket is closed")
            self._send_frame(make())
        finally:
            self._sendlock.release()

    def _send_frame(self, frame):
        has_begun = False
        try:
            if type(self.socket) is greenio.GreenSocket:
                sent = _send_some(self.socket, frame)
                has_begun = True
                if sent == len(frame):
                    return
                frame = memoryview(frame)[sent:]
            else:
                # What TLS has encrypted must go out, also if nothing of it has.
                has_begun = True
            self.socket.sendall(frame)
        except BaseException:
            self._has_closed |= has_begun
            self._frame_was_lost()
            raise

    def _frame_was_lost(self):
        """A frame was made, and not sent as a whole."""

    def wait(self):
        """Blocks until a message is there, which may be empty, and returns it; None once the connection is closed."""
        self._msgs.extend(self._parse_messages())
        while not self._msgs:
            if self.websocket_closed:
                return None
            more = self._receive(RECEIVE_SIZE)
            if not more:
                return None
            self._buf += more
            self._msgs.extend(self._parse_messages())
        return self._msgs.popleft()

    def _receive(self, size):
        """What comes next, at most ``size`` bytes; none at the end, also if it is :meth:`close` that ends it."""
        try:
            return self.socket.recv(size)
        except BaseException as error:
            if self.websocket_closed and isinstance(error, (OSError, ValueError)):
                return b""
            self._was_interrupted = True
            raise

    def _send_closing_frame(self, ignore_send_errors=False):
        if self.version == 76:
            self._send_last(b"\xff\x00", ignore_send_errors)

    def _send_last(self, frame, ignore_send_errors):
        """Sends a closing frame, once. A sender that is stuck, or a client that does not read, does not hold it up."""
        if self.websocket_closed:
            return
        self.websocket_closed = True
        try:
            with eventlet.Timeout(CLOSE_SECONDS, False):
                self._sendlock.acquire()
                try:
                    if not self._has_closed:
                        self._has_closed = True
                        self.socket.sendall(frame)
                finally:
                    self._sendlock.release()
        except OSError:
            if not ignore_send_errors:
                raise

    def close(self):
        """Closes the websocket at once, whoever waits for it or sends. To return from the handler is the better way."""
        self._close()

    def _close(self, *closing, linger=False):
        try:
            self._send_closing_frame(True, *closing)
            self.socket.shutdown(socket.SHUT_WR)
            if linger and not hasattr(self.socket, "do_handshake"):
                # Closed with data unread, it would send a reset, which may overtake the frame.
                with eventlet.Timeout(CLOSE_SECONDS, False):
                    while self.socket.recv(RECEIVE_SIZE):
                        pass
        except OSError as error:
            self._report_shutdown(error)
        finally:
            self.socket.close()

    def _fail(self):
        """Closes the websocket after an error of the handler."""
        self._close(linger=True)

    def _report_shutdown(self, error):
        if error.errno != errno.ENOTCONN:
            self.log.write("{} socket shutdown error: {}".format(self.log_context, error))
