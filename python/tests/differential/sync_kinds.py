"""Locks, conditions, semaphores, events, barriers and queues."""

import queue
import threading
import time

from kinds import LONG, NAN, SHORT, WAITS, Thing, kind, operation

TIMEOUTS = (-1, LONG, SHORT, 0)
BAD = (NAN, -2, 1e100, "x", float("inf"))


class Locking(Thing):
    def __init__(self):
        self.lock = self.make()

    @operation(line="acquire", weight=3)
    def acquire(self):
        return self.lock.acquire()

    @operation(TIMEOUTS, line="acquire", weight=2)
    def acquire_within(self, timeout):
        return self.lock.acquire(timeout=timeout)

    @operation(weight=2)
    def try_it(self):
        return self.lock.acquire(False)

    @operation((SHORT, -1))
    def try_with_timeout(self, timeout):
        return self.lock.acquire(False, timeout)

    @operation(BAD, line="acquire")
    def acquire_badly(self, timeout):
        return self.lock.acquire(True, timeout)

    @operation(weight=4)
    def release(self):
        self.lock.release()

    @operation()
    def what_release_returns(self):
        return self.lock.release()


@kind("lock")
class Lock(Locking):
    make = staticmethod(threading.Lock)

    @operation()
    def locked(self):
        return self.lock.locked()

    @operation(line="acquire")
    def enter(self):
        return self.lock.__enter__()

    def state(self):
        return self.lock.locked()


@kind("rlock")
class RLock(Locking):
    make = staticmethod(threading.RLock)
    acquire = operation(line="acquire", owned=True, weight=3)(lambda self: self.lock.acquire())
    acquire_within = operation(TIMEOUTS, line="acquire", owned=True)(Locking.acquire_within)
    try_it = operation(owned=True)(lambda self: self.lock.acquire(blocking=False))
    release = operation(owned=True, weight=5)(lambda self: self.lock.release())

    @operation(owned=True)
    def is_owned(self):
        return self.lock._is_owned()



@kind("condition")
class Condition(Thing):
    made_with = ((False, True),)

    def __init__(self, inner):
        self.condition = threading.Condition(threading.Lock() if inner else None)
        self.told = 0

    @operation((None, LONG, SHORT, 0, -1), line="wait", weight=3)
    def wait(self, timeout):
        with self.condition:
            return self.condition.wait(timeout)

    @operation((1, 2), (None, SHORT, LONG), line="wait for {0}", weight=2)
    def wait_for(self, count, timeout):
        with self.condition:
            return self.condition.wait_for(lambda: self.told >= count, timeout)

    @operation((NAN, 1e100, "x"), line="wait")
    def wait_badly(self, timeout):
        with self.condition:
            return self.condition.wait(timeout)

    @operation((1, 2), weight=2)
    def notify(self, count):
        with self.condition:
            return self.condition.notify(count)

    @operation(weight=2)
    def tell_all(self):
        with self.condition:
            self.told += 1
            return self.condition.notify_all()

    @operation()
    def notify_without_the_lock(self):
        return self.condition.notify()

    @operation()
    def wait_without_the_lock(self):
        return self.condition.wait(SHORT)

    @operation(line="acquire", owned=True)
    def acquire(self):
        return self.condition.acquire()

    @operation(owned=True)
    def release(self):
        self.condition.release()


@kind("semaphore")
class Semaphore(Thing):
    made_with = ((0, 1, 2), (False, True))

    def __init__(self, value, bounded):
        self.semaphore = (threading.BoundedSemaphore if bounded else threading.Semaphore)(value)

    @operation((None, LONG, SHORT, 0, -1), line="acquire", weight=4)
    def acquire(self, timeout):
        return self.semaphore.acquire(timeout=timeout)

    @operation(weight=2)
    def try_it(self):
        return self.semaphore.acquire(blocking=False)

    @operation((1, 2, 0, -1, "x"), weight=3)
    def release(self, count):
        return self.semaphore.release(count)

    @operation()
    def try_with_timeout(self):
        return self.semaphore.acquire(False, 1)

    @operation((NAN, 1e100, "x"), line="acquire")
    def acquire_badly(self, timeout):
        return self.semaphore.acquire(timeout=timeout)

    @operation((-1, "x"))
    def make_another(self, value):
        return threading.Semaphore(value)

    def state(self):
        return self.semaphore._value


