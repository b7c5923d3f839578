"""wsgi.server: a body whose reading is broken off, results that are no plain bytes, and what fails after the answer."""

import array
import contextlib
import gzip
import os
import tempfile
import unittest

import eventlet
from eventlet import wsgi
from eventlet.green import socket

from http_support import Overriding, ServerCase, read_all, read_response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PLAIN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n", b"abc", b"defg\n"
CHUNKED = (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n6\r\nc",
           b"defg\n\r\n0\r\n\r\n")


class Failures:
    """What holds for both ways of serving; see the classes below."""

    def interrupt(self, read, head, first, rest):
        """What two calls of ``read`` give, of which the first is interrupted, and what comes for the request behind.
        ``first`` is there at the first call, ``rest`` at the second."""
        paths, results, interrupted = [], [], eventlet.Event()

        def app(environ, start_response):
            paths.append(environ["PATH_INFO"])
            if environ["REQUEST_METHOD"] == "POST":
                body = environ["wsgi.input"]
                with eventlet.Timeout(0.05, False):
                    results.append(read(body))
                interrupted.send()
                try:
                    results.append(read(body))
                except OSError as error:
                    results.append(error)
            start_response("200 OK", [])
            return [b"ok"]

        self.serve(app)
        client = self.send(head + first)
        interrupted.wait()
        client.sendall(rest + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\nGET /end HTTP/1.0\r\n\r\n")
        answer = read_all(client)
        client.close()
        self.assertNotIn(b" 400 ", answer)
        return results, paths

    def test_who_is_interrupted_reading_a_body_takes_nothing_of_the_next_request(self):
        for request in (PLAIN, CHUNKED):
            for read in (lambda body: body.read(8), lambda body: body.read(), lambda body: body.readline()):
                with self.subTest(request=request):
                    _, paths = self.interrupt(read, *request)
                    # What a file that is not ours has read is lost, and the connection with it.
                    self.assertIn(paths, self.expected)

    def test_a_line_is_there_before_its_chunk_is(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].readline()]

        self.serve(app)
        client = self.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40\r\none\ntw")
        self.assertEqual(read_response(client)[2], b"one\n")

    def test_many_lines_in_a_chunk_are_read_once(self):
        reads = []

        def app(environ, start_response):
            body = environ["wsgi.input"]
            lines = list(body)
            reads.append((len(lines), len(body._decoded)))
            start_response("200 OK", [])
            return [body.read()]

        self.serve(app)
        data = b"a\n" * 1000
        self.exchange(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
                      % (len(data), data))
        self.assertEqual(reads, [(1000, 0)])

    def test_written_text_is_an_error_and_other_buffers_are_bytes(self):
        def app(environ, start_response):
            start_response("200 OK", [])("text")
            return []

        self.serve(app, debug=False)
        self.assertTrue(self.exchange(GET).startswith(b"HTTP/1.1 500 "))

        numbers = array.array("I", [1, 2])

        def other(environ, start_response):
            start_response("200 OK", [])(numbers)
            return []

        self.serve(other)
        self.assertTrue(self.exchange(GET).endswith(
            b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(numbers.tobytes()), numbers.tobytes())))

    def answer_with(self, make):
        def app(environ, start_response):
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](make())

        self.serve(app)
        return self.exchange(GET.replace(b"1.1", b"1.0")).partition(b"\r\n\r\n")[2]

    def test_a_file_that_is_not_what_its_descriptor_has_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "file")
            with gzip.open(path, "wb") as file:
                file.write(b"hello")
            self.assertEqual(self.answer_with(lambda: gzip.open(path, "rb")), b"hello")
            with open(path, "w") as file:
                file.write("text")
            self.assertEqual(self.answer_with(lambda: open(path)), b"text")

            class Shouting(type(open(path, "rb", buffering=0))):
                def read(self, size=-1):
                    return super().read(size).upper()

            self.assertEqual(self.answer_with(lambda: Shouting(path)), b"TEXT")

    def test_nothing_follows_a_part_that_was_cut_off(self):
        interrupted = []

        def app(environ, start_response):
            headers = [("Content-Length", "%d" % ((4 << 20) + 5))] if environ["PATH_INFO"] == "/length" else []
            write = start_response("200 OK", headers)
            environ["eventlet.input"].get_socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
            with eventlet.Timeout(0.05, False):
                write(b"x" * (4 << 20))
            try:
                write(b"after")
            except BrokenPipeError as error:
                interrupted.append(error)
            cuts[environ["PATH_INFO"]].send()
            return []

        self.serve(app)
        cuts = {"/": eventlet.Event(), "/length": eventlet.Event()}
        for path, cut in cuts.items():
            client = self.send(GET.replace(b"/", path.encode(), 1) + GET)
            cut.wait()
            answer = read_all(client)
            self.assertEqual((answer.count(b"200 OK"), answer.count(b"after")), (1, 0))
        self.assertEqual(len(interrupted), 2)

    def test_a_response_that_has_begun_keeps_its_head(self):
        refused = []

        def app(environ, start_response):
            write = start_response("200 OK", [("Content-Length", "3")])
            write(b"123")
            try:
                start_response("200 OK", [("Content-Length", "6")])
            except AssertionError as error:
                refused.append(error)
            return [b"456"]

        self.serve(app)
        answer = read_all(self.send(GET + GET))
        self.assertTrue(answer.endswith(b"\r\n\r\n123"), answer)
        self.assertEqual((len(refused), answer.count(b"200 OK")), (1, 1))

    def test_nothing_is_written_between_responses(self):
        for body in ([b"ok"], (part for part in [b"ok"])):
            writes = []

            def app(environ, start_response, body=body, writes=writes):
                if writes:
                    # What was sent as a whole takes no more than it has said.
                    with contextlib.suppress(BrokenPipeError):
                        writes[0](b"late")
                    return start_response("204 No Content", []) and []
                writes.append(start_response("200 OK", []))
                return body

            self.serve(app)
            answer = self.exchange(GET + GET.replace(b"1.1", b"1.0"))
            self.assertEqual((answer.count(b"late"), answer.count(b" 204 ")), (0, 1), answer)

    def test_close_among_other_options_closes(self):
        def app(environ, start_response):
            start_response("200 OK", [("Connection", "other, Close")])
            return [b"ok"]

        self.serve(app)
        self.assertEqual(read_all(self.send(GET + GET)).count(b"200 OK"), 1)

    def test_a_space_follows_a_status_without_a_phrase(self):
        def app(environ, start_response):
            start_response("200", [])
            return [b"ok"]

        self.serve(app)
        self.assertTrue(self.exchange(GET).startswith(b"HTTP/1.1 200 \r\n"))

    def test_what_fails_after_the_answer_is_logged_and_keeps_nothing_else_from_being_called(self):
        called = []

        class Result(list):
            def close(self):
                called.append("close")
                raise RuntimeError("of close")

        def hook(environ, fails):
            called.append("hook")
            if fails:
                raise eventlet.Timeout(None)

        def app(environ, start_response):
            environ["eventlet.posthooks"] += [(hook, (True,), {}), (hook, (), {"fails": False})]
            start_response("200 OK", [])
            return Result([b"ok"])

        self.serve(app)
        answer = read_all(self.send(GET + GET))
        self.assertEqual(answer.count(b"200 OK"), 1)
        self.assertTrue(answer.endswith(b"\r\n\r\nok"), answer)
        self.assertEqual(called, ["close", "hook", "hook"])
        self.pool.waitall()
        for line in ("RuntimeError: of close", "eventlet.timeout.Timeout", '"GET / HTTP/1.1" 200 '):
            self.assertIn(line, self.log.getvalue())


class NativePath(Failures, ServerCase):
    protocol = wsgi.HttpProtocol
    expected = (["/", "/next", "/end"],)

    def test_who_is_interrupted_reading_a_body_may_read_on(self):
        ways = {"read(8)": lambda body: body.read(8), "read": lambda body: body.read(),
                "readline": lambda body: body.readline()}
        for request in (PLAIN, CHUNKED):
            for way, read in ways.items():
                with self.subTest(way, request=request):
                    self.assertEqual(self.interrupt(read, *request)[0], [b"abcdefg\n"])


class OverridablePath(Failures, ServerCase):
    protocol = Overriding
    expected = (["/"], ["/", "/next", "/end"])


if __name__ == "__main__":
    unittest.main()
