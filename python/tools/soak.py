"""soak.py [MINUTES [WORK...]]: everything at once on eventlet, or some of it; memory must stay flat, and nothing may be
lost.

Each kind of work runs in rounds, over and over, several green threads of it at a time, and checks its own result. It
fails at the first wrong result, when a kind of work stands still for half a minute, and when memory has grown at the
end.
"""

import gc
import os
import random
import sys
import threading
import time
import traceback

import eventlet
from eventlet import event, greenpool, hubs, queue, semaphore, tpool
from eventlet.green import socket

OURS = getattr(eventlet, "__greenloom__", False)
#: How much memory may grow after the first third: what stays to be learned by caches.
GROWTH = 1.05
GROWTH_BYTES = 3 << 20
STANDSTILL_SECONDS = 30


class Wrong(Exception):
    pass


def check(what, found, expected):
    if found != expected:
        raise Wrong(f"{what}: {found!r} instead of {expected!r}")


def sockets(chance):
    """An echo server and clients; every byte comes back, whatever the sizes of reads and writes."""
    listener = eventlet.listen(("127.0.0.1", 0))

    def echo(connection, _address):
        while data := connection.recv(chance.randint(1, 5000)):
            connection.sendall(data)
        connection.close()

    serving = eventlet.spawn(eventlet.serve, listener, echo)

    def client():
        connection = eventlet.connect(listener.getsockname())
        sent = os.urandom(chance.randint(1, 60_000))
        writing = eventlet.spawn(connection.sendall, sent)
        got = bytearray()
        while len(got) < len(sent):
            got += connection.recv(4096)
        writing.wait()
        connection.close()
        check("the echo", bytes(got), sent)

    for client_thread in [eventlet.spawn(client) for _ in range(10)]:
        client_thread.wait()
    serving.kill()
    listener.close()


def stuck_sockets(chance):
    """Readers that are killed, time out, or see the end of the connection."""
    here, there = socket.socketpair()
    killed = eventlet.spawn(here.recv, 10)
    eventlet.sleep(0)
    killed.kill()
    here.settimeout(0.005)
    try:
        here.recv(10)
        raise Wrong("a read did not time out")
    except TimeoutError:
        pass
    here.settimeout(None)
    last = eventlet.spawn(here.recv, 10)
    eventlet.sleep(0)
    there.close()
    check("the end", last.wait(), b"")
    here.close()


def timers(chance):
    """Timers fire once, none too early, and all before a sleep that ends later; cancelled ones never."""
    fired = []

    def fire(number, due):
        check("too early", time.monotonic() < due - 0.001, False)
        fired.append(number)

    for number in range(50):
        delay = chance.randint(0, 40) / 1000
        eventlet.spawn_after(delay, fire, number, time.monotonic() + delay)
    cancelled = [hubs.get_hub().schedule_call_global(0.02, fired.append, "cancelled") for _ in range(50)]
    for timer in cancelled:
        timer.cancel()
    eventlet.sleep(0.06)
    check("the timers", sorted(fired), list(range(50)))


def kills(chance):
    """Killed green threads run their `finally`, and their waiters hear of it, at whatever point they were."""
    ended = []

    def victim(number):
        try:
            eventlet.sleep(chance.choice([0, 0.001, 100]))
            eventlet.sleep(100)
        finally:
            ended.append(number)

    victims = [eventlet.spawn(victim, number) for number in range(20)]
    eventlet.sleep(0.002)
    chance.shuffle(victims)
    for thread in victims:
        thread.kill()
    for thread in victims:
        try:
            thread.wait()
            raise Wrong("a killed green thread returned")
        except eventlet.greenlet.GreenletExit:
            pass
    check("the killed", sorted(ended), list(range(20)))
    unstarted = eventlet.spawn(victim, 100)
    unstarted.kill()
    check("the unstarted", 100 in ended, False)


def timeouts(chance):
    """Timeouts end what waits, nested ones the right one, and those that are cancelled nothing."""
    outer = eventlet.Timeout(0.02)
    try:
        with eventlet.Timeout(0.005, False):
            eventlet.sleep(100)
        with eventlet.Timeout(5):
            queue.LightQueue().get()
        raise Wrong("a timeout did not come")
    except eventlet.Timeout as timeout:
        check("the timeout", timeout is outer, True)
    finally:
        outer.cancel()
    check("an Event's", event.Event().wait(timeout=0.001), None)


def pools(chance):
    """Everything put through a pool comes out, in order for imap; a pool is empty after it."""
    pool = greenpool.GreenPool(chance.randint(1, 8))

    def square(number):
        if number % 3 == 0:
            eventlet.sleep(chance.choice([0, 0.001]))
        return number * number

    check("imap", list(pool.imap(square, range(100))), [number * number for number in range(100)])
    done = []
    for number in range(100):
        pool.spawn_n(lambda number=number: done.append(square(number)))
    pool.waitall()
    check("spawn_n", sorted(done), [number * number for number in range(100)])
    check("the free places", pool.free(), pool.size)


