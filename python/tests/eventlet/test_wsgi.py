"""wsgi.server: what goes to the application and what comes back, beyond what eventlet's own tests hold."""

import contextlib
import errno
import http.client
import io
import os
import ssl
import sys
import tempfile
import unittest

import eventlet
from eventlet import greenio
from eventlet import wsgi
from eventlet.green import socket
from eventlet.green import ssl as green_ssl
from eventlet.green.http import client as green_client

from http_support import Overriding, ServerCase, echo, read_all, read_response

GET = b"GET / HTTP/1.1\r\n\r\n"


def answering(status="200 OK", headers=(), body=(b"hello",)):
    """An application that answers so."""
    def app(environ, start_response):
        start_response(status, list(headers))
        return body
    return app


class Paths:
    """What holds for both ways of serving; see the classes below."""

    def test_both_ways_make_the_same_environ(self):
        seen = []

        def app(environ, start_response):
            seen.append({key: value for key, value in environ.items() if not callable(value) and "input" not in key})
            return answering()(environ, start_response)

        self.serve(app, environ={"CUSTOM": "yes", "HTTP_X_TWICE": "0"})
        self.exchange(b"POST //evil/%7Ea%2Fb%FF?q=%20 HTTP/1.1\r\nhost: here\r\nX-Twice: 1\r\nx-twice:2\r\nX_Not: y\r\n"
                      b"Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\nX-Empty:\r\n\r\nhi")
        environ = seen[0]
        expected = {
            "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "RAW_PATH_INFO": "/evil/%7Ea%2Fb%FF",
            "PATH_INFO": "/evil/~a/b\xff", "QUERY_STRING": "q=%20", "CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "2",
            "SERVER_PROTOCOL": "HTTP/1.0", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": str(self.address[1]),
            "REMOTE_ADDR": "127.0.0.1",
            "GATEWAY_INTERFACE": "CGI/1.1", "HTTP_HOST": "here", "HTTP_X_TWICE": "0,1,2", "HTTP_X_EMPTY": "",
            "CUSTOM": "yes", "wsgi.url_scheme": "http", "wsgi.version": (1, 0), "wsgi.multithread": True,
            "wsgi.multiprocess": False, "wsgi.run_once": False, "wsgi.errors": sys.stderr, "eventlet.posthooks": [],
            "headers_raw": (
                ("host", "here"), ("X-Twice", "1"), ("x-twice", "2"), ("X_Not", "y"), ("Content-Type", "a/b"),
                ("Content-Type", "c/d"), ("Content-Length", "2"), ("X-Empty", "")),
        }
        self.assertEqual({**environ, "REMOTE_PORT": None}, {**expected, "REMOTE_PORT": None})

    def test_a_head_request_gets_no_body_and_the_connection_goes_on(self):
        self.serve(answering())
        answer = self.exchange(b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2)
        self.assertEqual(answer.count(b"hello"), 1)

    def test_a_204_gets_no_body(self):
        self.serve(answering("204 No Content"))
        self.assertTrue(self.exchange(GET).endswith(b"\r\n\r\n"))

    def test_more_than_content_length_does_not_reach_the_client(self):
        self.serve(answering(headers=[("Content-Length", "2")]))
        client = self.send(GET + GET)
        self.assertTrue(read_all(client).endswith(b"\r\n\r\nhe"))

    def test_less_than_content_length_closes_the_connection(self):
        self.serve(answering(headers=[("Content-Length", "9")]))
        self.assertTrue(read_all(self.send(GET)).endswith(b"\r\n\r\nhello"))

    def test_an_applications_connection_close_is_kept_and_not_repeated(self):
        self.serve(answering(headers=[("connection", "close")]))
        self.assertEqual(read_all(self.send(GET)).lower().count(b"connection: close"), 1)

    def test_written_data_is_a_whole_chunked_body(self):
        def app(environ, start_response):
            write = start_response("200 OK", [])
            write(b"")
            write(b"hello")
            return []

        self.serve(app)
        client = self.send(GET)
        response = http.client.HTTPResponse(client)
        response.begin()
        self.assertEqual(response.read(), b"hello")
        client.sendall(GET)
        self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200"))

    def test_http_1_0_as_the_highest_version_has_no_chunks(self):
        self.serve(answering(body=iter([b"he", b"llo"])), max_http_version="HTTP/1.0")
        answer = read_all(self.send(GET))
        self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\nhello"))

    def test_a_header_cannot_bring_another_one(self):
        for headers in ([("X", "y\r\nSet-Cookie: z")], [("X\nY", "z")]):
            self.serve(answering(headers=headers), debug=False)
            self.assertTrue(self.exchange(GET).startswith(b"HTTP/1.1 500 "))

    def test_a_header_that_is_no_latin_1_is_a_500(self):
        self.serve(answering(headers=[("X", "snow \u2603")]))
        answer = self.exchange(GET)
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
        self.assertIn(b"RFC 8187", answer)

    def test_results_of_every_kind(self):
        class Closing(list):
            closed = False

            def close(self):
                Closing.closed = True

        cases = [[b"hello"], (b"hel", b"lo"), ["hello"], [b"", b"hello"], iter([b"hel", b"", b"lo"]),
                 Closing([b"hello"]), [bytearray(b"hello")]]
        for body in cases:
            with self.subTest(body):
                self.serve(answering(body=body))
                client = self.send(GET)
                response = http.client.HTTPResponse(client)
                response.begin()
                self.assertEqual(response.read(), b"hello")
        self.assertTrue(Closing.closed)

    def test_a_large_result_comes_whole(self):
        body = [os.urandom(100000) for _ in range(20)]
        self.serve(answering(body=body))
        self.assertEqual(read_response(self.send(GET))[2], b"".join(body))

    def test_a_body_is_read_in_all_ways(self):
        body = b"one\ntwo\n\nlast"
        chunked = b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n5\r\nne\ntw\r\n7\r\no\n\nlast\r\n0\r\n\r\n"
        ways = {
            "read": lambda body: [body.read()],
            "read(-1)": lambda body: [body.read(-1)],
            "read(n)": lambda body: list(iter(lambda: body.read(3), b"")),
            "readline": lambda body: list(iter(body.readline, b"")),
            "readline(n)": lambda body: list(iter(lambda: body.readline(2), b"")),
            "readline, then read": lambda body: [body.readline(), body.read()],
            "readlines": lambda body: body.readlines(),
            "iteration": lambda body: list(body),
        }
        expected = {
            "read(n)": [b"one", b"\ntw", b"o\n\n", b"las", b"t"], "readline": [b"one\n", b"two\n", b"\n", b"last"],
            "readline(n)": [b"on", b"e\n", b"tw", b"o\n", b"\n", b"la", b"st"],
            "readline, then read": [b"one\n", b"two\n\nlast"], "readlines": [b"one\n", b"two\n", b"\n", b"last"],
            "iteration": [b"one\n", b"two\n", b"\n", b"last"],
        }

        def app(environ, start_response):
            start_response("200 OK", [])
            return [repr(ways[way](environ["wsgi.input"])).encode()]

        self.serve(app)
        for way in ways:
            for headers in (b"Content-Length: %d\r\n\r\n%s" % (len(body), body), chunked):
                with self.subTest(way, chunked=headers is chunked):
                    client = self.send(b"POST / HTTP/1.1\r\n" + headers + GET)
                    self.assertEqual(read_response(client)[2], repr(expected.get(way, [body])).encode())

    def test_a_body_that_was_not_read_does_not_become_a_request(self):
        self.serve(answering())
        plain = b"Content-Length: 18\r\n\r\n" + GET
        chunked = b"Transfer-Encoding: chunked\r\n\r\n12\r\n" + GET + b"\r\n0\r\n\r\n"
        for body in (plain, chunked):
            answer = self.exchange(b"POST / HTTP/1.1\r\n" + body + GET)
            self.assertEqual(answer.count(b"200 OK"), 2)

    def test_a_server_that_stops_says_close_and_serves_what_has_begun(self):
        go_on = eventlet.Event()

        def app(environ, start_response):
            go_on.wait()
            return answering()(environ, start_response)

        server = self.serve(app)
        busy, idle, begun = self.send(GET), self.connect(), self.send(b"GET / HTTP/1.1\r\nHost:")
        eventlet.sleep(0.05)
        server.kill()
        eventlet.sleep(0.05)
        self.assertEqual(read_all(idle), b"")
        self.assertFalse(server.dead)
        go_on.send()
        begun.sendall(b" x\r\n\r\n")
        for client in (busy, begun):
            status, headers, body = read_response(client)
            self.assertEqual((status, headers["connection"], body), ("HTTP/1.1 200 OK", "close", b"hello"))
        with self.assertRaises(BaseException):
            server.wait()
        self.assertEqual(self.pool.running(), 0)

    def test_a_killed_request_does_not_wait_for_its_body(self):
        threads = []

        def app(environ, start_response):
            threads.append(eventlet.getcurrent())
            eventlet.sleep(60)

        self.serve(app)
        client = self.send(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
        with eventlet.Timeout(5):
            while not threads:
                eventlet.sleep(0.01)
            threads[0].kill()
            self.pool.waitall()
        self.assertEqual(read_all(client), b"")

    def test_clients_of_a_unix_socket_are_idle_each_for_itself(self):
        with tempfile.TemporaryDirectory() as folder:
            server = self.serve(answering(), listener=eventlet.listen(folder + "/socket", socket.AF_UNIX))
            clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            for client in clients:
                client.settimeout(5)
                client.connect(self.address)
                client.sendall(GET)
                read_response(client)
            server.kill()
            with eventlet.Timeout(5):
                self.pool.waitall()

    def test_the_log_has_the_line_the_status_and_the_size(self):
        self.serve(answering("404 Not Found"))
        answer = self.exchange(b"GET /a?b HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\r\n")
        eventlet.sleep(0)
        self.assertIn('"GET /a?b HTTP/1.1" 404 {} 0.'.format(len(answer)), self.log.getvalue())
        self.assertIn("\n1.2.3.4,5.6.7.8,127.0.0.1 - - [", self.log.getvalue())

    def test_limits_are_those_of_the_moment(self):
        self.serve(answering())
        request = b"GET / HTTP/1.1\r\nX: " + b"y" * 10000 + b"\r\n\r\n"
        self.assertIn(b" 400 ", self.exchange(request))
        self.addCleanup(setattr, wsgi, "MAX_HEADER_LINE", wsgi.MAX_HEADER_LINE)
        wsgi.MAX_HEADER_LINE = 16384
        self.assertIn(b" 200 ", self.exchange(request))
        self.addCleanup(setattr, green_client, "_MAXHEADERS", green_client._MAXHEADERS)
        # As Swift does.
        green_client._MAXHEADERS = 90 * 1.6
        self.assertIn(b" 200 ", self.exchange(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 144 + b"\r\n"))
        self.assertIn(b" 431 ", self.exchange(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 145 + b"\r\n"))

    def test_keepalive_seconds_end_with_the_first_line(self):
        self.serve(answering(), keepalive=0.1, socket_timeout=5)
        client = self.send(b"GET / HTTP/1.1\r\n")
        eventlet.sleep(0.2)
        client.sendall(b"\r\n")
        self.assertEqual(read_response(client)[0], "HTTP/1.1 200 OK")
        self.assertEqual(read_all(client), b"")

    def test_tls_and_those_who_fail_at_it(self):
        certificate = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.pem")
        listener = eventlet.wrap_ssl(
            eventlet.listen(("127.0.0.1", 0)), certfile=certificate, keyfile=certificate, server_side=True)
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            server = self.serve(echo, listener=listener)
            read_all(self.send(b"GET / HTTP/1.1\r\n\r\n", half_close=True))
            self.send(b"").close()
            context = green_ssl.GreenSSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(certificate)
            client = context.wrap_socket(self.connect(), server_hostname="localhost")
            for path in (b"/a", b"/b"):
                client.sendall(b"POST " + path + b" HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
                self.assertEqual(read_response(client)[2], b"POST " + path + b" hi")
            # One that is idle is closed.
            server.kill()
            with eventlet.Timeout(5):
                self.pool.waitall()
            client.close()
        self.assertEqual(errors.getvalue(), "")

    def test_files_go_out_whole_and_in_part(self):
        content = os.urandom(3 << 20)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()

            def app(environ, start_response):
                opened = open(file.name, "rb")
                opened.seek(5)
                part = [("Content-Length", "10")] if environ["PATH_INFO"] == "/part" else []
                start_response("200 OK", part)
                return environ["wsgi.file_wrapper"](opened)

            self.serve(app)
            client = self.send(GET + b"GET /part HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n")
            file_object = client.makefile("rb")
            self.assertEqual(read_some(file_object, self.protocol), content[5:])
            self.assertEqual(read_some(file_object, self.protocol), content[5:15])
        eventlet.sleep(0)

    def test_what_is_no_file_is_read(self):
        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "5")])
            return environ["wsgi.file_wrapper"](io.BytesIO(b"hello"), 2)

        self.serve(app)
        self.assertEqual(read_response(self.send(GET))[2], b"hello")

    def test_a_failing_application_shows_its_traceback_only_if_asked_to(self):
        def app(environ, start_response):
            raise RuntimeError("secret")

        for debug in (True, False):
            self.serve(app, debug=debug)
            answer = read_all(self.send(GET))
            self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
            self.assertEqual(b"secret" in answer, debug)
        self.assertIn("RuntimeError: secret", self.log.getvalue())

    def test_descriptors_that_run_out_do_not_end_the_server(self):
        listener = eventlet.listen(("127.0.0.1", 0))
        accept, failures = listener.accept, [errno.EMFILE, errno.ECONNABORTED, errno.ENOTCONN, errno.ECONNRESET]

        def failing_accept():
            if failures:
                raise OSError(failures.pop(), "for a test")
            return accept()

        listener.accept = failing_accept
        self.serve(answering(), listener=listener)
        self.assertIn(b"200 OK", self.exchange(GET))

    def test_a_timeout_of_ours_in_the_application_is_a_500(self):
        def app(environ, start_response):
            with eventlet.Timeout(0.01):
                eventlet.sleep(1)

        self.serve(app, debug=False)
        self.assertTrue(read_all(self.send(GET)).startswith(b"HTTP/1.1 500 "))

    def test_status_lines_are_checked(self):
        for status in ("", "OK", "20 OK", "200 OK\r\nX: y"):
            self.serve(answering(status), debug=False)
            self.assertTrue(self.exchange(GET).startswith(b"HTTP/1.1 500 "), status)


