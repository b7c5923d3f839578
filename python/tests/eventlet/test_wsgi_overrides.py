"""Subclasses of HttpProtocol: an override finds what stock or http.server has set, and what it changes counts."""

import contextlib
import email.message
import http.client
import io
import unittest

from eventlet import wsgi

from http_support import ServerCase, echo, read_all, read_response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# Each with the status of its refusal, and what is known of it then: command, path and version.
REFUSED = {
    b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 9000): (414, "", None, ""),
    b"HEAD / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 9000): (400, "HEAD", "/", "HTTP/1.1"),
    b"GET /a HTTP/1.0\r\n%s\r\n" % (b"X: %s\r\n" % (b"x" * 5000) * 20): (400, "GET", "/a", "HTTP/1.0"),
    b"GET /a HTTP/1.1\r\n%s\r\n" % (b"X: y\r\n" * 101): (431, "GET", "/a", "HTTP/1.1"),
    b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n": (501, "POST", "/a", "HTTP/1.1"),
    b"POST /a HTTP/1.1\r\nContent-Length: +5\r\n\r\n": (400, "POST", "/a", "HTTP/1.1"),
    b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n": (400, "GET", "/a", "HTTP/1.1"),
    b"GET /a HTTP/3.0\r\n\r\n": (505, "GET", "/a", "HTTP/3.0"),
    b"nonsense\r\n\r\n": (400, None, None, "HTTP/1.0"),
}


class AsTheLibrary(wsgi.HttpProtocol):
    """Sends errors as the standard library does, and Swift after it."""

    seen = []

    def send_error(self, code, message=None, explain=None):
        self.seen.append((code, self.command, getattr(self, "path", None), self.request_version))
        short, long = self.responses.get(code, ("???", "???"))
        self.log_error("code %d, message %s, line %s", code, message or short, self.requestline)
        body = ("%s: %s" % (message or short, explain or long)).encode()
        self.send_response(code, message or short)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, form, *args):
        self.server.log.info("ERROR WSGI: " + form, *args)


class LibraryParser(AsTheLibrary):
    """Reads requests with the standard library, too."""

    def parse_request(self):
        self.command, self.request_version, self.close_connection = None, self.default_request_version, True
        self.requestline = self.raw_requestline.decode("latin-1").rstrip("\r\n")
        words = self.requestline.split(" ")
        if len(words) != 3:
            self.send_error(400, "Bad request syntax")
            return False
        self.command, self.path, self.request_version = words
        try:
            self.headers = http.client.parse_headers(self.rfile, _class=self.MessageClass)
        except http.client.HTTPException as error:
            self.send_error(431, "Too many headers", str(error))
            return False
        self.close_connection = self.request_version != "HTTP/1.1"
        return True


class Refusals(ServerCase):
    def test_send_error_in_the_librarys_manner_answers_each_refusal(self):
        for request, (status, *known) in REFUSED.items():
            # The second is refused on a connection that has served a request.
            for first in (b"", GET):
                with self.subTest(request[:60], first=bool(first)):
                    del AsTheLibrary.seen[:]
                    self.serve(echo, protocol=AsTheLibrary)
                    answer = read_all(self.send(first + request))
                    if first:
                        answer = answer[answer.index(b"GET / ") + 6:]
                        known[1] = known[1] or "/"
                    head, _, body = answer.partition(b"\r\n\r\n")
                    self.assertTrue(head.startswith(b"HTTP/1.1 %d " % status), answer[:200])
                    self.assertIn(b"Connection: close", head)
                    self.assertEqual(body == b"", known[0] == "HEAD")
                    self.assertEqual(AsTheLibrary.seen, [(status, *known)])
                    self.assertIn("ERROR WSGI: code %d" % status, self.log.getvalue())

    def test_a_parser_of_its_own_gets_the_same_refusals(self):
        self.serve(echo, protocol=LibraryParser)
        self.assertEqual(read_response(self.send(GET))[2], b"GET / ")
        for request, (status, *_) in REFUSED.items():
            if status in (414, 400, 501) and b"HTTP/3.0" not in request:
                with self.subTest(request[:60]):
                    self.assertIn(b" %d " % status, read_all(self.send(request)).split(b"\r\n")[0])
        odd = b"GET / HTTP/1.1\r\nX(y): z\r\nHost: x\r\n\r\n"
        self.assertIn(b" 400 ", read_all(self.send(odd)).split(b"\r\n")[0])

    def test_a_refusal_goes_out_even_if_send_error_fails(self):
        class Failing(wsgi.HttpProtocol):
            def send_error(self, code, message=None, explain=None):
                self.wfile.write(b"half an ans")
                raise RuntimeError("broken override")

        self.serve(echo, protocol=Failing)
        for request, (status, *_) in REFUSED.items():
            with self.subTest(request[:60]):
                answer = read_all(self.send(request + GET))
                self.assertRegex(answer, rb"\AHTTP/1\.0 %d " % status)
                self.assertEqual(answer.count(b"HTTP/1."), 1)
        self.assertIn("RuntimeError: broken override", self.log.getvalue())
        self.assert_no_worker_is_lost()

    def test_an_override_that_reads_the_headers_finds_none_rather_than_an_error(self):
        class Looking(AsTheLibrary):
            def send_error(self, code, message=None, explain=None):
                found.append(hasattr(self, "headers"))
                super().send_error(code, message, explain)

        found = []
        self.serve(echo, protocol=Looking)
        self.assertIn(b" 414 ", read_all(self.send(b"GET /" + b"x" * 9000)))
        self.assertEqual(found, [False])


