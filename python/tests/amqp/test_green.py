"""On our eventlet a connection's waits are green, and what interrupts one loses nothing of what comes."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from support import run_python  # noqa: E402

CONNECTED = """
import sys
sys.path.insert(0, %r)
import eventlet
eventlet.monkey_patch()
import amqp
from fake_broker import Broker, message

broker = Broker()
connection = amqp.Connection(broker.address)
connection.connect()
"""

INTERRUPTED = CONNECTED + """
got = []
connection.channel().basic_consume("q", callback=lambda one: got.append(one.body))
whole = message(1, b"one")
for part in (whole[:5], whole[5:-1]):
    broker.send(part)
    try:
        with eventlet.Timeout(0.05):
            connection.drain_events()
    except eventlet.Timeout:
        print("interrupted")
reader = eventlet.spawn(connection.drain_events)
others = 0
while not connection.transport._reading:
    eventlet.sleep()
    others += 1
print("others run:", others > 0)
broker.send(whole[-1:])
reader.wait()
reader = eventlet.spawn(connection.drain_events)
eventlet.sleep()
reader.kill()
broker.send(message(1, b"two") + message(1, b"three"))
connection.drain_events()
connection.drain_events()
print(got)
connection.close()
"""

SHARED = CONNECTED + """
channel = connection.channel()
got = []
channel.basic_consume("q", callback=lambda one: got.append(one.body))

def publish(letter):
    for _ in range(3):
        # More than the system buffers, so that each is sent in many turns.
        channel.basic_publish(amqp.Message(letter * 1_000_000), "", "q")

publishers = [eventlet.spawn(publish, letter) for letter in (b"a", b"b", b"c")]
for publisher in publishers:
    publisher.wait()

def drain():
    try:
        connection.drain_events()
    except RuntimeError as error:
        print(str(error).split(" on ")[0])

readers = [eventlet.spawn(drain) for _ in range(2)]
readers[1].wait()
broker.send(message(1, b"one"))
readers[0].wait()
print(got)
connection.close()
print(sum(numbers == (60, 40) for numbers, _ in broker.methods), broker.methods[-1][0])
"""


PATIENCE = CONNECTED + """
import os
import socket

sock = connection.sock
before = sock.gettimeout(), os.get_blocking(sock.fileno())
turns = 0

def others():
    global turns
    while True:
        turns += 1
        eventlet.sleep(0.001)

eventlet.spawn(others)
try:
    connection.drain_events(timeout=0.05)
except socket.timeout:
    print("nothing came:", turns > 1)
print((sock.gettimeout(), os.get_blocking(sock.fileno())) == before)
reader = eventlet.spawn(connection.drain_events, 10)
eventlet.sleep(0)
reader.kill()
print((sock.gettimeout(), os.get_blocking(sock.fileno())) == before)
sock.settimeout(5)
try:
    connection.drain_events(timeout=0.05)
except socket.timeout:
    print("nothing came:", sock.gettimeout())
"""


class Green(unittest.TestCase):
    def test_waits_are_green_and_an_interrupted_one_loses_nothing(self):
        status, output = run_python(sys.executable, "-W", "ignore", "-c", INTERRUPTED % HERE)
        expected = "interrupted\ninterrupted\nothers run: True\n[b'one', b'two', b'three']\n"
        self.assertEqual((status, output), (0, expected))

    def test_a_wait_with_a_timeout_ends_and_leaves_the_socket_as_it_was(self):
        status, output = run_python(sys.executable, "-W", "ignore", "-c", PATIENCE % HERE)
        self.assertEqual((status, output), (0, "nothing came: True\nTrue\nTrue\nnothing came: 5.0\n"))

    def test_those_that_share_a_channel_send_whole_frames_and_the_second_reader_is_refused(self):
        status, output = run_python(sys.executable, "-W", "ignore", "-c", SHARED % HERE)
        self.assertEqual((status, output), (0, "Second simultaneous read\n[b'one']\n9 (10, 50)\n"))


if __name__ == "__main__":
    unittest.main()
