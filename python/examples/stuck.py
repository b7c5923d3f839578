"""A program that is stuck in several ways, to look into with ``greenloom top`` (docs/inspect.md).

    GREENLOOM_INSPECT=1 python stuck.py            two that wait for each other, a lock that was not given back,
                                                   a pool that is all taken
    GREENLOOM_INSPECT=1 python stuck.py busy       one that keeps all others from running, for five seconds at a time
"""

import os
import socket
import sys
import threading
import time

import eventlet
from eventlet import queue, semaphore


class Account:
    def __init__(self):
        self.lock = threading.Lock()
        self.balance = 100


def transfer(source, target):
    with source.lock:
        eventlet.sleep(0.01)
        with target.lock:
            source.balance, target.balance = source.balance - 1, target.balance + 1


def reports(turn):
    turn.acquire()
    if turn.counter == 0:
        return  # without release()


def asks(database):
    with connections:
        client = socket.create_connection(database)
        client.sendall(b"a question")
        client.recv(100)


def works(jobs):
    while True:
        jobs.get()


def counts():
    while True:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            pass
        eventlet.sleep(1)


def ticks():
    while True:
        eventlet.sleep(0.01)


if __name__ == "__main__":
    eventlet.monkey_patch()
    # Made after that, so that their locks are green.
    one, other, turn, jobs = Account(), Account(), semaphore.Semaphore(), queue.Queue(10)
    connections = semaphore.BoundedSemaphore(4)
    listener = eventlet.listen(("127.0.0.1", 0))
    eventlet.spawn(ticks)
    for _ in range(20):
        eventlet.spawn(works, jobs)
    if sys.argv[1:] == ["busy"]:
        eventlet.spawn_after(1, counts)
    else:
        eventlet.spawn(transfer, one, other)
        eventlet.spawn(transfer, other, one)
        for _ in range(3):
            eventlet.spawn(reports, turn)
        for _ in range(30):
            eventlet.spawn(asks, listener.getsockname())
    print("look into it with: greenloom top", os.getpid(), flush=True)
    eventlet.sleep(3600)
