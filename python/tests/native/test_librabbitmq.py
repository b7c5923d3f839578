"""librabbitmq as it is (its fork, whose original no longer builds): rabbitmq-c waits in poll.

Needs the RabbitMQ of crates/rpc/tests/rabbitmq/broker.sh.
"""

import contextlib
import os
import pathlib
import random
import socket
import struct
import unittest

import eventlet
import greenlet
from eventlet.green import socket as green_socket

from libraries import WAIT, Hooked, give_up, under_load, wait_at_once

try:
    import librabbitmq
except ImportError:
    librabbitmq = None

BROKER = os.environ.get("GREENLOOM_RABBITMQ")


def port_of_broker():
    lines = pathlib.Path(BROKER, "ports").read_text().split()
    return int(dict(line.split("=") for line in lines)["AMQP"])


class Client:
    """Has the broker give back a text after a while: it expires in one queue, and goes on to another.

    To ask is to publish, and then to wait. A question that is given up between the two, by a timeout that is up when
    the first lets others run, leaves the connection whole: its answer comes all the same, and first.
    """

    def __init__(self, port):
        self.asked, self.got = set(), []
        self.connection = librabbitmq.Connection(host="127.0.0.1", port=port)
        try:
            self.channel = self.connection.channel()
            answers = self.channel.queue_declare(exclusive=True).queue
            to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": answers}
            self.waits = self.channel.queue_declare(exclusive=True, arguments=to).queue
            self.channel.basic_consume(answers, no_ack=True, callback=self._answered)
        except BaseException:
            self.close()
            raise

    def ask(self, word, seconds, timeout=None):
        former = self.asked.copy()
        self.asked.add(str(word))
        milliseconds = str(round(seconds * 1000))
        self.channel.basic_publish(str(word), routing_key=self.waits, expiration=milliseconds)
        while True:
            while not self.got:
                self.connection.drain_events(timeout=timeout)
            answer = self.got.pop(0)
            if answer not in former:
                return answer

    def _answered(self, message):
        self.got.append(bytes(message.body).decode())

    def close(self):
        with contextlib.suppress(*ERRORS):
            self.connection.close()


ERRORS = (librabbitmq.ConnectionError, librabbitmq.ChannelError, OSError) if librabbitmq else ()


class Proxy:
    """Between clients and the broker, to lose connections."""

    def __init__(self):
        self.pairs = []
        self.listener = eventlet.listen(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        self.broker = port_of_broker()
        self.acceptor = eventlet.spawn(self._accept)

    def _accept(self):
        while True:
            client = self.listener.accept()[0]
            broker = green_socket.create_connection(("127.0.0.1", self.broker))
            pair = client, broker
            self.pairs.append(pair)
            eventlet.spawn_n(self._copy, client, broker, pair)
            eventlet.spawn_n(self._copy, broker, client, pair)

    def _copy(self, source, target, pair):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        self._end(pair)

    def _end(self, pair, linger=False):
        if pair in self.pairs:
            self.pairs.remove(pair)
            for one in pair:
                if linger:
                    # What is on its way is lost, and the other side's connection reset.
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def lose_one(self):
        if self.pairs:
            self._end(random.choice(self.pairs), random.random() < 0.5)

    def stop(self):
        self.acceptor.kill()
        self.listener.close()
        for pair in list(self.pairs):
            self._end(pair)


@unittest.skipUnless(librabbitmq and BROKER, "needs librabbitmq, and broker.sh")
class Librabbitmq(Hooked, unittest.TestCase):
    hooked = ["librabbitmq"]

    def setUp(self):
        super().setUp()
        self.port = port_of_broker()

    def connect(self, port=None):
        client = Client(port or self.port)
        self.addCleanup(client.close)
        return client

    def test_messages_wait_at_once(self):
        clients = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: int(clients[number].ask(number, WAIT)))

    def test_large_messages_come_whole(self):
        words = [str(number) * 1_000_000 for number in range(4)]
        answers = [eventlet.spawn(self.connect().ask, word, 0) for word in words]
        self.assertEqual([answer.wait() for answer in answers], words)

    def test_after_a_wait_that_was_given_up_the_next_one_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            client = self.connect()
            give_up(self, how, lambda: client.ask("former", 0.2))
            with self.assertRaises(ERRORS):
                client.ask("next", 0)

    def test_a_connection_that_is_reset_is_an_error(self):
        proxy = Proxy()
        self.addCleanup(proxy.stop)
        waiting = eventlet.spawn(self.connect(proxy.port).ask, "word", 5)
        eventlet.sleep(0.2)
        proxy.lose_one()
        with self.assertRaises(ERRORS):
            waiting.wait()

    def test_limits_of_the_library_hold_and_the_connection_goes_on(self):
        client = self.connect()
        with self.assertRaises(socket.timeout):
            eventlet.spawn(client.ask, "former", 0.2, timeout=0.05).wait()
        eventlet.sleep(0.3)
        client.connection.drain_events()
        self.assertEqual(client.got.pop(), "former")
        self.assertEqual(eventlet.spawn(client.ask, "next", 0).wait(), "next")

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        proxy = Proxy()
        self.addCleanup(proxy.stop)

        def connect():
            return Client(proxy.port)

        under_load(self, connect, Client.ask, lambda client: client.close(), ERRORS, proxy.lose_one)


if __name__ == "__main__":
    unittest.main()
