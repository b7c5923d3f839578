"""Drives `gunicorn -k greenloom.gunicorn.EventletWorker`: stops, reloads and restarts under load lose no request; a
stuck worker is killed; keep-alive, limits, TLS, logs, websockets and files.

    gunicorn_worker.py [NAME...]      runs those of its checks
"""

import collections
import contextlib
import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
CERTIFICATE = pathlib.Path(__file__).resolve().parents[1] / "eventlet" / "server.pem"
sys.path.insert(0, str(EXAMPLES))

from programs import connects, free_port, running, until, whose  # noqa: E402

APPLICATION = '''
import os
import time

import eventlet.websocket


@eventlet.websocket.WebSocketWSGI
def echo(ws):
    ws.send(ws.wait())


def application(environ, start_response):
    path, _, argument = environ["PATH_INFO"][1:].partition("/")
    if path == "echo":
        return echo(environ, start_response)
    body = str(os.getpid()).encode()
    if path == "wait":
        time.sleep(float(argument))
    elif path == "spin":
        end = time.monotonic() + float(argument)
        while time.monotonic() < end:
            pass
    elif path == "fail":
        raise ValueError("as asked")
    elif path == "file":
        start_response("200 OK", [("Content-Length", str(os.path.getsize(argument)))])
        return environ["wsgi.file_wrapper"](open(argument, "rb"))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
'''


@contextlib.contextmanager
def gunicorn(*options, stop=signal.SIGTERM, fails=False):
    """A gunicorn in a folder of its own; checks at its end that it failed at nothing by itself."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "app.py").write_text(APPLICATION)
        command = [sys.executable, "-m", "gunicorn", "-k", "greenloom.gunicorn.EventletWorker"]
        command += ["-b", f"127.0.0.1:{port}", "--control-socket", f"{folder}/control", *options, "app:application"]
        with running(*command, cwd=folder, port=port, stop=stop) as master:
            master.port, master.folder = port, folder
            yield master
    if not fails:
        assert "Traceback" not in master.output, master.output


def get(port, path, tls=None):
    """Asks on a connection of its own; returns the response's status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=tls)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Load:
    """Threads that ask again and again, on a connection for each request or on one that is kept."""

    def __init__(self, port, kept=False, threads=16):
        self.port, self.kept = port, kept
        self.outcomes = collections.Counter()
        self.pids = set()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        until(lambda: self.outcomes["answered"] > 30, 20, "requests are answered")
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(30)

    def ask(self):
        connection = None
        while not self.ended.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            outcome = self.ask_once(connection)
            self.outcomes[outcome] += 1
            if outcome == "refused":
                time.sleep(0.01)
            if not self.kept or connection.sock is None or outcome != "answered":
                connection.close()
                connection = None

    def ask_once(self, connection):
        try:
            connection.connect() if connection.sock is None else None
        except OSError:
            return "refused"
        try:
            connection.request("GET", "/wait/0.02")
            response = connection.getresponse()
            self.pids.add(response.read())
            return "answered" if response.status == 200 else str(response.status)
        except (OSError, http.client.HTTPException) as error:
            return repr(error)

    def check(self, refused=False):
        lost = {name: count for name, count in self.outcomes.items() if name != "answered"}
        if refused:
            lost.pop("refused", None)
        assert not lost, lost


def stop():
    """SIGTERM: whoever has connected is answered."""
    for kept in (False, True):
        with gunicorn("-w", "2") as master, Load(master.port, kept) as load:
            master.send_signal(signal.SIGTERM)
            master.wait(20)
        load.check(refused=True)
        assert master.returncode == 0, master.returncode


def stop_takes_no_longer_than_the_requests():
    with gunicorn("-w", "1") as master:
        threading.Thread(target=get, args=(master.port, "/wait/1")).start()
        time.sleep(0.3)
        began = time.monotonic()
        master.send_signal(signal.SIGTERM)
        master.wait(20)
        took = time.monotonic() - began
    assert 0.5 < took < 3, took


def stop_ends_what_takes_too_long():
    with gunicorn("-w", "1", "--graceful-timeout", "2") as master:
        asked = threading.Thread(target=suppressed_get, args=(master.port, "/wait/30"))
        asked.start()
        time.sleep(0.3)
        master.send_signal(signal.SIGHUP)
        asked.join(10)
        assert not asked.is_alive()
    assert "Worker graceful timeout" in master.output, master.output


