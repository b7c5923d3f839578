"""Websockets: what the other side may do wrong, what comes with the handshake, the rules of frames."""

import os
import struct
import unittest
import zlib

import eventlet
from eventlet import websocket
from eventlet.green import socket

from http_support import read_all, read_response
from websocket_support import HANDSHAKE, MASK, WebSocketCase, echo, frame


class WebSockets(WebSocketCase):
    def test_frames_that_come_with_the_handshake_are_not_lost(self):
        self.serve(echo)
        client = self.open(more=frame(0x81, b"early") + frame(0x82, b"too")[:3])
        self.assertEqual(client.recv(7), b"\x81\x05early")
        client.sendall(frame(0x82, b"too")[3:])
        self.assertEqual(client.recv(5), b"\x82\x03too")

    def test_broken_rules_close_with_the_status_for_them(self):
        cases = {
            "an unknown opcode": (b"\x83\x80" + MASK, 1002),
            "an unknown control opcode": (b"\x8b\x80" + MASK, 1002),
            "no mask": (b"\x81\x01a", 1002),
            "RSV1 without an extension": (frame(0xc1, b"a"), 1002),
            "RSV2": (frame(0xa1, b"a"), 1002),
            "RSV3": (frame(0x91, b"a"), 1002),
            "a fragmented ping": (frame(0x09, b"a"), 1002),
            "a long ping": (frame(0x89, b"a" * 126), 1002),
            "a continuation of nothing": (frame(0x80, b"a"), 1002),
            "a message within a message": (frame(0x01, b"a") + frame(0x81, b"b"), 1002),
            "a text that is no UTF-8": (frame(0x81, b"\xff"), 1007),
            "half a character": (frame(0x01, b"\xc3") + frame(0x80), 1007),
            "a long frame": (frame(0x82, size=1 << 62), 1009),
            "an unknown status": (frame(0x88, b"\x03\xec"), 1002),
            "half a status": (frame(0x88, b"\x03"), 1002),
            "a reason that is no UTF-8": (frame(0x88, b"\x03\xe8\xff"), 1007),
            "a good goodbye": (frame(0x88, b"\x03\xe8bye"), 1000),
            "a goodbye without a word": (frame(0x88), 1000),
        }
        self.serve(echo)
        for name, (data, status) in cases.items():
            with self.subTest(name):
                client = self.open()
                client.sendall(data)
                self.assertEqual(self.close_status(client), status)
        self.close_clients()
        with eventlet.Timeout(5):
            self.pool.waitall()

    def test_what_is_wrong_is_said_before_the_frame_is_whole(self):
        self.serve(echo)
        client = self.open()
        client.sendall(b"\x83\xff")
        self.assertEqual(self.close_status(client), 1002)

    def test_pings_are_answered_within_a_message(self):
        self.serve(echo)
        client = self.open()
        client.sendall(frame(0x01, b"one ") + frame(0x89, b"ping") + frame(0x00) + frame(0x80, b"two"))
        file = client.makefile("rb")
        self.assertEqual(file.read(6), b"\x8a\x04ping")
        self.assertEqual(file.read(9), b"\x81\x07one two")

    def test_every_length_comes_back(self):
        self.serve(echo)
        ws = websocket.RFC6455WebSocket(self.open(), {}, client=True)
        for size in (0, 1, 125, 126, 127, 65535, 65536, 200001):
            message = os.urandom(size)
            eventlet.spawn(ws.send, message)
            self.assertEqual(ws.wait(), message)
        ws.send("")
        self.assertEqual(ws.wait(), "")
        ws.close()

    def test_one_byte_at_a_time_is_enough(self):
        self.serve(echo)
        client = self.open()
        for byte in frame(0x81, b"x" * 130):
            client.sendall(bytes([byte]))
            eventlet.sleep(0)
        self.assertEqual(client.makefile("rb").read(134), b"\x81\x7e\x00\x82" + b"x" * 130)

    def test_many_green_threads_send_whole_frames(self):
        def shout(ws):
            pool = eventlet.GreenPool()
            for number in range(20):
                pool.spawn(ws.send, bytes([number]) * 100000)
            pool.waitall()

        self.serve(websocket.WebSocketWSGI(shout))
        ws = websocket.RFC6455WebSocket(self.open(), {}, client=True)
        messages = list(iter(ws.wait, None))
        self.assertEqual(sorted(messages), [bytes([number]) * 100000 for number in range(20)])

    def test_a_masked_frame_of_a_server_is_refused(self):
        ours, theirs = (socket.socket(fileno=one.detach()) for one in self.pair())
        ws = websocket.RFC6455WebSocket(ours, {}, client=True)
        theirs.sendall(frame(0x81, b"a"))
        self.assertIsNone(ws.wait())

    def pair(self):
        listener = eventlet.listen(("127.0.0.1", 0))
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]

    def test_a_client_masks_each_frame_anew(self):
        ws = websocket.RFC6455WebSocket(None, {}, client=True)
        frames = {ws._pack_message(b"same", masked=True) for _ in range(20)}
        self.assertGreater(len(frames), 1)
        for packed in frames:
            self.assertEqual(bytes(byte ^ packed[2 + at % 4] for at, byte in enumerate(packed[6:])), b"same")

    def test_frames_that_must_not_be_sent_are_not(self):
        ws = websocket.RFC6455WebSocket(None, {})
        ping = {"control_code": 9}
        for arguments in ({"control_code": 3}, {**ping, "final": False}, {**ping, "continuation": True}):
            with self.assertRaises(websocket.ProtocolError):
                ws._pack_message(b"", **arguments)
        with self.assertRaises(websocket.ProtocolError):
            ws._pack_message(b"x" * 126, control_code=9)

    def test_compression_is_agreed_on_only_as_zlib_can_do_it(self):
        application = websocket.WebSocketWSGI(None)

        def agree(header):
            return application._negotiate_permessage_deflate(application._parse_extension_header(header))

        plain = {"server_no_context_takeover": False, "client_no_context_takeover": False}
        self.assertEqual(agree("permessage-deflate"), plain)
        self.assertEqual(
            agree("x, Permessage-Deflate; client_max_window_bits"), {**plain, "client_max_window_bits": 15})
        self.assertEqual(
            agree('permessage-deflate; server_max_window_bits="10"'), {**plain, "server_max_window_bits": 10})
        self.assertEqual(agree("permessage-deflate; server_max_window_bits=8, permessage-deflate"), plain)
        for refused in ("x", "permessage-deflate; server_max_window_bits=8",
                        "permessage-deflate; client_max_window_bits=16",
                        "permessage-deflate; client_max_window_bits=many", ""):
            self.assertIsNone(agree(refused), refused)

    def test_compressed_messages_in_fragments(self):
        self.serve(echo)
        client = self.open(b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n")
        self.assertIn(b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n", self.answer)
        compressor = zlib.compressobj(wbits=-15)
        data = (compressor.compress(b"hello " * 10) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        client.sendall(frame(0x42, data[:3]) + frame(0x89) + frame(0x80, data[3:]))
        file = client.makefile("rb")
        self.assertEqual(file.read(2), b"\x8a\x00")
        first, size = file.read(2)
        self.assertEqual(first, 0xc2)
        self.assertEqual(zlib.decompressobj(-15).decompress(file.read(size) + b"\0\0\xff\xff"), b"hello " * 10)

    def test_compressed_frames_are_held_to_the_rules(self):
        bomb = zlib.compressobj(wbits=-15)
        bomb = (bomb.compress(b"x" * 100000) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]
        cases = {
            "a continuation with RSV1": (frame(0x02, b"") + frame(0xc0, b""), 1002),
            "a ping with RSV1": (frame(0xc9), 1002),
            "damaged data": (frame(0xc2, b"\xff\xff\xff"), 1007),
            "a bomb": (frame(0xc2, bomb), 1009),
        }
        application = websocket.WebSocketWSGI(echo.handler, max_frame_length=50000)
        self.serve(application)
        for name, (data, status) in cases.items():
            with self.subTest(name):
                client = self.open(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
                client.sendall(data)
                data = read_all(client)
                self.assertEqual(struct.unpack("!H", data[2:4])[0], status)

    def test_handshakes_that_are_refused(self):
        application = websocket.WebSocketWSGI.configured(
            lambda ws: None, supported_protocols=["chat"], origin_checker=lambda host, origin: origin != "http://evil")
        self.serve(application)
        cases = {
            "403": HANDSHAKE % b"Origin: http://evil\r\n",
            "426": (HANDSHAKE % b"").replace(b"Version: 13", b"Version: 12"),
            "400": (HANDSHAKE % b"").replace(b"Sec-WebSocket-Version: 13\r\n", b""),
        }
        for status, request in cases.items():
            line, headers, _ = read_response(self.send(request))
            self.assertEqual((line.split()[1], headers["connection"]), (status, "close"))
        self.open(b"Sec-WebSocket-Protocol: other, chat\r\n")
        self.assertIn(b"Sec-WebSocket-Protocol: chat\r\n", self.answer)

    def test_broken_handshakes_of_the_drafts_are_refused(self):
        self.serve(echo, debug=False)
        head = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n%s\r\n12345678"
        for headers in (b"", b"Origin: x\r\nSec-WebSocket-Key1: 1 2\r\n",
                        b"Origin: x\r\nSec-WebSocket-Key1: 12\r\nSec-WebSocket-Key2: 1 2\r\n",
                        b"Origin: x\r\nSec-WebSocket-Key1: 9999999999999 9\r\nSec-WebSocket-Key2: 1 2\r\n"):
            self.assertIn(" 400 ", read_response(self.send(head % headers))[0], headers)

    def test_messages_of_the_drafts_that_come_with_the_handshake(self):
        self.serve(echo)
        client = self.send(b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: y\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
                           b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n"
                           b"^n:ds[4U\x00early\xff\xff\x00")
        data = read_all(client)
        self.assertTrue(data.startswith(b"HTTP/1.1 101 WebSocket Protocol Handshake\r\n"))
        self.assertIn(b"\r\n\r\n8jKS'y:G*Co,Wxa-\x00early\xff", data)

    def test_a_graceful_stop_ends_an_idle_websocket(self):
        server = self.serve(echo)
        client = self.open()
        eventlet.sleep(0)
        server.kill()
        with eventlet.Timeout(5):
            self.pool.waitall()
        read_all(client)


if __name__ == "__main__":
    unittest.main()
