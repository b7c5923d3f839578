"""The native way of serving answers as the overridable methods do, byte for byte, over a family of requests, of
applications and of servers."""

import os
import re
import sys
import tempfile
import unittest

import eventlet
from eventlet import wsgi

from http_support import Overriding, ServerCase, read_all

HEAD = b"%s /a%%20b?c HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nCookie: a=b\r\nCookie: c=d\r\n%s\r\n%s"
CHUNKS = b"3\r\nab\n\r\n4;x=y\r\ncd\ne\r\n0\r\nX-T: 1\r\n\r\n"
REQUESTS = {
    "plain": HEAD % (b"GET", b"", b""),
    "of 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "of 1.0, kept": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "closing": HEAD % (b"GET", b"Connection: close\r\n", b""),
    "asking to keep": HEAD % (b"GET", b"Connection: keep-alive\r\n", b""),
    "head": HEAD % (b"HEAD", b"", b""),
    "another method": HEAD % (b"PURGE", b"", b""),
    "options": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute": b"GET http://other:8080/p?q HTTP/1.1\r\nHost: x\r\n\r\n",
    "forwarded": HEAD % (b"GET", b"X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n", b""),
    "with a body": HEAD % (b"POST", b"Content-Type: t/p\r\nContent-Length: 12\r\n", b"one\ntwo\n\nend"),
    "with a large body": HEAD % (b"PUT", b"Content-Length: 200000\r\n", b"0123456789abcde\n" * 12500),
    "with a short body": HEAD % (b"POST", b"Content-Length: 12\r\n", b"one\n"),
    "in chunks": HEAD % (b"POST", b"Transfer-Encoding: chunked\r\n", CHUNKS),
    "in bad chunks": HEAD % (b"POST", b"Transfer-Encoding: chunked\r\n", b"3\r\nabcd\r\n0\r\n\r\n"),
    "waiting": HEAD % (b"POST", b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"abc"),
    "waiting, in chunks": HEAD % (b"POST", b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "of a later minor version": b"GET /x HTTP/1.7\r\nHost: x\r\n\r\n",
    "behind empty lines": b"\r\n\r\n" + HEAD % (b"GET", b"", b""),
    "unfinished": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "too long": b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 9000),
    "too large": HEAD % (b"GET", b"X: %s\r\n" % (b"x" * 9000), b""),
    "smuggling": HEAD % (b"POST", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"abc"),
    "nonsense": b"nonsense\r\n\r\n",
}
TEXT = ("Content-Type", "text/plain")


def describe(environ):
    """What an application may see of a request, without what is another object in each."""
    return {
        key: value for key, value in environ.items()
        if "input" not in key and key not in ("SERVER_PORT", "REMOTE_PORT", "eventlet.set_idle", "eventlet.posthooks")}


class Closing(list):
    """A result with a ``close``."""

    closed = 0

    def close(self):
        Closing.closed += 1


def whole(body=b"whole", status="200 OK", headers=(TEXT,), reads=lambda body: None, result=lambda body: [body]):
    def app(environ, start_response):
        reads(environ["wsgi.input"])
        start_response(status, list(headers))
        return result(body)

    return app


def writing(environ, start_response):
    write = start_response("200 OK", [TEXT])
    write(b"one")
    write(b"two")
    return [b"three"]


def failing(environ, start_response):
    raise ValueError("broken")


def failing_late(environ, start_response):
    start_response("200 OK", [TEXT])
    yield b"x" * 5000
    raise ValueError("broken")


def starting_again(environ, start_response):
    start_response("200 OK", [TEXT])
    try:
        raise ValueError
    except ValueError as error:
        start_response("503 Broken", [TEXT], (ValueError, error, None))
    return [b"again"]


def timing_out(environ, start_response):
    raise eventlet.Timeout(None)


def hooked(environ, start_response):
    environ["eventlet.posthooks"].append((lambda environ, calls: calls.append(environ["PATH_INFO"]), ([],), {}))
    return whole()(environ, start_response)


def without_start(environ, start_response):
    return [b"nothing"]


def from_file(environ, start_response):
    start_response("200 OK", [TEXT])
    file = tempfile.TemporaryFile()
    file.write(b"f" * 100_000)
    file.seek(0)
    return environ["wsgi.file_wrapper"](file)


def cut_up(environ, start_response):
    start_response("200 OK", [TEXT])
    return (bytes([97 + number % 26]) * 1000 for number in range(20))