def quick_stop():
    """SIGINT ends the worker at once, whatever it does."""
    with gunicorn("-w", "1", stop=signal.SIGINT) as master:
        asked = threading.Thread(target=suppressed_get, args=(master.port, "/wait/30"))
        asked.start()
        time.sleep(0.3)
        began = time.monotonic()
        master.send_signal(signal.SIGINT)
        master.wait(20)
        assert time.monotonic() - began < 5
        asked.join(10)


def workers(port, count):
    """The process numbers of the workers, once as many answer."""
    asked = collections.deque(maxlen=20)
    until(lambda: asked.append(get(port, "/")[1]) or len(set(asked)) == count, 20, f"{count} workers answer")
    return set(asked)


def suppressed_get(port, path):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return get(port, path)


def reload():
    """SIGHUP: new workers take over, and nobody is refused or cut off."""
    for kept in (False, True):
        with gunicorn("-w", "2") as master, Load(master.port, kept) as load:
            before = workers(master.port, 2)
            master.send_signal(signal.SIGHUP)
            until(lambda: load.pids - before, 20, "the load is answered by new workers")
            assert not workers(master.port, 2) & before
        load.check()


def max_requests():
    """Workers are replaced after as many requests, and nobody notices."""
    with gunicorn("-w", "2", "--max-requests", "100", "--max-requests-jitter", "50") as master:
        with Load(master.port) as load:
            until(lambda: len(load.pids) > 4, 30, "workers are replaced")
        load.check()
    assert "Autorestarting worker" in master.output


def timeout():
    """A worker that is stuck is killed, and replaced."""
    with gunicorn("-w", "1", "--timeout", "2", fails=True) as master:
        _, before = get(master.port, "/")
        # The long wait is none of a stuck worker: other green threads run.
        assert get(master.port, "/wait/4") == (200, before)
        stuck = threading.Thread(target=suppressed_get, args=(master.port, "/spin/60"))
        stuck.start()
        until(lambda: (suppressed_get(master.port, "/") or (0, before))[1] != before, 20, "a new worker answers")
        stuck.join(5)
        assert not stuck.is_alive()
    assert "WORKER TIMEOUT" in master.output, master.output


def keep_alive():
    with gunicorn("-w", "1", "--keep-alive", "1") as master:
        connection = http.client.HTTPConnection("127.0.0.1", master.port, timeout=20)
        for _ in range(20):
            connection.request("GET", "/")
            assert connection.getresponse().read().isdigit()
        used = connection.sock
        began = time.monotonic()
        assert used.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 3
        connection.close()
        # The first request of a slow client may take its time.
        with socket.create_connection(("127.0.0.1", master.port), timeout=10) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")
            time.sleep(2)
            slow.sendall(b"Host: x\r\n\r\n")
            assert slow.recv(100).startswith(b"HTTP/1.1 200 ")


def many_connections():
    """More connections than places: all are served, as many at a time."""
    with gunicorn("-w", "1", "--worker-connections", "10") as master:
        began = time.monotonic()
        answers = at_once(30, lambda: get(master.port, "/wait/0.5")[0])
        took = time.monotonic() - began
    assert answers == [200] * 30, answers
    assert 1.4 < took < 5, took
    with gunicorn("-w", "1", "--keep-alive", "60", "--graceful-timeout", "3") as master:
        idle = [socket.create_connection(("127.0.0.1", master.port)) for _ in range(500)]
        assert at_once(50, lambda: get(master.port, "/wait/0.1")[0]) == [200] * 50
        for connection in idle:
            connection.close()