def read_some(file, protocol):
    """The body of a response with a length or in chunks."""
    length = None
    file.readline()
    while (line := file.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if length is not None:
        return file.read(length)
    parts = []
    while size := int(file.readline(), 16):
        parts.append(file.read(size))
        file.readline()
    file.readline()
    return b"".join(parts)


class NativePath(Paths, ServerCase):
    """The short loop over the native functions."""

    protocol = wsgi.HttpProtocol

    def test_it_is_taken_also_if_what_comes_after_reading_is_overridden(self):
        calls = []

        class Watching(wsgi.HttpProtocol):
            def log_date_time_string(self):
                handlers.append(self)
                calls.append((self._is_fast, self.command, self.path, self.raw_requestline, self.headers["x-a"],
                              type(self.headers)))
                return "now"

        handlers = []
        self.serve(answering(), protocol=Watching)
        read_response(self.send(b"GET //a?b HTTP/1.1\r\nX-A: b\r\n\r\n"))
        eventlet.sleep(0)
        self.assertEqual(
            calls, [(True, "GET", "/a?b", b"GET //a?b HTTP/1.1\r\n", "b", http.client.HTTPMessage)])
        # An idle connection keeps nothing of its last request.
        self.assertIsNone(handlers[0].environ)
        self.assertFalse(hasattr(handlers[0], "headers"))

    def test_a_patched_method_is_honoured(self):
        original = wsgi.HttpProtocol.get_environ
        self.addCleanup(setattr, wsgi.HttpProtocol, "get_environ", original)
        wsgi.HttpProtocol.get_environ = lambda handler: {**original(handler), "REQUEST_METHOD": "PATCHED"}
        self.serve(echo)
        self.assertTrue(self.exchange(GET).endswith(b"PATCHED / "))

    def test_a_socket_with_methods_of_its_own_is_honoured(self):
        listener = eventlet.listen(("127.0.0.1", 0))
        accept, calls = listener.accept, []

        def wrapping_accept():
            conn, address = accept()
            makefile = conn.makefile
            conn.makefile = lambda *args, **kwargs: calls.append(args) or makefile(*args, **kwargs)
            return conn, address

        listener.accept = wrapping_accept
        self.serve(echo, listener=listener)
        self.assertTrue(self.exchange(GET).endswith(b"GET / "))
        self.assertEqual(len(calls), 2)


class OverridablePath(Paths, ServerCase):
    """The overridable methods."""

    protocol = Overriding

    def test_hooks_are_called_for_each_request(self):
        calls = []

        class Hooked(wsgi.HttpProtocol):
            class MessageClass(wsgi.HttpProtocol.MessageClass):
                def get_default_type(self):
                    return ""

            def _read_request_line(self):
                line = super()._read_request_line()
                calls.append((self.conn_state[2], line))
                return line

            def get_environ(self):
                environ = super().get_environ()
                calls.append((environ["CONTENT_TYPE"], self.command, self.path, self.headers["x-a"]))
                return environ

        self.serve(echo, protocol=Hooked)
        self.exchange(b"GET /a HTTP/1.1\r\nX-A: b\r\n\r\n")
        self.assertEqual(
            calls, [(wsgi.STATE_IDLE, b"GET /a HTTP/1.1\r\n"), ("", "GET", "/a", "b"), (wsgi.STATE_IDLE, b"")])

    def test_a_parser_of_its_own_is_held_to_the_same_framing(self):
        class OwnParser(wsgi.HttpProtocol):
            def parse_request(self):
                self.requestline = self.raw_requestline.decode().strip()
                self.command, self.path, self.request_version = self.requestline.split()
                self.headers = http.client.parse_headers(self.rfile)
                self.close_connection = False
                return True

        self.serve(echo, protocol=OwnParser)
        self.assertTrue(self.exchange(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi").endswith(b"POST /a hi"))
        for headers in (b"Content-Length: 1\r\nContent-Length: 2\r\n", b"Content-Length: +2\r\n",
                        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
                        b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n"):
            self.assertIn(b" 400 ", self.exchange(b"POST / HTTP/1.1\r\n" + headers + b"\r\nhi").split(b"\r\n")[0])


class Functions(unittest.TestCase):
    def test_the_module_has_the_names_of_stocks(self):
        names = """BAD_SOCK BROKEN_SOCK BaseHTTPServer ChunkReadError DEFAULT_LOG_FORMAT DEFAULT_MAX_HTTP_VERSION
            DEFAULT_MAX_SIMULTANEOUS_REQUESTS FileObjectForHeaders HeaderLineTooLong HeadersTooLarge HttpProtocol Input
            LoggerFileWrapper LoggerNull MAX_HEADER_LINE MAX_REQUEST_LINE MAX_TOTAL_HEADER_SIZE MINIMUM_CHUNK_SIZE
            RESPONSE_414 STATE_CLOSE STATE_IDLE STATE_REQUEST Server WSGI_LOCAL addr_to_host_port format_date_time
            get_logger greenio is_accepting local server socket socket_repr support"""
        self.assertEqual([name for name in names.split() if not hasattr(wsgi, name)], [])

    def test_dates(self):
        self.assertEqual(wsgi.format_date_time(784111777.9), "Sun, 06 Nov 1994 08:49:37 GMT")

    def test_shutdown_of_what_is_closed_is_no_error(self):
        sock = socket.socket()
        sock.close()
        greenio.shutdown_safe(sock)


if __name__ == "__main__":
    unittest.main()
