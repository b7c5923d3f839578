"""wsgi.server: what RFC 9110, RFC 9112 and PEP 3333 ask of a server beyond where a message ends."""

import unittest

import eventlet
from eventlet import wsgi

from http_support import Overriding, ServerCase, echo, read_all, read_response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Once:
    """A result that knows how many pieces it has, and can be read once."""

    def __init__(self, *pieces):
        self.count = len(pieces)
        self.pieces = iter(pieces)
        self.reads = 0

    def __len__(self):
        return self.count

    def __iter__(self):
        self.reads += 1
        return self.pieces


class OnceList(list):
    """A list that says it has pieces, and gives them once."""

    def __iter__(self):
        pieces = list(super().__iter__())
        self.clear()
        return iter(pieces)


class Rules:
    """What holds for both ways of serving; see the classes below."""

    def answer(self, status="200 OK", headers=(), body=(b"hello",), **options):
        """Serves an application that answers so. Keeps the environs."""
        self.environs = []

        def app(environ, start_response):
            self.environs.append(environ)
            start_response(status, list(headers))
            return body() if callable(body) else body

        self.serve(app, **options)

    def test_a_result_is_read_once_and_only_to_be_sent(self):
        for headers in ([("Content-Length", "5")], []):
            for method in (b"GET", b"HEAD"):
                for make in (lambda: Once(b"hel", b"lo"), lambda: Once(b"hello"), lambda: OnceList([b"hel", b"lo"])):
                    results = []

                    def body(make=make, results=results):
                        results.append(make())
                        return results[-1]

                    with self.subTest(headers=headers, method=method):
                        self.answer(headers=headers, body=body)
                        client = self.send(method + GET[3:])
                        status, answered, text = read_head_and_body(client, method)
                        self.assertEqual((status, text), ("HTTP/1.1 200 OK", b"" if method == b"HEAD" else b"hello"))
                        if headers or method == b"GET":
                            self.assertEqual(answered["content-length"], "5")
                        self.assertEqual(getattr(results[0], "reads", 1), 1)

    def test_a_large_result_that_can_be_read_once_comes_whole(self):
        pieces = [bytes([number]) * 10000 for number in range(20)]
        self.answer(body=lambda: Once(*pieces))
        answer = read_all(self.send(b"GET / HTTP/1.0\r\n\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\n" + b"".join(pieces)))

    def test_a_target_in_absolute_form_names_path_query_and_host(self):
        self.answer()
        cases = {
            b"GET http://there:81/a%20b?x=1 HTTP/1.1\r\nHost: here": ("/a b", "/a%20b", "x=1", "there:81"),
            b"GET HTTPS://there HTTP/1.1\r\nHost: here": ("/", "/", None, "there"),
            b"GET http://there?x=1 HTTP/1.1\r\nHost: here": ("/", "/", "x=1", "there"),
            b"GET http://there//evil/a HTTP/1.1\r\nHost: here": ("/evil/a", "/evil/a", None, "there"),
            b"OPTIONS http://there HTTP/1.1\r\nHost: here": ("*", "*", None, "there"),
            b"GET http://[::1]:8/a HTTP/1.0": ("/a", "/a", None, "[::1]:8"),
            b"GET /a?b=http://there/ HTTP/1.1\r\nHost: here": ("/a", "/a", "b=http://there/", "here"),
        }
        for head, (path, raw, query, host) in cases.items():
            with self.subTest(head):
                self.assertIn(b" 200 ", self.exchange(head + b"\r\n\r\n"))
                environ = self.environs[-1]
                self.assertEqual(
                    (environ["PATH_INFO"], environ["RAW_PATH_INFO"], environ.get("QUERY_STRING"), environ["HTTP_HOST"]),
                    (path, raw, query, host))

    def test_cookies_of_several_fields_have_semicolons_between_them(self):
        self.answer()
        self.exchange(b"GET / HTTP/1.1\r\nCookie: a=1,2\r\nX: y\r\ncookie: b=2; c=3\r\nX: z\r\n\r\n")
        self.assertEqual(self.environs[0]["HTTP_COOKIE"], "a=1,2; b=2; c=3")
        self.assertEqual(self.environs[0]["HTTP_X"], "y,z")

    def test_a_later_minor_version_is_served_as_1_1(self):
        self.answer(body=lambda: iter([b"hello"]))
        for version in (b"2", b"9"):
            client = self.send(GET.replace(b"HTTP/1.1", b"HTTP/1." + version) + GET)
            file = client.makefile("rb")
            for _ in range(2):
                self.assertEqual(file.readline(), b"HTTP/1.1 200 OK\r\n")
                head = b"".join(iter(file.readline, b"\r\n"))
                self.assertIn(b"Transfer-Encoding: chunked\r\n", head)
                self.assertEqual(file.read(15), b"5\r\nhello\r\n0\r\n\r\n")
        eventlet.sleep(0)
        self.assertIn('"GET / HTTP/1.9" 200 ', self.log.getvalue())

    def test_malformed_chunks_are_a_400_without_a_traceback(self):
        def reads(environ, start_response):
            environ["wsgi.input"].read()

        def raises_its_own(environ, start_response):
            try:
                environ["wsgi.input"].readline()
            except ValueError:
                raise RuntimeError("of the application")

        for app in (reads, raises_its_own):
            self.serve(app, debug=True)
            for body in (b"2  \r\nab\r\n0\r\n\r\n", b"2\t\r\nab\r\n0\r\n\r\n", b"zz\r\nab\r\n",
                         b"2\r\nabc\r\n0\r\n\r\n", b"2\r\na"):
                with self.subTest(body, app=app.__name__):
                    answer = self.exchange(CHUNKED + body + GET)
                    self.assertEqual(answer.count(b"HTTP/1.1"), 1)
                    head, _, text = answer.partition(b"\r\n\r\n")
                    self.assertTrue(head.startswith(b"HTTP/1.1 400 "), head)
                    self.assertIn(b"Connection: close", head)
                    self.assertNotIn(b"Traceback", text)
        self.assertIn("ChunkReadError", self.log.getvalue())

    def test_the_application_may_answer_malformed_chunks_itself(self):
        def app(environ, start_response):
            try:
                environ["wsgi.input"].read()
            except wsgi.ChunkReadError:
                start_response("422 No Chunks", [])
                return [b"no"]

        self.serve(app)
        self.assertTrue(self.exchange(CHUNKED + b"zz\r\n").startswith(b"HTTP/1.1 422 "))

    def test_an_error_of_the_application_after_one_of_reading_is_its_own(self):
        def app(environ, start_response):
            try:
                environ["wsgi.input"].read()
            except wsgi.ChunkReadError:
                pass
            raise RuntimeError("its own")

        self.serve(app, debug=True)
        answer = self.exchange(CHUNKED + b"zz\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
        self.assertIn(b"RuntimeError: its own", answer)

    def test_a_body_that_does_not_come_is_a_408_without_a_traceback(self):
        self.serve(echo, debug=True, socket_timeout=0.1)
        for head in (CHUNKED + b"2\r\n", CHUNKED, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na"):
            answer = read_all(self.send(head))
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
            self.assertNotIn(b"Traceback", answer)

    def test_a_transfer_encoding_of_the_application_is_dropped_and_logged(self):
        self.answer(headers=[("Transfer-Encoding", "chunked"), ("X-After", "there")], body=lambda: iter([b"hello"]))
        answer = self.exchange(GET)
        self.assertEqual(answer.lower().count(b"transfer-encoding"), 1)
        self.assertTrue(answer.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
        self.assertIn(b"X-After: there\r\n", answer)
        self.assertIn("dropped Transfer-Encoding: chunked of the response to 'GET / HTTP/1.1'", self.log.getvalue())
        self.answer(headers=[("transfer-encoding", "gzip")])
        self.assertEqual(read_response(self.send(GET))[1]["content-length"], "5")

    def test_a_content_length_that_is_no_length_or_not_the_first_is_dropped_and_logged(self):
        for headers in ([("Content-Length", "5"), ("Content-Length", "5")],
                        [("Content-Length", "5"), ("content-length", "9")],
                        [("Content-Length", "-5")], [("Content-Length", "+5")], [("Content-Length", "five")],
                        [("Content-Length", "5, 5")], [("Content-Length", "")]):
            with self.subTest(headers):
                self.answer(headers=headers)
                status, answered, body = read_response(self.send(GET))
                self.assertEqual((status, answered["content-length"], body), ("HTTP/1.1 200 OK", "5", b"hello"))
                self.assertIn("dropped", self.log.getvalue())

    def test_a_content_length_where_none_may_be_is_dropped(self):
        for status, method in (("204 No Content", b"GET"), ("204 No Content", b"HEAD"), ("200 OK", b"CONNECT")):
            for length in ("0", "5"):
                with self.subTest(status, method=method):
                    self.answer(status, headers=[("Content-Length", length)], body=[])
                    answer = self.exchange(method + GET[3:])
                    self.assertTrue(answer.startswith(b"HTTP/1.1 " + status[:3].encode()))
                    self.assertNotIn(b"content-length", answer.lower())
                    self.assertIn("dropped Content-Length: " + length, self.log.getvalue())
        self.answer("304 Not Modified", headers=[("Content-Length", "5")], body=[])
        self.assertIn(b"Content-Length: 5\r\n", self.exchange(GET))

    def test_names_of_headers_that_are_no_tokens_are_refused(self):
        for name in ("X Y", "X:", "", "X(Y)", "X\t", 'X"Y"', "X/Y"):
            with self.subTest(name):
                self.answer(headers=[(name, "z")])
                answer = self.exchange(GET)
                self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
                self.assertIn(b"must be a token", answer)

    def test_strict_refuses_names_of_headers_beyond_ascii(self):
        class Strict(self.protocol):
            strict = True

        for protocol, status in ((self.protocol, b" 200 "), (Strict, b" 500 ")):
            self.answer(headers=[("X-\xe9", "z")], protocol=protocol)
            self.assertIn(status, self.exchange(GET).split(b"\r\n")[0])

    def test_strict_refuses_a_request_without_a_host(self):
        class Strict(self.protocol):
            strict = True

        self.answer(protocol=Strict)
        for head, status in ((b"GET / HTTP/1.1\r\n\r\n", b" 400 "), (b"GET / HTTP/1.5\r\n\r\n", b" 400 "),
                             (b"GET http://a/ HTTP/1.1\r\n\r\n", b" 400 "),
                             (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b" 200 "),
                             (b"GET / HTTP/1.0\r\n\r\n", b" 200 ")):
            self.assertIn(status, self.exchange(head).split(b"\r\n")[0], head)
        self.answer()
        self.assertIn(b" 200 ", self.exchange(b"GET / HTTP/1.1\r\n\r\n"))

    def test_an_old_client_is_not_told_to_continue(self):
        self.serve(echo)
        head = (b"POST /a HTTP/1.%d\r\nHost: x\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n"
                b"Content-Length: 2\r\n\r\nhi")
        answer = self.exchange(head % 0)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertIn(b"Connection: close\r\n", answer)
        self.assertTrue(answer.endswith(b"POST /a hi"))
        self.assertTrue(self.exchange(head % 1).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"))


def read_head_and_body(client, method):
    """As read_response, for a method that may have no body."""
    if method != b"HEAD":
        return read_response(client)
    file = client.makefile("rb")
    status = file.readline().rstrip(b"\r\n").decode()
    lines = [line.decode().rstrip("\r\n").split(": ", 1) for line in iter(file.readline, b"\r\n")]
    return status, {name.lower(): value for name, value in lines}, b""


class NativePath(Rules, ServerCase):
    """The short loop over the native functions."""

    protocol = wsgi.HttpProtocol


class OverridablePath(Rules, ServerCase):
    """The overridable methods."""

    protocol = Overriding


if __name__ == "__main__":
    unittest.main()
