"""No memory for a stack: a green thread that cannot begin ends with that error, for itself. Whoever waits for it hears
of it, its place in a pool is given back, its links are called, and nobody else is touched.
"""

import unittest

from support import run_script

#: Starts a program in which there is no memory for one more stack, but for much else.
STARVED = """
import contextlib, io, resource, sys
import eventlet, greenloom
from eventlet import event, greenthread, hubs

greenloom.set_stack_size(64 << 20)
eventlet.spawn(int).wait()
hubs.get_hub()
eventlet.GreenPool(1).spawn(int).wait()
never = event.Event()

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

# Takes what is in the pool of stacks, so that the next one needs a new mapping.
greenloom.set_stack_size(96 << 20)
resource.setrlimit(resource.RLIMIT_AS, (used() + (48 << 20), resource.RLIM_INFINITY))
log = []
sys.stderr = io.StringIO()

def plenty():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sys.stderr = sys.__stderr__

def fails(wait):
    try:
        wait()
    except MemoryError as error:
        return "no memory for one more stack" in str(error)
"""


class NoStack(unittest.TestCase):
    def check(self, program):
        code, printed = run_script(STARVED + program + "\nplenty()\nprint('pass')\n", timeout=60)
        self.assertEqual((code, printed), (0, "pass\n"))

    def test_who_waits_for_the_green_thread_gets_the_error(self):
        self.check(
            """
for thread in eventlet.spawn(log.append, 1), eventlet.spawn_after(0.001, log.append, 2), \\
        greenthread.spawn_after_local(0.001, log.append, 3):
    assert fails(thread.wait)
    assert thread.dead
assert log == []
assert "MemoryError" in sys.stderr.getvalue()
"""
        )

    def test_who_parks_meanwhile_goes_on(self):
        self.check(
            """
eventlet.spawn_n(log.append, 1)
eventlet.spawn(log.append, 2)
eventlet.sleep(0.01)
eventlet.spawn_n(log.append, 1)
assert eventlet.Event().wait(0.01) is None
assert log == []
"""
        )

    def test_links_are_called(self):
        self.check(
            """
thread = eventlet.spawn(int)
thread.link(lambda thread, number: log.append((thread, number)), 5)
thread.link(lambda thread: eventlet.sleep(1))  # cannot wait here: nobody is kept from going on
thread.link(lambda thread: log.append(fails(thread.wait)))
eventlet.sleep(0)
assert log == [(thread, 5), True], log
"""
        )

    def test_a_pools_place_is_given_back(self):
        self.check(
            """
pool = eventlet.GreenPool(2)
for _ in range(5):
    pool.spawn_n(log.append, 1)
    assert fails(pool.spawn(log.append, 2).wait)
pool.waitall()
assert (pool.free(), pool.running(), log) == (2, 0, [])
results = pool.imap(abs, [1, 2])
plenty()
pool.spawn_n(log.append, 3)
pool.waitall()
assert log == [3]
"""
        )

    def test_it_begins_when_there_is_memory_again(self):
        self.check(
            """
assert fails(eventlet.spawn(int).wait)
plenty()
assert eventlet.spawn(int).wait() == 0
"""
        )

    def test_an_accept_loop_goes_on(self):
        self.check(
            """
from eventlet.green import socket
listener = eventlet.listen(("127.0.0.1", 0))
clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
pool = eventlet.GreenPool(2)

def handle(connection, address):
    connection.sendall(b"x")
    connection.close()

for client in clients[:2]:
    connection, address = listener.accept()
    assert fails(pool.spawn(handle, connection, address).wait)
    connection.close()
    assert client.recv(1) == b""
plenty()
pool.spawn(handle, *listener.accept())
assert clients[2].recv(1) == b"x"
"""
        )

    def test_a_plain_greenlets_switch_raises_it(self):
        self.check(
            """
from greenlet import greenlet
plain = greenlet(log.append)
assert fails(lambda: plain.switch(1))
assert not plain.dead
plenty()
plain.switch(1)
assert log == [1]
"""
        )

    def test_a_timer_of_the_hub_goes_on_without_one(self):
        self.check(
            """
hubs.get_hub().schedule_call_global(0, log.append, 1)
eventlet.spawn(log.append, 2)
hubs.get_hub().schedule_call_global(0, log.append, 3)
eventlet.sleep(0.001)
assert log == [1, 3], log
"""
        )


if __name__ == "__main__":
    unittest.main()
