"""rows.py ROW: nanoseconds of CPU for one operation of greenlet or eventlet, the best of some batches, as JSON.

For two builds of ours, which do not differ by much: CPU time, and the best, are what a busy machine disturbs least.
"""

import json
import sys
import time

import eventlet
import greenlet
import micro
from eventlet import wsgi
from eventlet.event import Event
from eventlet.green import socket

BATCHES = 5
BATCH_SECONDS = 0.1
WAITERS = 10


def switch(operations):
    """To a greenlet and back."""

    def answer():
        parent = greenlet.getcurrent().parent
        while True:
            parent.switch()

    there = greenlet.greenlet(answer).switch
    for _ in range(operations):
        there()


def spawn_n(operations):
    """Green threads that do nothing begin, a hundred at a time."""
    for _ in range(operations // 100):
        for _ in range(100):
            eventlet.spawn_n(micro.nothing)
        eventlet.sleep(0)


def event(operations):
    """An event that another green thread sends is waited for."""
    for _ in range(operations):
        sent = Event()
        eventlet.spawn_n(sent.send, 1)
        sent.wait()


def event_of_many(operations):
    """The same, with ten green threads that wait; an operation is one of them."""
    for _ in range(operations // WAITERS):
        sent = Event()
        for _ in range(WAITERS):
            eventlet.spawn_n(sent.wait)
        eventlet.sleep(0)
        sent.send(1)
        eventlet.sleep(0)


def request(operations):
    """A request to wsgi.server on a connection that stays open; the client is a socket in the same process."""

    def answer(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"hello"]

    listener = eventlet.listen(("127.0.0.1", 0))
    server = eventlet.spawn(wsgi.server, listener, answer, log_output=False)
    client = socket.create_connection(listener.getsockname())
    for _ in range(operations):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(4096)
    client.close()
    server.kill()
    listener.close()


ROWS = {
    "switch": switch,
    "sleep": micro.eventlet_sleep,
    "spawn": micro.eventlet_spawn,
    "spawn_n": spawn_n,
    "pool": micro.eventlet_pool,
    "hop": micro.eventlet_hop,
    "event": event,
    "event_of_many": event_of_many,
    "round_trip": micro.eventlet_round_trip,
    "request": request,
}


def used(work, operations):
    before = time.process_time()
    work(operations)
    return time.process_time() - before


def best(work):
    operations = 1000
    while used(work, operations) < BATCH_SECONDS:
        operations *= 2
    return min(used(work, operations) for _ in range(BATCHES)) / operations * 1e9


if __name__ == "__main__":
    print(json.dumps(best(ROWS[sys.argv[1]])) if sys.argv[1:] else " ".join(ROWS))