def queues(chance):
    """What producers put is what consumers get, with consumers killed while they wait."""
    items = queue.Queue(chance.randint(1, 5))
    got = []

    def produce(first):
        for number in range(first, first + 50):
            items.put(number)

    def consume():
        while True:
            got.append(items.get())
            items.task_done()
            if chance.random() < 0.2:
                eventlet.sleep(0)

    consumers = [eventlet.spawn(consume) for _ in range(6)]
    producers = [eventlet.spawn(produce, number * 50) for number in range(4)]
    eventlet.sleep(0)
    for consumer in consumers[:3]:
        # One that holds an item has it noted already: between get and the next wait nothing else runs.
        consumer.kill()
    for producer in producers:
        producer.wait()
    items.join()
    for consumer in consumers[3:]:
        consumer.kill()
    check("the items", sorted(got), list(range(200)))


def locks(chance):
    """A semaphore lets so many in and no more, and is whole again when some of its waiters were killed."""
    inside, most = [0], [0]
    places = semaphore.Semaphore(3)

    def enter():
        with places:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            try:
                eventlet.sleep(0.0005)
            finally:
                inside[0] -= 1

    threads = [eventlet.spawn(enter) for _ in range(30)]
    eventlet.sleep(0.001)
    for thread in chance.sample(threads, 10):
        thread.kill()
    for thread in threads:
        try:
            thread.wait()
        except eventlet.greenlet.GreenletExit:
            pass
    check("the most inside", most[0] <= 3, True)
    check("the semaphore", (places.counter, inside[0]), (3, 0))


def thread_pool(chance):
    """OS threads answer, with errors too."""

    def work(number):
        time.sleep(0.001)
        if number % 5 == 4:
            raise KeyError(number)
        return number

    for number in range(10):
        try:
            check("the thread's answer", tpool.execute(work, number), number)
        except KeyError:
            check("the thread's error", number % 5, 4)


def other_threads(chance):
    """An OS thread sends events and puts items. Stock loses such wake-ups, so this is for ours alone."""
    answer, items = event.Event(), queue.LightQueue()

    def outside():
        answer.send("sent")
        for number in range(50):
            items.put(number)

    thread = patched_free_thread(outside)
    check("the event", answer.wait(timeout=10), "sent")
    with eventlet.Timeout(10, Wrong("an item put by another OS thread was lost")):
        check("the items", [items.get() for _ in range(50)], list(range(50)))
    while thread.is_alive():
        eventlet.sleep(0.001)


def patched_free_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def hubs_of_threads(chance):
    """OS threads with a hub of their own come and go."""
    results = []

    def outside():
        pool = greenpool.GreenPool(4)
        results.append(sum(pool.imap(lambda number: eventlet.sleep(0.001) or number, range(20))))

    thread = patched_free_thread(outside)
    while thread.is_alive():
        eventlet.sleep(0.002)
    check("the other hub's", results, [190])


WORK = [sockets, stuck_sockets, timers, kills, timeouts, pools, queues, locks, thread_pool, hubs_of_threads]
if OURS:
    WORK.append(other_threads)


class Worker:
    """One kind of work, over and over."""

    def __init__(self, work, seed):
        self.work = work
        self.chance = random.Random(seed)
        self.rounds = 0
        self.moved = time.monotonic()

    def run(self, until):
        while time.monotonic() < until:
            self.work(self.chance)
            self.rounds += 1
            self.moved = time.monotonic()
            eventlet.sleep(0)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(minutes="10", *names):
    seconds = float(minutes) * 60
    chosen = [work for work in WORK if not names or work.__name__ in names]
    began = time.monotonic()
    until = began + seconds
    workers = [Worker(work, f"{work.__name__} {number}") for work in chosen for number in range(2)]
    threads = [eventlet.spawn(guard, worker.run, until) for worker in workers]
    early, last_line = None, began
    while time.monotonic() < until:
        eventlet.sleep(1)
        stuck = [w.work.__name__ for w in workers if time.monotonic() - w.moved > STANDSTILL_SECONDS]
        if stuck:
            end(f"stands still: {', '.join(stuck)}")
        if early is None and time.monotonic() > began + seconds / 3:
            gc.collect()
            early = resident()
        if time.monotonic() - last_line > seconds / 10:
            last_line = time.monotonic()
            rounds = sum(worker.rounds for worker in workers)
            print(f"{last_line - began:6.0f} s  {rounds} rounds, {resident() >> 20} MiB", flush=True)
    for thread in threads:
        thread.wait()
    tpool.killall()
    gc.collect()
    late = resident()
    for work in chosen:
        print(f"  {work.__name__:16} {sum(w.rounds for w in workers if w.work is work):>8} rounds")
    hub = hubs.get_hub()
    left = (len(hub.get_readers()), len(hub.get_writers()))
    check("listeners left", left, (0, 0))
    print(f"memory: {early / 2**20:.1f} MiB after a third, {late / 2**20:.1f} MiB at the end")
    if late > early * GROWTH + GROWTH_BYTES:
        end("memory has grown")
    print("nothing was lost")


def guard(run, until):
    try:
        run(until)
    except BaseException:
        traceback.print_exc()
        end("a result was wrong")


def end(problem):
    print(f"soak: {problem}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
