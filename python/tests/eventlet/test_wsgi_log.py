"""The access log's lines on their way to a file: which are gathered, their order, and that none is lost."""

import contextlib
import errno
import gc
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest
import weakref

import eventlet
from eventlet import wsgi

from http_support import ServerCase, read_response


class Writes:
    """What is written to a descriptor, each write by itself; and what is put there in another way."""

    def __init__(self):
        self.reader, self.writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reader.setblocking(False)
        self.received = []

    @property
    def all(self):
        try:
            while data := self.reader.recv(1 << 18):
                self.received.append(data.decode("latin-1"))
        except BlockingIOError:
            pass
        return self.received

    def close(self):
        self.reader.close()
        self.writer.close()


def text_file(writes, encoding="latin-1", **options):
    """A text file that passes each of its own writes on, so that they can be told from each other."""
    # Of its own: a server writes a last line when it has ended, and the number may be another file's by then.
    raw = io.FileIO(os.dup(writes.writer.fileno()), "w")
    file = io.TextIOWrapper(io.BufferedWriter(raw, 1), encoding=encoding, **options)
    file._CHUNK_SIZE = 1
    return file


class Own:
    """A file of a program's own."""

    def __init__(self, writes):
        self.write = writes.received.append


def paths_in(text):
    return re.findall(r'"GET /(\S+) HTTP/1\.1" 200 \d+ \d\.\d{6}\n', text)


