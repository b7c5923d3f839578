"""A server in this process, clients that send bytes, and a strict reading of requests to compare with."""

import contextlib
import io
import re
import unittest

import eventlet
from eventlet import wsgi
from eventlet.green import socket
from eventlet.support.greenlets import GreenletExit


class Overriding(wsgi.HttpProtocol):
    """Overrides something, and so is served by the overridable methods."""

    def get_environ(self):
        return super().get_environ()


class ServerCase(unittest.TestCase):
    """Serves ``self.app``; a test that takes 10 seconds has failed."""

    protocol = wsgi.HttpProtocol

    def setUp(self):
        limit = eventlet.Timeout(10)
        self.addCleanup(limit.cancel)
        self.log = io.StringIO()
        self.clients = []
        self.addCleanup(self.close_clients)

    def close_clients(self):
        for client in self.clients:
            client.close()

    def serve(self, app, listener=None, **options):
        """Starts a server. Returns its green thread."""
        self.listener = listener or eventlet.listen(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.pool = options.setdefault("custom_pool", eventlet.GreenPool(200))
        options.setdefault("protocol", self.protocol)
        options.setdefault("log", self.log)
        server = eventlet.spawn(wsgi.server, self.listener, app, **options)
        self.addCleanup(self.end, server)
        eventlet.sleep(0)
        return server

    def end(self, server):
        """Ends a server, whose last line is in its log then, unless it has a connection that does not end."""
        self.close_clients()
        server.kill()
        with eventlet.Timeout(0.5, False), contextlib.suppress(GreenletExit):
            server.wait()

    def connect(self):
        client = socket.create_connection(self.address)
        client.settimeout(5)
        self.clients.append(client)
        return client

    def send(self, data, half_close=False):
        """A fresh connection on which ``data`` was sent."""
        client = self.connect()
        try:
            client.sendall(data)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return client

    def exchange(self, data):
        """All that is answered to ``data`` when no more will follow."""
        return read_all(self.send(data, half_close=True))

    def assert_no_worker_is_lost(self):
        """All connections come to an end, and another one is served."""
        self.close_clients()
        with eventlet.Timeout(5):
            while self.pool.running():
                eventlet.sleep(0.01)
        self.assertTrue(self.exchange(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 "))


def read_all(client):
    """What comes until the end; a reset is one."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def read_response(client):
    """One response with a Content-Length or none at all: status line, headers in lower case, body."""
    file = client.makefile("rb")
    status = file.readline().rstrip(b"\r\n").decode()
    headers = {}
    while (line := file.readline()) not in (b"\r\n", b""):
        name, value = line.decode("latin-1").rstrip("\r\n").split(": ", 1)
        headers[name.lower()] = value
    return status, headers, file.read(int(headers.get("content-length", 0)))


def echo(environ, start_response):
    """Says what it was asked."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = environ["RAW_PATH_INFO"] + ("?" + environ["QUERY_STRING"] if "QUERY_STRING" in environ else "")
    return [b"%s %s %s" % (environ["REQUEST_METHOD"].encode("latin-1"), path.encode("latin-1"), body)]


TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~\x80-\xff]+) HTTP/1\.([0-9])")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)[ \t]*")
HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]*)?\r\n")
TRAILER = re.compile(FIELD.pattern + rb"\r\n")


class Refused(Exception):
    """A request that must not be served."""


class Incomplete(Exception):
    """A request that is not whole."""


def parse(data):
    """Reads one request from ``data``, as strictly as RFC 9112 allows. Returns method, target, body, whether the
    connection goes on, and the rest."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete
    lines = head.split(b"\r\n")
    if not (start := REQUEST_LINE.fullmatch(lines[0])):
        raise Refused
    method, target, minor = start.groups()
    try:
        target.decode()
    except UnicodeDecodeError:
        raise Refused from None
    fields = {}
    for line in lines[1:]:
        if not (field := FIELD.fullmatch(line)):
            raise Refused
        fields.setdefault(field[1].lower(), []).append(field[2])
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    hosts = fields.get(b"host", [])
    if len(lengths) + len(codings) > 1 or len(hosts) > 1 or not all(map(HOST.fullmatch, hosts)):
        raise Refused
    options = [option.strip().lower() for value in fields.get(b"connection", []) for option in value.split(b",")]
    goes_on = b"close" not in options and (minor != b"0" or (b"keep-alive" in options and not codings))
    if codings:
        if codings[0].lower() != b"chunked":
            raise Refused
        body, rest = parse_chunks(rest)
    elif lengths:
        if not re.fullmatch(rb"[0-9]+", lengths[0]):
            raise Refused
        size = int(lengths[0])
        body, rest = rest[:size], rest[size:]
    else:
        body = b""
    return method, target, body, goes_on, rest


def parse_chunks(data):
    """Reads a chunked body. Returns it and the rest."""
    body = b""
    while True:
        if not (chunk := CHUNK.match(data)):
            raise Refused
        data, size = data[chunk.end():], int(chunk[1], 16)
        if not size:
            break
        body += data[:size]
        if data[size:size + 2] != b"\r\n":
            raise Refused
        data = data[size + 2:]
    while not data.startswith(b"\r\n"):
        if not (trailer := TRAILER.match(data)):
            raise Refused
        data = data[trailer.end():]
    return body, data[2:]
