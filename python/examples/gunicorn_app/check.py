"""Runs gunicorn with two eventlet workers: requests that wait, keep-alive, streams, a reload, a graceful stop.

    check.py [WORKER]       our worker; `eventlet` is gunicorn's own, which its releases up to 25 have
"""

import concurrent.futures
import http.client
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import free_port, running, until, whose  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def get(port, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST" if body else "GET", path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def main():
    port = free_port()
    worker = sys.argv[1] if sys.argv[1:] else "greenloom.gunicorn.EventletWorker"
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "-k", worker, "-w", "2", "app:application"]
    with running(*command, "-b", f"127.0.0.1:{port}", "--graceful-timeout", "10", cwd=HERE, port=port) as master:
        use(port)
        reload(port, master)
        finish_while_stopping(port, master)
    assert master.returncode == 0, master.output
    assert "Traceback" not in master.output, master.output
    print(f"gunicorn with {worker} works", whose())


def use(port):
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: get(port, "/wait"), range(40)))
    assert answers == [(200, b"waited")] * 40, answers
    took = time.monotonic() - began
    assert took < 5, f"forty requests of half a second took {took:.1f} s"

    assert get(port, "/stream") == (200, b"".join(f"{number}\n".encode() for number in range(1000)))
    large = bytes(range(256)) * 8000
    assert get(port, "/echo", large) == (200, large)
    assert get(port, "/nowhere")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(20):
        connection.request("GET", "/pid")
        assert connection.getresponse().read().isdigit()
    connection.close()


def reload(port, master):
    before = {get(port, "/pid")[1] for _ in range(40)}
    master.send_signal(signal.SIGHUP)
    until(lambda: get(port, "/pid")[1] not in before, 20, "new workers answer")


def finish_while_stopping(port, master):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, port, "/wait")
        time.sleep(0.2)
        master.send_signal(signal.SIGTERM)
        assert asked.result() == (200, b"waited")


if __name__ == "__main__":
    main()
