"""Websockets as WSGI applications: :class:`WebSocketWSGI` around a handler, which gets a :class:`WebSocket`.

RFC 6455 (versions 8 and 13) with permessage-deflate, and the two drafts before it, known as hixie-75 and hixie-76.
Frame headers and masks are native.
"""

import base64
import codecs
import collections
import errno
import hashlib
import os
import string
import struct
import sys
import zlib

from eventlet import semaphore
from eventlet import wsgi
from eventlet.green import socket
from eventlet.support import get_errno
from greenloom import _native

__all__ = ["WebSocketWSGI", "WebSocket"]

ACCEPTABLE_CLIENT_ERRORS = {errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN}
DEFAULT_MAX_FRAME_LENGTH = 8 << 20
PROTOCOL_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Those that RFC 6455 defines for the wire, and those that libraries (3000 on) and applications (4000 on) may use.
VALID_CLOSE_STATUS = {*range(1000, 1004), *range(1007, 1012), *range(3000, 5000)}

_RECEIVE_SIZE = 16 << 10
_OP_CONTINUATION, _OP_TEXT, _OP_BINARY, _OP_CLOSE, _OP_PING, _OP_PONG = 0, 1, 2, 8, 9, 10
_FIN, _COMPRESSED, _OTHER_RESERVED = 0x80, 0x40, 0x30
_FLUSH_TAIL = b"\x00\x00\xff\xff"
# zlib makes no raw stream with a window of 8 bits, so only the client's side may have one.
_WINDOW_BITS = {"server_max_window_bits": range(9, 16), "client_max_window_bits": range(8, 16)}


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


