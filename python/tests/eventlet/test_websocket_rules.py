"""Websockets: how they end, what a message may be, what compression allows, what a handshake must have."""

import base64
import io
import struct
import unittest
import zlib

import eventlet
from eventlet import websocket
from eventlet.green import socket

from http_support import ServerCase, read_all, read_response
from websocket_support import HANDSHAKE, WebSocketCase, echo, frame

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate%s\r\n"


class Ends(WebSocketCase):
    def test_registered_statuses_are_answered_with_themselves(self):
        self.serve(echo)
        for status in (1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999):
            client = self.open()
            client.sendall(frame(0x88, struct.pack("!H", status)))
            self.assertEqual(self.close_status(client), status)
        for status in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000):
            client = self.open()
            client.sendall(frame(0x88, struct.pack("!H", status)))
            self.assertEqual(self.close_status(client), 1002)

    def test_a_reason_that_is_too_long_is_cut(self):
        for reason in ("é" * 100, ("é" * 100).encode()):
            self.serve(websocket.WebSocketWSGI(lambda ws, reason=reason: ws.close((1001, reason))))
            data = read_all(self.open())
            self.assertEqual(data[:4], b"\x88" + bytes([len(data) - 2]) + struct.pack("!H", 1001))
            self.assertEqual(data[4:].decode(errors="ignore"), "é" * 61)

    def test_a_handler_that_fails_closes_with_1011_and_nothing_of_http(self):
        class OwnError(Exception):
            pass

        for error in (OwnError("broken"), OSError("of its own"), eventlet.StopServe()):
            @websocket.WebSocketWSGI
            def failing(ws, error=error):
                ws.send("hi")
                raise error

            with self.subTest(error):
                self.serve(failing, debug=True)
                client = self.open()
                # What it sends on does not turn the closing frame into a reset.
                client.sendall(frame(0x82, b"x" * 100000))
                data = read_all(client)
                self.assertTrue(data.startswith(b"\x81\x02hi\x88"), data)
                self.assertEqual(struct.unpack("!H", data[6:8])[0], 1011)
                self.assertNotIn(b"HTTP/", data)
                client.close()
                self.pool.waitall()
                self.assertIn(type(error).__name__, self.log.getvalue())
                self.assertIn('"GET /path?q HTTP/1.1" ', self.log.getvalue())
        self.assert_other_requests_are_answered()

    def assert_other_requests_are_answered(self):
        self.assertIn(" 400 ", read_response(self.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))[0])

    def test_a_handler_of_a_draft_that_fails_sends_nothing_of_http(self):
        @websocket.WebSocketWSGI
        def failing(ws):
            raise ValueError("broken")

        self.serve(failing)
        data = read_all(self.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: y\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U"))
        self.assertEqual(data.partition(b"\r\n\r\n")[2], b"8jKS'y:G*Co,Wxa-\xff\x00")

    def test_close_from_elsewhere_ends_the_wait_with_none(self):
        for version in ("13", "76"):
            ours, theirs = pair()
            make = {"13": websocket.RFC6455WebSocket, "76": websocket.WebSocket}[version]
            ws = make(ours, {"wsgi.errors": io.StringIO()}, int(version))
            waiting = eventlet.spawn(ws.wait)
            eventlet.sleep(0)
            ws.close()
            self.assertIsNone(waiting.wait())
            self.assertIsNone(ws.wait())
            self.assertEqual(ws.log.getvalue(), "")
            self.assertEqual(read_all(theirs)[:1], b"\x88" if version == "13" else b"\xff")

    def test_close_ends_though_a_sender_is_stuck(self):
        for version in (13, 76):
            ours, theirs = pair()
            make = websocket.RFC6455WebSocket if version == 13 else websocket.WebSocket
            ws = make(ours, {"wsgi.errors": io.StringIO()}, version)
            waiting = eventlet.spawn(ws.wait)
            senders = [eventlet.spawn(sends, ws) for _ in range(2)]
            eventlet.sleep(0.05)
            with eventlet.Timeout(4):
                ws.close()
                self.assertIsNone(waiting.wait())
                for sender in senders:
                    self.assertIsInstance(sender.wait(), OSError)

    def test_a_handler_that_returns_while_a_sender_is_stuck_is_over(self):
        @websocket.WebSocketWSGI
        def leaves(ws):
            eventlet.spawn(sends, ws)
            eventlet.sleep(0.05)

        self.serve(leaves)
        self.open()
        with eventlet.Timeout(4):
            while self.pool.running():
                eventlet.sleep(0.01)

    def test_nothing_follows_the_closing_frame(self):
        ours, theirs = pair()
        ws = websocket.RFC6455WebSocket(ours, {})
        ws._send_closing_frame()
        with self.assertRaises(OSError):
            ws.send("late")
        ours.close()
        self.assertEqual(read_all(theirs), b"\x88\x00")

    def test_a_client_that_breaks_a_rule_and_sends_on_is_told_why(self):
        self.serve(websocket.WebSocketWSGI(echo.handler, max_frame_length=1000))
        client = self.open()
        client.sendall(frame(0x82, b"x" * 200000))
        self.assertEqual(self.close_status(client), 1009)


def pair():
    return (socket.socket(fileno=one.detach()) for one in socket.socketpair())


def sends(ws):
    """Sends more than fits. Returns the error."""
    try:
        ws.send("x" * (8 << 20))
    except OSError as error:
        return error


class Messages(WebSocketCase):
    def test_the_limit_is_of_a_message_and_not_of_a_frame(self):
        self.serve(websocket.WebSocketWSGI(echo.handler, max_frame_length=1000))
        client = self.open()
        client.sendall(frame(0x02, b"x" * 600) + frame(0x89, b"p") + frame(0x80, b"x" * 400))
        file = client.makefile("rb")
        self.assertEqual(file.read(3 + 4 + 1000), b"\x8a\x01p" + b"\x82\x7e\x03\xe8" + b"x" * 1000)
        # The next message begins from nothing.
        client.sendall(frame(0x02, b"x" * 600) + frame(0x00, b"x" * 300) + frame(0x80, b"x" * 101))
        self.assertEqual(file.read(1), b"\x88")
        self.assertEqual(struct.unpack("!H", file.read(3)[1:])[0], 1009)

    def test_a_compressed_message_may_be_as_long_as_the_limit(self):
        self.serve(websocket.WebSocketWSGI(echo.handler, max_frame_length=50000))
        for size, first in ((50000, b"\xc2"), (50001, b"\x88")):
            client = self.open(DEFLATE % b"")
            client.sendall(frame(0xc2, deflated(b"x" * size)))
            self.assertEqual(client.recv(1), first)


def deflated(data, compressor=None):
    compressor = compressor or zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def finished(data, window=b""):
    """A stream that ends: its last block says so."""
    compressor = zlib.compressobj(wbits=-15, zdict=window) if window else zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush(zlib.Z_FINISH)


class Compression(WebSocketCase):
    def exchange_messages(self, frames, parameters=b""):
        """The messages that come back to compressed frames; an int is the status of a close."""
        client = self.open(DEFLATE % parameters)
        client.sendall(b"".join(frames))
        client.shutdown(socket.SHUT_WR)
        data, inflate, messages = read_all(client), zlib.decompressobj(-15), []
        while data:
            first, size, data = data[0], data[1], data[2:]
            if size == 126:
                size, data = struct.unpack("!H", data[:2])[0], data[2:]
            payload, data = data[:size], data[size:]
            if first == 0x88:
                # One without a status is the handler's end.
                messages.extend(struct.unpack("!H", payload[:2]) if payload else ())
            else:
                messages.append(inflate.decompress(payload + b"\0\0\xff\xff") if first & 0x40 else payload)
        return messages

    def test_a_stream_that_ends_is_a_message_and_more_may_follow(self):
        self.serve(echo)
        hello = b"hello hello hello"
        # RFC 7692, 7.2.3.4: a last block, and an octet that the tail makes an empty block.
        self.assertEqual(self.exchange_messages([frame(0xc2, finished(hello) + b"\0")] * 3), [hello] * 3)
        # Without that octet it can be read no other way.
        self.assertEqual(self.exchange_messages([frame(0xc2, finished(hello))] * 3), [hello] * 3)
        # Another stream may follow in the same message, and refer to the one that has ended.
        two = finished(hello) + deflated(hello, zlib.compressobj(wbits=-15, zdict=hello))
        self.assertEqual(self.exchange_messages([frame(0xc2, two)]), [hello * 2])

    def test_a_message_after_a_stream_that_ended_may_refer_to_it(self):
        self.serve(echo)
        first, second = bytes(range(256)) * 2, bytes(range(255, -1, -1)) * 2
        frames = [frame(0xc2, finished(first) + b"\0"), frame(0xc2, finished(first + second, first) + b"\0"),
                  frame(0xc2, deflated(second, zlib.compressobj(wbits=-15, zdict=first + first + second)))]
        self.assertEqual(self.exchange_messages(frames), [first, first + second, second])

    def test_without_takeover_each_message_stands_alone(self):
        self.serve(echo)
        messages = [
            frame(0xc2, finished(b"one") + b"\0"), frame(0xc2, deflated(b"two")), frame(0xc2, deflated(b"three"))]
        self.assertEqual(
            self.exchange_messages(messages, b"; client_no_context_takeover"), [b"one", b"two", b"three"])

    def test_a_message_that_is_cut_off_is_refused(self):
        self.serve(echo)
        whole = deflated(bytes(range(200)) * 3)
        for end in (1, 2, 10, len(whole) // 2, len(whole) - 1):
            with self.subTest(end):
                self.assertEqual(self.exchange_messages([frame(0xc2, whole[:end]), frame(0xc2, whole)]), [1007])
        # A stored block whose data does not come.
        self.assertEqual(self.exchange_messages([frame(0xc2, b"\x00\x0a\x00\xf5\xffab")]), [1007])
        # The tail must not be there already.
        self.assertEqual(self.exchange_messages([frame(0xc2, whole + b"\0\0\xff\xff")]), [1007])

    def test_an_empty_message_is_one_in_each_way_it_is_sent(self):
        self.serve(echo)
        after = frame(0xc2, deflated(b"after"))
        for empty in (b"", b"\x00", b"\x02\x00"):
            self.assertEqual(self.exchange_messages([frame(0xc2, empty), after]), [b"", b"after"], empty)


class Handshakes(WebSocketCase):
    def status(self, request):
        return read_response(self.send(request))[0].split()[1]

    def test_what_is_no_handshake_is_refused(self):
        self.serve(echo)
        good = HANDSHAKE % b""
        key = b"d9MXuOzlVQ0h+qRllvSCIg=="
        self.assertEqual(self.status(good), "101")
        for old, new in ((key, b"x"), (key, b""), (key, base64.b64encode(b"x" * 15)),
                         (key, base64.b64encode(b"x" * 17)), (key, key[:-2]), (key, b"d9MXuOzlVQ0h+qRl\xe9vSCIg=="),
                         (key, key + b"\r\nSec-WebSocket-Key: " + key),
                         (b"GET", b"POST"), (b"GET", b"HEAD"), (b"HTTP/1.1", b"HTTP/1.0")):
            with self.subTest(old=old, new=new):
                self.assertEqual(self.status(good.replace(old, new)), "400")
        self.assertEqual(self.status(good.replace(b"Version: 13", b"Version: 013")), "426")

    def test_offers_of_compression_that_break_the_rules_are_declined(self):
        application = websocket.WebSocketWSGI(None)

        def agree(header):
            return application._negotiate_permessage_deflate(application._parse_extension_header(header))

        plain = {"server_no_context_takeover": False, "client_no_context_takeover": False}
        for parameters in ("x", "x=1", "server_no_context_takeover=1", "client_no_context_takeover=true",
                           "server_no_context_takeover; server_no_context_takeover", "server_max_window_bits=010",
                           "server_max_window_bits=", "client_max_window_bits=+9", "client_max_window_bits=7",
                           "client_max_window_bits; client_max_window_bits=9",
                           "server_max_window_bits=10; server_max_window_bits=10"):
            with self.subTest(parameters):
                self.assertIsNone(agree("permessage-deflate; " + parameters))
                self.assertEqual(agree("permessage-deflate; " + parameters + ", permessage-deflate"), plain)
        self.assertIsNone(agree('other; x="a, permessage-deflate"'))
        self.assertEqual(agree('other; x="a\\", b", permessage-deflate'), plain)
        self.assertEqual(agree("permessage-deflate; server_max_window_bits"), {**plain, "server_max_window_bits": 15})

    def test_one_switch_turns_all_drafts_off(self):
        self.addCleanup(setattr, websocket.WebSocketWSGI, "rfc6455_only", False)
        version_8 = (HANDSHAKE % b"").replace(b"Version: 13", b"Version: 8")
        draft = (b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: y\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n%s\r\n"
                 b"12345678")
        drafts = [draft % keys for keys in (b"", b"Sec-WebSocket-Key1: 1 2\r\nSec-WebSocket-Key2: 1 2\r\n")]
        lenient = HANDSHAKE % (DEFLATE % b"; server_max_window_bits")
        for only in (False, True):
            websocket.WebSocketWSGI.rfc6455_only = only
            self.serve(echo)
            self.assertEqual(self.status(version_8), "426" if only else "101")
            for request in drafts:
                self.assertEqual(self.status(request), "400" if only else "101")
            self.open()
            answer = self.send(lenient).recv(1000)
            self.assertEqual(b"permessage-deflate" in answer, not only)
        status, headers, _ = read_response(self.send(version_8))
        self.assertEqual(headers["sec-websocket-version"], "13")

    def test_a_target_is_not_decoded_into_the_answer(self):
        self.serve(echo)
        for target in (b"/a%0d%0aX-Evil:%20yes", b"/a%C3%A9?b%0d%0ac"):
            answer = self.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nOrigin: y\r\nUpgrade: WebSocket\r\n"
                               b"Connection: Upgrade\r\n\r\n").recv(1000)
            self.assertIn(b"\r\nWebSocket-Location: ws://x" + target + b"\r\n", answer)
            self.assertNotIn(b"\r\nX-Evil", answer)


class OtherServers(ServerCase):
    def test_a_target_that_came_decoded_is_encoded_again(self):
        ours, theirs = pair()
        environ = {"gunicorn.socket": ours, "SCRIPT_NAME": "/a b", "PATH_INFO": "/\r\nc\xc3\xa9", "HTTP_HOST": "x",
                   "HTTP_ORIGIN": "y", "HTTP_UPGRADE": "WebSocket", "HTTP_CONNECTION": "Upgrade"}
        websocket.WebSocketWSGI(lambda ws: None)(environ, None)
        self.assertIn(b"\r\nWebSocket-Location: ws://x/a%20b/%0D%0Ac%C3%A9\r\n", theirs.recv(1000))


if __name__ == "__main__":
    unittest.main()
