"""servers.py CONTENDER KIND: a server on one core; prints its port, and serves until its input ends.

KIND is `raw`, a loop that receives a request and sends a fixed response, or `wsgi`, the contender's own WSGI server
with an application of one line. asyncio and uvloop have a protocol for `raw`, the fastest they offer, and no WSGI
server.
"""

import asyncio
import importlib
import os
import resource
import socket
import sys
import threading
import warnings

warnings.simplefilter("ignore")

HEADERS = b"Content-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 12\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\nhello, world"


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [b"hello, world"]


def serve_connection(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while data := connection.recv(2048):
        request += data
        if request.endswith(b"\r\n\r\n"):
            connection.sendall(RESPONSE)
            request = b""


def eventlet_raw(listener):
    import eventlet
    from eventlet.green import socket as green

    listener = green.socket(fileno=listener.detach())
    while True:
        connection, _ = listener.accept()
        eventlet.spawn_n(serve_connection, connection)


def eventlet_wsgi(listener):
    import eventlet.wsgi
    from eventlet.green import socket as green

    listener = green.socket(fileno=listener.detach())
    eventlet.wsgi.server(listener, application, log_output=False, max_size=20_000)


def gevent_raw(listener):
    import gevent
    from gevent import socket as green

    listener = green.socket(fileno=listener.detach())
    while True:
        connection, _ = listener.accept()
        gevent.spawn(serve_connection, connection)


def gevent_wsgi(listener):
    from gevent import pywsgi
    from gevent import socket as green

    listener = green.socket(fileno=listener.detach())
    pywsgi.WSGIServer(listener, application, log=None).serve_forever()


class Raw(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.request = b""

    def data_received(self, data):
        self.request += data
        if self.request.endswith(b"\r\n\r\n"):
            self.transport.write(RESPONSE)
            self.request = b""


def asyncio_raw(listener, loop=None):
    loop = loop or asyncio.new_event_loop()
    loop.run_until_complete(loop.create_server(Raw, sock=listener))
    loop.run_forever()


def uvloop_raw(listener):
    import uvloop

    asyncio_raw(listener, uvloop.new_event_loop())


#: What a contender imports, before it says that it is there: imports are no part of what a connection takes.
MODULES = {
    "eventlet": ("eventlet.green.socket", "eventlet.wsgi"),
    "gevent": ("gevent.socket", "gevent.pywsgi"),
    "asyncio": (),
    "uvloop": ("uvloop",),
}


def end_with_input():
    while os.read(0, 1):
        pass
    os._exit(0)


def main(contender, kind):
    os.sched_setaffinity(0, {0})
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    for module in MODULES[contender]:
        importlib.import_module(module)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    threading.Thread(target=end_with_input, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    globals()[f"{contender}_{kind}"](listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
