"""Sends spans to a collector: Scribe's `Log` call, in Thrift's binary protocol, in frames."""

import base64
import struct
import warnings

from eventlet import greenpool
from eventlet.green import socket
from eventlet.zipkin._thrift import LIST, STRING, STRUCT, Struct, encode

CATEGORY = "zipkin"

_CALL = 1
# Seconds.
_TIMEOUT = 10


class _LogEntry(Struct):
    FIELDS = ((1, "category", STRING, None), (2, "message", STRING, None))


class _Log(Struct):
    FIELDS = ((1, "messages", LIST, STRUCT),)


class ZipkinClient:
    """Sends spans to the collector at *host* and *port*, one at a time, in a green thread. What can't be sent is lost,
    with a warning; the next one is tried on a new connection."""

    def __init__(self, host="127.0.0.1", port=9410):
        self.host = host
        self.port = port
        self._pool = greenpool.GreenPool(1)
        self._socket = None

    def send_to_collector(self, span):
        """Sends a span. Parks while another one is being sent."""
        self._pool.spawn_n(self._send, span)

    def close(self):
        """Ends the connection, after what is being sent."""
        self._pool.waitall()
        self._disconnect()

    def _send(self, span):
        try:
            if self._socket is None:
                self._socket = socket.create_connection((self.host, self.port), _TIMEOUT)
            self._socket.sendall(self._frame(span))
            (length,) = struct.unpack("!i", self._receive(4))
            self._receive(length)
        except OSError as error:
            warnings.warn(f"a span was not sent to {self.host}:{self.port}: {error}")
            self._disconnect()

    def _frame(self, span):
        entry = _LogEntry(CATEGORY, base64.b64encode(encode(STRUCT, span)))
        call = encode(STRING, "Log") + struct.pack("!bi", _CALL, 0) + encode(STRUCT, _Log([entry]))
        return struct.pack("!i", len(call)) + call

    def _receive(self, count):
        received = b""
        while len(received) < count:
            more = self._socket.recv(count - len(received))
            if not more:
                raise ConnectionError("the collector closed the connection")
            received += more
        return received

    def _disconnect(self):
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
