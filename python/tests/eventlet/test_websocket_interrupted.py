"""Websockets whose wait or send is interrupted, and messages that are sent in pieces."""

import os
import struct
import unittest
import zlib

import eventlet
from eventlet import websocket
from eventlet.green import socket

from websocket_support import WebSocketCase, frame

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate%s\r\n"
LARGE = 2 << 20


class Stop(Exception):
    """Ends a wait."""


def receive(file):
    """A server's frame: its first byte, and its payload."""
    first, size = file.read(2)
    if size == 126:
        size, = struct.unpack("!H", file.read(2))
    elif size == 127:
        size, = struct.unpack("!Q", file.read(8))
    return first, file.read(size)


def shrink(sock):
    """Leaves little room for what is sent and not read yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)


class Waits(WebSocketCase):
    def assert_missed_nothing(self, interrupt, first, rest, expected, headers=b""):
        """The first wait, when ``first`` has come, is interrupted; the next ones find the messages."""
        messages, interrupted = [], eventlet.Event()

        @websocket.WebSocketWSGI
        def handler(ws):
            interrupt(ws, messages)
            interrupted.send()
            messages.extend(ws.wait() for _ in expected)

        self.serve(handler)
        client = self.open(headers)
        client.sendall(first)
        interrupted.wait()
        client.sendall(rest)
        self.assertEqual(client.recv(100), b"\x88\x00")
        client.close()
        self.assertEqual(messages, expected)

    def interruptions(self):
        def by_timeout(ws, messages):
            with eventlet.Timeout(0.05, False):
                messages.append(ws.wait())

        def by_an_exception(ws, messages):
            with self.assertRaises(Stop), eventlet.Timeout(0.05, Stop):
                messages.append(ws.wait())

        def by_the_sockets_timeout(ws, messages):
            ws.socket.settimeout(0.05)
            with self.assertRaises(socket.timeout):
                messages.append(ws.wait())
            ws.socket.settimeout(None)

        return by_timeout, by_an_exception, by_the_sockets_timeout

    def test_who_is_interrupted_may_wait_again(self):
        message = frame(0x81, b"x" * 300)
        pieces = frame(0x01, "é".encode()[:1]) + frame(0x89, b"ping") + frame(0x80, "é".encode()[1:])
        for interrupt in self.interruptions():
            for cut in (0, 1, 3, 7, 100):
                with self.subTest(interrupt.__name__, cut=cut):
                    self.assert_missed_nothing(interrupt, message[:cut], message[cut:] + frame(0x82, b"next"),
                                               ["x" * 300, b"next"])
            with self.subTest(interrupt.__name__, cut="in pieces"):
                self.assert_missed_nothing(interrupt, pieces[:7], pieces[7:].replace(frame(0x89, b"ping"), b""), ["é"])

    def test_who_is_interrupted_in_a_compressed_message_may_wait_again(self):
        compressor = zlib.compressobj(wbits=-15)
        data = [(compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for text in (b"hello " * 9,) * 2]
        first, rest = frame(0x41, data[0][:3]), frame(0x80, data[0][3:]) + frame(0xc1, data[1])
        self.assert_missed_nothing(self.interruptions()[0], first, rest, ["hello " * 9] * 2, DEFLATE % b"")

    def test_one_at_a_time_may_wait(self):
        messages = []

        @websocket.WebSocketWSGI
        def handler(ws):
            waiter = eventlet.spawn(ws.wait)
            eventlet.sleep(0)
            for _ in range(2):
                with self.assertRaisesRegex(ValueError, "already executing"):
                    ws.wait()
            refused.send()
            messages.extend([waiter.wait(), ws.wait()])

        refused = eventlet.Event()
        self.serve(handler)
        client = self.open()
        refused.wait()
        client.sendall(frame(0x81, b"1") + frame(0x81, b"2"))
        self.assertEqual(client.recv(100), b"\x88\x00")
        self.assertEqual(messages, ["1", "2"])

    def test_an_error_that_comes_after_an_interruption_closes_with_1011(self):
        @websocket.WebSocketWSGI
        def handler(ws):
            def fail(*args):
                raise Stop

            with eventlet.Timeout(0.02, False):
                ws.wait()
            ws._handle_control_frame = fail
            with self.assertRaises(Stop):
                ws.wait()

        self.serve(handler)
        client = self.open()
        eventlet.sleep(0.1)
        client.sendall(frame(0x89))
        self.assertEqual(client.recv(100)[:4], b"\x88\x17\x03\xf3")
        client.close()

    def test_one_that_does_not_stop_at_the_error_is_closed_with_1011(self):
        @websocket.WebSocketWSGI
        def handler(ws):
            with eventlet.Timeout(0.05, Stop):
                ws.wait()

        self.serve(handler)
        self.assertEqual(self.close_status(self.open()), 1011)


class Sends(WebSocketCase):
    def test_what_was_not_sent_is_not_referred_to(self):
        @websocket.WebSocketWSGI
        def handler(ws):
            ws.wait()
            shrink(ws.socket)
            sender = eventlet.spawn(ws.send, os.urandom(LARGE))
            eventlet.sleep(0)
            # It waits for the other one.
            with eventlet.Timeout(0.05, False):
                ws.send("lost and found")
            interrupted.send()
            sender.wait()
            ws.send("lost and found again")

        interrupted = eventlet.Event()
        self.serve(handler)
        client = self.open(DEFLATE % b"")
        client.sendall(frame(0x81, b"go"))
        interrupted.wait()
        file, decompressor = client.makefile("rb"), zlib.decompressobj(wbits=-15)
        texts = [decompressor.decompress(receive(file)[1] + b"\0\0\xff\xff") for _ in range(2)]
        self.assertEqual((len(texts[0]), texts[1]), (LARGE, b"lost and found again"))

    def test_one_that_found_no_room_may_send_again(self):
        def handler(ws, interrupted):
            # Nothing of it goes out.
            for _ in range(2):
                with eventlet.Timeout(0.05, False):
                    ws.send("lost")
            interrupted.send()
            ws.send("found")

        for extensions in ({}, {"permessage-deflate": {}}):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                filled = 0
                ours.settimeout(0)
                try:
                    while True:
                        filled += ours.send(b"x" * 1000)
                except BlockingIOError:
                    ours.settimeout(None)
                ws = websocket.RFC6455WebSocket(ours, {}, extensions=extensions)
                interrupted = eventlet.Event()
                sender = eventlet.spawn(handler, ws, interrupted)
                interrupted.wait()
                file = theirs.makefile("rb")
                file.read(filled)
                first, data = receive(file)
                sender.wait()
                if extensions:
                    data = zlib.decompressobj(wbits=-15).decompress(data + b"\0\0\xff\xff")
                self.assertEqual((first & 0x8f, data), (0x81, b"found"))

    def test_nothing_follows_half_a_frame(self):
        errors = []

        @websocket.WebSocketWSGI
        def handler(ws):
            ws.wait()
            shrink(ws.socket)
            with eventlet.Timeout(0.1, False):
                ws.send(b"x" * LARGE)
            try:
                ws.send("after")
            except OSError as error:
                errors.append(error)
            interrupted.send()

        interrupted = eventlet.Event()
        self.serve(handler)
        client = self.open()
        client.sendall(frame(0x81, b"go"))
        interrupted.wait()
        file = client.makefile("rb")
        self.assertEqual(file.read(10), b"\x82\x7f" + struct.pack("!Q", LARGE))
        self.assertEqual(file.read().strip(b"x"), b"")
        self.assertIsInstance(errors[0], BrokenPipeError)

    def test_a_compressed_message_in_pieces_is_one(self):
        cases = {
            "pieces": ["hello ", "hello ", "world"],
            "an empty one first": ["", "hello"],
            "an empty one last": ["hello", ""],
            "nothing": ["", "", ""],
        }

        @websocket.WebSocketWSGI
        def handler(ws):
            for pieces in cases.values():
                for at, piece in enumerate(pieces):
                    ws.send(piece, continuation=at > 0, final=at == len(pieces) - 1)
                ws.send("hello world")

        self.serve(handler)
        for parameters in (b"", b"; server_no_context_takeover", b"; server_max_window_bits=9"):
            file = self.open(DEFLATE % parameters).makefile("rb")
            decompressor = zlib.decompressobj(wbits=-15)
            for name, pieces in cases.items():
                with self.subTest(name, parameters=parameters):
                    if b"no_context" in parameters:
                        decompressor = zlib.decompressobj(wbits=-15)
                    frames = [receive(file) for _ in pieces]
                    self.assertEqual([first for first, _ in frames], [0x41] + [0] * (len(pieces) - 2) + [0x80])
                    data = b"".join(data for _, data in frames) + b"\0\0\xff\xff"
                    self.assertEqual(decompressor.decompress(data), "".join(pieces).encode())
                    if b"no_context" in parameters:
                        decompressor = zlib.decompressobj(wbits=-15)
                    first, data = receive(file)
                    self.assertEqual((first, decompressor.decompress(data + b"\0\0\xff\xff")), (0xc1, b"hello world"))

    def test_what_is_neither_text_nor_bytes_is_refused(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ws = websocket.RFC6455WebSocket(ours, {})
            for message in (5, None, 1.5, [1, 2]):
                self.assertRaises(TypeError, ws.send, message)
            ws.send(bytearray(b"ab"))
            self.assertEqual(theirs.recv(100), b"\x82\x02ab")


if __name__ == "__main__":
    unittest.main()
