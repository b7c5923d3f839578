"""The server of ``wsgi_hello.py``: hello world on a free port, which it prints. Its access log goes to /dev/null, or
nowhere."""

import sys

import eventlet
from eventlet import wsgi


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello world"]


def main():
    listener = eventlet.listen(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    wsgi.server(listener, hello, log=open("/dev/null", "w"), log_output=sys.argv[1:] != ["quiet"], debug=False)


if __name__ == "__main__":
    main()
