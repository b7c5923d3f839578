"""Runs Swift's proxy, account, container and object servers on one device: 20 clients that put, get, get ranges, list
and delete; reloads under that load; what HTTP forbids; an end by SIGTERM."""

import concurrent.futures
import contextlib
import getpass
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import free_port, running, until, whose  # noqa: E402

BIN = pathlib.Path(sys.executable).parent
SERVERS = ("account", "container", "object", "proxy")
CLIENTS = 20
# Requests that were sent a second time.
repeated = []
CONF = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
log_level = WARNING
user = {user}
swift_dir = {folder}
devices = {folder}
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {pipeline}
[app:{server}-server]
use = egg:swift#{server}
# There is one device: it is not given up after a refused connection.
error_suppression_limit = 1000000
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
"""


def main():
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ports = {server: free_port() for server in SERVERS}
        configure(pathlib.Path(folder), ports)
        programs = {}
        for server in SERVERS:
            command = [BIN / f"swift-{server}-server", f"{folder}/{server}.conf", "-v"]
            programs[server] = stack.enter_context(
                running(*command, port=ports[server], patience=60, env={**os.environ, "PYTHONWARNINGS": "ignore"}))
            stack.push(killing_workers(programs[server]))
        port = ports["proxy"]
        assert request(port, "PUT", "")[0] in (201, 202)
        assert request(port, "PUT", "/things")[0] in (201, 202)
        use(port)
        assert not repeated, repeated
        reload_under_load(port, programs)
        refuse(port)
    for server, program in programs.items():
        assert program.returncode == 0, (server, program.returncode, program.output)
        assert "Traceback" not in program.output, program.output
    print("Swift's servers work", whose())


def killing_workers(program):
    """An exit function: after an error nothing of a server stays."""
    def leave(kind, *_):
        if kind is not None:
            pids = [program.pid, *map(int, children(program.pid))]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
    return leave


def configure(folder, ports):
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = check\n")
    (folder / "d1").mkdir()
    for server, port in ports.items():
        pipeline = "catch_errors healthcheck proxy-server" if server == "proxy" else f"healthcheck {server}-server"
        text = CONF.format(port=port, user=getpass.getuser(), folder=folder, server=server, pipeline=pipeline)
        (folder / f"{server}.conf").write_text(text)
        if server != "proxy":
            build = [BIN / "swift-ring-builder", folder / f"{server}.builder"]
            for arguments in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
                subprocess.run([*build, *arguments], check=True, stdout=subprocess.DEVNULL)


def request(port, method, path, body=None, headers=None):
    """Status, headers and body of the answer, on a connection of its own.

    A listener that is replaced resets connections that it has not accepted, and the proxy answers 503 if one of its own
    was among them: such requests are sent again, as Swift's clients do.
    """
    for last in (False, False, True):
        try:
            answer = request_once(port, method, path, body() if callable(body) else body, headers)
        except ConnectionError:
            if last:
                raise
        else:
            if last or answer[0] != 503:
                return answer
        repeated.append((method, path))
        time.sleep(0.2)


def request_once(port, method, path, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, "/v1/AUTH_check" + path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()


def life(port, client, count=5):
    """What one client does: its objects come and go, and are what they were meanwhile."""
    for number in range(count):
        name, body = f"/things/{client}-{number}", os.urandom(1000 * number * number + client)
        answers = [
            request(port, "PUT", name, body)[0],
            request(port, "GET", name)[::2],
            request(port, "GET", name, headers={"Range": "bytes=3-12"})[::2],
            request(port, "HEAD", name)[0],
        ]
        expected = [201, (200, body), (206, body[3:13]) if len(body) > 3 else answers[2], 200]
        statuses = [answer if isinstance(answer, int) else answer[0] for answer in answers]
        assert answers == expected, (name, len(body), statuses)
        # In chunks, which are asked for by a 100 response.
        chunked = {"Expect": "100-continue"}
        assert request(port, "PUT", name, lambda: iter([body, b"more"]), chunked)[0] == 201
        assert request(port, "GET", name)[2] == body + b"more"
    for number in range(count):
        # One that was carried out before its connection was reset is 404 the second time.
        assert request(port, "DELETE", f"/things/{client}-{number}")[0] in (204, 404)
        assert request(port, "GET", f"/things/{client}-{number}")[0] == 404


def use(port):
    for client in range(3):
        assert request(port, "PUT", f"/things/kept-{client}", b"kept")[0] == 201
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(life, [port] * CLIENTS, range(CLIENTS)))
    status, _, listing = request(port, "GET", "/things?format=json")
    assert status == 200
    assert [entry["name"] for entry in json.loads(listing)] == ["kept-0", "kept-1", "kept-2"], listing


def reload_under_load(port, programs):
    """SIGUSR1 has each server replace itself; every client gets its work done."""
    over = threading.Event()

    def client(number):
        lives = 0
        while not over.is_set():
            life(port, number, 2)
            lives += 1
        return lives

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            for server in SERVERS:
                before = children(programs[server].pid)
                programs[server].send_signal(signal.SIGUSR1)
                until(lambda: len(children(programs[server].pid) - before) >= 2, 60, f"{server} has new workers")
        finally:
            over.set()
        assert all(future.result() for future in clients)


def children(pid):
    """The workers of a server: pids of its children."""
    return set(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def refuse(port):
    """Swift's own protocol answers what must not be served, in its own words."""
    cases = {
        b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 9000): b" 414 ",
        b"PUT /v1/AUTH_check/things/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n": b" 501 ",
        b"PUT /v1/AUTH_check/things/x HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n": b" 400 ",
    }
    for data, status in cases.items():
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(data)
            answer = client.makefile("rb").read()
        head = answer.partition(b"\r\n\r\n")[0]
        assert status in head.split(b"\r\n")[0] and b"X-Trans-Id: " in head, answer
    # Metadata under names that are no ASCII.
    assert request(port, "POST", "/things/kept-0", headers={"X-Object-Meta-Caf\xe9".encode(): "yes"})[0] == 202


if __name__ == "__main__":
    main()
