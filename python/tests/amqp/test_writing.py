"""What a program puts in the place of a part that writes is what writes, however short the way is without it."""

import struct
import threading
import unittest
from unittest import mock

import amqp
from amqp import transport as transports
from amqp.serialization import decode_properties_basic
from fake_broker import Broker

PUBLISH = (60, 40)


class Writing(unittest.TestCase):
    def connect(self, **options):
        broker = Broker()
        self.addCleanup(broker.close)
        connection = amqp.Connection(broker.address, connect_timeout=10, **options)
        connection.connect()
        self.addCleanup(connection.collect)
        return broker, connection

    def properties_of(self, message):
        """What goes out of a message's properties."""
        sent = []
        _broker, connection = self.connect()
        connection.transport._write = lambda data: sent.append(bytes(data))
        connection.channels[1] = amqp.Channel(connection, 1)
        connection.channels[1].basic_publish(message, "", "q")
        whole = b"".join(sent)
        _kind, _channel, size = struct.unpack_from(">BHI", whole)
        # Behind the method's frame, the header's head, and the class, the weight and the size of the body.
        return decode_properties_basic(whole, 8 + size + 7 + 12)[0]

    def test_properties_are_as_the_message_s_own_method_makes_them(self):
        other = amqp.Message("", app_id="other")

        class Own(amqp.Message):
            def _serialize_properties(self):
                return other._serialize_properties()

        class Fewer(amqp.Message):
            PROPERTIES = [("app_id", "s")] + amqp.Message.PROPERTIES[1:]

        plain = amqp.Message("", app_id="an app", delivery_mode=2)
        expected = {"app_id": "an app", "content_encoding": "utf-8", "delivery_mode": 2}
        changed = amqp.Message("", app_id="an app")
        changed._serialize_properties = other._serialize_properties
        self.assertEqual(self.properties_of(plain), expected)
        self.assertEqual(self.properties_of(Own(b"", app_id="own")), {"app_id": "other"})
        self.assertEqual(self.properties_of(changed), {"app_id": "other"})
        # The place of the name in the list is that of the flag.
        self.assertEqual(self.properties_of(Fewer(b"", app_id="fewer"))["content_type"], "fewer")
        with mock.patch.object(amqp.Message, "_serialize_properties", other._serialize_properties):
            self.assertEqual(self.properties_of(plain)["app_id"], "other")
        self.assertEqual(self.properties_of(plain)["app_id"], "an app")

    def test_a_message_takes_what_a_frame_may_have_by_name(self):
        message = amqp.Message("body", frame_method=(1, 2), frame_args=b"args", app_id="an app")
        self.assertEqual(
            (message.frame_method, message.frame_args, message.properties), ((1, 2), b"args", {"app_id": "an app"})
        )

    def test_a_transport_of_one_s_own_gets_all_that_is_written(self):
        written = []

        def write(self, data):
            written.append(bytes(data))
            original(self, data)

        original = transports._AbstractTransport.write

        own = type("Own", (transports.TCPTransport,), {"write": write})

        def through(broker, connection, publish=True):
            written.clear()
            connection.channel().basic_publish(amqp.Message("body"), "", "q")
            broker.wait_for(PUBLISH)
            return written and b"body" in written[-1]

        with self.subTest("a subclass"), mock.patch.object(transports, "TCPTransport", own):
            self.assertTrue(through(*self.connect()))
        with self.subTest("a class that was changed"), mock.patch.object(transports.TCPTransport, "write", write):
            self.assertTrue(through(*self.connect()))
        with self.subTest("a socket's method that was changed"):
            broker, connection = self.connect()
            sendall = connection.transport._write
            connection.transport._write = lambda data: (written.append(bytes(data)), sendall(data))
            self.assertTrue(through(broker, connection))
        with self.subTest("nothing was changed"):
            self.assertFalse(through(*self.connect()))

    def test_what_the_system_does_not_take_at_once_is_waited_for_and_mixed_with_nothing(self):
        broker, connection = self.connect()
        channel = connection.channel()
        gate = threading.Event()
        # The broker reads nothing until all publishers have begun, so that the system's buffers are full.
        answers = broker.answers
        broker.answers = mock.Mock(get=lambda numbers: gate.wait(10) and answers.get(numbers))

        def publish(letter):
            for _ in range(100):
                channel.basic_publish(amqp.Message(letter * 60_000), "", "q")

        publishers = [threading.Thread(target=publish, args=(letter,)) for letter in (b"a", b"b", b"c")]
        for publisher in publishers:
            publisher.start()
        publishers[0].join(0.3)
        self.assertTrue(all(publisher.is_alive() for publisher in publishers))
        gate.set()
        for publisher in publishers:
            publisher.join()
        broker.answers = answers
        connection.close()
        broker.wait_for((10, 50))
        # What was mixed would be no frames; the last one is that of closing.
        self.assertEqual(sum(numbers == PUBLISH for numbers, _ in broker.methods), 300)
        self.assertEqual(broker.methods[-1][0], (10, 50))

    def test_a_write_that_fails_is_an_oserror_and_the_end_of_the_connection(self):
        broker, connection = self.connect()
        channel = connection.channel()
        broker.die()
        with self.assertRaises(OSError) as caught:
            while True:
                channel.basic_publish(amqp.Message("body"), "", "q")
        self.assertIn(type(caught.exception), (BrokenPipeError, ConnectionResetError))
        self.assertIs(connection.connected, False)
        # The lock was given back: another failure, and no wait.
        with self.assertRaises(OSError):
            channel.basic_publish(amqp.Message("body"), "", "q")

    def test_a_socket_that_was_closed_writes_to_nobody_else(self):
        _broker, connection = self.connect()
        writer = connection.frame_writer
        connection.sock.close()
        with self.assertRaises(OSError):
            writer(8, 0, None, None, None)

    def test_each_write_counts_for_heartbeats(self):
        _broker, connection = self.connect()
        before = connection.bytes_sent
        connection.send_heartbeat()
        self.assertEqual(connection.bytes_sent, before + 1)


if __name__ == "__main__":
    unittest.main()
