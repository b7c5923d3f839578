"""What the tests with real libraries share: green threads that wait in a server, and a ticker beside them."""

import time

import eventlet

THREADS = 50
#: How long each waits in the server, in seconds.
WAIT = 0.1
MOST = 0.25
LATEST = 0.02
ATTEMPTS = 5


def wait_at_once(test, work):
    """Calls `work(number)`, which waits in a server and returns the number, in 50 green threads.

    All are to be done in `MOST` seconds, while a ticker of 5 ms is never late by more than `LATEST`. Other programs of
    the machine may be in the way, so a few attempts are made; on an OS thread that blocks, all would take 5 s.
    """
    seen = []
    for _ in range(ATTEMPTS):
        late = []
        ticker = eventlet.spawn(_tick, late)
        began = time.monotonic()
        waiting = [eventlet.spawn(work, number) for number in range(THREADS)]
        test.assertEqual([one.wait() for one in waiting], list(range(THREADS)))
        seen.append((round(time.monotonic() - began, 3), round(max(late, default=9), 3)))
        ticker.kill()
        if seen[-1][0] <= MOST and seen[-1][1] <= LATEST:
            return
    test.fail(f"seconds, and how late the ticker was: {seen}")


def _tick(late):
    due = time.monotonic()
    while True:
        due += 0.005
        eventlet.sleep(due - time.monotonic())
        late.append(time.monotonic() - due)
        due = max(due, time.monotonic() - 0.005)
