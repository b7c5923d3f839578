#!/bin/sh
# uvicorn with httptools loses the body of a request that offers an upgrade; with h11 it does not.
#
# Versions: uvicorn 0.54.0, httptools 0.9.0 (its parser is Node.js's llhttp), h11 0.16.0.
#
# Behaviour: a POST with "Upgrade: h2c", a Content-Length and its body comes in. httptools announces the message as
# complete after the headers, without a body, and raises HttpParserUpgrade with the offset of the body's first byte:
# from the headers alone it takes it that the protocol has changed. uvicorn does not speak h2c and answers the request
# as plain HTTP/1.1: the application runs with an empty body and the client gets 200. With http="h11" the same server
# gives it the body.
#
# Why it surprises: RFC 9110, section 7.8, lets a server ignore Upgrade and go on in the current protocol, and has the
# client send the whole of its request in HTTP/1.1 first, so that the body belongs to the request either way. A
# default Java HttpClient sends such requests: it offers h2c on a plain http:// connection, bodies included. Which
# parser uvicorn picks hangs on whether httptools happens to be installed.
#
# Seen:
#   httptools   body b''; HttpParserUpgrade at the body's offset
#   uvicorn     http=h11: the application read b'abc'; http=httptools: the application read b''
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'uvicorn==0.54.0' 'httptools==0.9.0' \
    'h11==0.16.0' 'click==8.5.1'

"$tmp/venv/bin/python" - <<'PY'
import socket
import sys
import threading

import httptools
import uvicorn

BODY = b"abc"
HEAD = (
    b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 3\r\n\r\n"
)


class Collector:
    body = b""

    def on_body(self, data):
        self.body += data


collector = Collector()
try:
    httptools.HttpRequestParser(collector).feed_data(HEAD + BODY)
    upgrade = "no HttpParserUpgrade"
except httptools.HttpParserUpgrade as error:
    upgrade = "HttpParserUpgrade at %s" % ("the body's offset" if error.args[0] == len(HEAD) else error.args[0])
parsed = "body %r; %s" % (collector.body, upgrade)
print("httptools  ", parsed)


async def application(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def serve_one(implementation):
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, http=implementation, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            client.sendall(HEAD + BODY)
            answer = client.makefile("rb").read()
    finally:
        server.should_exit = True
        thread.join()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        sys.exit("changed: %s answers %r" % (implementation, head))
    return body


read = {implementation: serve_one(implementation) for implementation in ("h11", "httptools")}
print("uvicorn    ", "; ".join("http=%s: the application read %r" % pair for pair in read.items()))
if parsed != "body b''; HttpParserUpgrade at the body's offset":
    sys.exit("changed: httptools now parses the body")
if read != {"h11": BODY, "httptools": b""}:
    sys.exit("changed: the application now reads %r" % read)
PY