class WebSocketWSGI:
    """A WSGI application that makes the handshake and calls ``handler`` with the websocket::

        @websocket.WebSocketWSGI
        def echo(ws):
            while (message := ws.wait()) is not None:
                ws.send(message)

    The websocket is closed when the handler returns; the request is logged then. A frame whose payload is longer than
    ``max_frame_length`` bytes, uncompressed, closes the connection.
    """

    def __init__(self, handler, max_frame_length=DEFAULT_MAX_FRAME_LENGTH):
        self.handler = handler
        self.protocol_version = None
        self.support_legacy_versions = True
        self.supported_protocols = []
        self.origin_checker = None
        self.max_frame_length = max_frame_length

    @classmethod
    def configured(cls, handler=None, supported_protocols=None, origin_checker=None, support_legacy_versions=False):
        """A decorator with options: subprotocols to choose from, a function of host and origin that says whether to
        serve them, and whether to speak the drafts too."""
        def decorate(handler):
            application = cls(handler)
            application.support_legacy_versions = support_legacy_versions
            application.origin_checker = origin_checker
            if supported_protocols:
                application.supported_protocols = supported_protocols
            return application
        return decorate if handler is None else decorate(handler)

    def __call__(self, environ, start_response):
        connection = [option.strip() for option in environ.get("HTTP_CONNECTION", "").lower().split(",")]
        try:
            if "upgrade" not in connection or environ.get("HTTP_UPGRADE", "").lower() != "websocket":
                raise BadRequest
            if "HTTP_SEC_WEBSOCKET_VERSION" in environ:
                ws = self._handle_hybi_request(environ)
            elif self.support_legacy_versions:
                ws = self._handle_legacy_request(environ)
            else:
                raise BadRequest
        except BadRequest as refusal:
            start_response(refusal.status, [("Connection", "close")] + (refusal.headers or []))
            return [refusal.body] if refusal.body else []
        # A graceful stop does not wait for a websocket.
        if "eventlet.set_idle" in environ:
            environ["eventlet.set_idle"]()
        try:
            self.handler(ws)
        except OSError as error:
            if get_errno(error) not in ACCEPTABLE_CLIENT_ERRORS:
                raise
        ws._send_closing_frame(True)
        wsgi.WSGI_LOCAL.already_handled = True
        return []

    def _take_socket(self, environ):
        """The connection's socket, and what was read from it too early."""
        if "eventlet.input" in environ:
            body = environ["eventlet.input"]
            take_buffered = getattr(body, "take_buffered", bytes)
            return body.get_socket(), take_buffered()
        if "gunicorn.socket" in environ:
            return environ["gunicorn.socket"], b""
        raise Exception("A websocket needs eventlet.input or gunicorn.socket in the environ.")

    def _handle_legacy_request(self, environ):
        origin = environ.get("HTTP_ORIGIN")
        if origin is None:
            raise BadRequest
        answer = b""
        self.protocol_version = 75
        if "HTTP_SEC_WEBSOCKET_KEY1" in environ:
            self.protocol_version = 76
            answer = self._answer_challenge(environ)
        sock, buffered = self._take_socket(environ)
        scheme = "wss" if environ.get("wsgi.url_scheme") == "https" else "ws"
        location = "{}://{}{}{}".format(
            scheme, environ.get("HTTP_HOST"), environ.get("SCRIPT_NAME"), environ.get("PATH_INFO"))
        if environ.get("QUERY_STRING") is not None:
            location += "?" + environ["QUERY_STRING"]
        if self.protocol_version == 75:
            lines = [
                "HTTP/1.1 101 Web Socket Protocol Handshake", "Upgrade: WebSocket", "Connection: Upgrade",
                "WebSocket-Origin: " + origin, "WebSocket-Location: " + location,
            ]
        else:
            lines = [
                "HTTP/1.1 101 WebSocket Protocol Handshake", "Upgrade: WebSocket", "Connection: Upgrade",
                "Sec-WebSocket-Origin: " + origin,
                "Sec-WebSocket-Protocol: " + environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "default"),
                "Sec-WebSocket-Location: " + location,
            ]
        sock.sendall("\r\n".join(lines + ["", ""]).encode() + answer)
        ws = WebSocket(sock, environ, self.protocol_version)
        ws._buf = buffered
        return ws

    def _answer_challenge(self, environ):
        """hixie-76: proves that the two keys and the eight bytes behind the headers were understood."""
        if "HTTP_SEC_WEBSOCKET_KEY2" not in environ:
            raise BadRequest
        keys = [self._extract_number(environ["HTTP_SEC_WEBSOCKET_KEY" + number]) for number in "12"]
        # They are there without a Content-Length.
        environ["wsgi.input"].content_length = 8
        try:
            challenge = struct.pack(">II", *keys) + environ["wsgi.input"].read(8)
        except struct.error:
            raise BadRequest from None
        return hashlib.md5(challenge, usedforsecurity=False).digest()

    def _extract_number(self, value):
        """The digits of a key as a number, divided by how many spaces it has."""
        digits = "".join(char for char in value if char in string.digits)
        spaces = value.count(" ")
        if not digits or not spaces:
            raise BadRequest
        return int(digits) // spaces

    def _handle_hybi_request(self, environ):
        version = environ["HTTP_SEC_WEBSOCKET_VERSION"]
        if version not in ("8", "13"):
            raise BadRequest("426 Upgrade Required", headers=[("Sec-WebSocket-Version", "8, 13")])
        self.protocol_version = int(version)
        if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
            raise BadRequest
        draft_origin = environ.get("HTTP_SEC_WEBSOCKET_ORIGIN", "") if self.protocol_version <= 8 else ""
        origin = environ.get("HTTP_ORIGIN", draft_origin)
        if self.origin_checker is not None and not self.origin_checker(environ.get("HTTP_HOST"), origin):
            raise BadRequest("403 Forbidden")
        offered = [protocol.strip() for protocol in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")]
        protocol = next((name for name in offered if name and name in self.supported_protocols), None)
        extensions = {}
        deflate = self._negotiate_permessage_deflate(
            self._parse_extension_header(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")))
        if deflate is not None:
            extensions["permessage-deflate"] = deflate

        sock, buffered = self._take_socket(environ)
        key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode()
        accept = base64.b64encode(hashlib.sha1(key + PROTOCOL_GUID, usedforsecurity=False).digest())
        lines = [
            b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept,
        ]
        if protocol:
            lines.append(b"Sec-WebSocket-Protocol: " + protocol.encode())
        if extensions:
            lines.append(b"Sec-WebSocket-Extensions: " + self._format_extension_header(extensions))
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        ws = RFC6455WebSocket(sock, environ, self.protocol_version, protocol=protocol, extensions=extensions,
                              max_frame_length=self.max_frame_length)
        ws._buf = buffered
        return ws

    def _parse_extension_header(self, header):
        """The offers of each extension: a dict of lists of dicts of parameters, which are True or a string."""
        if header is None:
            return None
        offers = {}
        for offer in header.split(","):
            name, *parameters = offer.split(";")
            config = {}
            for parameter in parameters:
                key, has_value, value = parameter.partition("=")
                config[key.strip().lower()] = value.strip().strip('"').lower() if has_value else True
            offers.setdefault(name.strip().lower(), []).append(config)
        return offers

    def _negotiate_permessage_deflate(self, extensions):
        """The parameters of the first offer that can be met, or None."""
        for offer in (extensions or {}).get("permessage-deflate", ()):
            config = {
                "server_no_context_takeover": offer.get("server_no_context_takeover", False),
                "client_no_context_takeover": offer.get("client_no_context_takeover", False),
            }
            for name, allowed in _WINDOW_BITS.items():
                bits = offer.get(name)
                if bits is None:
                    continue
                # Without a value the client says that it can be told one.
                bits = zlib.MAX_WBITS if bits is True else int(bits) if bits.isdecimal() else None
                if bits not in allowed:
                    break
                config[name] = bits
            else:
                return config
        return None

    def _format_extension_header(self, parsed_extensions):
        if not parsed_extensions:
            return None
        formatted = []
        for name, config in parsed_extensions.items():
            parts = [name] + [key if value is True else "{}={}".format(key, value)
                              for key, value in config.items() if value is not False]
            formatted.append("; ".join(parts))
        return ", ".join(formatted).encode()


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

        Raises OSError, with EPIPE say, if the other side has gone.
        """
        self._send(self._pack_message(message))

    def _send(self, frame):
        # Two green threads must not send into each other's frames.
        self._sendlock.acquire()
        try:
            self.socket.sendall(frame)
        finally:
            self._sendlock.release()

    def wait(self):
        """Blocks until a message is there, which may be empty, and returns it; None once the connection is closed."""
        self._msgs.extend(self._parse_messages())
        while not self._msgs:
            if self.websocket_closed:
                return None
            more = self.socket.recv(_RECEIVE_SIZE)
            if not more:
                return None
            self._buf += more
            self._msgs.extend(self._parse_messages())
        return self._msgs.popleft()

    def _send_closing_frame(self, ignore_send_errors=False):
        if self.version != 76 or self.websocket_closed:
            return
        try:
            self.socket.sendall(b"\xff\x00")
        except OSError:
            if not ignore_send_errors:
                raise
        self.websocket_closed = True

    def close(self):
        """Closes the websocket at once. To return from the handler is the better way."""
        try:
            self._send_closing_frame(True)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._report_shutdown(error)
        finally:
            self.socket.close()

    def _report_shutdown(self, error):
        if error.errno != errno.ENOTCONN:
            self.log.write("{} socket shutdown error: {}".format(self.log_context, error))


class RFC6455WebSocket(WebSocket):
    """A websocket of RFC 6455, either side of it: ``client=True`` masks what is sent, and takes no masks.

    ``extensions`` is what the handshake agreed on: ``{'permessage-deflate': parameters}`` or nothing.
    """

    def __init__(self, sock, environ, version=13, protocol=None, client=False, extensions=None,
                 max_frame_length=DEFAULT_MAX_FRAME_LENGTH):
        super().__init__(sock, environ, version)
        self.client = client
        self.protocol = protocol
        self.extensions = extensions or {}
        self.max_frame_length = max_frame_length
        self.iterator = self._iter_frames()
        self._deflate_enc = None
        self._deflate_dec = None
        self._remote_close_data = None

    class UTF8Decoder:
        """Decodes a text in pieces, strictly."""

        def __init__(self):
            self.decoder = codecs.getincrementaldecoder("utf8")()

        def reset(self):
            self.decoder.reset()

        def decode(self, data, final=False):
            return self.decoder.decode(data, final)

    class Message:
        """A message, as far as its frames have come."""

        def __init__(self, opcode, max_frame_length, decoder=None, decompressor=None):
            self.opcode = opcode
            self.max_frame_length = max_frame_length
            self.decoder = decoder
            self.decompressor = decompressor
            self.data = []
            self.finished = False

        def push(self, data, final=False):
            self.finished = final
            self.data.append(data)

        def getvalue(self):
            """The message: a string if it is a text, else bytes."""
            data = b"".join(self.data)
            if self.decompressor and not self.opcode & 8:
                data = self.decompressor.decompress(data + _FLUSH_TAIL, self.max_frame_length)
                if self.decompressor.unconsumed_tail:
                    limit = self.max_frame_length
                    raise FailedConnectionError(
                        1009, "Incoming compressed frame exceeds length limit of {} bytes.".format(limit))
            return self.decoder.decode(data, self.finished) if self.decoder else data

    def _get_permessage_deflate_enc(self):
        options = self.extensions.get("permessage-deflate")
        if options is None:
            return None
        us = "client" if self.client else "server"
        compressor = self._deflate_enc
        if compressor is None:
            bits = options.get(us + "_max_window_bits", zlib.MAX_WBITS)
            compressor = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -bits)
            if not options.get(us + "_no_context_takeover"):
                self._deflate_enc = compressor
        return compressor

    def _get_permessage_deflate_dec(self, rsv1):
        options = self.extensions.get("permessage-deflate")
        if options is None or not rsv1:
            return None
        them = "server" if self.client else "client"
        decompressor = self._deflate_dec
        if decompressor is None:
            decompressor = zlib.decompressobj(-options.get(them + "_max_window_bits", zlib.MAX_WBITS))
            if not options.get(them + "_no_context_takeover"):
                self._deflate_dec = decompressor
        return decompressor

    def wait(self):
        """Blocks until a message is there: a string for a text, else bytes; None once the connection is closed.

        Pings are answered meanwhile.
        """
        return next(self.iterator, None)

    def _iter_frames(self):
        message = None
        try:
            while True:
                received = self._recv_frame(message=message)
                if received.opcode & 8:
                    self._handle_control_frame(received.opcode, received.getvalue())
                    continue
                message = received
                if message.finished:
                    data, message = self._whole(message), None
                    yield data
        except FailedConnectionError as failure:
            self.close(close_data=(failure.status, failure.message))
        except ConnectionClosedError:
            return
        except Exception:
            self.close(close_data=(1011, "Internal Server Error"))
            raise

    def _whole(self, message):
        try:
            return message.getvalue()
        except ValueError:
            raise FailedConnectionError(1007, "Text data must be valid utf-8") from None
        except zlib.error:
            raise FailedConnectionError(1007, "Compressed data is damaged") from None

    def _fill(self):
        more = self.socket.recv(_RECEIVE_SIZE)
        if not more:
            raise ConnectionClosedError
        self._buf = self._buf + more if self._buf else more

    def _get_bytes(self, numbytes):
        """So many bytes. Blocks until they are there."""
        data = self._buf
        if len(data) >= numbytes:
            self._buf = data[numbytes:]
            return data[:numbytes]
        self._buf = b""
        parts, missing = [data], numbytes - len(data)
        while missing:
            more = self.socket.recv(min(missing, 256 << 10))
            if not more:
                raise ConnectionClosedError
            parts.append(more)
            missing -= len(more)
        return b"".join(parts)

    def _recv_frame(self, message=None):
        """Blocks until a frame is there. Returns its message: ``message`` if the frame continues that."""
        while len(self._buf) < 2:
            self._fill()
        # What is wrong is wrong at once: the rest of the header may never come.
        first, second = self._buf[0], self._buf[1]
        opcode, compressed = first & 15, first & _COMPRESSED
        self._check_start(first, opcode, second, message)
        while (frame := _native.websocket_frame(self._buf)) is None:
            self._fill()
        _, mask, length, size = frame
        if length > self.max_frame_length:
            raise FailedConnectionError(1009, "Incoming frame of {} bytes is above length limit of {} bytes.".format(
                length, self.max_frame_length))
        self._buf = self._buf[size:]
        if message is None or opcode & 8:
            message = self.Message(
                opcode, self.max_frame_length, decoder=self.UTF8Decoder() if opcode == _OP_TEXT else None,
                decompressor=self._get_permessage_deflate_dec(compressed))
        data = self._get_bytes(length)
        message.push(_native.websocket_mask(data, mask, 0) if mask else data, final=first & _FIN != 0)
        return message

    def _check_start(self, first, opcode, second, message):
        def fail(reason):
            raise FailedConnectionError(1002, reason)

        if opcode not in (_OP_CONTINUATION, _OP_TEXT, _OP_BINARY, _OP_CLOSE, _OP_PING, _OP_PONG):
            fail("Unknown opcode received.")
        may_be_compressed = "permessage-deflate" in self.extensions and opcode in (_OP_TEXT, _OP_BINARY)
        if first & _OTHER_RESERVED or (first & _COMPRESSED and not may_be_compressed):
            fail("RSV1, RSV2 and RSV3 must be 0 unless an extension gives them a meaning.")
        masked = second & 0x80 != 0
        if masked == bool(self.client):
            fail("A server must not mask frames." if masked else "A client must mask all frames.")
        if opcode & 8:
            if not first & _FIN:
                fail("Control frames must not be fragmented.")
            if second & 127 > 125:
                fail("Control frames must have a payload of 125 bytes or less.")
        elif opcode and message:
            fail("A new message began within a fragmented one.")
        elif not opcode and not message:
            fail("A continuation came without a message.")

    def _handle_control_frame(self, opcode, data):
        if opcode == _OP_PING:
            self.send(data, control_code=_OP_PONG)
        elif opcode == _OP_CLOSE:
            self._remote_close_data = data
            self.close(close_data=(self._close_status(data), ""))
            raise ConnectionClosedError

    def _close_status(self, data):
        """The status to answer a closing frame with."""
        if not data:
            return 1000
        if len(data) == 1:
            return 1002
        status, = struct.unpack_from("!H", data)
        if status not in VALID_CLOSE_STATUS:
            raise FailedConnectionError(1002, "Unexpected close status code.")
        try:
            self.UTF8Decoder().decode(data[2:], True)
        except ValueError:
            raise FailedConnectionError(1002, "Close message data should be valid UTF-8.") from None
        return status

    def send(self, message, **kw):
        """Sends a message: a string as a text, bytes as they are. ``control_code`` sends a ping (9) or a pong (10);
        ``continuation`` and ``final=False`` send a message in pieces."""
        self._send(self._pack_message(message, masked=self.client, **kw))

    def _pack_message(self, message, masked=False, continuation=False, final=True, control_code=None):
        opcode = _OP_BINARY
        if isinstance(message, str):
            message, opcode = message.encode(), _OP_TEXT
        first = _FIN if final else 0
        if control_code:
            if control_code not in (_OP_CLOSE, _OP_PING, _OP_PONG):
                raise ProtocolError("Unknown control opcode.")
            if continuation or not final:
                raise ProtocolError("Control frame cannot be a fragment.")
            if len(message) > 125:
                raise ProtocolError("Control frame data too large (>125).")
            first |= control_code
        else:
            compressor = self._get_permessage_deflate_enc() if message else None
            if compressor:
                message = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
                message = message[:-len(_FLUSH_TAIL)]
            if not continuation:
                first |= opcode | (_COMPRESSED if compressor else 0)
        # There is nothing to mask in an empty one, but a server insists on the mask.
        return _native.websocket_pack(first, bytes(message), os.urandom(4) if masked else None)

    def _send_closing_frame(self, ignore_send_errors=False, close_data=None):
        if self.version not in (8, 13) or self.websocket_closed:
            return
        data = b""
        if close_data is not None:
            status, reason = close_data
            data = struct.pack("!H", status) + (reason.encode() if isinstance(reason, str) else reason)
        try:
            self.send(data, control_code=_OP_CLOSE)
        except OSError:
            if not ignore_send_errors:
                raise
        self.websocket_closed = True

    def close(self, close_data=None):
        """Sends a closing frame, with ``(status, reason)`` if that is given, and closes the connection at once. To
        return from the handler is the better way."""
        try:
            self._send_closing_frame(True, close_data)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._report_shutdown(error)
        finally:
            self.socket.close()
