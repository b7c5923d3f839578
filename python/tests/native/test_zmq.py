"""pyzmq as it is: libzmq waits in poll, its own threads in epoll_wait. The server is a process of our own."""

import random
import subprocess
import sys
import unittest

import eventlet
import greenlet

from libraries import WAIT, Hooked, give_up, under_load, wait_at_once

try:
    import zmq
except ImportError:
    zmq = None

# Answers each message, two texts, with the first, after as many seconds as the second says. They are one part: who is
# given up between the parts of a message has begun it, and the next request would go on with it.
SERVER = """
import heapq, sys, time, zmq
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind(sys.argv[1])
print(socket.last_endpoint.decode(), flush=True)
due = []
while True:
    left = (due[0][0] - time.monotonic()) * 1000 if due else 1000
    if socket.poll(max(left, 0)):
        *to, message = socket.recv_multipart()
        word, seconds = message.split()
        heapq.heappush(due, (time.monotonic() + float(seconds), to, word))
    while due and due[0][0] <= time.monotonic():
        _, to, word = heapq.heappop(due)
        socket.send_multipart([*to, word])
"""


class Server:
    def __init__(self, place="tcp://127.0.0.1:*"):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, place], stdout=subprocess.PIPE, text=True)
        self.place = self.process.stdout.readline().strip()

    def stop(self):
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


def ask(socket, word, seconds):
    socket.send(f"{word} {seconds}".encode())
    return socket.recv().decode()


@unittest.skipUnless(zmq, "needs pyzmq")
class Pyzmq(Hooked, unittest.TestCase):
    hooked = ["zmq"]

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        super().setUp()
        self.context = zmq.Context()
        self.addCleanup(self.context.destroy, 0)

    def connect(self, place=None, **options):
        socket = self.context.socket(zmq.REQ)
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(place or self.server.place)
        return socket

    def test_requests_wait_at_once(self):
        sockets = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: int(ask(sockets[number], number, WAIT)))

    def test_large_messages_come_whole(self):
        words = [str(number) * 3_000_000 for number in range(4)]
        answers = [eventlet.spawn(ask, self.connect(), word, 0) for word in words]
        self.assertEqual([answer.wait() for answer in answers], words)

    def test_green_threads_of_one_process_talk_with_each_other(self):
        ours, theirs = self.context.socket(zmq.PAIR), self.context.socket(zmq.PAIR)
        ours.bind("inproc://pair")
        theirs.connect("inproc://pair")

        def echo():
            while (word := theirs.recv()) != b"end":
                theirs.send(word)

        echoes = eventlet.spawn(echo)
        for number in range(100):
            ours.send(b"%d" % number)
            self.assertEqual(ours.recv(), b"%d" % number)
        ours.send(b"end")
        echoes.wait()

    def test_after_a_wait_that_was_given_up_the_socket_says_whose_turn_it_is(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            socket = self.connect()
            give_up(self, how, lambda: ask(socket, "former", 0.2))
            # It is still the server's turn: no new request is sent, and none gets the former answer.
            with self.assertRaises(zmq.ZMQError) as raised:
                ask(socket, "next", 0)
            self.assertEqual(raised.exception.errno, zmq.EFSM)

    def test_limits_of_the_library_hold(self):
        socket = self.connect(rcvtimeo=50)
        with self.assertRaises(zmq.Again):
            eventlet.spawn(ask, socket, "word", 5).wait()
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        self.assertEqual(eventlet.spawn(poller.poll, 50).wait(), [])

    def test_a_server_that_is_killed_in_a_request_is_waited_for_up_to_the_limit(self):
        server = Server()
        waiting = [eventlet.spawn(ask, self.connect(server.place, rcvtimeo=500), "word", 5) for _ in range(10)]
        eventlet.sleep(0.1)
        server.stop()
        for one in waiting:
            with self.assertRaises(zmq.Again):
                one.wait()

    def test_under_kills_timeouts_and_killed_servers_no_answer_is_anothers(self):
        servers = [Server()]
        self.addCleanup(lambda: servers[0].stop())

        def kill_it():
            servers[0].stop()
            servers[0] = Server(servers[0].place)
            eventlet.sleep(0.3)

        def connect():
            return self.connect(servers[0].place, rcvtimeo=random.choice([100, 500]))

        under_load(self, connect, ask, lambda socket: socket.close(), zmq.ZMQError, kill_it)


if __name__ == "__main__":
    unittest.main()
