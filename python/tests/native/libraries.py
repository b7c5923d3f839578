"""What the tests with real libraries share: green threads that wait in a server, and a ticker beside them."""

import contextlib
import os
import random
import time

import eventlet
import eventlet.debug
import greenlet
from greenloom import hooks

THREADS = 50
#: How long each waits in the server, in seconds.
WAIT = 0.1
MOST = 0.25
LATEST = 0.02
ATTEMPTS = 5
SECONDS = float(os.environ.get("STRESS_SECONDS", 3))
SEED = int(os.environ.get("STRESS_SEED", 0)) or random.randrange(1 << 32)


class Hooked:
    """To be mixed into a TestCase: while one of its tests runs, the libraries in `hooked` are."""

    hooked = ()

    def setUp(self):
        hooks.install(self.hooked)
        self.addCleanup(hooks.uninstall)
        # Clients are killed on purpose.
        eventlet.debug.hub_exceptions(False)


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
            print(f"{test.id()}: seconds, and how late the ticker was: {seen}")
            return
    test.fail(f"seconds, and how late the ticker was: {seen}")


def _tick(late):
    due = time.monotonic()
    while True:
        due += 0.005
        eventlet.sleep(due - time.monotonic())
        late.append(time.monotonic() - due)
        due = max(due, time.monotonic() - 0.005)


def ask(connection, query, *arguments):
    """The first value that a query brings, over a connection of the DB API."""
    cursor = connection.cursor()
    cursor.execute(query, arguments)
    return cursor.fetchone()[0]


def give_up(test, how, work):
    """Gives up `work`, which waits in a server for longer, by a `Timeout` or a kill: raises that, and nothing else."""
    if how is eventlet.Timeout:
        with test.assertRaises(eventlet.Timeout), eventlet.Timeout(0.05):
            work()
    else:
        waiting = eventlet.spawn(work)
        eventlet.sleep(0.05)
        waiting.kill()
        with test.assertRaises(how):
            waiting.wait()


def under_load(test, connect, ask, close, error, lose_one):
    """20 clients have questions answered, while some are killed, some run out of time, and connections are lost.

    `connect()` gives a connection, and `ask(connection, word, seconds)` the word back, which the server has kept for so
    long; either may fail with `error`. `lose_one()` ends a connection of somebody's, on the server's side. No answer
    may be that of another question, and all clients end. Runs for STRESS_SECONDS, with STRESS_SEED.
    """
    chance = random.Random(SEED)
    end = time.monotonic() + SECONDS
    counts = {"answers": 0, "given up": 0, "lost": 0}

    def client(number):
        connection, turn = None, 0
        try:
            while time.monotonic() < end:
                turn += 1
                word = f"{number}:{turn}"
                try:
                    if connection is None:
                        connection = connect()
                    with eventlet.Timeout(chance.choice([0.005, 0.02, 1])):
                        got = ask(connection, word, chance.random() / 50)
                    test.assertEqual(got, word, f"STRESS_SEED={SEED}")
                    counts["answers"] += 1
                except eventlet.Timeout:
                    # It goes on with what it has: that is broken, or right.
                    counts["given up"] += 1
                except error:
                    counts["lost"] += 1
                    lost, connection = connection, None
                    if lost is not None:
                        with contextlib.suppress(error):
                            close(lost)
                    # A server that is not there refuses at once.
                    eventlet.sleep(0.001)
        finally:
            if connection is not None:
                with contextlib.suppress(error):
                    close(connection)

    def worker(number):
        while time.monotonic() < end:
            try:
                client(number)
            except greenlet.GreenletExit:
                counts["given up"] += 1

    clients = [eventlet.spawn(worker, number) for number in range(20)]
    while time.monotonic() < end:
        eventlet.sleep(chance.random() / 20)
        if chance.random() < 0.5:
            eventlet.hubs.get_hub().schedule_call_global(0, chance.choice(clients).throw, greenlet.GreenletExit())
        else:
            lose_one()
    with eventlet.Timeout(30):
        for one in clients:
            one.wait()
    print(f"{test.id()}: {counts}, STRESS_SEED={SEED}")
    test.assertGreater(min(counts.values()), 0, counts)