class Lines(ServerCase):
    def setUp(self):
        super().setUp()
        self.writes = Writes()
        self.addCleanup(self.writes.close)
        self.seen = []
        # When an application is called, what was written before.
        self.before = []

    def app(self, environ, start_response):
        self.before.append(len(paths_in("".join(self.writes.all))))
        self.seen.append(environ["PATH_INFO"].strip("/"))
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def ask_at_once(self, count, path=b"/%d"):
        """Requests on as many connections, which are answered in one turn of the hub."""
        clients = [self.connect() for _ in range(count)]
        # They are accepted, and wait.
        eventlet.sleep(0.01)
        for number, client in enumerate(clients):
            client.sendall(b"GET " + path % number + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        return [read_response(client)[0] for client in clients]

    def check_gathered(self, file, gathered):
        self.serve(self.app, log=file)
        self.ask_at_once(6)
        eventlet.sleep(0)
        writes = [write for write in self.writes.all if paths_in(write)]
        self.assertEqual(paths_in("".join(writes)), self.seen)
        self.assertEqual(len(self.seen), 6)
        if gathered:
            self.assertLess(len(writes), 6)
            self.assertEqual(self.before, [0] * 6)
        else:
            self.assertEqual([len(paths_in(write)) for write in writes], [1] * 6)
            self.assertEqual(self.before, list(range(6)))

    def test_lines_for_a_file_that_buffers_are_written_together_in_their_order(self):
        self.check_gathered(text_file(self.writes), True)

    def test_a_file_that_buffers_lines_only_gets_each_at_once(self):
        self.check_gathered(text_file(self.writes, line_buffering=True), False)

    def test_a_file_that_passes_all_on_gets_each_line_at_once(self):
        self.check_gathered(text_file(self.writes, write_through=True), False)

    def test_an_object_with_a_write_of_its_own_gets_each_line_at_once(self):
        self.check_gathered(Own(self.writes), False)

    def test_a_method_that_was_put_on_a_file_gets_each_line_at_once(self):
        file = text_file(self.writes)
        file.write = self.writes.received.append
        self.check_gathered(file, False)

    def test_a_file_of_a_class_of_its_own_gets_each_line_at_once(self):
        class Counting(io.TextIOWrapper):
            def write(inner, text):
                self.writes.received.append(text)
                return len(text)

        self.check_gathered(Counting(io.BytesIO()), False)

    def test_a_file_that_may_have_to_wait_gets_each_line_at_once(self):
        # In the hub, where gathered lines are written, nothing can wait.
        class Raw(io.RawIOBase):
            def writable(inner):
                return True

            def write(inner, data):
                self.writes.received.append(bytes(data).decode())
                return len(data)

        file = io.TextIOWrapper(io.BufferedWriter(Raw(), 1), encoding="latin-1")
        file._CHUNK_SIZE = 1
        self.check_gathered(file, False)

    def test_a_method_that_was_put_on_the_logger_gets_each_line(self):
        events, lines = eventlet.Event(), []
        self.serve(self.app, log=text_file(self.writes), server_event=events)
        events.wait().log.info = lines.append
        self.ask_at_once(3)
        eventlet.sleep(0)
        self.assertEqual(paths_in("\n".join(lines) + "\n"), self.seen)
        self.assertEqual(paths_in("".join(self.writes.all)), [])

    def test_a_patched_class_of_loggers_gets_each_line(self):
        lines = []
        original = wsgi.LoggerFileWrapper.info
        self.addCleanup(setattr, wsgi.LoggerFileWrapper, "info", original)
        self.serve(self.app, log=text_file(self.writes))
        self.ask_at_once(2)
        wsgi.LoggerFileWrapper.info = lambda logger, line, *args: lines.append(line)
        self.ask_at_once(2)
        wsgi.LoggerFileWrapper.info = original
        self.ask_at_once(2)
        eventlet.sleep(0)
        self.assertEqual(paths_in("\n".join(lines) + "\n"), self.seen[2:4])
        self.assertEqual(paths_in("".join(self.writes.all)), self.seen[:2] + self.seen[4:])

    def test_other_lines_come_in_between(self):
        events = eventlet.Event()

        def app(environ, start_response):
            server.log.info("before %s" % environ["PATH_INFO"])
            return self.app(environ, start_response)

        self.serve(app, log=text_file(self.writes), server_event=events)
        server = events.wait()
        self.ask_at_once(4)
        eventlet.sleep(0)
        found = re.findall(r"(?m)^before /(\d)$|GET /(\d)", "".join(self.writes.all))
        expected = [pair for path in self.seen for pair in ((path, ""), ("", path))]
        self.assertEqual((found, len(expected)), (expected, 8))

    def test_another_file_gets_the_lines_from_then_on(self):
        events, others = eventlet.Event(), Writes()

        def app(environ, start_response):
            if environ["PATH_INFO"] == "/2":
                server.log.log = text_file(others)
            return self.app(environ, start_response)

        self.serve(app, log=text_file(self.writes), server_event=events)
        server = events.wait()
        self.ask_at_once(4)
        eventlet.sleep(0)
        at = self.seen.index("2")
        self.assertEqual(paths_in("".join(self.writes.all)), self.seen[:at])
        self.assertEqual(paths_in("".join(others.all)), self.seen[at:])

    def test_a_line_that_the_file_cannot_encode_takes_no_other_with_it(self):
        self.serve(self.app, log=text_file(self.writes, encoding="ascii"))
        clients = [self.connect() for _ in range(4)]
        eventlet.sleep(0.01)
        for number, client in enumerate(clients):
            path = b"\xc3\xa9" if number == 2 else b"%d" % number
            client.sendall(b"GET /" + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual([read_response(client)[0] for client in clients], ["HTTP/1.1 200 OK"] * 4)
        eventlet.sleep(0)
        self.assertEqual(paths_in("".join(self.writes.all)), [path for path in self.seen if path.isdigit()])
        self.assertEqual(len(self.seen), 4)

    def test_lines_beyond_ascii_come_in_their_order(self):
        self.serve(self.app, log=text_file(self.writes))
        self.ask_at_once(4, b"/%d\xc3\xa9")
        self.ask_at_once(2)
        eventlet.sleep(0)
        self.assertEqual(paths_in("".join(self.writes.all)), self.seen)
        self.assertEqual(len(self.seen), 6)

    def test_an_error_of_the_file_ends_neither_the_server_nor_its_connections(self):
        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]

        file = text_file(self.writes)
        self.serve(app, log=file, debug=False)
        self.writes.reader.close()
        # Then the server's last words go somewhere.
        self.addCleanup(setattr, file, "write", len)
        client = self.connect()
        for _ in range(2):
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(read_response(client)[0], "HTTP/1.1 200 OK")
            eventlet.sleep(0)

    def test_much_is_written_before_the_turn_is_over(self):
        self.serve(self.app, log=text_file(self.writes))
        client = self.connect()
        path = b"x" * 3000
        client.sendall(b"".join(b"GET /%s%d HTTP/1.1\r\nHost: x\r\n\r\n" % (path, number) for number in range(8)))
        received = b""
        while received.count(b"\r\n\r\nok") < 8:
            received += client.recv(65536)
        eventlet.sleep(0)
        self.assertEqual(paths_in("".join(self.writes.all)), self.seen)
        self.assertEqual(len(self.seen), 8)
        self.assertGreater(max(self.before), 0)

    def test_all_lines_are_there_when_the_server_has_ended(self):
        server = self.serve(self.app, log=text_file(self.writes))
        clients = [self.connect() for _ in range(5)]
        eventlet.sleep(0.01)
        for client in clients:
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        # They are answered while it ends.
        eventlet.sleep(0)
        server.kill()
        while not server.dead:
            eventlet.sleep(0)
        self.assertEqual(paths_in("".join(self.writes.all)), self.seen)
        self.assertIn("wsgi exited", self.writes.all[-1])

    def test_a_logger_with_lines_is_collected_after_them(self):
        file = text_file(self.writes)
        log = weakref.ref(file)
        server = self.serve(self.app, log=file)
        self.ask_at_once(2)
        server.kill()
        self.pool.waitall()
        self.close_clients()
        del file, server
        self.doCleanups()
        eventlet.sleep(0)
        gc.collect()
        self.assertIsNone(log())


PROGRAM = """
import atexit, os, signal, sys
import eventlet
from eventlet import wsgi
from eventlet.green import socket

path = sys.argv[1]
log = open(path, "a")
atexit.register(log.flush)
ends = {}

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    ends.get(environ["PATH_INFO"], lambda: None)()
    return [b"ok"]

listener = eventlet.listen(("127.0.0.1", 0))
server = eventlet.spawn(wsgi.server, listener, app, log=log, debug=False)
client = socket.create_connection(listener.getsockname())

def ask(*paths):
    client.sendall(b"".join(b"GET %s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % path for path in paths))
"""


class Ends(unittest.TestCase):
    def run_program(self, program, status=0):
        """What the log has when the program has ended."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "log")
            code = PROGRAM + textwrap.dedent(program)
            done = subprocess.run(
                [sys.executable, "-c", code, path], capture_output=True, timeout=60, text=True)
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            with open(path) as file:
                return paths_in(file.read())

    def test_a_program_that_exits_in_the_turn_writes_the_lines(self):
        lines = self.run_program(
            """
            ends["/end"] = lambda: sys.exit(3)
            ask(b"/1", b"/2", b"/end")
            server.wait()
            """, 3)
        self.assertEqual(lines, ["1", "2", "end"])

    def test_a_program_whose_main_greenlet_ends_amid_the_turn_writes_the_lines(self):
        lines = self.run_program(
            """
            import greenlet
            main = greenlet.getcurrent()
            ends["/end"] = lambda: main.throw(SystemExit, 3)
            ask(b"/1", b"/2", b"/end")
            server.wait()
            """, 3)
        self.assertEqual(lines, ["1", "2"])

    def test_a_handler_of_sigterm_that_exits_writes_the_lines(self):
        lines = self.run_program(
            """
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
            ends["/end"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
            ask(b"/1", b"/2", b"/end")
            server.wait()
            """, 3)
        self.assertEqual(lines[:2], ["1", "2"])

    def test_a_fork_in_the_turn_writes_no_line_twice(self):
        lines = self.run_program(
            """
            def fork():
                log.flush()
                pid = os.fork()
                if pid == 0:
                    # As `sys.exit()`, but that nothing is unwound, and so no connection closed.
                    atexit._run_exitfuncs()
                    os._exit(0)
                os.waitpid(pid, 0)
            ends["/fork"] = fork
            ask(b"/1", b"/fork", b"/2")
            eventlet.sleep(0.1)
            """)
        self.assertEqual(lines, ["1", "fork", "2"])

    def test_workers_that_are_terminated_leave_whole_lines(self):
        lines = self.run_program(
            """
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())
            ready, tell = os.pipe()
            workers = []
            for number in range(2):
                pid = os.fork()
                if pid == 0:
                    log = open(path, "a")
                    atexit.register(log.flush)
                    own = eventlet.listen(("127.0.0.1", 0))
                    eventlet.spawn(wsgi.server, own, app, log=log, debug=False)
                    client = socket.create_connection(own.getsockname())
                    ask(*[b"/%d" % number] * 50)
                    got = b""
                    while got.count(b"200 OK") < 50:
                        got += client.recv(65536)
                    os.write(tell, b"x")
                    while True:
                        eventlet.sleep(1)
                workers.append(pid)
            while os.read(ready, 1):
                number += 1
                if number == 3:
                    break
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            """)
        self.assertEqual(sorted(lines), ["0"] * 50 + ["1"] * 50)


class FailingLogTest(unittest.TestCase):
    def test_a_log_that_fails_for_a_while_does_not_end_the_server(self):
        class Log(io.StringIO):
            is_full = False

            def write(self, text):
                if self.is_full:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return super().write(text)

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]

        def ask():
            with eventlet.connect(listener.getsockname()) as client, eventlet.Timeout(10):
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return client.recv(15)

        log, told = Log(), io.StringIO()
        listener = eventlet.listen(("127.0.0.1", 0))
        server = eventlet.spawn(wsgi.server, listener, app, log=log)
        self.addCleanup(server.kill)
        with contextlib.redirect_stderr(told):
            self.assertEqual(ask(), b"HTTP/1.1 200 OK")
            log.is_full = True
            ask()
            log.is_full = False
            self.assertEqual(ask(), b"HTTP/1.1 200 OK")
        self.assertFalse(server.dead)
        self.assertIn("No space left", told.getvalue())

    def test_a_log_that_fails_at_the_end_leaves_no_socket_open(self):
        log = io.StringIO()
        listener = eventlet.listen(("127.0.0.1", 0))
        server = eventlet.spawn(wsgi.server, listener, None, log=log)
        eventlet.sleep(0)
        log.close()
        with contextlib.redirect_stderr(io.StringIO()):
            server.kill()
        self.assertEqual(listener.fileno(), -1)


if __name__ == "__main__":
    unittest.main()
