"""Calls of `os` beside read and write that wait, while other green threads run; and those that transfer nothing."""

import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import eventlet
from eventlet.green import fcntl as green_fcntl
from eventlet.green import os as green_os
from eventlet.green import socket as green_socket

from io_support import OnHub


class Calls(OnHub):
    def test_vectors_are_read_and_written_while_others_run(self):
        read, write = os.pipe()
        rooms = bytearray(3), bytearray(10)
        reader = self.blocked(green_os.readv, read, rooms)
        self.assertEqual(green_os.writev(write, [b"abc", memoryview(b"de")]), 5)
        self.assertEqual((reader.wait(), *map(bytes, rooms)), (5, b"abc", b"de".ljust(10, b"\0")))
        writer = self.blocked(green_os.writev, write, [bytes(100_000)] * 3)
        received = 0
        while received < 300_000:
            received += len(green_os.read(read, 65536))
        self.assertEqual(writer.wait(), 300_000)
        os.set_blocking(read, False)
        self.assertRaises(BlockingIOError, green_os.readv, read, [bytearray(1)])
        self.assert_errno(errno.EINVAL, green_os.writev, write, [b"x"] * 2000)
        os.close(read)
        os.close(write)
        self.assertRaises(OSError, green_os.readv, read, [bytearray(1)])

    def test_an_eventfd_is_waited_for(self):
        fd = os.eventfd(0)
        self.addCleanup(os.close, fd)
        reader = self.blocked(green_os.eventfd_read, fd)
        green_os.eventfd_write(fd, 7)
        self.assertEqual(reader.wait(), 7)

    def test_splice_waits_for_what_comes(self):
        (read, write), (far_read, far_write) = os.pipe(), os.pipe()
        mover = self.blocked(green_os.splice, read, far_write, 100)
        os.write(write, b"moved")
        self.assertEqual((mover.wait(), os.read(far_read, 100)), (5, b"moved"))
        for fd in (read, write, far_read, far_write):
            os.close(fd)

    def test_a_lock_of_another_process_is_waited_for(self):
        with tempfile.TemporaryFile() as file:
            program = (
                "import os, sys; os.lockf(int(sys.argv[1]), os.F_LOCK, 0); print(flush=True); sys.stdin.read()"
            )
            holder = subprocess.Popen(
                [sys.executable, "-c", program, str(file.fileno())],
                pass_fds=[file.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            holder.stdout.readline()
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            lockers = [
                self.blocked(green_os.lockf, file.fileno(), os.F_LOCK, 0),
                self.blocked(green_fcntl.lockf, file, fcntl.LOCK_EX),
                self.blocked(green_fcntl.fcntl, file, fcntl.F_SETLKW, lock),
            ]
            with self.assertRaises(BlockingIOError):
                green_fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.communicate()
            self.assertEqual([locker.wait() for locker in lockers][:2], [None, None])

    def test_a_lock_of_another_open_file_is_waited_for(self):
        with tempfile.NamedTemporaryFile() as file, open(file.name) as other:
            green_fcntl.flock(file, fcntl.LOCK_EX)
            locker = self.blocked(green_fcntl.flock, other.fileno(), fcntl.LOCK_EX)
            with self.assertRaises(BlockingIOError):
                green_fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            green_fcntl.flock(file, fcntl.LOCK_UN)
            self.assertIsNone(locker.wait())
            shared = self.blocked(green_fcntl.flock, file, fcntl.LOCK_SH)
            shared.kill()
            for refused in (
                lambda: green_fcntl.flock(-1, fcntl.LOCK_EX),
                lambda: green_fcntl.flock(file, "a"),
                lambda: green_fcntl.lockf(other, fcntl.LOCK_EX),
            ):
                self.assertRaises((ValueError, TypeError, OSError), refused)

    def test_a_blocking_socket_takes_all_of_a_file(self):
        one, other = socket.socketpair()
        data = bytes(range(256)) * 8192
        with tempfile.TemporaryFile() as file, one, other:
            file.write(data)
            file.flush()
            sender = self.blocked(green_os.sendfile, one.fileno(), file.fileno(), 1, len(data))
            received = b""
            while len(received) < len(data) - 1:
                received += green_os.read(other.fileno(), 1 << 20)
            self.assertEqual(received, data[1:])
            self.assertEqual(sender.wait(), len(data) - 1)

    def test_what_of_a_file_was_sent_before_the_reader_left_is_told(self):
        one, other = socket.socketpair()
        with tempfile.TemporaryFile() as file, one:
            file.truncate(1 << 22)
            sender = self.blocked(green_os.sendfile, one.fileno(), file.fileno(), 0, 1 << 22)
            received = len(green_os.read(other.fileno(), 1 << 16))
            other.close()
            self.assertIn(sender.wait(), range(received, 1 << 22))
            self.assertRaises(BrokenPipeError, green_os.sendfile, one.fileno(), file.fileno(), 0, 1)

    def test_limits_that_the_system_was_told_are_kept(self):
        one, other = green_socket.socketpair()
        with one, other:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                one.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", 0, 30_000))
            self.assertRaises(BlockingIOError, green_os.read, one.fileno(), 1)
            self.assertGreater(green_os.write(one.fileno(), bytes(4 << 20)), 0)
            self.assertRaises(BlockingIOError, green_os.write, one.fileno(), b"a")
            self.assertRaises(BlockingIOError, green_os.readv, one.fileno(), [bytearray(1)])
            self.assertRaises(BlockingIOError, green_os.preadv, one.fileno(), [bytearray(1)], -1)
            self.assertRaises(BlockingIOError, green_os.writev, one.fileno(), [b"a", b"b"])
            read, write = os.pipe()
            os.write(write, b"abc")
            self.assertRaises(BlockingIOError, green_os.splice, read, one.fileno(), 3)
            self.assertRaises(BlockingIOError, green_os.splice, one.fileno(), write, 3)
            os.close(read)
            os.close(write)

    def test_a_limit_is_one_for_all_parts_of_a_call(self):
        one, other = self.tcp_pair()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 400_000))
        writer = self.blocked(green_os.write, one.fileno(), bytes(32 << 20))
        eventlet.sleep(0.2)
        with self.assertRaises(BlockingIOError):
            while other.recv(1 << 20, socket.MSG_DONTWAIT):
                pass
        eventlet.sleep(0.3)
        self.assertTrue(writer.dead, "its limit was due before")
        self.assertIn(writer.wait(), range(1, 32 << 20))

    def test_a_limit_of_a_unix_socket_is_for_each_part_and_ends_with_a_try(self):
        with tempfile.TemporaryFile() as file:
            file.write(bytes(300_000))
            file.flush()
            for call, size in (
                (lambda fd: green_os.write(fd, bytes(240_000)), 240_000),
                (lambda fd: green_os.writev(fd, [bytes(240_000)]), 240_000),
                (lambda fd: green_os.sendfile(fd, file.fileno(), 0, 300_000), 300_000),
            ):
                one, other = self.pair()
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 200_000))
                writer = self.blocked(call, one.fileno())
                for _ in range(4):
                    other.recv(20_000)
                self.assertEqual(writer.wait(), size)

    def test_the_position_of_a_file_that_waits_is_read_and_written_while_others_run(self):
        read, write = os.pipe()
        room = bytearray(10)
        reader = self.blocked(green_os.preadv, read, [room], -1)
        self.assertEqual(green_os.pwritev(write, [b"abc"], -1), 3)
        self.assertEqual((reader.wait(), room[:3]), (3, b"abc"))
        writer = self.blocked(green_os.pwritev, write, [bytes(100_000)] * 2, -1)
        received = 0
        while received < 200_000:
            received += len(os.read(read, 65536))
            eventlet.sleep(0)
        self.assertEqual(writer.wait(), 200_000)
        os.close(read)
        os.close(write)
        with tempfile.TemporaryFile() as file:
            self.assertEqual(green_os.pwritev(file.fileno(), [b"ab", b"c"], 1), 3)
            self.assertEqual((green_os.preadv(file.fileno(), [room], 0), room[:4]), (4, b"\0abc"))


