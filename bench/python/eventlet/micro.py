"""micro.py CONTENDER FIGURE: nanoseconds for one operation, the median of some batches, as JSON.

The contenders are eventlet (whichever this interpreter has), gevent, asyncio and uvloop. Each does the same work in its
own words; what an operation is stands with the first of them.
"""

import asyncio
import atexit
import json
import socket
import statistics
import sys
import time
import warnings

warnings.simplefilter("ignore")  # stock eventlet says that it is being retired

BATCHES = 7
BATCH_SECONDS = 0.06
THREADS = 10


def nothing():
    pass


async def nothing_async():
    pass


# eventlet: functions of a number of operations.


def eventlet_sleep(operations):
    """A sleep(0) of one of ten green threads that take turns."""
    import eventlet

    def worker():
        for _ in range(operations // THREADS):
            eventlet.sleep(0)

    for thread in [eventlet.spawn(worker) for _ in range(THREADS)]:
        thread.wait()


def eventlet_spawn(operations):
    """A green thread that does nothing is spawned and waited for."""
    import eventlet

    for _ in range(operations):
        eventlet.spawn(nothing).wait()


def eventlet_pool(operations):
    """A function that does nothing goes through a pool of eight."""
    import eventlet

    pool = eventlet.GreenPool(8)
    for _ in range(operations):
        pool.spawn_n(nothing)
    pool.waitall()


def eventlet_hop(operations):
    """An item goes from one green thread to another through a queue with one place."""
    import eventlet
    from eventlet.queue import LightQueue

    queue = LightQueue(1)

    def consume():
        for _ in range(operations):
            queue.get()

    consumer = eventlet.spawn(consume)
    for number in range(operations):
        queue.put(number)
    consumer.wait()


def eventlet_round_trip(operations):
    """A byte to another green thread and back over a pair of sockets."""
    import eventlet
    from eventlet.green import socket as green

    here, there = green.socketpair()

    def echo():
        for _ in range(operations):
            there.send(there.recv(16))

    answering = eventlet.spawn(echo)
    for _ in range(operations):
        here.send(b"x")
        here.recv(16)
    answering.wait()
    here.close(), there.close()


# gevent


def gevent_sleep(operations):
    import gevent

    def worker():
        for _ in range(operations // THREADS):
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(worker) for _ in range(THREADS)])


def gevent_spawn(operations):
    import gevent

    for _ in range(operations):
        gevent.spawn(nothing).get()


def gevent_pool(operations):
    import gevent.pool

    pool = gevent.pool.Pool(8)
    for _ in range(operations):
        pool.spawn(nothing)
    pool.join()


def gevent_hop(operations):
    import gevent
    from gevent.queue import Queue

    queue = Queue(1)

    def consume():
        for _ in range(operations):
            queue.get()

    consumer = gevent.spawn(consume)
    for number in range(operations):
        queue.put(number)
    consumer.join()


def gevent_round_trip(operations):
    import gevent
    from gevent import socket as green

    here, there = green.socketpair()

    def echo():
        for _ in range(operations):
            there.send(there.recv(16))

    answering = gevent.spawn(echo)
    for _ in range(operations):
        here.send(b"x")
        here.recv(16)
    answering.join()
    here.close(), there.close()


# asyncio, and uvloop with the same code


async def async_sleep(operations):
    async def worker():
        for _ in range(operations // THREADS):
            await asyncio.sleep(0)

    await asyncio.gather(*(worker() for _ in range(THREADS)))


async def async_spawn(operations):
    loop = asyncio.get_running_loop()
    for _ in range(operations):
        await loop.create_task(nothing_async())


async def async_pool(operations):
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(8)
    for _ in range(operations):
        await slots.acquire()
        loop.create_task(nothing_async()).add_done_callback(lambda _: slots.release())
    for _ in range(8):
        await slots.acquire()


async def async_hop(operations):
    queue = asyncio.Queue(1)

    async def consume():
        for _ in range(operations):
            await queue.get()

    consumer = asyncio.get_running_loop().create_task(consume())
    for number in range(operations):
        await queue.put(number)
    await consumer


async def async_round_trip(operations):
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False), there.setblocking(False)

    async def echo():
        for _ in range(operations):
            await loop.sock_sendall(there, await loop.sock_recv(there, 16))

    answering = loop.create_task(echo())
    for _ in range(operations):
        await loop.sock_sendall(here, b"x")
        await loop.sock_recv(here, 16)
    await answering
    here.close(), there.close()


def timed(work, operations):
    began = time.perf_counter()
    work(operations)
    return time.perf_counter() - began


def measure(work):
    """The median of some batches, each large enough for the clock."""
    operations = 10 * THREADS
    while timed(work, operations) < BATCH_SECONDS:
        operations *= 2
    return statistics.median(timed(work, operations) for _ in range(BATCHES)) / operations * 1e9


def work_of(contender, figure):
    if contender in ("eventlet", "gevent"):
        return globals()[f"{contender}_{figure}"]
    if contender == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    work = globals()[f"async_{figure}"]
    return lambda operations: loop.run_until_complete(work(operations))


if __name__ == "__main__":
    contender, figure, *operations = sys.argv[1:]
    if operations:  # so many, for who counts their system calls
        work_of(contender, figure)(int(operations[0]))
    else:
        print(json.dumps(measure(work_of(contender, figure))))
