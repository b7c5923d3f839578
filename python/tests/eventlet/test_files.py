"""Green pipes and files."""

import errno
import io
import os
import tempfile
import termios
import tty
import unittest

import eventlet
from eventlet import greenio
from eventlet.green import os as green_os

from io_support import OnHub


class Pipes(OnHub):
    def pipe(self, read_mode="rb", write_mode="wb", buffering=-1):
        read, write = os.pipe()
        return greenio.GreenPipe(read, read_mode, buffering), greenio.GreenPipe(write, write_mode, buffering)

    def test_reading_waits(self):
        read, write = self.pipe(buffering=0)
        room = bytearray(10)
        for receive in (lambda: read.read(10), lambda: bytes(room[: read.readinto(room)]), lambda: read.readline()):
            reader = self.blocked(receive)
            write.write(b"line\n")
            self.assertEqual(reader.wait(), b"line\n")

    def test_writing_waits_and_all_arrives(self):
        read, write = self.pipe()
        data = os.urandom(1 << 20)

        def fill():
            write.write(data)
            write.close()

        writer = self.blocked(fill)
        self.assertTrue(read.read() == data, "other bytes have arrived")
        writer.wait()

    def test_a_long_write_to_a_terminal_waits(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, slave)
        self.addCleanup(os.close, master)
        tty.setraw(slave)
        data = os.urandom(1 << 18)
        writer = self.blocked(green_os.write, slave, data)
        self.assertTrue(os.get_blocking(slave))
        received = b""
        while len(received) < len(data):
            # Room for less than the writer has at once.
            received += green_os.read(master, 50 if len(received) < 10_000 else 1 << 16)
            eventlet.sleep(0)
        self.assertTrue(received == data, "other bytes have arrived")
        self.assertEqual(writer.wait(), len(data))

    def test_a_terminal_waits_as_long_as_it_was_told(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        tty.setraw(slave)
        file = os.fdopen(os.dup(slave), "rb", buffering=0)
        green = green_os.fdopen(slave, "rb", buffering=0)
        self.addCleanup(file.close)
        self.addCleanup(green.close)
        self.assertEqual(green_os.write(master, b"xyz"), 3)
        for tenths in (0, 1):
            settings = termios.tcgetattr(slave)
            settings[tty.CC][termios.VMIN], settings[tty.CC][termios.VTIME] = 0, tenths
            termios.tcsetattr(slave, termios.TCSANOW, settings)
            if tenths == 0:
                self.assertEqual([green_os.read(slave, 1), green.read(1), file.read(1)], [b"x", b"y", b"z"])
            self.assertEqual([green_os.read(slave, 9), green.read(9), file.read(9)], [b""] * 3)
            self.assertEqual(green.readinto(bytearray(9)), 0)
        reader = eventlet.spawn(green_os.read, slave, 9)
        others = eventlet.spawn(os.write, master, b"key")
        self.assertEqual((reader.wait(), others.wait()), (b"key", 3))

    def test_what_was_written_before_the_reader_left_is_told(self):
        for write in (green_os.write, lambda fd, data: green_os.fdopen(fd, "wb", 0, closefd=False).write(data)):
            read, end = os.pipe()
            writer = self.blocked(write, end, bytes(1 << 20))
            received = len(green_os.read(read, 1 << 16))
            os.close(read)
            self.assertIn(writer.wait(), range(received, 1 << 20))
            self.assertRaises(BrokenPipeError, write, end, b"more")
            os.close(end)

    def test_text(self):
        read, write = self.pipe("r", "w")
        reader = self.blocked(read.readline)
        write.write("Grüße\n")
        write.flush()
        self.assertEqual(reader.wait(), "Grüße\n")
        self.assertEqual((read.mode, write.mode), ("r", "w"))

    def test_close_wakes_who_waits(self):
        read, _write = self.pipe(buffering=0)
        reader = self.blocked(read.read, 10)
        read.close()
        self.assert_errno(errno.EBADF, reader.wait)
        self.assertRaises(ValueError, read.read, 10)
        self.assertRaises(ValueError, read.fileno)
        self.assertRaises(ValueError, read.seekable)

    def test_a_closed_file_does_not_touch_a_descriptor_that_has_its_number_now(self):
        read, write = self.pipe(buffering=0)
        number = read.fileno()
        read.close()
        opened = [os.open(os.devnull, os.O_RDONLY)]
        while opened[-1] != number:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        read.close()
        del read
        for one in opened:
            os.close(one)
        write.close()

    def test_who_waits_can_be_killed_or_timed_out(self):
        read, write = self.pipe(buffering=0)
        self.blocked(read.read, 10).kill()
        with self.assertRaises(eventlet.Timeout), eventlet.Timeout(0.02):
            read.read(10)
        with self.assertRaises(BlockingIOError), eventlet.Timeout(0.02, BlockingIOError("thrown in")):
            read.read(10)
        write.write(b"still here")
        self.assertEqual(read.read(10), b"still here")

    def test_a_file_object_is_taken_over(self):
        read, write = os.pipe()
        plain = os.fdopen(read, "rb")
        green = greenio.GreenPipe(plain, "rb")
        self.assertTrue(plain.closed)
        os.write(write, b"x")
        os.close(write)
        self.assertEqual(green.read(), b"x")

    def test_closefd(self):
        read, write = os.pipe()
        greenio.GreenPipe(read, "rb", closefd=False).close()
        os.fstat(read)
        greenio.GreenPipe(write, "wb").close()
        self.assert_errno(errno.EBADF, os.fstat, write)
        os.close(read)

    def test_a_file_that_nobody_has_is_closed(self):
        read, write = self.pipe()
        number = read.fileno()
        del read
        self.assert_errno(errno.EBADF, os.fstat, number)
        write.close()

    def test_broken_pipes_raise(self):
        read, write = self.pipe(buffering=0)
        read.close()
        self.assertRaises(BrokenPipeError, write.write, b"x")


class PipesOnPoll(Pipes):
    hub = "poll"


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.name = os.path.join(folder.name, "file")

    def test_modes_do_what_open_does(self):
        with greenio.GreenPipe(self.name, "x") as file:
            file.write("one\n")
        self.assertRaises(FileExistsError, greenio.GreenPipe, self.name, "x")
        with greenio.GreenPipe(self.name, "a+") as file:
            file.write("two\n")
            file.seek(0)
            self.assertEqual(file.readlines(), ["one\n", "two\n"])
        with greenio.GreenPipe(self.name, "r+b") as file:
            file.write(b"ONE")
            file.seek(0)
            self.assertEqual(file.read(), b"ONE\ntwo\n")
            file.seek(4)
            file.truncate()
        with greenio.GreenPipe(self.name, "rb", 0) as file:
            self.assertEqual((file.seekable(), file.readable(), file.writable()), (True, True, False))
            self.assertEqual(file.readall(), b"ONE\n")
            self.assertEqual(file.tell(), 4)
            self.assertFalse(file.isatty())

    def test_kinds_of_files(self):
        for mode, buffering, kind in [
            ("wb", 0, greenio.py3.GreenFileIO), ("wb", -1, io.BufferedWriter), ("rb", 100, io.BufferedReader),
            ("r+b", -1, io.BufferedRandom), ("r", -1, io.TextIOWrapper),
        ]:  # fmt: skip
            with greenio.GreenPipe(self.name, mode, buffering) as file:
                self.assertIsInstance(file, kind)

    def test_wrong_arguments_are_refused(self):
        with open(self.name, "w"):
            pass
        for arguments in (["rw"], [""], ["b"], ["rbt"], ["r", 0], ["rb", -1, "utf-8"], ["r++"]):
            with self.subTest(arguments):
                self.assertRaises(ValueError, greenio.GreenPipe, self.name, *arguments)


if __name__ == "__main__":
    unittest.main()