APPLICATIONS = {
    "whole": whole(),
    "reading": whole(reads=lambda body: body.read(), result=lambda body: (body,)),
    "in lines": whole(reads=lambda body: body.readlines()),
    "reading some": whole(reads=lambda body: (body.readline(2), body.read(3), body.readline())),
    "nothing": whole(result=lambda body: []),
    "of many pieces": whole(result=lambda body: [body] * 200),
    "large": whole(b"z" * 300_000),
    "text": whole(result=lambda body: [body.decode()]),
    "no bytes": whole(result=lambda body: [3]),
    "closed": whole(result=lambda body: Closing([body])),
    "of a length": whole(headers=(TEXT, ("content-length", "5"))),
    "too short": whole(headers=(TEXT, ("Content-Length", "9"))),
    "too long": whole(headers=(TEXT, ("Content-Length", "3"))),
    "with a date and more": whole(headers=(("date", "now"), ("X-a-b", "\xe9"), ("X-c", "1"), ("X-c", "2"))),
    "said to close": whole(headers=(("connection", "close"),)),
    "said to stay": whole(headers=(("Connection", "keep-alive"),)),
    "with a coding": whole(headers=(("Transfer-Encoding", "chunked"),)),
    "no content": whole(b"", "204 No Content", ()),
    "not modified": whole(b"", "304 Not Modified", ()),
    "bad header": whole(headers=(("X", "a\r\nb"),)),
    "bad status": whole(status="ok"),
    "writing": writing,
    "cut up": cut_up,
    "failing": failing,
    "failing late": failing_late,
    "starting again": starting_again,
    "timing out": timing_out,
    "hooked": hooked,
    "without start": without_start,
    "from a file": from_file,
}


class Logging(wsgi.HttpProtocol):
    """Overrides something that does not read requests."""

    def get_client_address(self):
        return super().get_client_address()


class SameAnswer(ServerCase):
    def served(self, app, data, protocol, **options):
        """What is answered, what the application saw, and the log, but for times, ports and tracebacks."""
        seen = []

        def watching(environ, start_response):
            seen.append(describe(environ))
            return app(environ, start_response)

        self.log.seek(0)
        self.log.truncate()
        server = self.serve(watching, protocol=protocol, **options)
        answer = self.exchange(data)
        self.pool.waitall()
        server.kill()
        log = re.sub(r"Traceback (.|\n)*?\n(?=\S*(Error|Timeout))", "", self.log.getvalue())
        # The words of a refusal are other ones, as they have been.
        log = re.sub(r"(refused .*? \d\d\d) .*", r"\1", log)
        answer = re.sub(rb"(HTTP/1\.0 \d+ ).*\r\n(.*\r\n.*\r\n)Content-Length: .*\r\n\r\n.*\n", rb"\1\2", answer)
        log = re.sub(r"\[\d\d/[^]]*\]|\d\.\d{6}\b|127\.0\.0\.1:\d+|'127\.0\.0\.1', \d+", "?", log)
        return re.sub(rb"(?m)^Date: \w{3}, .*", b"Date", answer), seen, log

    def check_same(self, app, data, others=(Logging, Overriding), **options):
        native = self.served(app, data, wsgi.HttpProtocol, **options)
        for protocol in others:
            for one, other in zip(native, self.served(app, data, protocol, **options)):
                self.assertEqual(one, other)

    def test_over_the_requests(self):
        reading = APPLICATIONS["reading"]
        for name, request in REQUESTS.items():
            for first in (b"", REQUESTS["plain"], REQUESTS["plain"] * 3):
                for app in (APPLICATIONS["whole"], reading, APPLICATIONS["in lines"], APPLICATIONS["reading some"]):
                    with self.subTest(request=name, first=first.count(b"GET"), app=app):
                        self.check_same(app, first + request)

    def test_over_the_applications(self):
        for name, app in APPLICATIONS.items():
            for request in ("plain", "of 1.0", "of 1.0, kept", "head", "with a body", "in chunks", "waiting"):
                with self.subTest(app=name, request=request):
                    # The overridable way hands no file to the kernel. A traceback shows the way.
                    others = (Logging,) if name == "from a file" else (Logging, Overriding)
                    self.check_same(app, REQUESTS[request] + REQUESTS["plain"], others, debug=False)
        self.assertGreater(Closing.closed, 2)

    def test_over_the_servers(self):
        for options in (
            {"max_http_version": "HTTP/1.0"}, {"keepalive": False}, {"keepalive": 5}, {"log_output": False},
            {"log_format": "%(client_ip)s %(request_line)s %(status_code)s %(body_length)s"},
            {"log_x_forwarded_for": False}, {"environ": {"HTTP_COOKIE": "own", "x": 1}}, {"socket_timeout": 5},
            {"url_length_limit": 20}, {"minimum_chunk_size": 1}, {"debug": False},
        ):
            for name in ("plain", "forwarded", "asking to keep", "of 1.0, kept", "with a body", "waiting"):
                with self.subTest(options, request=name):
                    self.check_same(APPLICATIONS["reading"], REQUESTS[name] * 2, **options)

    def test_wherever_the_bytes_are_cut(self):
        data = REQUESTS["with a body"] + REQUESTS["in chunks"] + REQUESTS["plain"]
        answers = set()
        for protocol in (wsgi.HttpProtocol, Overriding):
            self.serve(APPLICATIONS["in lines"], protocol=protocol)
            for at in range(1, len(data), 3):
                client = self.send(data[:at])
                eventlet.sleep(0)
                client.sendall(data[at:] + REQUESTS["closing"])
                answers.add(re.sub(rb"Date: .*", b"", read_all(client)))
        self.assertEqual(len(answers), 1)
        self.assertEqual(answers.pop().count(b"200 OK"), 4)


