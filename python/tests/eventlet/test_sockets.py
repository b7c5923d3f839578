"""Green sockets: operations that wait, on every hub; what ends a wait; who may wait; closed and reused descriptors.

Over 500 lines: the same cases run again on each hub, by classes that inherit them.
"""

import array
import errno
import gc
import os
import socket as plain
import struct
import sys
import threading
import time
import unittest
import warnings

import eventlet
from eventlet import debug, greenio, hubs
from eventlet.green import os as green_os
from eventlet.green import socket

from io_support import LOCALHOST, OnHub
from scenario import Scenario


class Operations(OnHub):
    def test_each_way_to_receive_waits_for_data(self):
        one, other = self.tcp_pair()
        room = bytearray(10)
        ways = {
            "recv": lambda: one.recv(10),
            "recv large": lambda: one.recv(1 << 20),
            "recv_into": lambda: bytes(room[: one.recv_into(room)]),
            "recvfrom": lambda: one.recvfrom(10)[0],
            "recvfrom_into": lambda: bytes(room[: one.recvfrom_into(room)[0]]),
            "recvmsg": lambda: one.recvmsg(10)[0],
            "recvmsg_into": lambda: bytes(room[: one.recvmsg_into([room])[0]]),
            "makefile": lambda: one.makefile("rb").readline(),
        }
        for name, receive in ways.items():
            with self.subTest(name):
                thread = self.blocked(receive)
                other.sendall(b"abc\n")
                self.assertEqual(thread.wait(), b"abc\n")

    @unittest.skipIf(sys.version_info < (3, 12), "objects of Python are buffers from 3.12 on")
    def test_what_a_buffer_is_as_a_truth_value_does_not_matter(self):
        class Buffer:
            def __init__(self):
                self.room = bytearray(4)

            def __buffer__(self, flags):
                return memoryview(self.room)

            def __bool__(self):
                raise ValueError("as of an array of numpy")

        one, other = self.pair()
        for receive in (one.recv_into, one.recvfrom_into, lambda buffer: one.recvmsg_into([buffer])):
            buffer = Buffer()
            thread = self.blocked(receive, buffer)
            other.sendall(b"abcd")
            thread.wait()
            self.assertEqual(buffer.room, b"abcd")

    def test_each_way_to_receive_has_a_timeout(self):
        one, _ = self.pair()
        one.settimeout(0.02)
        room = bytearray(10)
        for receive, *args in [
            (one.recv, 10), (one.recv, 1 << 20), (one.recv, 0), (one.recv_into, room), (one.recv_into, bytearray()),
            (one.recvfrom, 10), (one.recvfrom_into, room), (one.recvmsg, 10),
        ]:  # fmt: skip
            with self.subTest(receive.__name__, args=args):
                self.assert_time(0.02, receive, *args)

    def test_datagrams_and_their_addresses(self):
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with self.subTest(family):
                one, other = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
                try:
                    one.bind((host, 0))
                    other.bind((host, 0))
                except OSError:
                    self.skipTest(f"no {host} here")
                thread = self.blocked(one.recvfrom, 100)
                other.sendto(b"x" * 10, one.getsockname())
                other.sendto(b"", one.getsockname())
                self.assertEqual(thread.wait(), (b"x" * 10, other.getsockname()))
                self.assertEqual(one.recvfrom(100), (b"", other.getsockname()))
                one.settimeout(0.02)
                self.assert_time(0.02, one.recvfrom, 100)

    def test_an_error_of_a_datagram_socket_does_not_make_it_ready_for_ever(self):
        dead = socket.socket(type=socket.SOCK_DGRAM)
        dead.bind(LOCALHOST)
        address = dead.getsockname()
        dead.close()
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.connect(address)
        reader = self.blocked(sock.recv, 10)
        sock.send(b"x")
        self.assert_errno(errno.ECONNREFUSED, reader.wait)
        sock.settimeout(0.02)
        self.assert_time(0.02, sock.recv, 10)

    def test_a_refused_connection_can_be_tried_again(self):
        listener = eventlet.listen(LOCALHOST)
        address = listener.getsockname()
        listener.close()
        sock = socket.socket()
        self.assert_errno(errno.ECONNREFUSED, sock.connect, address)
        self.assertEqual(sock.connect_ex(address), errno.ECONNREFUSED)
        listener = eventlet.listen(address)
        self.assertEqual(sock.connect_ex(address), 0)
        peer, _ = listener.accept()
        reader = self.blocked(sock.recv, 10)
        peer.sendall(b"late")
        self.assertEqual(reader.wait(), b"late")

    def test_a_connected_socket_is_not_connected_again(self):
        listener = eventlet.listen(("127.0.0.1", 0))
        for timeout in (None, 5):
            client = eventlet.connect(listener.getsockname())
            client.settimeout(timeout)
            self.assert_errno(errno.EISCONN, client.connect, listener.getsockname())
            self.assertEqual(client.connect_ex(listener.getsockname()), errno.EISCONN)

    def test_reading_from_a_socket_that_is_not_connected_raises_instead_of_spinning(self):
        self.assert_errno(errno.ENOTCONN, socket.socket().recv, 10)
        self.assert_errno(errno.ENOTCONN, socket.socket().recv_into, bytearray(10))

    def test_accept_waits_and_accepted_sockets_do_not_inherit_the_timeout(self):
        listener = eventlet.listen(LOCALHOST)
        listener.settimeout(0.02)
        self.assert_time(0.02, listener.accept)
        listener.settimeout(5)
        thread = self.blocked(listener.accept)
        client = eventlet.connect(listener.getsockname())
        server, address = thread.wait()
        self.assertIsNone(server.gettimeout())
        self.assertEqual(address, client.getsockname())
        self.assertTrue(os.get_blocking(server.fileno()))
        self.assertFalse(os.get_inheritable(server.fileno()))
        self.assertEqual((server.family, server.type), (socket.AF_INET, socket.SOCK_STREAM))

    def test_accept_gives_the_peer_of_a_unix_socket(self):
        name = f"\0eventlet-{os.getpid()}-{threading.get_ident()}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(name)
        self.assertEqual(listener.accept()[1], "")
        client = socket.socket(socket.AF_UNIX)
        client.bind(name + "-client")
        client.connect(name)
        self.assertEqual(listener.accept()[1], (name + "-client").encode())

    def test_connecting_to_a_unix_socket_waits_for_room_in_its_queue(self):
        name = f"\0eventlet-{os.getpid()}-{threading.get_ident()}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen(0)
        first, second = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        first.connect(name)
        second.settimeout(0.05)
        self.assert_time(0.05, second.connect, name)
        second.settimeout(None)
        thread = self.blocked(second.connect, name)
        listener.accept()
        thread.wait()
        listener.accept()

    def test_connect_times_out(self):
        # Nobody accepts, and the queue is full: further attempts get no answer.
        listener = eventlet.listen(LOCALHOST, backlog=0)
        clients = [plain.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        eventlet.sleep(0.05)
        sock = socket.socket()
        sock.settimeout(0.05)
        self.assert_time(0.05, sock.connect, listener.getsockname())
        sock = socket.socket()
        sock.settimeout(0.05)
        self.assertEqual(sock.connect_ex(listener.getsockname()), errno.EAGAIN)
        for client in clients:
            client.close()

    def test_large_sends_arrive_whole(self):
        for one, other in (self.tcp_pair(), self.pair()):
            data = os.urandom(1 << 20) * 8
            for buffer in (data, bytearray(data), memoryview(data), array.array("Q", data)):
                thread = eventlet.spawn(one.sendall, buffer)
                received = bytearray()
                while len(received) < len(data):
                    received += other.recv(1 << 16)
                self.assertTrue(received == data, "other bytes have arrived")
                self.assertIsNone(thread.wait())

    def test_send_and_sendall_time_out_when_nobody_reads(self):
        one, _ = self.tcp_pair()
        one.settimeout(0.02)
        self.assert_time(0.02, one.sendall, b"x" * (16 << 20))
        # What the system has moved on meanwhile made room for some more.
        self.assert_time(0.02, lambda: [one.send(b"x" * 65536) for _ in range(1000)])

    def test_the_timeout_of_sendall_begins_anew_with_each_part(self):
        one, other = self.pair()
        one.settimeout(0.6)
        thread = eventlet.spawn(one.sendall, b"x" * (1 << 20))
        begin, left = time.monotonic(), 1 << 20
        while left:
            left -= len(other.recv(1 << 15))
            eventlet.sleep(0.03)
        thread.wait()
        self.assertGreater(time.monotonic() - begin, 0.9)

    def test_only_bytes_can_be_sent(self):
        one, _ = self.pair()
        for operation in (one.send, one.sendall):
            self.assertRaises(TypeError, operation, "text")

    def test_ancillary_data_waits_too(self):
        one, other = self.pair()
        read, write = os.pipe()
        thread = self.blocked(socket_receive_fd, other)
        one.sendmsg([b"fd"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write]))])
        os.write(thread.wait(), b"!")
        self.assertEqual(os.read(read, 1), b"!")

    def test_flags_are_passed_on(self):
        one, other = self.tcp_pair()
        other.sendall(b"abc")
        eventlet.sleep(0.01)
        self.assertEqual(one.recv(10, socket.MSG_PEEK), b"abc")
        self.assertEqual(one.recv(10, socket.MSG_PEEK), b"abc")
        self.assertEqual(one.recv(10), b"abc")

    def test_a_file_is_sent(self):
        one, other = self.tcp_pair()
        with open(__file__, "rb") as file:
            sent = one.sendfile(file)
            file.seek(0)
            expected = file.read()
        one.close()
        received = b"".join(iter(lambda: other.recv(1 << 16), b""))
        self.assertEqual((sent, received), (len(expected), expected))

    def test_non_blocking_mode_raises_at_once(self):
        one, other = self.pair()
        self.assertTrue(one.getblocking())
        for switch_off, switch_on in ((lambda: one.setblocking(False), lambda: one.setblocking(True)),
                                      (lambda: one.settimeout(0), lambda: one.settimeout(None))):  # fmt: skip
            switch_off()
            self.assertEqual((one.gettimeout(), one.getblocking()), (0.0, False))
            self.assertRaises(BlockingIOError, one.recv, 10)
            self.assertRaises(BlockingIOError, one.recv_into, bytearray(10))
            with self.assertRaises(BlockingIOError):
                while True:
                    one.send(b"x" * 65536)
            switch_on()
            self.assertIsNone(one.gettimeout())
        listener = eventlet.listen(LOCALHOST)
        listener.setblocking(False)
        self.assertRaises(BlockingIOError, listener.accept)

    def test_timeouts_are_checked(self):
        one, _ = self.pair()
        self.assertRaises(TypeError, one.settimeout, "1")
        self.assertRaises(ValueError, one.settimeout, -1)
        self.assertRaises(ValueError, one.settimeout, float("nan"))
        for too_large in (1e100, float("inf"), 2**70):
            self.assertRaises(OverflowError, one.settimeout, too_large)
        one.settimeout(3)
        self.assertEqual((one.gettimeout(), one.timeout), (3.0, 3.0))

    def test_a_blocking_send_returns_when_all_is_sent(self):
        data = bytes(range(256)) * 80_000
        parts = [data[:1000], array.array("I", data[1000:])]
        for one, other in (self.pair(), self.tcp_pair()):
            for send in (one.send, lambda _: one.sendmsg(parts), lambda data: one.sendmsg([data])):
                sender = self.blocked(send, data)
                self.assertEqual(other.recv(len(data), socket.MSG_WAITALL), data)
                self.assertEqual(sender.wait(), len(data))
        sender = self.blocked(one.sendto, data, other.getsockname())
        self.assertEqual(other.recv(len(data), socket.MSG_WAITALL), data)
        self.assertEqual(sender.wait(), len(data))

    def test_a_blocking_send_that_fails_later_tells_how_much_was_sent(self):
        data = bytes(5_000_000)
        for send in (lambda one: one.send(data), lambda one: one.sendmsg([data[:10], data])):
            one, other = self.pair()
            sender = self.blocked(send, one)
            other.recv(1)
            other.close()
            sent = sender.wait()
            self.assertTrue(0 < sent < 5_000_000, sent)
            self.assertRaises(OSError, one.send, b"x")

    def test_a_send_with_a_timeout_or_a_flag_sends_what_fits(self):
        one, _ = self.pair()
        one.settimeout(5)
        self.assertLess(one.send(bytes(5_000_000)), 5_000_000)
        one, _ = self.pair()
        self.assertLess(one.send(bytes(5_000_000), socket.MSG_DONTWAIT), 5_000_000)
        one, _ = self.pair()
        self.assertLess(one.sendmsg([bytes(5_000_000)], [], socket.MSG_DONTWAIT), 5_000_000)

    def test_waitall_waits_for_all_of_it(self):
        for one, other in (self.pair(), self.tcp_pair()):
            room = bytearray(6)
            for receive, got in (
                (lambda: one.recv(6, socket.MSG_WAITALL), lambda value: value),
                (lambda: one.recv_into(room, 6, socket.MSG_WAITALL), lambda value: bytes(room[:value])),
                (lambda: one.recvfrom(6, socket.MSG_WAITALL), lambda value: value[0]),
                (lambda: one.recvfrom_into(room, 6, socket.MSG_WAITALL), lambda value: bytes(room[: value[0]])),
                (lambda: one.recvmsg(6, 0, socket.MSG_WAITALL), lambda value: value[0]),
                (
                    lambda: one.recvmsg_into([memoryview(room)[:2], memoryview(room)[2:]], 0, socket.MSG_WAITALL),
                    lambda value: bytes(room[: value[0]]),
                ),
            ):
                reader = self.blocked(receive)
                other.sendall(b"abc")
                eventlet.sleep(0.01)
                self.assertFalse(reader.dead, "half of it is not all")
                other.sendall(b"defg")
                self.assertEqual(got(reader.wait()), b"abcdef")
                self.assertEqual(one.recv(10), b"g")
            reader = self.blocked(one.recv, 6, socket.MSG_WAITALL)
            other.sendall(b"end")
            other.close()
            self.assertEqual(reader.wait(), b"end")

    def test_limits_that_the_system_was_told_are_kept(self):
        one, other = self.pair()
        listener = eventlet.listen(LOCALHOST)
        self.addCleanup(listener.close)
        for each in (one, listener):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 30_000))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 30_000))
        for call in (
            lambda: one.recv(1),
            lambda: one.recv_into(bytearray(1)),
            lambda: one.recvfrom(1),
            lambda: one.recvmsg(1),
            listener.accept,
        ):
            begin = time.monotonic()
            with self.assertRaises(BlockingIOError):
                call()
            self.assertGreater(time.monotonic() - begin, 0.025)
        self.assertGreater(one.send(bytes(4 * 1024 * 1024)), 0, "what there was room for")
        for call in (lambda: one.send(b"a"), lambda: one.sendall(b"a"), lambda: one.sendmsg([b"a"])):
            with self.assertRaises(BlockingIOError):
                call()
        other.sendall(b"half")
        self.assertEqual(one.recv(10, socket.MSG_WAITALL), b"half")
        client = eventlet.connect(listener.getsockname())
        self.addCleanup(client.close)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        with self.assertRaises(BlockingIOError):
            accepted.recv(1)  # its listener's
        # The socket's own comes first, as does a flag.
        one.settimeout(0.01)
        self.assert_time(0.01, one.recv, 1)
        one.settimeout(None)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))
        reader = self.blocked(one.recv, 1)
        eventlet.sleep(0.05)
        other.sendall(b"b")
        self.assertEqual(reader.wait(), b"b")

    def slowly(self, step, pause):
        """Calls `step` again and again, until the test ends."""

        def steps():
            while True:
                eventlet.sleep(pause)
                step()

        self.addCleanup(eventlet.spawn(steps).kill)

    def test_a_limit_is_one_for_all_parts_of_a_call(self):
        limit = struct.pack("@ll", 0, 300_000)
        for one, other in (self.pair(), self.tcp_pair()):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.slowly(lambda other=other: other.send(b"a"), 0.1)
            self.assertIn(len(one.recv(10, socket.MSG_WAITALL)), range(1, 10))
            self.assertIn(one.recv_into(bytearray(10), 10, socket.MSG_WAITALL), range(1, 10))
        one, other = self.tcp_pair()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.slowly(lambda: other.recv(40_000), 0.05)
        self.assertIn(one.send(bytes(16 * 1024 * 1024)), range(1, 16 * 1024 * 1024))

    def fill(self, one):
        with self.assertRaises(BlockingIOError):
            while True:
                one.send(bytes(100_000), socket.MSG_DONTWAIT)

    def drain(self, one):
        with self.assertRaises(BlockingIOError):
            while one.recv(1 << 20, socket.MSG_DONTWAIT):
                pass

    def test_a_limit_is_one_for_what_waits_before_the_first_part_and_after_it(self):
        for call in (
            lambda one: one.recv(10, socket.MSG_WAITALL),
            lambda one: one.recvfrom(10, socket.MSG_WAITALL)[0],
            lambda one: one.recvmsg(10, 0, socket.MSG_WAITALL)[0],
            lambda one: bytes(one.recvfrom_into(bytearray(10), 10, socket.MSG_WAITALL)[0]),
            lambda one: bytes(one.recvmsg_into([bytearray(5), bytearray(5)], 0, socket.MSG_WAITALL)[0]),
        ):
            one, other = self.pair()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 400_000))
            reader = self.blocked(call, one)
            eventlet.sleep(0.2)
            other.send(b"a")
            eventlet.sleep(0.3)
            self.assertTrue(reader.dead, "its limit was due before")
            self.assertEqual(len(reader.wait()), 1)
        for call in (
            lambda one: one.send(bytes(32 << 20)),
            lambda one: one.sendto(bytes(32 << 20), 0, one.getpeername()),
            lambda one: one.sendmsg([bytes(32 << 20), b"x"]),
        ):
            one, other = self.tcp_pair()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 400_000))
            self.fill(one)
            writer = self.blocked(call, one)
            eventlet.sleep(0.2)
            self.drain(other)
            eventlet.sleep(0.3)
            self.assertTrue(writer.dead, "its limit was due before")
            self.assertIn(writer.wait(), range(1, 32 << 20))

    def test_at_the_end_of_a_limit_a_unix_socket_takes_what_there_is_room_for(self):
        for call in (
            lambda one: one.send(bytes(240_000)),
            lambda one: one.sendmsg([bytes(240_000)]),
        ):
            one, other = self.pair()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 200_000))
            writer = self.blocked(call, one)
            for _ in range(4):
                other.recv(20_000)
            self.assertEqual(writer.wait(), 240_000)

    def test_what_is_thrown_into_a_transfer_is_not_taken_for_its_end(self):
        much = bytes(16 * 1024 * 1024)
        for call in (
            lambda one: one.send(much),
            lambda one: one.sendmsg([much]),
            lambda one: one.recv(10, socket.MSG_WAITALL),
            lambda one: one.recvmsg(10, 0, socket.MSG_WAITALL),
            lambda one: one.recvfrom_into(bytearray(10), 10, socket.MSG_WAITALL),
            lambda one: green_os.write(one.fileno(), much),
        ):
            for one, other in (self.pair(), self.tcp_pair()):
                for limit in (bytes(16), struct.pack("@ll", 9, 0)):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
                    for error in (OSError("mine"), OSError(errno.ECONNRESET, "mine"), BlockingIOError("mine")):
                        other.send(b"a")
                        with self.assertRaises(OSError) as raised, eventlet.Timeout(0.01, error):
                            call(one)
                        self.assertIs(raised.exception, error)

    def test_a_limit_that_the_system_was_told_ends_a_connect(self):
        listener = eventlet.listen(LOCALHOST, backlog=0)
        self.addCleanup(listener.close)
        waiting = []
        while True:
            client = socket.socket()
            waiting.append(client)
            self.addCleanup(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 30_000))
            code = client.connect_ex(listener.getsockname())
            if code:
                break
        self.assertEqual(code, errno.EINPROGRESS)

    def test_waitall_with_a_timeout_gives_what_there_is(self):
        one, other = self.pair()
        one.settimeout(5)
        other.sendall(b"abc")
        self.assertEqual(one.recv(6, socket.MSG_WAITALL), b"abc")

    def test_two_that_wait_for_all_do_not_share_what_they_read(self):
        pairs = [self.pair() for _ in range(2)]
        readers = [self.blocked(one.recv, 4, socket.MSG_WAITALL) for one, _ in pairs]
        for half in (b"12", b"34"):
            for number, (_, other) in enumerate(pairs):
                other.sendall(half if number else half[::-1])
            eventlet.sleep(0.01)
        self.assertEqual([reader.wait() for reader in readers], [b"2143", b"1234"])

    def test_a_shutdown_ends_the_wait_of_who_writes_and_reads_there(self):
        for one, _ in (self.pair(), self.tcp_pair()):
            writer = self.blocked(one.sendall, bytes(32 << 20))
            reader = self.blocked(one.recv, 1)
            one.shutdown(socket.SHUT_WR)
            self.assert_errno(errno.EPIPE, writer.wait)
            one.shutdown(socket.SHUT_RD)
            self.assertEqual(reader.wait(), b"")

    def test_receiving_datagrams_ends_with_a_shutdown(self):
        # The system tells that to calls that wait only, and of ours none does.
        def pairs():
            yield socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
            for each in one, other:
                each.bind(("127.0.0.1", 0))
            one.connect(other.getsockname())
            yield one, other

        calls = (
            (lambda sock: sock.recv(10), b""),
            (lambda sock: sock.recv_into(bytearray(10)), 0),
            (lambda sock: sock.recvfrom(10), (b"", None)),
            (lambda sock: sock.recvfrom_into(bytearray(10)), (0, None)),
            (lambda sock: sock.recvmsg(10), (b"", [], 0, None)),
            (lambda sock: sock.recvmsg_into([bytearray(10)]), (0, [], 0, None)),
            (lambda sock: green_os.read(sock.fileno(), 10), b""),
            (lambda sock: sock.makefile("rb", buffering=0).read(10), b""),
        )
        for receive, end in calls:
            for waits in (True, False):
                for one, other in pairs():
                    with one, other, self.subTest(end=end, waits=waits, family=one.family), eventlet.Timeout(5):
                        if waits:
                            eventlet.spawn_after(0.01, one.shutdown, socket.SHUT_RD)
                        else:
                            one.shutdown(socket.SHUT_RD)
                        self.assertEqual(receive(one), end)
                        # Who does not wait is told that there is nothing, as without us.
                        one.settimeout(0)
                        self.assertRaises(BlockingIOError, one.recv, 10)

    def test_a_call_that_need_not_wait_does_not_mind_who_waits(self):
        one, other = socket.socketpair()
        listener = socket.create_server(("127.0.0.1", 0))
        for sock in (one, other, listener):
            self.addCleanup(sock.close)
        reader, server = self.blocked(one.recv, 1), self.blocked(listener.accept)
        self.assert_errno(errno.EINVAL, one.accept)
        self.assert_errno(errno.ENOTCONN, listener.recv, 1)
        self.assert_errno(errno.ENOTCONN, listener.recv_into, bytearray(1))
        # Those that have to wait are told that somebody does.
        self.assertRaisesRegex(RuntimeError, "Second simultaneous read", one.recv, 1)
        other.send(b"x")
        self.assertEqual(reader.wait(), b"x")
        client = socket.create_connection(listener.getsockname())
        self.addCleanup(client.close)
        server.wait()[0].close()

    def test_accept_on_one_that_does_not_listen_leaves_it_blocking(self):
        listener = eventlet.listen(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        for one in (socket.socketpair()[0], eventlet.connect(listener.getsockname())):
            with one:
                self.assert_errno(errno.EINVAL, one.accept)
                self.assertTrue(os.get_blocking(one.fileno()))

    def test_a_unix_listener_that_is_shut_down_refuses_to_accept(self):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind("\0greenloom-%d-%s" % (os.getpid(), self.hub))
        listener.listen()
        server = self.blocked(listener.accept)
        listener.shutdown(socket.SHUT_RDWR)
        self.assert_errno(errno.EINVAL, server.wait)
        self.assert_errno(errno.EINVAL, listener.accept)


def socket_receive_fd(sock):
    _, ancillary, _, _ = sock.recvmsg(10, socket.CMSG_SPACE(4))
    return array.array("i", ancillary[0][2])[0]


class Waits(OnHub):
    """What ends a wait, and who may wait."""

    def test_close_wakes_who_waits_with_an_error(self):
        listener = eventlet.listen(LOCALHOST)
        full, _ = self.tcp_pair()
        full.setblocking(False)
        while True:
            try:
                full.send(b"x" * 65536)
            except BlockingIOError:
                break
        full.setblocking(True)
        empty, _ = self.tcp_pair()
        room = bytearray(10)
        for sock, operation in [
            (listener, lambda: listener.accept()), (empty, lambda: empty.recv(10)),
            (full, lambda: full.sendall(b"x" * (1 << 20))),
        ]:  # fmt: skip
            thread = self.blocked(operation)
            sock.close()
            self.assert_errno(errno.EBADF, thread.wait)
        empty, _ = self.tcp_pair()
        thread = self.blocked(empty.recv_into, room)
        empty.detach()
        self.assert_errno(errno.EBADF, thread.wait)

    def test_a_descriptor_number_used_again_confuses_nobody(self):
        old, _ = self.tcp_pair()
        number = old.fileno()
        reader = self.blocked(old.recv, 10)
        old.close()
        pairs = [self.pair()]
        while number not in (pairs[-1][0].fileno(), pairs[-1][1].fileno()):
            pairs.append(self.pair())
        new, peer = pairs[-1]
        readers = [eventlet.spawn(new.recv, 10), eventlet.spawn(peer.recv, 10)]
        eventlet.sleep(0)
        new.sendall(b"to peer")
        peer.sendall(b"to new")
        self.assertEqual([thread.wait() for thread in readers], [b"to new", b"to peer"])
        self.assert_errno(errno.EBADF, reader.wait)

    def test_a_descriptor_closed_behind_the_sockets_back_is_noticed_when_its_number_is_opened_again(self):
        old, _ = self.tcp_pair()
        number = old.fileno()
        reader = self.blocked(old.recv, 10)
        os.close(number)
        opened = [socket.socket(type=socket.SOCK_DGRAM)]
        while opened[-1].fileno() != number:
            opened.append(socket.socket(type=socket.SOCK_DGRAM))
        new = opened[-1]
        self.assertRaises(EOFError, reader.wait)
        new.settimeout(0.02)
        self.assert_time(0.02, new.recv, 10)
        old.detach()

    def test_the_hub_can_be_told_of_a_closed_descriptor(self):
        old, _ = self.tcp_pair()
        reader = self.blocked(old.recv, 10)
        hubs.notify_close(old.fileno())
        self.assertRaises(EOFError, reader.wait)
        # Nothing more is to be expected of it.
        self.assertRaises(EOFError, old.recv, 10)

    def test_who_waits_can_be_killed_and_leaves_the_socket_usable(self):
        one, other = self.pair()
        thread = self.blocked(one.recv, 10)
        thread.kill()
        thread = self.blocked(one.recv, 10)
        with self.assertRaises(eventlet.Timeout), eventlet.Timeout(0.02):
            other.recv(10)
        other.sendall(b"still here")
        self.assertEqual(thread.wait(), b"still here")
        one.sendall(b"here too")
        self.assertEqual(other.recv(10), b"here too")

    def test_a_second_reader_is_refused_unless_that_is_turned_off(self):
        one, other = self.pair()
        first = self.blocked(one.recv, 1)
        with self.assertRaisesRegex(RuntimeError, "Second simultaneous read"):
            one.recv(1)
        debug.hub_prevent_multiple_readers(False)
        try:
            second = self.blocked(one.recv, 1)
            other.sendall(b"ab")
            self.assertEqual({first.wait(), second.wait()}, {b"a", b"b"})
        finally:
            debug.hub_prevent_multiple_readers(True)

    def test_a_reader_and_a_writer_wait_at_the_same_time(self):
        one, other = self.tcp_pair()
        reader = self.blocked(one.recv, 10)
        writer = eventlet.spawn(one.sendall, b"x" * (16 << 20))
        eventlet.sleep(0.02)
        self.assertFalse(reader.dead or writer.dead)
        other.sendall(b"hello")
        self.assertEqual(reader.wait(), b"hello")
        left = 16 << 20
        while left:
            left -= len(other.recv(1 << 20))
        writer.wait()

    def test_listeners_and_operations_share_a_descriptor(self):
        one, other = self.tcp_pair()
        listens = self.blocked(lambda: hubs.trampoline(one, read=True))
        writer = eventlet.spawn(one.sendall, b"x" * (16 << 20))
        eventlet.sleep(0.02)
        other.sendall(b"hello")
        listens.wait()
        self.assertFalse(writer.dead)
        left = 16 << 20
        while left:
            left -= len(other.recv(1 << 20))
        writer.wait()
        self.assertEqual(one.recv(10), b"hello")
        reader = self.blocked(one.recv, 10)
        hubs.trampoline(one, write=True)
        other.sendall(b"again")
        self.assertEqual(reader.wait(), b"again")

    def test_two_green_sockets_of_one_descriptor(self):
        one, other = self.tcp_pair()
        same = socket.socket(one.fd)
        reader = self.blocked(one.recv, 10)
        writer = eventlet.spawn(same.sendall, b"x" * (16 << 20))
        eventlet.sleep(0.02)
        other.sendall(b"hello")
        self.assertEqual(reader.wait(), b"hello")
        left = 16 << 20
        while left:
            left -= len(other.recv(1 << 20))
        writer.wait()

    def test_half_closed_connections(self):
        one, other = self.tcp_pair()
        reader = self.blocked(other.recv, 10)
        one.shutdown(socket.SHUT_WR)
        self.assertEqual(reader.wait(), b"")
        self.assertEqual(other.recv(10), b"")
        other.sendall(b"but this way")
        self.assertEqual(one.recv(20), b"but this way")
        reader = self.blocked(one.recv, 10)
        one.shutdown(socket.SHUT_RD)
        self.assertEqual(reader.wait(), b"")

    def test_the_end_that_comes_with_the_last_data_is_seen(self):
        for _ in range(100):
            one, other = self.tcp_pair()
            reader = eventlet.spawn(lambda: b"".join(iter(lambda: one.recv(100), b"")))
            eventlet.sleep(0)
            other.sendall(b"data")
            other.close()
            self.assertEqual(reader.wait(), b"data")

    def test_a_reset_connection_reads_as_its_end(self):
        one, other = self.tcp_pair()
        reader = self.blocked(one.recv, 10)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.close()
        self.assertEqual(reader.wait(), b"")
        with self.assertRaises(OSError):
            one.sendall(b"x")

    def test_waiting_in_the_hub_itself_is_refused(self):
        one, _ = self.pair()
        caught = []

        def wait():
            try:
                one.recv(1)
            except RuntimeError as error:
                caught.append(str(error))

        hubs.get_hub().schedule_call_global(0, wait)
        eventlet.sleep(0.01)
        self.assertEqual(caught, ["do not call blocking functions from the mainloop"])


class Objects(OnHub):
    """What a green socket is besides its operations."""

    def test_it_wraps_a_socket_and_is_none(self):
        sock = socket.socket()
        self.assertIsInstance(sock, greenio.GreenSocket)
        self.assertNotIsInstance(sock, plain.socket)
        self.assertIs(sock._sock, sock)
        self.assertEqual(sock.fileno(), sock.fd.fileno())
        self.assertEqual((sock.family, sock.type, sock.proto), (socket.AF_INET, socket.SOCK_STREAM, 0))
        self.assertFalse(os.get_blocking(sock.fileno()))
        self.assertRaises(AttributeError, lambda: sock.nothing)

    def test_of_a_number(self):
        one, other = plain.socketpair()
        sock = socket.socket(fileno=one.detach())
        self.assertEqual(sock.family, socket.AF_UNIX)
        other.sendall(b"x")
        self.assertEqual(sock.recv(1), b"x")

    def test_it_is_closed_when_nobody_has_it(self):
        sock = socket.socket()
        number = sock.fileno()
        del sock
        self.assert_errno(errno.EBADF, os.fstat, number)

    def test_what_others_refer_to_is_not_closed_with_it(self):
        class Other:
            """Another kind of object, which closes itself."""

            def __init__(self, wrapped):
                self._wrapped = wrapped

            def __getattr__(self, name):
                return getattr(self._wrapped, name)

        one, other = socket.socketpair()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for wrapped in (one.fd, one, Other(one)):
                greenio.GreenSocket(wrapped)
        eventlet.spawn(one.send, b"x")
        self.assertEqual(other.recv(1), b"x")
        one.close()
        other.close()

    def test_its_files_are_of_the_modules_own_class(self):
        one, _other = socket.socketpair()
        with one.makefile("rb", 0) as file:
            self.assertIs(type(file), plain.SocketIO)
        one.close()

    def test_files_keep_the_connection_open(self):
        one, other = self.pair()
        number = one.fileno()
        read, write = one.makefile("rb"), one.makefile("wb")
        one.close()
        write.write(b"written\n")
        write.close()
        self.assertEqual(other.recv(20), b"written\n")
        other.sendall(b"line\n")
        self.assertEqual(read.readline(), b"line\n")
        os.fstat(number)
        thread = self.blocked(other.recv, 1)
        read.close()
        self.assert_errno(errno.EBADF, os.fstat, number)
        self.assertEqual(thread.wait(), b"")
        self.assert_errno(errno.EBADF, one.recv, 1)

    def test_duplicates_are_independent(self):
        one, other = self.pair()
        one.settimeout(7)
        copy = one.dup()
        self.assertEqual(copy.gettimeout(), 7)
        reader = self.blocked(copy.recv, 10)
        one.close()
        other.sendall(b"to the copy")
        self.assertEqual(reader.wait(), b"to the cop")
        copy.close()
        self.assertEqual(other.recv(10), b"")

    def test_detach_leaves_the_descriptor_open(self):
        one, other = self.pair()
        one.settimeout(0.01)
        self.assertRaises(socket.timeout, one.recv, 1)
        number = one.detach()
        self.assertEqual(one.fileno(), -1)
        other.sendall(b"x")
        self.assertEqual(os.read(number, 1), b"x")
        os.close(number)

    def test_subclasses_and_their_overrides_count(self):
        calls = []

        class Mine(greenio.GreenSocket):
            def _trampoline(self, fd, **kwargs):
                calls.append("trampoline")
                return super()._trampoline(fd, **kwargs)

            def send(self, data, flags=0):
                calls.append("send")
                return super().send(data[:3], flags)

        listener = Mine()
        listener.bind(LOCALHOST)
        listener.listen()
        client = eventlet.connect(listener.getsockname())
        server, _ = listener.accept()
        self.assertIs(type(server), Mine)
        server.sendall(b"abcdefg")
        self.assertEqual(client.makefile("rb").read(7), b"abcdefg")
        reader = self.blocked(server.recv, 10)
        client.sendall(b"x")
        reader.wait()
        self.assertEqual(calls.count("send"), 3)
        self.assertIn("trampoline", calls)

    def test_methods_set_on_the_instance_or_the_class_count(self):
        one, other = self.pair()
        sends = []
        send = one.send
        one.send = lambda data, *args: sends.append(len(data)) or send(data[:1], *args)
        one.sendall(b"abc")
        self.assertEqual(sends, [3, 2, 1])
        waits = []
        trampoline = greenio.GreenSocket._trampoline
        greenio.GreenSocket._trampoline = (
            lambda self, *args, **kwargs: waits.append(1) or trampoline(self, *args, **kwargs)
        )
        try:
            self.assertEqual(other.recv(10), b"abc")
            reader = self.blocked(other.recv, 10)
        finally:
            del greenio.GreenSocket._trampoline
        one.send(b"x")
        self.assertEqual(reader.wait(), b"x")
        self.assertEqual(waits, [1])

    def test_create_server_and_connections_are_green(self):
        with socket.create_server(LOCALHOST) as server:
            self.assertIsInstance(server, greenio.GreenSocket)
            thread = self.blocked(server.accept)
            client = socket.create_connection(server.getsockname(), timeout=3)
            self.assertEqual(client.gettimeout(), 3)
            self.assertIsInstance(thread.wait()[0], greenio.GreenSocket)

    def test_create_connection_raises_what_happened(self):
        listener = eventlet.listen(LOCALHOST)
        address = listener.getsockname()
        listener.close()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
        if "ExceptionGroup" in dir(__builtins__) or isinstance(__builtins__, dict) and "ExceptionGroup" in __builtins__:
            with self.assertRaises(ExceptionGroup):  # noqa: F821
                socket.create_connection(address, all_errors=True)

    def test_leaving_a_block_closes(self):
        with socket.socket() as sock:
            pass
        self.assertEqual(sock.fileno(), -1)


class OperationsOnPoll(Operations):
    hub = "poll"


class WaitsOnPoll(Waits):
    hub = "poll"


class ObjectsOnPoll(Objects):
    hub = "poll"


class OperationsOnSelects(Operations):
    hub = "selects"


class WaitsOnSelects(Waits):
    hub = "selects"


class Native(OnHub):
    def registered(self):
        with open(f"/proc/self/fdinfo/{hubs.get_hub()._poller_fileno()}") as info:
            return sorted(int(line.split()[1]) for line in info if line.startswith("tfd:"))

    def test_a_socket_is_registered_once_until_it_is_closed(self):
        one, other = self.pair()
        before = self.registered()
        echo = eventlet.spawn(lambda: [other.sendall(other.recv(10)) for _ in range(20)])
        seen = set()
        for _ in range(20):
            one.sendall(b"x")
            one.recv(10)
            seen.add(tuple(self.registered()))
        echo.wait()
        both = sorted([*before, one.fileno(), other.fileno()])
        self.assertEqual(seen, {tuple(both)})
        one.close()
        other.close()
        self.assertEqual(self.registered(), before)


class Threads(unittest.TestCase):
    def test_each_os_thread_has_its_hub(self):
        results = []

        def run():
            listener = eventlet.listen(LOCALHOST)

            def serve():
                for _ in range(5):
                    sock, _ = listener.accept()
                    eventlet.spawn(lambda sock=sock: sock.sendall(sock.recv(10)))

            eventlet.spawn(serve)
            for number in range(5):
                client = eventlet.connect(listener.getsockname())
                client.sendall(b"%d" % number)
                results.append(client.recv(10))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        self.assertEqual(sorted(results), sorted([b"%d" % number for number in range(5)] * 4))

    def test_the_hub_of_an_ended_os_thread_leaves_nothing_open(self):
        def run():
            hubs.use_hub("epolls")
            one, other = socket.socketpair()
            reader = eventlet.spawn(one.recv, 1)
            hubs.trampoline(other, write=True)
            other.send(b"x")
            reader.wait()

        def opened_after(count):
            for _ in range(count):
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
            gc.collect()
            return len(os.listdir("/proc/self/fd"))

        few = opened_after(3)
        # The last of the threads may not have been let go of yet.
        self.assertLess(opened_after(20) - few, 10)

    def test_one_socket_is_read_in_one_os_thread_and_written_in_another(self):
        one, other = socket.socketpair()
        received = bytearray()

        def read():
            while len(received) < 1 << 20:
                received.extend(one.recv(4096))

        reader = threading.Thread(target=read)
        reader.start()
        unfinished = iter(lambda: len(received) < 1 << 20, False)
        echo = eventlet.spawn(lambda: [other.sendall(other.recv(4096)) for _ in unfinished])
        one.sendall(b"x" * (1 << 20))
        while reader.is_alive():
            eventlet.sleep(0.01)
        echo.kill()
        self.assertEqual(len(received), 1 << 20)

    def test_close_wakes_who_waits_in_another_os_thread(self):
        one, _other = socket.socketpair()
        codes = []

        def read():
            hubs.use_hub("epolls")
            try:
                one.recv(10)
            except OSError as error:
                codes.append(error.errno)

        readers = threading.Thread(target=read)
        readers.start()
        time.sleep(0.1)
        with eventlet.Timeout(0.01, False):
            # Registered here as well.
            one.recv(10)
        one.close()
        readers.join(5)
        self.assertEqual(codes, [errno.EBADF])


class Forks(Scenario):
    def test_a_connection_is_used_on_both_sides_of_a_fork(self):
        self.check(
            """
            import eventlet, os
            from eventlet.green import socket
            one, other = socket.socketpair()
            def wait():
                return one.recv(10)
            # Registered, and somebody waits.
            reader = eventlet.spawn(wait)
            eventlet.sleep(0)
            child = os.fork()
            if child == 0:
                reader.kill()
                with eventlet.Timeout(5):
                    other.sendall(b"from child")
                    # Both processes have the same two ends.
                    eventlet.sleep(0.1)
                    assert one.recv(10) == b"to child", "wrong"
                os._exit(0)
            with eventlet.Timeout(5):
                assert reader.wait() == b"from child"
                eventlet.sleep(0)
                other.sendall(b"to child")
                while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
                    eventlet.sleep(0.01)
            assert done[1] == 0, done
            """
        )


if __name__ == "__main__":
    unittest.main()
