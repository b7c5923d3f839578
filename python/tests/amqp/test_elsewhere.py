"""Our amqp on green threads of others: stock eventlet's and gevent's, in an interpreter that has no other of ours."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import amqp
import greenloom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from support import run_python  # noqa: E402

STOCK = os.environ.get("GREENLOOM_STOCK_PYTHON")

EVENTLET = """
import eventlet
eventlet.monkey_patch()
import eventlet as library
from eventlet import sleep, spawn, Timeout
wait, is_ours = eventlet.greenthread.GreenThread.wait, "greenloom" in eventlet.__version__
"""

GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent as library
from gevent import sleep, spawn, Timeout
wait, is_ours = library.Greenlet.get, False
"""

PROGRAM = """
import sys
import time
import greenlet
for module in (library, greenlet):
    assert not is_ours and not module.__file__.startswith(sys.argv[2]), module.__file__
sys.path.insert(0, sys.argv[1])
import amqp
assert amqp.__file__.startswith(sys.argv[2]), amqp.__file__
from fake_broker import Broker, message

broker = Broker()
connection = amqp.Connection(broker.address)
connection.connect()
channel = connection.channel()
got, ticks = [], []
channel.basic_consume("q", callback=lambda one: got.append(one.body))

def tick():
    while True:
        ticks.append(time.monotonic())
        sleep(0.001)

def read():
    for _ in range(2):
        connection.drain_events()

ticker = spawn(tick)
whole = message(1, b"one")
broker.send(whole[:5])
for limit in (0, 0.02):
    try:
        connection.drain_events(timeout=limit)
    except TimeoutError:
        print("nothing yet")
try:
    with Timeout(0.02):
        connection.drain_events()
except Timeout:
    print("interrupted")
reader = spawn(read)
sleep(0.02)
broker.send(whole[5:] + message(1, "tw\\xf6".encode(), properties=b"\\x40\\0\\5utf-8"))
wait(reader)
print(ascii(got))

def publish(size):
    for _ in range(3):
        channel.basic_publish(amqp.Message(bytes(size)), "exchange", "key")

# More than a socket's buffer has room for: the writes wait, and those of one do not get between those of another.
for publisher in [spawn(publish, size) for size in (10, 4_000_000, 10)]:
    wait(publisher)
connection.close()
print([numbers for numbers, _ in broker.methods].count((60, 40)), "published,", len(ticks) >= 3)
"""

SAID = "nothing yet\nnothing yet\ninterrupted\n[b'one', 'tw\\xf6']\n9 published, True\n"


@unittest.skipUnless(STOCK, "GREENLOOM_STOCK_PYTHON names no interpreter with stock eventlet and greenlet")
class Elsewhere(unittest.TestCase):
    def check(self, patched):
        with tempfile.TemporaryDirectory() as folder:
            for package in (amqp, greenloom):
                source = Path(package.__file__).parent
                Path(folder, source.name).symlink_to(source)
            done = run_python(STOCK, "-W", "ignore", "-c", patched + PROGRAM, HERE, folder, PYTHONPATH=folder)
        self.assertEqual(done, (0, SAID))

    def test_on_stock_eventlet(self):
        self.check(EVENTLET)

    def test_on_gevent(self):
        if subprocess.run([STOCK, "-c", "import gevent"], capture_output=True).returncode != 0:
            self.skipTest("there is no gevent")
        self.check(GEVENT)
