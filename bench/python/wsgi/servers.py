"""servers.py CONTENDER KIND: a WSGI server on one core; prints its port, and serves until it is killed.

KIND is `hello`, `post` (the application reads the body), `1KiB`, `64KiB` or `1MiB` (an answer of that size), `file`
(1 MiB of a file, by `wsgi.file_wrapper` where there is one), `logged` (hello with an access log to /dev/null), `flask`,
`django` or `websocket` (messages come back). CONTENDER is `eventlet`, whichever is
installed, `bjoern` or `granian`, with one worker and the access log off.
"""

import os
import socket
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")

HELLO = b"hello, world"
PIECE = 64 << 10
SIZES = {"1KiB": 1 << 10, "64KiB": 64 << 10, "1MiB": 1 << 20}


def answer(body, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(HELLO, start_response)


def post(environ, start_response):
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(int(length)) if length else environ["wsgi.input"].read()
    return answer(b"%d" % len(body), start_response)


def of_size(size):
    body = b"x" * size
    return lambda environ, start_response: answer(body, start_response)


def from_file():
    path = tempfile.NamedTemporaryFile(prefix="bench-wsgi-")
    path.write(b"x" * SIZES["1MiB"])
    path.flush()

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(SIZES["1MiB"]))])
        file = open(path.name, "rb")
        wrapper = environ.get("wsgi.file_wrapper")
        return wrapper(file, PIECE) if wrapper else pieces(file)

    return app


def pieces(file):
    with file:
        while piece := file.read(PIECE):
            yield piece


def flask():
    from flask import Flask

    app = Flask("hello")

    @app.route("/")
    def index():
        return HELLO.decode(), 200, {"Content-Type": "text/plain"}

    return app


def django():
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    def index(request):
        return HttpResponse(HELLO, content_type="text/plain", headers={"Content-Length": str(len(HELLO))})

    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls", MIDDLEWARE=[], DEBUG=False)
    sys.modules["urls"] = type(sys)("urls")
    sys.modules["urls"].urlpatterns = [path("", index)]
    return get_wsgi_application()


def websocket():
    from eventlet.websocket import WebSocketWSGI

    @WebSocketWSGI
    def echo(ws):
        while (message := ws.wait()) is not None:
            ws.send(message)

    return echo


FACTORIES = {"file": from_file, "flask": flask, "django": django, "websocket": websocket}
KIND = os.environ.get("BENCH_KIND", "hello")


def make_application():
    if KIND in SIZES:
        return of_size(SIZES[KIND])
    return FACTORIES[KIND]() if KIND in FACTORIES else {"post": post}.get(KIND, hello)


def __getattr__(name):
    """``application``, made when it is asked for: granian imports it by this name.

    Its workers import this file twice, as their main module too, and Django can be set up only once.
    """
    if name != "application":
        raise AttributeError(name)
    return make_application()


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    return listener


def serve_eventlet():
    import eventlet.wsgi
    from eventlet.green import socket as green

    listener = green.socket(fileno=listen().detach())
    log = open(os.devnull, "w")
    eventlet.wsgi.server(listener, make_application(), log=log, log_output=KIND == "logged", debug=False)


def serve_bjoern():
    import bjoern

    bjoern.server_run(listen(), make_application())


def serve_granian():
    from granian import Granian
    from granian.constants import Interfaces

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    print(port, flush=True)
    Granian(
        "servers:application", address="127.0.0.1", port=port, interface=Interfaces.WSGI, workers=1,
        runtime_threads=1, blocking_threads=1, backlog=4096, log_enabled=False).serve()


if __name__ == "__main__":
    os.sched_setaffinity(0, {0})
    {"eventlet": serve_eventlet, "bjoern": serve_bjoern, "granian": serve_granian}[sys.argv[1]]()