class CallsOnPoll(Calls):
    hub = "poll"


class CallsOnSelects(Calls):
    hub = "selects"


class CallsOnAsyncio(Calls):
    hub = "asyncio"


class NothingToTransfer(OnHub):
    def test_nothing_to_transfer_finds_the_same_errors_as_without_us(self):
        for call, make, number in (
            (lambda fd: green_os.write(fd, b""), self._closed, errno.EBADF),
            (lambda fd: green_os.write(fd, b""), self._without_peer, errno.EPIPE),
            (lambda fd: green_os.write(fd, b""), lambda: os.eventfd(0), errno.EINVAL),
            (lambda fd: green_os.read(fd, 0), self._closed, errno.EBADF),
            (lambda fd: green_os.read(fd, 0), lambda: os.open("/", os.O_RDONLY), errno.EISDIR),
        ):
            fd = make()
            with self.assertRaises(OSError) as raised:
                call(fd)
            self.assertEqual(raised.exception.errno, number)
            if number != errno.EBADF:
                os.close(fd)

    def test_nothing_to_transfer_does_not_wait(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        os.set_blocking(write, False)
        os.write(write, bytes(1 << 20))
        os.set_blocking(write, True)
        empty, other_end = os.pipe()
        self.addCleanup(os.close, empty)
        self.addCleanup(os.close, other_end)
        with eventlet.Timeout(5):
            self.assertEqual(
                (
                    green_os.write(write, b""), green_os.writev(write, [b""]), green_os.read(empty, 0),
                    green_os.readv(empty, []), green_os.splice(empty, write, 0),
                ),
                (0, 0, b"", 0, 0),
            )  # fmt: skip

    def test_an_empty_message_is_sent_and_waits_for_room(self):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with one, other:
            self.assertEqual(green_os.write(one.fileno(), b""), 0)
            one.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    one.send(b"x")
            one.setblocking(True)
            writer = self.blocked(green_os.write, one.fileno(), b"")
            other.setblocking(False)
            self.assertEqual(other.recv(10), b"")
            with self.assertRaises(BlockingIOError):
                while True:
                    self.assertEqual(other.recv(10), b"x")
            self.assertEqual((writer.wait(), other.recv(10)), (0, b""))

    @staticmethod
    def _closed():
        # A number that nothing of this process has.
        return 100_000

    @staticmethod
    def _without_peer():
        one, other = socket.socketpair()
        other.close()
        return one.detach()


if __name__ == "__main__":
    unittest.main()
