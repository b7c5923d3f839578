"""Calls of `os` beside read and write that wait, while other green threads run; and those that transfer nothing."""

import errno
import os
import socket
import subprocess
import sys
import tempfile
import unittest

import eventlet
from eventlet.green import os as green_os

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
            locker = self.blocked(green_os.lockf, file.fileno(), os.F_LOCK, 0)
            holder.communicate()
            self.assertIsNone(locker.wait())


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
