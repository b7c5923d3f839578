"""Requests as clients should not send them: smuggled, fuzzed, slow, cut off, too many. Nothing hangs or is lost."""

import contextlib
import io
import random
import struct
import unittest

import eventlet
from eventlet import wsgi
from eventlet.green import socket

from http_support import Incomplete, Overriding, Refused, ServerCase, echo, parse, read_all, read_response

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

# Each of these has been read in two ways by two servers; behind it stands a request that must not be served.
CORPUS = {
    "length and encoding": b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "encoding and length": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n",
    "the same length twice": b"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n",
    "a signed length": b"POST / HTTP/1.1\r\nContent-Length: +0\r\n\r\n",
    "a length with an underscore": b"POST / HTTP/1.1\r\nContent-Length: 0_0\r\n\r\n",
    "a hexadecimal length": b"POST / HTTP/1.1\r\nContent-Length: 0x0\r\n\r\n",
    "a vertical tab at a length": b"POST / HTTP/1.1\r\nContent-Length: \x0b0\r\n\r\n",
    "two encodings": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "an unknown encoding": b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
    "gzip before chunked": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "quoted chunked": b'POST / HTTP/1.1\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a vertical tab at chunked": b"POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": b"POST / HTTP/1.1\r\nContent-Length\t: 0\r\n\r\n",
    "a folded line": b"POST / HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded encoding": b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "white space before the first header": b"POST / HTTP/1.1\r\n X: y\r\n\r\n",
    "a bare line feed in a value": b"POST / HTTP/1.1\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare carriage return in a value": b"POST / HTTP/1.1\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed as the end": b"POST / HTTP/1.1\r\nX: y\n\n",
    "two carriage returns": b"POST / HTTP/1.1\r\nX: y\r\r\n\r\n",
    "a NUL in a value": b"POST / HTTP/1.1\r\nX: y\0\r\n\r\n",
    "a NUL in a name": b"POST / HTTP/1.1\r\nTransfer-Encoding\0: chunked\r\n\r\n",
    "no name": b"POST / HTTP/1.1\r\n: y\r\n\r\n",
    "no colon": b"POST / HTTP/1.1\r\nX\r\n\r\n",
    "two hosts": b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a list of hosts": b"POST / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a host with a user": b"POST / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "a host with a path": b"POST / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a name for a port": b"POST / HTTP/1.0\r\nHost: a:http\r\n\r\n",
    "an absolute target without a host": b"POST http:///a HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute target with a user": b"POST http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces in the request line": b"POST  / HTTP/1.1\r\n\r\n",
    "a tab in the request line": b"POST\t/ HTTP/1.1\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.10": b"GET / HTTP/1.10\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a small version": b"GET / http/1.1\r\n\r\n",
}

# Bodies that are no chunks, behind a good head; what follows must not be served either.
CHUNKS = {
    "a space behind the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "an underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a bare line feed behind the size": b"3\nabc\r\n0\r\n\r\n",
    "a bare line feed in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "a bare carriage return in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "data shorter than its size": b"4\r\nabc\r\n0\r\n\r\n",
    "a bare line feed behind the data": b"3\r\nabc\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a negative size in 64 bits": b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a trailer without a colon": b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX : y\r\n\r\n",
    "a trailer that ends in a bare line feed": b"0\r\nX: y\n\n",
}