@kind("event")
class Event(Thing):
    def __init__(self):
        self.event = threading.Event()

    @operation((None, LONG, SHORT, 0, -1), line="wait", weight=3)
    def wait(self, timeout):
        return self.event.wait(timeout)

    @operation((NAN, 1e100, "x"), line="wait")
    def wait_badly(self, timeout):
        return self.event.wait(timeout)

    @operation(weight=2)
    def set(self):
        return self.event.set()

    @operation()
    def clear(self):
        return self.event.clear()

    @operation(line="spin")
    def spin(self):
        while not self.event.is_set():
            time.sleep(0)

    @operation(line="spin with a lock")
    def spin_with_a_lock(self):
        lock = threading.Lock()
        while not self.event.is_set():
            with lock:
                pass

    @operation(line="spin with a wait")
    def spin_with_a_wait(self):
        while not self.event.wait(0):
            pass

    def state(self):
        return self.event.is_set()


@kind("barrier")
class Barrier(Thing):
    made_with = ((1, 2, 3), (None, LONG))

    def __init__(self, parties, timeout):
        self.barrier = threading.Barrier(parties, action=self.act, timeout=timeout)
        self.acts = 0

    def act(self):
        self.acts += 1

    def is_brief(self, name, arguments):
        return SHORT in arguments

    @operation((None, LONG, SHORT), line="wait", weight=4)
    def wait(self, timeout):
        return self.barrier.wait(timeout) >= 0

    @operation()
    def reset(self):
        return self.barrier.reset()

    @operation()
    def abort(self):
        return self.barrier.abort()

    @operation()
    def look(self):
        return self.barrier.n_waiting, self.barrier.broken, self.barrier.parties

    def state(self):
        return self.acts, self.barrier.broken, self.barrier.n_waiting


@kind("queue")
class Queue(Thing):
    made_with = (("Queue", "Queue", "LifoQueue", "PriorityQueue"), (0, 1, 2, -1))

    def __init__(self, cls, maxsize):
        self.queue = getattr(queue, cls)(maxsize)
        self.items = 0

    def item(self):
        self.items += 1
        return self.items * 7 % 10

    @operation(WAITS, line="put", weight=3)
    def put(self, timeout):
        return self.queue.put(self.item(), timeout=timeout)

    @operation(WAITS, line="get", weight=4)
    def get(self, timeout):
        return self.queue.get(timeout=timeout)

    @operation((NAN, -1, "x", 1e100), ("get", "put"), line="{1}")
    def badly(self, timeout, what):
        return self.queue.get(True, timeout) if what == "get" else self.queue.put(1, True, timeout)

    @operation()
    def put_nowait(self):
        return self.queue.put_nowait(self.item())

    @operation()
    def get_nowait(self):
        return self.queue.get_nowait()

    @operation()
    def look(self):
        return self.queue.qsize(), self.queue.empty(), self.queue.full()

    @operation()
    def task_done(self):
        return self.queue.task_done()

    @operation(line="join")
    def join(self):
        return self.queue.join()

    @operation((False, True))
    def shutdown(self, immediate):
        return self.queue.shutdown(immediate)

    @operation()
    def look_inside(self):
        return self.queue.maxsize, len(self.queue.queue), self.queue.unfinished_tasks, self.queue.mutex.locked()

    @operation()
    def change_maxsize(self):
        with self.queue.mutex:
            self.queue.maxsize += 1
            self.queue.not_full.notify()

    @operation(line="spin")
    def spin(self):
        while True:
            try:
                return self.queue.get(False)
            except queue.Empty:
                pass

    def state(self):
        return self.queue.qsize()


@kind("simple queue")
class SimpleQueue(Thing):
    def __init__(self):
        self.queue = queue.SimpleQueue()

    @operation(weight=3)
    def put(self):
        return self.queue.put(self.payload(3))

    @operation(WAITS, line="get", weight=4)
    def get(self, timeout):
        return self.queue.get(timeout=timeout)

    @operation()
    def get_nowait(self):
        return self.queue.get_nowait()

    @operation((NAN, -1, "x", 1e100), line="get")
    def get_badly(self, timeout):
        return self.queue.get(timeout=timeout)

    @operation()
    def look(self):
        return self.queue.qsize(), self.queue.empty()

    def state(self):
        return self.queue.qsize()
