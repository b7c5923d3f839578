"""The device: a TCP server that applies updates, slowly, and refuses some.

One line a request, ``apply ID ROUTER FAILS CHANGE``; one line an answer, ``ok`` or ``error REASON``. An update with
FAILS of 2 is refused twice before it goes through; the device remembers by ID how often it was asked.
"""

import collections
import functools
import os
import subprocess
import sys
import threading

import eventlet

#: In seconds: for a connection to open, and for an answer to come.
PATIENCE = 5


class Device:
    """A device server in a process of its own, until :meth:`stop`."""

    def __init__(self):
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "router_agent.device"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C at the terminal is for the agent.
            start_new_session=True,
        )
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Connection:
    """A connection to the device."""

    def __init__(self, address):
        with eventlet.Timeout(PATIENCE, TimeoutError("the device does not answer")):
            self.socket = eventlet.connect(address)
        self.socket.settimeout(PATIENCE)
        self.answers = self.socket.makefile("r")

    def apply(self, number, update):
        """Asks the device to apply an update. Returns why it refuses, or None. OSError: the connection broke."""
        self.socket.sendall(f"apply {number} {update.router} {update.fails} {update.change}\n".encode())
        answer = self.answers.readline()
        if not answer:
            raise ConnectionError("the device hung up")
        answer = answer.strip()
        return None if answer == "ok" else answer.replace("error ", "", 1)


# The server


def serve(listener):
    eventlet.serve(listener, functools.partial(answer, collections.Counter()), concurrency=1000)


def answer(asked, connection, _address):
    for line in connection.makefile("r"):
        connection.sendall(answer_to(asked, line.split()) + b"\n")


def answer_to(asked, words):
    if len(words) < 4 or words[0] != "apply":
        return b"error unknown request"
    _, number, router, fails, *_ = words
    eventlet.sleep(latency(router, number))
    asked[number] += 1
    refused = fails == "always" or asked[number] <= int(fails)
    return b"error busy" if refused else b"ok"


def latency(router, number):
    """Between 4 and 12 milliseconds, and up to 35 for some routers; the same every time."""
    slow = 23_000 if checksum(router) % 23 == 0 else 0
    return (4_000 + slow + checksum(number) % 8_000) / 1_000_000


def checksum(text):
    value = 7
    for byte in text.encode():
        value = (value * 31 + byte) % 1_000_003
    return value


def end_with_input():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    listening = eventlet.listen(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    serve(listening)
