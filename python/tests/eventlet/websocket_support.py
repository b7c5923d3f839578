"""What tests of websockets share: a server of them, the handshake, frames of a client."""

import struct

from eventlet import websocket

from http_support import ServerCase, read_all

HANDSHAKE = (b"GET /path?q HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d9MXuOzlVQ0h+qRllvSCIg==\r\n%s\r\n")
MASK = b"\x01\x02\x03\x04"


def masked(data):
    return bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))


def frame(first, payload=b"", size=None):
    """A client's frame; ``size`` overrides what it says of its length."""
    size = len(payload) if size is None else size
    if size < 126:
        length = struct.pack("!B", 128 | size)
    elif size < 65536:
        length = struct.pack("!BH", 128 | 126, size)
    else:
        length = struct.pack("!BQ", 128 | 127, size)
    return bytes([first]) + length + MASK + masked(payload)


@websocket.WebSocketWSGI
def echo(ws):
    while (message := ws.wait()) is not None:
        ws.send(message)


class WebSocketCase(ServerCase):
    def open(self, headers=b"", more=b""):
        """A socket after the handshake, which ``more`` came with."""
        client = self.send(HANDSHAKE % headers + more)
        answer = b""
        while b"\r\n\r\n" not in answer:
            # One byte at a time: what follows is the test's.
            answer += client.recv(1)
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
        self.answer = answer
        return client

    def close_status(self, client):
        """The status of the closing frame that comes next."""
        data = read_all(client)
        self.assertEqual(data[:1], b"\x88", data)
        return struct.unpack("!H", data[2:4])[0]
