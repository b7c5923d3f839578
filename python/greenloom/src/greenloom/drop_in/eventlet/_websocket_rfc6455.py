"""Websockets of RFC 6455, either side. Frame headers and masks are native."""

import codecs
import os
import struct
import zlib

from eventlet._websocket_base import (
    ConnectionClosedError, FailedConnectionError, ProtocolError, RECEIVE_SIZE, WebSocket)
from eventlet._websocket_deflate import FLUSH_TAIL, Inflater, TooLong
from greenloom import _native

DEFAULT_MAX_FRAME_LENGTH = 8 << 20
# Those that RFC 6455 defines for the wire and IANA has registered since, and those that libraries (3000 on) and
# applications (4000 on) may use.
VALID_CLOSE_STATUS = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}

_OP_CONTINUATION, _OP_TEXT, _OP_BINARY, _OP_CLOSE, _OP_PING, _OP_PONG = 0, 1, 2, 8, 9, 10
# The bytes of a closing frame's reason.
_MOST_REASON = 123
_FIN, _COMPRESSED, _OTHER_RESERVED = 0x80, 0x40, 0x30


class RFC6455WebSocket(WebSocket):
    """A websocket of RFC 6455, either side of it: ``client=True`` masks what is sent, and takes no masks.

    ``extensions`` is what the handshake agreed on: ``{'permessage-deflate': parameters}`` or nothing. A message longer
    than ``max_frame_length`` bytes, in one frame or many, compressed or not, closes the connection.
    """

    def __init__(self, sock, environ, version=13, protocol=None, client=False, extensions=None,
                 max_frame_length=DEFAULT_MAX_FRAME_LENGTH):
        super().__init__(sock, environ, version)
        self.client = client
        self.protocol = protocol
        self.extensions = extensions or {}
        self.max_frame_length = max_frame_length
        self.iterator = self._iter_frames()
        # The message whose first frames have come.
        self._message = None
        self._deflate_enc = None
        self._deflate_dec = None
        # What compresses the message that is being sent, which may be in pieces.
        self._compressor = None
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
            self.size = 0
            self.finished = False

        def push(self, data, final=False):
            self.finished = final
            self.size += len(data)
            self.data.append(data)

        def getvalue(self):
            """The message: a string if it is a text, else bytes."""
            data = b"".join(self.data)
            if self.decompressor and not self.opcode & 8:
                try:
                    data = self.decompressor.decompress(data, self.max_frame_length)
                except TooLong:
                    limit = self.max_frame_length
                    raise FailedConnectionError(
                        1009, "Incoming compressed frame exceeds length limit of {} bytes.".format(limit)) from None
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
        if self._deflate_dec is None:
            self._deflate_dec = Inflater(options.get(them + "_max_window_bits", zlib.MAX_WBITS),
                                         not options.get(them + "_no_context_takeover"))
        return self._deflate_dec

    def wait(self):
        """Blocks until a message is there: a string for a text, else bytes; None once the connection is closed.

        Pings are answered meanwhile. Who is interrupted, by a Timeout say, may wait again, and misses nothing.
        """
        try:
            return next(self.iterator, None)
        except BaseException:
            # It has ended with the error, unless somebody else waits, and the websocket may not have.
            if self.iterator.gi_frame is None and not self.websocket_closed:
                self.iterator = self._iter_frames()
            raise

    def _iter_frames(self):
        self._was_interrupted = False
        try:
            while True:
                message = self._recv_frame(message=self._message)
                if message.opcode & 8:
                    self._handle_control_frame(message.opcode, message.getvalue())
                    continue
                self._message = None if message.finished else message
                if message.finished:
                    yield self._whole(message)
        except FailedConnectionError as failure:
            self._close((failure.status, failure.message), linger=True)
        except ConnectionClosedError:
            return
        except Exception:
            # An error from outside, that of a timeout say, says nothing about the websocket.
            if not self._was_interrupted:
                self._fail()
            raise

    def _fail(self):
        self._close((1011, "Internal Server Error"), linger=True)

    def _whole(self, message):
        try:
            return message.getvalue()
        except ValueError:
            raise FailedConnectionError(1007, "Text data must be valid utf-8") from None
        except zlib.error:
            raise FailedConnectionError(1007, "Compressed data is damaged") from None

    def _fill(self):
        more = self._receive(RECEIVE_SIZE)
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
        try:
            while missing:
                more = self._receive(min(missing, 256 << 10))
                if not more:
                    raise ConnectionClosedError
                parts.append(more)
                missing -= len(more)
        except BaseException:
            self._buf = b"".join(parts)
            raise
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
        before = message.size if message is not None and not opcode else 0
        if before + length > self.max_frame_length and not opcode & 8:
            raise FailedConnectionError(1009, "Incoming frame of {} bytes is above length limit of {} bytes.".format(
                before + length, self.max_frame_length))
        header, self._buf = self._buf[:size], self._buf[size:]
        if message is None or opcode & 8:
            message = self.Message(
                opcode, self.max_frame_length, decoder=self.UTF8Decoder() if opcode == _OP_TEXT else None,
                decompressor=self._get_permessage_deflate_dec(compressed))
        try:
            data = self._get_bytes(length)
        except BaseException:
            self._buf = header + self._buf
            raise
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
            raise FailedConnectionError(1007, "Close message data should be valid UTF-8.") from None
        return status

    def send(self, message, **kw):
        """Sends a message: a string as a text, bytes as they are. ``control_code`` sends a ping (9) or a pong (10);
        ``continuation`` and ``final=False`` send a message in pieces."""
        self._send_made(lambda: self._pack_message(message, masked=self.client, **kw))

    def _frame_was_lost(self):
        # The other side has not seen what a later message may refer to. A new compressor refers to nothing.
        self._deflate_enc = None
        if self._compressor is not None:
            self._compressor = self._get_permessage_deflate_enc()

    def _pack_message(self, message, masked=False, continuation=False, final=True, control_code=None):
        opcode = _OP_BINARY
        if isinstance(message, str):
            message, opcode = message.encode(), _OP_TEXT
        elif not isinstance(message, bytes):
            message = memoryview(message).tobytes()
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
            if not continuation:
                # All pieces of a message are compressed, or none is.
                self._compressor = self._get_permessage_deflate_enc() if message or not final else None
                first |= opcode | (_COMPRESSED if self._compressor else 0)
            if self._compressor:
                message = self._compressor.compress(message) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
                if final:
                    # Of nothing behind other pieces an empty block is left, without its tail as well.
                    message = message[:-len(FLUSH_TAIL)] or b"\0"
        # There is nothing to mask in an empty one, but a server insists on the mask.
        return _native.websocket_pack(first, message, os.urandom(4) if masked else None)

    def _send_closing_frame(self, ignore_send_errors=False, close_data=None):
        if self.version not in (8, 13):
            return
        data = b""
        if close_data is not None:
            status, reason = close_data
            if isinstance(reason, str):
                # What is too long for a control frame, up to the last character that fits.
                reason = reason.encode()[:_MOST_REASON].decode(errors="ignore").encode()
            data = struct.pack("!H", status) + reason[:_MOST_REASON]
        frame = self._pack_message(data, masked=self.client, control_code=_OP_CLOSE)
        self._send_last(frame, ignore_send_errors)

    def close(self, close_data=None):
        """Sends a closing frame, with ``(status, reason)`` if that is given, and closes the connection at once, whoever
        waits for it or sends. To return from the handler is the better way."""
        self._close(close_data)