class Paths:
    """What holds for both ways of serving; see the classes below."""

    def serve_counting(self, **options):
        self.served = []

        def app(environ, start_response):
            self.served.append(environ["PATH_INFO"])
            return echo(environ, start_response)

        return self.serve(app, **options)

    def test_heads_that_two_servers_read_differently_are_refused(self):
        self.serve_counting()
        for name, head in CORPUS.items():
            with self.subTest(name):
                answer = self.exchange(head + SMUGGLED)
                self.assertRegex(answer, rb"\AHTTP/1\.[01] (400|501|505) ")
                self.assertEqual(answer.count(b"HTTP/1."), 1)
        self.assertEqual(self.served, [])
        self.assert_no_worker_is_lost()

    def test_bodies_that_are_no_chunks_end_the_connection(self):
        def reading(environ, start_response):
            served.append(environ["PATH_INFO"])
            return echo(environ, start_response)

        def not_reading(environ, start_response):
            served.append(environ["PATH_INFO"])
            start_response("200 OK", [])
            return [b"never mind"]

        def forgiving(environ, start_response):
            served.append(environ["PATH_INFO"])
            try:
                environ["wsgi.input"].read()
            except wsgi.ChunkReadError:
                pass
            start_response("200 OK", [])
            return [b"never mind"]

        for app in (reading, not_reading, forgiving):
            served = []
            self.serve(app)
            for name, body in CHUNKS.items():
                with self.subTest(name, app=app.__name__):
                    del served[:]
                    head = b"POST /first HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                    answer = self.exchange(head + body + SMUGGLED)
                    self.assertEqual(served, ["/first"])
                    self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
            self.assert_no_worker_is_lost()

    def test_underscores_do_not_pass_for_hyphens(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [repr((environ.get("HTTP_X_USER"), environ.get("CONTENT_LENGTH"), environ["headers_raw"])).encode()]

        self.serve(app)
        head = b"GET / HTTP/1.0\r\nX_User: root\r\nx-user: me\r\nContent_Length: 5\r\n\r\n"
        self.assertIn(
            b"('me', None, (('X_User', 'root'), ('x-user', 'me'), ('Content_Length', '5')))", self.exchange(head))

    def test_fuzzed_requests_are_served_exactly_if_a_strict_parser_serves_them(self):
        self.serve(echo, debug=False)
        # Seeded: a failure can be repeated.
        source = random.Random(20)
        for number in range(400):
            data = b"".join(fuzzed_request(source) for _ in range(source.choice((1, 1, 2, 3))))
            with self.subTest(number=number, data=data):
                self.check_answer(data, self.exchange(data))
        self.assert_no_worker_is_lost()

    def check_answer(self, data, answer):
        while True:
            try:
                method, target, body, goes_on, data = parse(data)
            except Incomplete:
                # Cut off, or already refused for what it began with.
                self.assertNotIn(b" 200 ", answer)
                return
            except Refused:
                # A head is refused before the application, a body under its hands.
                self.assertRegex(answer, rb"\AHTTP/1\.[01] [45]\d\d ")
                self.assertEqual(answer.count(b"HTTP/1."), 1)
                return
            head, _, answer = answer.partition(b"\r\n\r\n")
            self.assertRegex(head, rb"\AHTTP/1\.1 200 OK\r\n")
            expected = b"" if method == b"HEAD" else b"%s %s %s" % (method, target, body)
            self.assertTrue(answer.startswith(expected), answer)
            answer = answer[len(expected):]
            if not goes_on or not data:
                self.assertEqual(answer, b"")
                return

    def test_bytes_at_random_hang_nothing(self):
        self.serve(echo, debug=False)
        source = random.Random(21)
        for _ in range(100):
            data = source.randbytes(source.randrange(200))
            if source.random() < 0.5:
                data = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + data
            self.exchange(data)
        self.assert_no_worker_is_lost()

    def test_a_request_one_byte_at_a_time_is_served_while_others_are(self):
        self.serve(echo)
        slow = self.connect()
        for byte in b"POST /slow HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n":
            slow.sendall(bytes([byte]))
            eventlet.sleep(0)
        self.assertEqual(read_response(self.send(b"GET /other HTTP/1.1\r\n\r\n"))[2], b"GET /other ")
        self.assertEqual(read_response(slow)[2], b"POST /slow abc")
        slow.sendall(b"GET /again HTTP/1.1\r\n\r\n")
        self.assertEqual(read_response(slow)[2], b"GET /again ")

    def test_a_client_that_stops_in_the_middle_loses_its_connection_and_nothing_else(self):
        self.serve(echo, socket_timeout=0.1)
        for part in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
                     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"):
            with self.subTest(part):
                self.assertNotIn(b"200 OK", read_all(self.send(part)))
        self.assert_no_worker_is_lost()

    def test_a_client_that_does_not_read_loses_its_connection_and_nothing_else(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"x" * 65536] * (500 if environ["PATH_INFO"] == "/large" else 1)

        self.serve(app, socket_timeout=0.2)
        client = self.send(b"GET /large HTTP/1.1\r\n\r\n")
        with eventlet.Timeout(5):
            while not self.pool.running():
                eventlet.sleep(0)
            while self.pool.running():
                eventlet.sleep(0.05)
        self.assertLess(len(read_all(client)), 500 * 65536)
        self.assert_no_worker_is_lost()

    def test_a_half_closed_client_gets_its_answer(self):
        self.serve(echo)
        self.assertTrue(self.exchange(b"GET /half HTTP/1.1\r\n\r\n").endswith(b"GET /half "))
        answer = self.exchange(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n")
        self.assertIn(b"POST /a hi", answer)
        self.assertTrue(answer.endswith(b"GET /b "))
        self.assert_no_worker_is_lost()

    def test_a_head_cut_off_is_not_served(self):
        self.serve_counting()
        self.assertEqual(self.exchange(b"GET /cut HTTP/1.1\r\nHost: x\r\n"), b"")
        self.assertEqual(self.served, [])

    def test_resets_at_any_time_hang_nothing(self):
        self.serve(echo, debug=False)
        request = b"POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\n12345678901234567890"
        for end in range(0, len(request) + 1, 3):
            client = self.send(request[:end])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            eventlet.sleep(0)
            client.close()
        self.assert_no_worker_is_lost()

    def test_a_client_that_is_refused_and_gone_makes_no_noise(self):
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            self.serve(echo)
            for _ in range(5):
                self.send(b"GET /\r\n\r\n").close()
            self.assert_no_worker_is_lost()
        self.assertEqual(errors.getvalue(), "")

    def test_floods_end_at_the_limits(self):
        self.serve_counting()
        floods = {
            "a request line": (b"GET /" + b"x" * 100000, b" 414 "),
            "empty lines": (b"\r\n" * 50000, b" 414 "),
            "a header": (b"GET / HTTP/1.1\r\nX: " + b"x" * 100000, b" 400 "),
            "headers": (b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"x" * 5000) * 20, b" 400 "),
            "a request line that goes on": (b"GET /" + b"x" * 8000000, b" 414 "),
            "many headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", b" 431 "),
        }
        for name, (flood, status) in floods.items():
            with self.subTest(name):
                self.assertRegex(self.exchange(flood), rb"\AHTTP/1.[01]" + status)
        self.assertEqual(self.served, [])
        self.assert_no_worker_is_lost()

    def test_a_client_that_is_refused_and_does_not_leave_is_left(self):
        self.addCleanup(setattr, wsgi, "LINGER_SECONDS", wsgi.LINGER_SECONDS)
        wsgi.LINGER_SECONDS = 0.1
        self.serve_counting()
        client = self.send(b"GET /\r\n\r\n")
        self.assertIn(b" 400 ", read_all(client))
        with eventlet.Timeout(5):
            while self.pool.running():
                client.send(b"more")
                eventlet.sleep(0.02)

    def test_endless_chunk_framing_ends_the_connection(self):
        self.serve(echo, debug=False)
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for flood in (b"3;" + b"x" * 100000, b"0" * 100000, b"0\r\n" + b"X: y\r\n" * 30000):
            self.assertNotIn(b"200 OK", read_all(self.send(head + flood)))
        self.assert_no_worker_is_lost()

    def test_many_connections_at_once_are_all_served(self):
        self.serve(echo, eventlet.listen(("127.0.0.1", 0), backlog=200), custom_pool=eventlet.GreenPool(20))
        answers = eventlet.GreenPool(150).imap(self.exchange, [b"GET /%d HTTP/1.0\r\n\r\n" % n for n in range(150)])
        self.assertEqual([answer.rpartition(b"\r\n")[2] for answer in answers], [b"GET /%d " % n for n in range(150)])
        self.assert_no_worker_is_lost()

    def test_pipelined_requests_are_answered_in_order(self):
        self.serve(echo)
        requests = b"".join(b"POST /%d HTTP/1.1\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(50))
        answer = self.exchange(requests)
        self.assertEqual(
            [part.split(b"HTTP/1.1")[0] for part in answer.split(b"\r\n\r\n")[1:]],
            [b"POST /%d %02d" % (n, n) for n in range(50)])

    def test_a_stray_line_behind_a_body_is_forgiven(self):
        self.serve(echo)
        answer = self.exchange(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi\r\nGET /b HTTP/1.1\r\n\r\n")
        self.assertIn(b"POST /a hi", answer)
        self.assertTrue(answer.endswith(b"GET /b "))


class NativePath(Paths, ServerCase):
    """The short loop over the native functions."""

    protocol = wsgi.HttpProtocol


class OverridablePath(Paths, ServerCase):
    """The overridable methods."""

    protocol = Overriding


class Tolerance(ServerCase):
    def test_reject_bad_requests_is_a_way_out(self):
        class Tolerant(wsgi.HttpProtocol):
            reject_bad_requests = False

        class TolerantOverriding(Overriding):
            reject_bad_requests = False

        for protocol in (Tolerant, TolerantOverriding):
            self.serve(echo, protocol=protocol)
            head = b"POST /a HTTP/1.1\nContent-Length: 9\nTransfer-Encoding: chunked\n\n"
            answer = self.exchange(head + b"2\r\nhi\r\n0\r\n\r\n" + SMUGGLED)
            # Chunks count, and whoever may have read a length gets no second chance.
            self.assertTrue(answer.endswith(b"POST /a hi"), answer)


def fuzzed_request(source):
    """A request, more often nearly one."""
    pick = source.choice
    start = pick([b"GET / HTTP/1.1\r\n"] * 6 + [
        b"POST /a?b HTTP/1.0\r\n", b"HEAD /h HTTP/1.1\r\n", b"GET  / HTTP/1.1\r\n", b"GET / HTTP/1.1\n", b"GET /\r\n",
        b"\r\nGET / HTTP/1.1\r\n", b"G\x00T / HTTP/1.1\r\n", b"GET /\xc3\xa9 HTTP/1.1\r\n", b"GET /\xe9 HTTP/1.1\r\n",
        b"GET / HTTP/1.2\r\n"])
    names = [b"Host", b"X-Any", b"Connection", b"Content-Length", b"Transfer-Encoding"] * 3 + [
        b"Content-Length ", b" Host", b"", b"X\x7f", b"Content_Length"]
    values = [b"0", b"3", b"chunked", b"close", b"keep-alive", b"x"] * 3 + [
        b"", b"+3", b"3,3", b"Chunked", b"gzip, chunked", b"x\ry", b"\x0bchunked", b"caf\xe9", b"0x3"]
    ends = [b"\r\n"] * 20 + [b"\n", b"\r\r\n", b" \r\n", b"\r\n "]
    colons = [b": ", b": ", b":", b":\t"]
    headers = [pick(names) + pick(colons) + pick(values) + pick(ends) for _ in range(source.randrange(4))]
    body = pick([b""] * 4 + [
        b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n", b"3;x\r\nabc\r\n0\r\nA: b\r\n\r\n", b"3\r\nabcd\r\n", b"g\r\n"])
    return start + b"".join(headers) + pick([b"\r\n"] * 12 + [b"\n", b""]) + body


if __name__ == "__main__":
    unittest.main()