class Changes(ServerCase):
    """What an override changes is honoured."""

    def check_closing(self, protocol, request=GET):
        self.serve(echo, protocol=protocol)
        client = self.send(request)
        status, headers, _ = read_response(client)
        self.assertEqual((status, headers["connection"]), ("HTTP/1.1 200 OK", "close"))
        self.assertEqual(read_all(client), b"")

    def test_a_connection_header_that_get_environ_adds(self):
        class Closing(wsgi.HttpProtocol):
            def get_environ(self):
                environ = super().get_environ()
                self.headers.add_header("Connection", "close")
                return environ

        self.check_closing(Closing)
        self.check_closing(Closing, b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n")

    def test_headers_that_get_environ_finds_are_held_to_the_framing(self):
        class Finding(LibraryParser):
            def get_environ(self):
                environ = super().get_environ()
                # As Swift: headers behind one that the library does not read come as the message's payload.
                for line in self.headers.get_payload().split("\n"):
                    if ": " in line:
                        # Newer releases refuse the name that no header may have.
                        with contextlib.suppress(ValueError):
                            self.headers.add_header(*line.strip().split(": ", 1))
                environ["wsgi.input"].content_length = int(self.headers.get("Content-Length", 0))
                return environ

        self.serve(echo, protocol=Finding)
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nX-M\xc3\xa9ta: y\r\n%s\r\n"
        self.assertEqual(read_response(self.send(head % b"Content-Length: 2\r\n" + b"hi"))[2], b"POST /a hi")
        for line, status in ((b"Transfer-Encoding: gzip\r\n", b" 501 "), (b"Content-Length: x\r\n", b" 400 "),
                             (b"Content-Length: 2\r\nContent-Length: 2\r\n", b" 400 ")):
            self.assertIn(status, read_all(self.send(head % line + b"hi")).split(b"\r\n")[0])

    def test_what_get_environ_and_the_parser_set_reaches_the_response(self):
        class Changing(wsgi.HttpProtocol):
            def parse_request(self):
                good = super().parse_request()
                self.close_connection = True
                return good

            def get_environ(self):
                environ = super().get_environ()
                self.command = "HEAD"
                self.headers["X-Forwarded-For"] = "1.2.3.4"
                return environ

        self.serve(echo, protocol=Changing)
        answer = read_all(self.send(GET))
        self.assertTrue(answer.endswith(b"\r\n\r\n"))
        self.assertIn(b"Connection: close", answer)
        self.assertIn("1.2.3.4,127.0.0.1 - - [", self.log.getvalue())

    def test_a_message_class_of_its_own_is_used(self):
        class Message(email.message.Message):
            def get_content_type(self):
                return "own/type"

        class Own(wsgi.HttpProtocol):
            MessageClass = Message

        types = []

        def app(environ, start_response):
            types.append(environ["CONTENT_TYPE"])
            return echo(environ, start_response)

        self.serve(app, protocol=Own)
        self.exchange(GET)
        self.assertEqual(types, ["own/type"])

    def test_finish_finds_what_the_last_request_was(self):
        class Counting(wsgi.HttpProtocol):
            def finish(self):
                calls.append((self.command, self.path, self.requestline, self.headers["host"],
                              self.environ["PATH_INFO"]))
                super().finish()

        calls = []
        self.serve(echo, protocol=Counting)
        self.exchange(b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n")
        self.close_clients()
        self.pool.waitall()
        self.assertEqual(calls, [("GET", "/a?b", "GET /a?b HTTP/1.1", "x", "/a")])

    def test_properties_in_place_of_attributes_are_set_and_read(self):
        class Guarded(wsgi.HttpProtocol):
            @property
            def command(self):
                return self._command

            @command.setter
            def command(self, command):
                if command == "PRI":
                    raise ValueError("not here")
                self._command = command

        with contextlib.redirect_stderr(io.StringIO()):
            self.serve(echo, protocol=Guarded)
            self.assertTrue(self.exchange(GET).endswith(b"GET / "))
            self.assertEqual(self.exchange(b"PRI / HTTP/1.1\r\n\r\n"), b"")


if __name__ == "__main__":
    unittest.main()
