"""Objects that the garbage collector has to look at, for one of each thing a program has many of.

    python bench/python/tracked.py [--json]

Prints the objects that `gc.get_objects()` has more of with 100 of a thing than without, divided by 100. It runs on
whatever greenlet and eventlet the interpreter imports, so that stock and ours are compared by running it twice.
"""

import gc
import json
import socket as plain_socket
import sys

import eventlet
import greenlet
from eventlet import event, greenpool, hubs, queue, semaphore, timeout, wsgi
from eventlet.green import socket

MANY = 100


def count():
    """Objects tracked, once the garbage is gone."""
    for _ in range(2):
        gc.collect()
    return len(gc.get_objects())


def per_thing(make, settle=None):
    """How many objects are tracked for each of the things that ``make`` returns."""
    # The second time: what the first fills, such as caches and the free lists, is not a thing's.
    for _ in range(2):
        kept = [None] * MANY
        before = count()
        for place in range(MANY):
            kept[place] = make()
        eventlet.sleep(0)
        eventlet.sleep(0)
        if settle is not None:
            settle()
        after = count()
        kept = None
        eventlet.sleep(0.1)
    return round((after - before) / MANY, 2)


class Parked:
    """Green threads that wait until the end of the row."""

    def __enter__(self):
        self.event = event.Event()
        return self.event.wait

    def __exit__(self, *_):
        self.event.send(None)
        eventlet.sleep(0)
        eventlet.sleep(0)


def suspended():
    """A greenlet that has begun and switched back."""
    one = greenlet.greenlet(greenlet.getcurrent().switch)
    one.switch()
    return one


def connection(listener):
    """A connection of a server's: both ends, of which the server's is green and waits in recv()."""
    client = plain_socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    return client, accepted, eventlet.spawn_n(accepted.recv, 1)


def pending_timeout():
    """A Timeout that is far away."""
    return timeout.Timeout(1000)


def requests():
    """A WSGI request while its application waits, with its connection and green thread."""
    go = event.Event()

    def application(environ, start_response):
        go.wait()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    listener = eventlet.listen(("127.0.0.1", 0), backlog=1000)
    server = eventlet.spawn(wsgi.server, listener, application, log_output=False)
    eventlet.sleep(0)
    address = listener.getsockname()

    def ask():
        client = plain_socket.create_connection(address)
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n")
        return client

    value = per_thing(ask, lambda: eventlet.sleep(0.2))
    go.send(None)
    eventlet.sleep(0.1)
    server.kill()
    return value


def table():
    """The rows: what it is, and how many objects for each."""
    rows = {}
    rows["greenlet, not begun"] = per_thing(lambda: greenlet.greenlet(suspended))
    rows["greenlet, suspended"] = per_thing(suspended)
    with Parked() as wait:
        rows["spawn, parked"] = per_thing(lambda: eventlet.spawn(wait))
    with Parked() as wait:
        rows["spawn_n, parked"] = per_thing(lambda: eventlet.spawn_n(wait))
    rows["spawn_after, pending"] = per_thing(lambda: eventlet.spawn_after(1000, int))
    with Parked() as wait:
        pool = greenpool.GreenPool(10 * MANY)
        rows["GreenPool.spawn, parked"] = per_thing(lambda: pool.spawn(wait))
    with Parked() as wait:
        pool = greenpool.GreenPool(10 * MANY)
        rows["GreenPool.spawn_n, parked"] = per_thing(lambda: pool.spawn_n(wait))
    rows["spawn, sleeping"] = per_thing(lambda: eventlet.spawn(eventlet.sleep, 1000))
    rows["spawn, ended, kept"] = per_thing(lambda: eventlet.spawn(int))
    rows["Event"] = per_thing(event.Event)
    rows["Semaphore"] = per_thing(semaphore.Semaphore)
    rows["LightQueue"] = per_thing(queue.LightQueue)
    rows["Queue"] = per_thing(queue.Queue)
    rows["GreenPool"] = per_thing(greenpool.GreenPool)
    rows["timer of the hub"] = per_thing(lambda: hubs.get_hub().schedule_call_global(1000, int))
    rows["Timeout, pending"] = per_thing(pending_timeout)
    rows["green socket"] = per_thing(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener = eventlet.listen(("127.0.0.1", 0))
    rows["connection, parked in recv"] = per_thing(lambda: connection(listener))
    rows["WSGI request, application waits"] = requests()
    return rows


def main():
    gc.disable()
    rows = table()
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    for name, value in rows.items():
        print(f"{name:32} {value:8.2f}")


if __name__ == "__main__":
    main()
