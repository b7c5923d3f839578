"""What goes wrong between a client and its broker, and what the program is told."""

import gc
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import amqp
from amqp import exceptions

from fake_broker import Broker, frame, message, method


class Faults(unittest.TestCase):
    def connect(self, capabilities=None, **options):
        broker = Broker(capabilities)
        self.addCleanup(broker.close)
        connection = amqp.Connection(broker.address, connect_timeout=10, **options)
        connection.connect()
        self.addCleanup(connection.collect)
        return broker, connection

    def consume(self, callback, capabilities=None):
        broker, connection = self.connect(capabilities)
        channel = connection.channel()
        channel.basic_consume("q", callback=callback)
        return broker, connection, channel

    def test_a_broker_that_dies_in_the_middle_of_a_frame_is_an_error_and_no_wait(self):
        whole = message(1, b"x" * 100)
        for length in (0, 1, 6, 7, 8, len(whole) - 1):
            with self.subTest(length=length):
                broker, connection, _channel = self.consume(self.fail)
                broker.send(whole[:length])
                broker.die()
                with self.assertRaisesRegex(OSError, "Server unexpectedly closed connection"):
                    connection.drain_events(timeout=10)
                self.assertFalse(connection.connected)

    def test_a_broker_that_sends_a_byte_at_a_time_is_only_slow(self):
        got = []
        broker, connection, _channel = self.consume(lambda one: got.append(one.body))

        def dribble():
            for byte in message(1, b"one") + message(1, b"two"):
                broker.send(bytes([byte]))
                time.sleep(0.0005)

        broker.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = threading.Thread(target=dribble)
        sender.start()
        while len(got) < 2:
            connection.drain_events(timeout=10)
        sender.join()
        self.assertEqual(got, [b"one", b"two"])

    def test_what_came_whole_before_a_broker_died_is_delivered(self):
        got = []
        broker, connection, _channel = self.consume(got.append)
        broker.send(message(1, b"one") + message(1, b"two") + message(1, b"three")[:-1])
        broker.die()
        connection.drain_events(timeout=10)
        connection.drain_events(timeout=10)
        self.assertEqual([one.body for one in got], [b"one", b"two"])
        with self.assertRaises(OSError):
            connection.drain_events(timeout=10)

    def test_malformed_frames_are_unexpected_frames(self):
        wrong = {
            "unknown kind": frame(7, 1, b""),
            "another version": b"AMQP\0\0\x08\0",
            "no end": frame(1, 0, struct.pack(">HH", 10, 60))[:-1] + b"\0",
            "larger than agreed": struct.pack(">BHI", 3, 1, 0xFFFFFFFF),
            "a body first": frame(3, 1, b"x"),
            "a header first": frame(2, 1, struct.pack(">HHQ", 60, 0, 1) + b"\0\0"),
            "a method in the middle of a message": message(1, b"x")[:-9] + method(1, (20, 20), "b", (True,)),
            "a body that is too long": message(1, b"")[:-22] + frame(2, 1, struct.pack(">HHQ", 60, 0, 1) + b"\0\0")
            + frame(3, 1, b"xyz"),
            "a method that is cut off": frame(1, 0, b"\0"),
            "a channel that is not open": method(9, (20, 20), "b", (True,)),
        }  # fmt: skip
        for name, data in wrong.items():
            with self.subTest(name):
                broker, connection, _channel = self.consume(self.fail)
                broker.send(data)
                with self.assertRaises(amqp.UnexpectedFrame) as caught:
                    connection.drain_events(timeout=10)
                self.assertIsInstance(caught.exception, connection.connection_errors)

    def test_arguments_that_are_cut_off_are_syntax_errors(self):
        broker, connection = self.connect()
        broker.send(frame(1, 0, struct.pack(">HHH", 10, 50, 320)))
        with self.assertRaises(amqp.FrameSyntaxError):
            connection.drain_events(timeout=10)

    def test_an_unknown_method_is_not_implemented(self):
        broker, connection = self.connect()
        broker.send(method(0, (10, 99)))
        with self.assertRaises(amqp.AMQPNotImplementedError):
            connection.drain_events(timeout=10)

    def test_properties_that_cannot_be_read_are_the_message_s_matter(self):
        got = []
        broker, connection, _channel = self.consume(got.append)
        unreadable = [b"\x80\0\xff", b"\xc0\0\1a\xff"]
        encoded = {b"\x40\0\5utf-8": "g\xf6\xf6d", b"\x40\0\6latin9": "g\xc3\xb6\xc3\xb6d", b"\x40\0\4none": None}
        for properties in (*unreadable, *encoded):
            broker.send(message(1, "g\xf6\xf6d".encode(), properties=properties))
        broker.send(message(1, b"plain"))
        for _ in range(6):
            connection.drain_events(timeout=10)
        as_it_came = "g\xf6\xf6d".encode()
        bodies = [as_it_came, as_it_came, *(text or as_it_came for text in encoded.values()), b"plain"]
        self.assertEqual([one.body for one in got], bodies)
        for one in got[:2]:
            with self.assertRaises(amqp.FrameSyntaxError):
                one.properties
        self.assertEqual([one.content_encoding for one in got[2:5]], ["utf-8", "latin9", "none"])
        self.assertEqual(got[5].properties, {})

    def test_closing_with_any_code_is_the_exception_of_that_code(self):
        for code in (*exceptions.ERROR_MAP, 200, 999):
            for gone in (False, True):
                with self.subTest(code=code, gone=gone):
                    broker, connection = self.connect()
                    broker.send(method(0, (10, 50), "BsBB", (code, "a reason", 60, 40)))
                    if gone:
                        # As if it did not wait for the answer: that cannot be sent.
                        connection.sock.shutdown(socket.SHUT_WR)
                    with self.assertRaises(exceptions.ERROR_MAP.get(code, amqp.ConnectionError)) as caught:
                        connection.drain_events(timeout=10)
                    self.assertEqual(caught.exception.reply_code, code)
                    self.assertEqual(str(caught.exception), f"Basic.publish: ({code}) a reason")
                    self.assertFalse(connection.connected)
                    if not gone:
                        broker.wait_for((10, 51))

    def test_closing_a_channel_raises_and_opens_it_anew(self):
        broker, connection, channel = self.consume(self.fail)
        broker.send(method(1, (20, 40), "BsBB", (404, "no such queue", 50, 10)))
        with self.assertRaises(amqp.NotFound):
            connection.drain_events(timeout=10)
        self.assertTrue(channel.is_open)
        broker.wait_for((20, 41))

    def test_a_callback_that_raises_loses_no_other_message(self):
        got = []

        def callback(one):
            got.append(one.body)
            if one.body == b"two":
                raise LookupError(one.body)

        broker, connection, _channel = self.consume(callback)
        broker.send(b"".join(message(1, body) for body in (b"one", b"two", b"three")))
        connection.drain_events(timeout=10)
        with self.assertRaises(LookupError):
            connection.drain_events(timeout=10)
        connection.drain_events(timeout=10)
        self.assertEqual(got, [b"one", b"two", b"three"])

    def test_one_call_delivers_one_message_and_the_socket_stays_readable_for_the_others(self):
        got = []
        broker, connection, _channel = self.consume(lambda one: got.append(one.body))
        bodies = [b"%d" % number for number in range(5)]
        broker.send(b"".join(message(1, body) for body in bodies))
        for count in range(1, 6):
            self.assertEqual(select.select([connection.sock], [], [], 10)[0], [connection.sock])
            connection.drain_events(timeout=10)
            self.assertEqual(got, bodies[:count])
        with self.assertRaises(socket.timeout):
            connection.drain_events(timeout=0)
        self.assertEqual(select.select([connection.sock], [], [], 0)[0], [])

    def test_a_delivery_behind_the_answer_reaches_the_callback_that_is_set_then(self):
        broker, connection = self.connect()
        channel = connection.channel()
        broker.answers[60, 20] += message(1, b"at once")
        got = []
        channel.basic_consume("q", callback=got.append)
        connection.drain_events(timeout=10)
        self.assertEqual(got[0].body, b"at once")

    def test_nothing_to_read_is_a_timeout_that_changes_nothing(self):
        got = []
        broker, connection, _channel = self.consume(got.append)
        whole = message(1, b"slow")
        for part in (whole[:3], whole[3:40]):
            broker.send(part)
            with self.assertRaises(socket.timeout):
                connection.drain_events(timeout=0.02)
        with self.assertRaises(socket.timeout):
            connection.drain_events(timeout=0)
        self.assertIsNone(connection.sock.gettimeout())
        broker.send(whole[40:])
        connection.drain_events(timeout=10)
        self.assertEqual(got[0].body, b"slow")

    def test_a_large_body_arrives_in_pieces(self):
        got = []
        broker, connection, _channel = self.consume(got.append)
        body = os.urandom(700_000)
        deliver = message(1, b"")[:-22] + frame(2, 1, struct.pack(">HHQ", 60, 0, len(body)) + b"\0\0")
        pieces = (frame(3, 1, body[at : at + 131064]) for at in range(0, len(body), 131064))
        sender = threading.Thread(target=broker.send, args=(deliver + b"".join(pieces),))
        sender.start()
        connection.drain_events(timeout=10)
        sender.join()
        self.assertEqual(got[0].body, body)

    def test_publishing_notices_a_broker_that_has_closed_the_connection(self):
        broker, connection, channel = self.consume(self.fail, {"connection.blocked": True})
        broker.send(method(0, (10, 50), "BsBB", (320, "shut down", 0, 0)))
        select.select([connection.sock], [], [], 10)
        with self.assertRaises(amqp.ConnectionForced):
            channel.basic_publish(amqp.Message(b"x"), routing_key="q")

    def test_a_broker_that_blocks_says_so_at_the_next_publish(self):
        told = []
        broker, connection = self.connect(
            {"connection.blocked": True}, on_blocked=told.append, on_unblocked=lambda: told.append("on")
        )
        channel = connection.channel()
        for data in (method(0, (10, 60), "s", ("low on memory",)), method(0, (10, 61))):
            broker.send(data)
            select.select([connection.sock], [], [], 10)
            channel.basic_publish(amqp.Message(b"x"), routing_key="q")
        self.assertEqual(told, ["connection blocked, see broker logs", "on"])

    def test_publishing_takes_nothing_from_a_thread_that_waits(self):
        got = []
        broker, connection, channel = self.consume(got.append, {"connection.blocked": True})
        # As it is while another thread waits, which has not been woken yet.
        connection.transport._reading = True
        broker.send(message(1, b"for the one who waits"))
        select.select([connection.sock], [], [], 10)
        channel.basic_publish(amqp.Message(b"x"), routing_key="q")
        with self.assertRaises(socket.timeout):
            connection.drain_events(timeout=0)
        self.assertEqual(got, [])
        connection.transport._reading = False
        connection.drain_events(timeout=10)
        self.assertEqual(len(got), 1)

    def test_missing_heartbeats_are_a_forced_close(self):
        broker, connection = self.connect(heartbeat=0.01)
        connection.heartbeat = 0.01
        connection.heartbeat_tick()
        time.sleep(0.05)
        with self.assertRaises(amqp.ConnectionForced):
            connection.heartbeat_tick()
        broker.send(frame(8, 0, b""))
        select.select([connection.sock], [], [], 10)
        with self.assertRaises(socket.timeout):
            connection.drain_events(timeout=0)
        connection.heartbeat_tick()

    def test_threads_that_publish_on_one_channel_send_whole_frames(self):
        broker, connection = self.connect()
        channel = connection.channel()
        bodies = [bytes([number]) * 70000 for number in range(4)]

        def publish(body):
            for _ in range(10):
                channel.basic_publish(amqp.Message(body), routing_key="q")

        threads = [threading.Thread(target=publish, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        broker.answers[20, 10] = method(2, (20, 11), "S", ("",))
        # The broker understands what comes behind it, so nothing was torn.
        self.assertEqual(connection.channel().channel_id, 2)
        self.assertEqual(sum(one == (60, 40) for one, _ in broker.methods), 40)

    def test_a_program_that_ends_with_an_open_connection_ends(self):
        here = os.path.dirname(os.path.abspath(__file__))
        for begin in ("", "import eventlet; eventlet.monkey_patch()"):
            program = f"""
import sys
sys.path.insert(0, {here!r})
{begin}
import amqp
from fake_broker import Broker
broker = Broker()
connection = amqp.Connection(broker.address)
connection.connect()
channel = connection.channel()
channel.basic_consume("q", callback=print)
"""
            with self.subTest(begin=begin):
                command = [sys.executable, "-W", "ignore", "-c", program]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
                self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))

    def test_a_forked_child_that_ends_leaves_the_connection_to_its_parent(self):
        got = []
        broker, connection, _channel = self.consume(got.append)
        child = os.fork()
        if not child:
            try:
                del _channel, connection
                gc.collect()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        broker.send(message(1, b"for the parent"))
        connection.drain_events(timeout=10)
        self.assertEqual(got[0].body, b"for the parent")
        connection.close()
        self.assertFalse(connection.connected)
        broker.wait_for((10, 50))

    def test_what_a_forked_child_publishes_comes_whole_and_its_parent_goes_on(self):
        got = []
        broker, connection, channel = self.consume(got.append)
        child = os.fork()
        if not child:
            status = 1
            try:
                channel.basic_publish(amqp.Message(b"of the child" * 100_000), "", "q")
                try:
                    connection.drain_events(timeout=0.01)
                except TimeoutError:
                    status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        channel.basic_publish(amqp.Message(b"of the parent"), "", "q")
        broker.send(message(1, b"for the parent"))
        connection.drain_events(timeout=10)
        self.assertEqual(got[0].body, b"for the parent")
        connection.close()
        broker.wait_for((10, 50))
        self.assertEqual([numbers for numbers, _ in broker.methods[-3:]], [(60, 40), (60, 40), (10, 50)])

    def test_a_closed_connection_says_that_it_is(self):
        _broker, connection, channel = self.consume(self.fail)
        connection.close()
        for use in (connection.channel, lambda: channel.basic_publish(amqp.Message(b"x"))):
            with self.assertRaises(amqp.RecoverableConnectionError):
                use()


if __name__ == "__main__":
    unittest.main()
