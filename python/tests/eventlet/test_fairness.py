"""What returns at once, again and again, does not keep others from running; a free lock otherwise never switches."""

import time
import unittest

import eventlet
from eventlet import event, hubs, queue
from eventlet.green import Queue
from eventlet.lock import Lock
from eventlet.semaphore import Semaphore
from guarded import Guarded

LIMIT = 20


def sent():
    done = event.Event()
    done.send(1)
    return done


def refused(function, error):
    try:
        function()
    except error:
        pass


def hold(lock):
    with lock:
        pass


def put_and_get(items):
    items.put(1)
    items.get()


# What returns at once: what makes it, and what is done with that.
ENDLESS = {
    "a free lock": (Lock, hold),
    "a taken lock that is tried": (lambda: Semaphore(0), lambda semaphore: semaphore.acquire(False)),
    "a lock with a timeout": (lambda: Semaphore(10**9), lambda semaphore: semaphore.acquire(timeout=1)),
    "an empty queue": (queue.Queue, lambda items: refused(items.get_nowait, queue.Empty)),
    "a full queue": (lambda: queue.Queue(0), lambda items: refused(lambda: items.put_nowait(1), queue.Full)),
    "a queue with an item": (queue.LightQueue, put_and_get),
    "a patched queue that is looked at": (Queue.Queue, lambda items: items.empty() or items.full()),
    "a patched simple queue that is looked at": (Queue.SimpleQueue, lambda items: items.empty()),
    "an event that was sent": (sent, lambda done: done.wait()),
    "an event that is polled": (event.Event, lambda done: done.poll()),
}


class Loops(Guarded):
    def test_others_run_beside_a_loop_that_never_waits(self):
        for name, (make, use) in ENDLESS.items():
            with self.subTest(name):
                thing, ran = make(), []
                eventlet.spawn_n(ran.append, "ready")
                eventlet.spawn_after(0.001, ran.append, "timer")
                until = time.monotonic() + LIMIT
                while len(ran) < 2 and time.monotonic() < until:
                    use(thing)
                self.assertEqual(ran, ["ready", "timer"])

    def test_a_free_lock_does_not_switch(self):
        for name, (make, use) in ENDLESS.items():
            with self.subTest(name):
                thing, ran = make(), []
                eventlet.sleep(0)
                eventlet.spawn_n(ran.append, "ready")
                for _ in range(200):
                    use(thing)
                self.assertEqual(ran, [])
                eventlet.sleep(0)

    def test_the_hub_never_waits_in_a_loop(self):
        done = event.Event()

        def in_hub():
            lock, until = Lock(), time.monotonic() + 0.05
            while time.monotonic() < until:
                hold(lock)
            done.send("the hub came through")

        hubs.get_hub().schedule_call_global(0, in_hub)
        self.assertEqual(done.wait(LIMIT), "the hub came through")

    def test_a_kill_that_comes_with_the_turn_leaves_the_lock_free(self):
        lock = Lock()

        def spin():
            while True:
                hold(lock)

        thread = eventlet.spawn(spin)
        eventlet.spawn_after(0.001, thread.kill)
        self.assertRaises(eventlet.greenlet.GreenletExit, thread.wait)
        self.assertFalse(lock.locked())


if __name__ == "__main__":
    unittest.main()
