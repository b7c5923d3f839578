"""The two ends of a connection in one hub: a reader goes on because its peer has written, and nothing else changes."""

import os
import threading
import unittest

import eventlet
from eventlet import hubs
from eventlet.green import socket

from io_support import OnHub
from scenario import Scenario


def switches():
    return hubs.get_hub().statistics()["switches"]


def echo(end):
    while data := end.recv(100):
        end.sendall(data)


class Epolls(OnHub):
    def round_trips(self, one, count):
        for number in range(count):
            message = b"%d" % number
            one.sendall(message)
            self.assertEqual(one.recv(100), message)

    def test_round_trips_hardly_ask_the_poller(self):
        one, other = self.pair()
        eventlet.spawn(echo, other)
        self.round_trips(one, 10)
        before = switches()
        self.round_trips(one, 500)
        # One there and one back each. The way past the poller is by the loop, which would be two more.
        self.assertLess(switches() - before, 1100)

    def test_those_that_hand_over_keep_nobody_from_his_turn(self):
        one, other = self.pair()
        timer, ready, bytes_came = [], [], []
        eventlet.spawn(echo, other)
        self.round_trips(one, 10)
        eventlet.spawn_after(0, timer.append, 1)
        eventlet.spawn(ready.append, 1)
        client, server = self.tcp_pair()
        self.blocked(lambda: bytes_came.append(server.recv(1)))
        client.sendall(b"x")
        self.round_trips(one, 500)
        self.assertEqual((timer, ready, bytes_came), ([1], [1], [b"x"]))

    def test_who_has_handed_over_and_only_gives_way_then_does_not_keep_the_reader_waiting(self):
        for wake in (
            lambda one, other: one.sendall(b"x"),
            lambda one, other: other.shutdown(socket.SHUT_RDWR),
        ):
            one, other = self.pair()
            reader = self.blocked(other.recv, 100)
            wake(one, other)
            turns = 0
            while not reader.dead and turns < 1000:
                eventlet.sleep(0)
                turns += 1
            self.assertTrue(reader.dead)

    def test_a_wake_for_nothing_is_not_seen(self):
        one, other = self.pair()
        reader = self.blocked(other.recv, 100)
        one.sendall(b"first")
        # Before the reader has its turn.
        self.assertEqual(os.read(other.fileno(), 100), b"first")
        eventlet.sleep(0.01)
        self.assertFalse(reader.dead)
        one.sendall(b"second")
        self.assertEqual(reader.wait(), b"second")

    def test_a_wake_for_nothing_does_not_prolong_a_timeout(self):
        one, other = self.pair()
        other.settimeout(0.1)
        reader = self.blocked(other.recv, 100)
        one.sendall(b"first")
        self.assertEqual(os.read(other.fileno(), 100), b"first")
        with self.assertRaises(socket.timeout):
            reader.wait()

    def test_a_reader_that_was_killed_takes_nothing(self):
        one, other = self.pair()
        reader = self.blocked(other.recv, 100)
        one.sendall(b"kept")
        reader.kill()
        self.assertEqual(other.recv(100), b"kept")

    def test_a_number_used_again_is_another_socket(self):
        one, other = self.pair()
        reader = self.blocked(other.recv, 100)
        number = other.fileno()
        other.close()
        with self.assertRaises(OSError):
            reader.wait()
        third, fourth = self.pair()
        self.assertIn(number, (third.fileno(), fourth.fileno()))
        readers = [self.blocked(end.recv, 100) for end in (third, fourth)]
        with self.assertRaises(OSError):
            one.sendall(b"lost")
        eventlet.sleep(0.01)
        self.assertEqual([each.dead for each in readers], [False, False])
        third.sendall(b"a"), fourth.sendall(b"b")
        self.assertEqual([each.wait() for each in readers], [b"b", b"a"])

    def test_a_number_that_is_closed_behind_our_back_and_used_again(self):
        one, other = self.pair()
        echoes = self.blocked(echo, other)
        self.round_trips(one, 3)
        left, right = socket.socketpair()
        self.addCleanup(left.close)
        self.addCleanup(right.close)
        # The same number is another connection's end now, which has bytes.
        os.dup2(right.fileno(), other.fileno())
        left.sendall(b"others'")
        with self.assertRaises(OSError):
            one.sendall(b"x")
        eventlet.sleep(0.01)
        echoes.kill()

    def test_a_duplicate_is_woken_too(self):
        one, other = self.pair()
        same = other.dup()
        self.addCleanup(same.close)
        reader = self.blocked(same.recv, 100)
        one.sendall(b"x")
        self.assertEqual(reader.wait(), b"x")
        again = one.dup()
        self.addCleanup(again.close)
        reader = self.blocked(other.recv, 100)
        again.sendall(b"y")
        self.assertEqual(reader.wait(), b"y")

    def test_an_end_given_away_is_joined_no_more(self):
        one, other = self.pair()
        self.blocked(echo, other).kill()
        stays = socket.socket(fileno=other.detach())
        self.addCleanup(stays.close)
        reader = self.blocked(stays.recv, 100)
        one.sendall(b"x")
        self.assertEqual(reader.wait(), b"x")

    def test_one_end_closed_is_the_end_of_the_other(self):
        one, other = self.pair()
        reader = self.blocked(lambda: [other.recv(100), other.recv(100)])
        one.sendall(b"last")
        one.close()
        self.assertEqual(reader.wait(), [b"last", b""])

    def test_half_closed(self):
        one, other = self.pair()
        reader = self.blocked(lambda: [other.recv(100), other.recv(100)])
        one.sendall(b"last")
        one.shutdown(socket.SHUT_WR)
        self.assertEqual(reader.wait(), [b"last", b""])
        reader = self.blocked(one.recv, 100)
        other.sendall(b"back")
        self.assertEqual(reader.wait(), b"back")
        other.shutdown(socket.SHUT_RD)
        with self.assertRaises(OSError):
            one.sendall(b"x")

    def test_an_end_in_another_thread_and_its_hub(self):
        one, other = self.pair()
        kept = []

        def far():
            hubs.use_hub(self.hub)
            echo(other)
            kept.append(hubs.get_hub())

        thread = threading.Thread(target=far)
        thread.start()
        self.round_trips(one, 50)
        one.shutdown(socket.SHUT_WR)
        thread.join()
        self.assertEqual(len(kept), 1)

    def test_an_end_that_comes_from_another_thread(self):
        one, other = self.pair()

        def far():
            hubs.use_hub(self.hub)
            other.settimeout(0.001)
            with self.assertRaises(socket.timeout):
                other.recv(100)
            other.settimeout(None)

        thread = threading.Thread(target=far)
        thread.start()
        thread.join()
        eventlet.spawn(echo, other)
        self.round_trips(one, 50)

    def test_messages(self):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        reader = self.blocked(lambda: [other.recv(100), other.recv(100)])
        one.send(b"first")
        one.send(b"second")
        self.assertEqual(reader.wait(), [b"first", b"second"])

    def test_more_than_fits(self):
        one, other = self.pair()

        def read():
            got = 0
            while data := other.recv(5000):
                got += len(data)
            return got

        reader = self.blocked(read)
        one.sendall(b"x" * 3_000_000)
        one.close()
        self.assertEqual(reader.wait(), 3_000_000)


class Poll(Epolls):
    hub = "poll"

    # Its sockets wait by listeners, as those of the following: nothing is handed over.
    test_round_trips_hardly_ask_the_poller = None


class Selects(Epolls):
    hub = "selects"

    test_round_trips_hardly_ask_the_poller = None


class Asyncio(Epolls):
    hub = "asyncio"

    test_round_trips_hardly_ask_the_poller = None


class Fork(Scenario):
    def test_the_child_wakes_its_own(self):
        self.check(
            """
            import os, eventlet
            from eventlet.green import socket
            one, other = socket.socketpair()
            def echo():
                while data := other.recv(100):
                    other.sendall(data)
            echoes = eventlet.spawn(echo)
            one.sendall(b"x")
            assert one.recv(100) == b"x"
            pid = os.fork()
            if pid == 0:
                # The bytes are for whoever reads first: the parent does not until the child has ended.
                for number in range(10):
                    one.sendall(b"%d" % number)
                    assert one.recv(100) == b"%d" % number
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            for number in range(10):
                one.sendall(b"%d" % number)
                assert one.recv(100) == b"%d" % number
            """
        )


if __name__ == "__main__":
    unittest.main()