def at_once(count, function):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(function())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def tls():
    """TLS, with clients that say nothing or nonsense among those that are served."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    options = ["--certfile", str(CERTIFICATE), "--keyfile", str(CERTIFICATE), "-w", "1", "--timeout", "3"]
    for more in ([], ["--do-handshake-on-connect"]):
        with gunicorn(*options, *more) as master:
            silent = socket.create_connection(("127.0.0.1", master.port))
            nonsense = socket.create_connection(("127.0.0.1", master.port))
            nonsense.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
            reset = socket.create_connection(("127.0.0.1", master.port))
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            reset.close()
            assert at_once(20, lambda: get(master.port, "/wait/0.3", context)[0]) == [200] * 20
            large = pathlib.Path(master.folder, "large")
            large.write_bytes(bytes(range(256)) * 8000)
            assert get(master.port, f"/file/{large}", context) == (200, large.read_bytes())
            silent.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                silent.recv(100)
            nonsense.close()
            silent.close()


def files():
    with gunicorn("-w", "1") as master:
        large = pathlib.Path(master.folder, "large")
        large.write_bytes(bytes(range(256)) * 40000)
        assert at_once(4, lambda: get(master.port, f"/file/{large}")) == [(200, large.read_bytes())] * 4


def logs():
    """A line for each request, a trace for each that fails; SIGUSR1 opens the files anew."""
    with gunicorn("-w", "1", "--access-logfile", "access.log", "--error-logfile", "error.log") as master:
        access, errors = (pathlib.Path(master.folder, name) for name in ("access.log", "error.log"))
        assert get(master.port, "/wait/0.1")[0] == 200
        assert get(master.port, "/fail")[0] == 500
        until(lambda: access.read_text().count("\n") == 2, 5, "two lines in the access log")
        assert '"GET /wait/0.1 HTTP/1.1" 200' in access.read_text(), access.read_text()
        assert "ValueError: as asked" in errors.read_text()
        access.rename(access.with_suffix(".old"))
        os.kill(int(get(master.port, "/")[1]), signal.SIGUSR1)
        until(access.exists, 5, "the access log is opened anew")
        get(master.port, "/")
        until(lambda: access.read_text().count("\n") == 1, 5, "a line in the new access log")


def preloaded():
    with gunicorn("-w", "2", "--preload") as master:
        began = time.monotonic()
        assert at_once(20, lambda: get(master.port, "/wait/0.5")[0]) == [200] * 20
        assert time.monotonic() - began < 3


def changed_source():
    """--reload: what is changed is loaded."""
    with gunicorn("-w", "1", "--reload", "--reload-engine", "poll") as master:
        get(master.port, "/")
        application = pathlib.Path(master.folder, "app.py")
        application.write_text(APPLICATION.replace("str(os.getpid())", "'changed'"))
        until(lambda: suppressed_get(master.port, "/") == (200, b"changed"), 20, "the changed application answers")


def control():
    """gunicornc asks the master, which is green too."""
    with gunicorn("-w", "2") as master:
        until(lambda: os.path.exists(f"{master.folder}/control"), 10, "the control socket")
        command = [sys.executable, "-m", "gunicorn.ctl.cli", "-s", f"{master.folder}/control", "-c", "show workers"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert all(pid.decode() in shown.stdout for pid in workers(master.port, 2)), shown


def websockets():
    with gunicorn("-w", "1") as master, socket.create_connection(("127.0.0.1", master.port), timeout=10) as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")  # fmt: skip
        file = client.makefile("rb")
        assert b" 101 " in file.readline()
        while file.readline().strip():
            pass
        client.sendall(b"\x81\x82\0\0\0\0hi")
        assert file.read(4) == b"\x81\x02hi"
        assert file.read(1) == b"\x88"


def orphans():
    """Workers whose master is gone end."""
    with gunicorn("-w", "2") as master:
        pids = workers(master.port, 2)
        master.kill()
        until(lambda: not connects(master.port), 10, "the workers end")
        until(lambda: not any(is_running(int(pid)) for pid in pids), 10, "their processes end")


def is_running(pid):
    with contextlib.suppress(FileNotFoundError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


CHECKS = [stop, stop_takes_no_longer_than_the_requests, stop_ends_what_takes_too_long, quick_stop, reload, max_requests,
          timeout, keep_alive, many_connections, tls, files, logs, preloaded, changed_source, control,
          websockets, orphans]  # fmt: skip

if __name__ == "__main__":
    for check in CHECKS:
        if not sys.argv[1:] or check.__name__ in sys.argv[1:]:
            began = time.monotonic()
            check()
            print(f"{check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    print("gunicorn with greenloom.gunicorn.EventletWorker works", whose())