class Native(ServerCase):
    def test_it_is_the_way_of_a_protocol_that_overrides_nothing(self):
        ways = []

        def app(environ, start_response):
            ways.append(start_response.__self__.handler._is_native)
            return whole()(environ, start_response)

        class Named(wsgi.HttpProtocol):
            minimum_chunk_size = 1
            extra = None

        for protocol in (wsgi.HttpProtocol, Named, Logging, Overriding):
            self.serve(app, protocol=protocol)
            self.exchange(REQUESTS["plain"])
        self.assertEqual(ways, [True, True, False, False])

    def test_a_patched_method_of_any_kind_is_honoured(self):
        original = wsgi.HttpProtocol.log_date_time_string
        owner = next(owner for owner in wsgi.HttpProtocol.__mro__ if "log_date_time_string" in vars(owner))
        self.addCleanup(setattr, owner, "log_date_time_string", original)
        owner.log_date_time_string = lambda handler: "no time"
        self.serve(whole())
        self.exchange(REQUESTS["plain"])
        self.assertIn("[no time]", self.log.getvalue())

    def test_a_class_of_bodies_of_its_own_is_used(self):
        class Own(wsgi.Input):
            def read(self, length=None):
                return b"own " + super().read(length)

        self.addCleanup(setattr, wsgi, "Input", wsgi.Input)
        wsgi.Input = Own

        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]

        self.serve(app)
        self.assertTrue(self.exchange(REQUESTS["with a body"]).endswith(b"\r\n\r\nown one\ntwo\n\nend"))
        self.assertTrue(self.exchange(REQUESTS["waiting"]).endswith(b"\r\n\r\nown abc"))

    def test_what_the_environ_begins_with_is_that_of_the_moment(self):
        seen = []

        def app(environ, start_response):
            seen.append((environ["wsgi.errors"] is sys.stderr, environ.get("own")))
            return whole()(environ, start_response)

        events = eventlet.Event()
        self.serve(app, server_event=events)
        server = events.wait()
        client = self.connect()
        stderr = sys.stderr
        self.addCleanup(setattr, sys, "stderr", stderr)
        for number in range(4):
            if number == 2:
                sys.stderr = open(os.devnull, "w")
                self.addCleanup(sys.stderr.close)
            if number == 3:
                server.environ = {"own": 1}
            client.sendall(REQUESTS["plain"])
            client.recv(4096)
        self.assertEqual(seen, [(True, None)] * 3 + [(True, 1)])

    def test_a_server_that_overrides_get_environ_is_asked_for_each_request(self):
        class Counting(wsgi.Server):
            calls = 0

            def get_environ(self):
                Counting.calls += 1
                return {**super().get_environ(), "call": Counting.calls}

        seen = []

        def app(environ, start_response):
            seen.append(environ["call"])
            return whole()(environ, start_response)

        self.addCleanup(setattr, wsgi, "Server", wsgi.Server)
        wsgi.Server = Counting
        self.serve(app)
        self.exchange(REQUESTS["plain"] * 4)
        self.assertEqual(seen, [1, 2, 3, 4])

    def test_environs_of_the_same_head_are_not_the_same(self):
        paths = []

        def app(environ, start_response):
            paths.append((environ["PATH_INFO"], environ["REMOTE_PORT"], "left" in environ, environ["HTTP_HOST"]))
            environ["left"] = environ["HTTP_HOST"] = 1
            return whole()(environ, start_response)

        self.serve(app)
        clients = [self.connect() for _ in range(2)]
        for number in range(6):
            clients[number % 2].sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n" % number)
            clients[number % 2].recv(4096)
        ports = [str(client.getsockname()[1]) for client in clients]
        self.assertEqual(paths, [("/%d" % number, ports[number % 2], False, "x") for number in range(6)])

    def test_a_head_that_comes_again_is_not_parsed_again(self):
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            return whole()(environ, start_response)

        self.serve(app)
        clients = [self.connect() for _ in range(2)]
        request = b"GET /%s?q HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(4):
            for client in clients:
                client.sendall(request % b"again")
                client.recv(4096)
        first, again = seen[0], seen[-1]
        self.assertEqual(describe(first), describe(again))
        # Of one parsing, and so one object.
        self.assertIs(seen[-1]["RAW_PATH_INFO"], seen[-2]["RAW_PATH_INFO"])
        self.assertIsNot(first["RAW_PATH_INFO"], again["RAW_PATH_INFO"])

    def test_a_head_that_comes_again_is_held_to_the_limits_of_the_moment(self):
        events = eventlet.Event()
        self.serve(whole(), server_event=events)
        server, client = events.wait(), self.connect()
        request = b"GET /path HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(4):
            client.sendall(request)
            self.assertIn(b" 200 OK", client.recv(4096))
        server.url_length_limit = 10
        client.sendall(request)
        self.assertIn(b" 414 ", client.recv(4096))

    def test_what_follows_a_head_that_comes_again_is_read_anew(self):
        def app(environ, start_response):
            start_response("200 OK", [TEXT])
            return [environ["wsgi.input"].read()]

        self.serve(app)
        client = self.connect()
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
        for body in (b"one", b"two", b"six", b"ten"):
            client.sendall(head[:20])
            eventlet.sleep(0)
            client.sendall(head[20:] + body)
            self.assertTrue(client.recv(4096).endswith(body))

    def test_a_setting_that_is_assigned_counts_from_the_next_request_on(self):
        events = eventlet.Event()
        self.serve(whole(b"one"), server_event=events)
        server, client = events.wait(), self.connect()

        def answer():
            client.sendall(REQUESTS["plain"])
            return client.recv(4096)

        for _ in range(3):
            self.assertTrue(answer().endswith(b"one"))
        server.app = whole(b"two")
        self.assertTrue(answer().endswith(b"two"))
        server.environ = {"HTTP_HOST": "own"}
        server.log_format = "%(request_line)s only"
        self.assertTrue(answer().endswith(b"two"))
        self.assertIn("GET /a%20b?c HTTP/1.1 only\n", self.log.getvalue())
        server.log_output = False
        lines = self.log.getvalue().count("\n")
        server.keepalive = False
        self.assertIn(b"\r\nConnection: close\r\n", answer())
        self.assertEqual((client.recv(1), self.log.getvalue().count("\n")), (b"", lines))

    def test_a_server_that_computes_its_settings_is_asked_each_time(self):
        class Computing(wsgi.Server):
            answers = iter([b"one", b"two", b"three"])
            app = property(lambda server: whole(next(Computing.answers)), lambda server, app: None)

        class Answering(wsgi.Server):
            def __getattribute__(self, name):
                return whole(next(Computing.answers)) if name == "app" else super().__getattribute__(name)

        class Silent(wsgi.Server):
            def __setattr__(self, name, value):
                object.__setattr__(self, name, value)

        self.addCleanup(setattr, wsgi, "Server", wsgi.Server)
        for wsgi.Server in (Computing, Answering):
            Computing.answers = iter([b"one", b"two", b"three"])
            self.serve(whole())
            client = self.connect()
            for body in (b"one", b"two", b"three"):
                client.sendall(REQUESTS["plain"])
                self.assertTrue(client.recv(4096).endswith(body))
        wsgi.Server, events = Silent, eventlet.Event()
        self.serve(whole(b"one"), server_event=events)
        client = self.connect()
        for body in (b"one", b"two", b"three"):
            events.wait().app = whole(body)
            client.sendall(REQUESTS["plain"])
            self.assertTrue(client.recv(4096).endswith(body))

    def test_outstanding_requests_are_counted(self):
        events, counts = eventlet.Event(), []

        def app(environ, start_response):
            counts.append(server.outstanding_requests)
            return whole()(environ, start_response)

        self.serve(app, server_event=events)
        server = events.wait()
        self.exchange(REQUESTS["plain"])
        self.assertEqual((counts, server.outstanding_requests), ([1], 0))

    def test_a_large_answer_to_a_slow_client_comes_whole(self):
        self.serve(whole(b"0123456789" * 400_000))
        client = self.send(REQUESTS["closing"])
        eventlet.sleep(0.05)
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 4000000", head)
        self.assertEqual(body, b"0123456789" * 400_000)

    def test_a_logger_gets_the_line_as_it_is(self):
        class Log:
            lines = []

            def info(self, line, *args):
                self.lines.append((line, args))

            debug = error = info

        self.serve(whole(), log=Log())
        self.exchange(b"GET /%d HTTP/1.0\r\n\r\n")
        eventlet.sleep(0)
        lines = [line for line in Log.lines if '"GET' in line[0]]
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0][0], r'\A127\.0\.0\.1 - - \[[^]]+\] "GET /%d HTTP/1\.0" 200 \d+ \d\.\d{6}\Z')
        self.assertEqual(lines[0][1], ())


if __name__ == "__main__":
    unittest.main()
