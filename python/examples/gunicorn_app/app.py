"""A WSGI application that waits, streams, reads its input and hangs up, as plain as can be."""

import os
import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        time.sleep(0.5)
        body = b"waited"
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/pid":
        body = str(os.getpid()).encode()
    elif path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (f"{number}\n".encode() for number in range(1000))
    else:
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
