"""Whose non-blocking flag is it: descriptors stay as others expect them, and who says not to wait is not made to."""

import errno
import os
import select
import socket as plain
import sys
import threading
import unittest

import eventlet
from eventlet import greenio, hubs
from eventlet.green import os as green_os
from eventlet.green import socket

from io_support import LOCALHOST, OnHub
from scenario import Scenario


class Sockets(OnHub):
    def assert_blocking(self, *sockets):
        self.assertEqual([os.get_blocking(sock.fileno()) for sock in sockets], [True] * len(sockets))

    def test_a_socket_without_a_timeout_is_blocking_for_those_who_share_it(self):
        one, other = self.pair()
        client, server = self.tcp_pair()
        self.assert_blocking(one, other, client, server)
        reader = self.blocked(one.recv, 10)
        self.assert_blocking(one, client)
        other.sendall(b"x")
        self.assertEqual(reader.wait(), b"x")
        number = one.detach()
        self.addCleanup(os.close, number)
        self.assertTrue(os.get_blocking(number))

    def test_with_a_timeout_it_is_as_cpython_has_it(self):
        one, _ = self.pair()
        for timeout in (5, 0, None, 0.5, None):
            one.settimeout(timeout)
            self.assertEqual(os.get_blocking(one.fileno()), timeout is None, timeout)

    def test_a_listener_is_given_away_blocking(self):
        listener = eventlet.listen(LOCALHOST)
        self.blocked(listener.accept).kill()
        number = listener.detach()
        self.addCleanup(os.close, number)
        self.assertTrue(os.get_blocking(number))

    def test_two_copies_of_a_listener_accept_one_after_the_other(self):
        listener = eventlet.listen(LOCALHOST)
        copy = listener.dup()
        for one in (copy, listener):
            waiter = self.blocked(one.accept)
            client = eventlet.connect(listener.getsockname())
            waiter.wait()[0].close()
            client.close()
        copy.close()
        listener.close()

    def test_who_asks_for_the_wrapped_socket_gets_a_non_blocking_one(self):
        one, _ = self.pair()
        self.assertEqual(one.fd.gettimeout(), 0.0)
        self.assertFalse(os.get_blocking(one.fileno()))
        self.assertIsNone(one.gettimeout())
        number = one.detach()
        self.addCleanup(os.close, number)
        self.assertTrue(os.get_blocking(number))

    def test_flags_that_say_not_to_wait(self):
        one, other = self.pair()
        room = bytearray(8)
        no_wait = socket.MSG_DONTWAIT
        for call in (
            lambda: one.recv(1, no_wait),
            lambda: one.recv_into(room, 0, no_wait),
            lambda: one.recvfrom(1, no_wait),
            lambda: one.recvfrom_into(room, 0, no_wait),
            lambda: one.recvmsg(1, 0, no_wait),
            lambda: one.recvmsg_into([room], 0, no_wait),
        ):
            self.assertRaises(BlockingIOError, call)
        with self.assertRaises(BlockingIOError):
            while True:
                one.send(bytes(65536), no_wait)
        self.assertRaises(BlockingIOError, one.sendmsg, [b"x"], [], no_wait)
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(LOCALHOST)
        self.assertRaises(BlockingIOError, receiver.recv, 1, socket.MSG_ERRQUEUE)

    def test_sockets_that_are_made_non_blocking(self):
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        made = [socket.socket(socket.AF_INET, kind), *socket.socketpair(socket.AF_UNIX, kind)]
        plain.setdefaulttimeout(0.0)
        try:
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            listener = eventlet.listen(LOCALHOST)
            client = plain.create_connection(listener.getsockname(), timeout=5)
            listener.settimeout(5)
            made.append(listener.accept()[0])
        finally:
            plain.setdefaulttimeout(None)
        made[0].bind(LOCALHOST)
        made[3].bind(LOCALHOST)
        for sock in made:
            self.addCleanup(sock.close)
            self.assertEqual((sock.gettimeout(), sock.getblocking()), (0.0, False))
            self.assertRaises(BlockingIOError, sock.recv, 1)
        client.close()
        listener.close()

    def test_a_flag_that_the_program_sets_is_obeyed(self):
        one, other = self.pair()
        other.sendall(b"data")
        self.assertEqual(one.recv(100), b"data")
        os.set_blocking(one.fileno(), False)
        self.assertRaises(BlockingIOError, one.recv, 1)
        self.assertRaises(BlockingIOError, one.recvmsg, 1)
        os.set_blocking(one.fileno(), True)
        reader = self.blocked(one.recv, 1)
        other.sendall(b"x")
        self.assertEqual(reader.wait(), b"x")

    def test_nothing_is_read_or_written_at_once(self):
        one, other = self.pair()
        self.assertEqual((one.recv(0), one.recv_into(bytearray()), one.send(b"")), (b"", 0, 0))

    def test_what_accept_returns_in_non_blocking_mode_is_green(self):
        listener = eventlet.listen(LOCALHOST)
        listener.setblocking(False)
        client = eventlet.connect(listener.getsockname())
        select.select([listener.fileno()], [], [], 5)
        server, _ = listener.accept()
        self.assertIsInstance(server, greenio.GreenSocket)
        self.assertIsNone(server.gettimeout())
        reader = self.blocked(server.recv, 10)
        client.sendall(b"x")
        self.assertEqual(reader.wait(), b"x")
        for sock in (listener, client, server):
            sock.close()

    def test_closed_is_told_after_close_and_detach(self):
        one, other = self.pair()
        self.assertEqual((one._closed, other._closed), (False, False))
        one.close()
        os.close(other.detach())
        self.assertEqual((one._closed, other._closed), (True, True))

    def test_repr_is_as_cpython_has_it(self):
        one, _ = self.pair()
        self.assertIn(repr(one.fd).partition(" ")[2].partition(", proto")[0], repr(one))
        one.close()
        self.assertIn("[closed]", repr(one))

    def test_one_that_is_dropped_open_is_warned_of(self):
        one, _other = socket.socketpair()
        text = repr(one)
        with self.assertWarns(ResourceWarning) as caught:
            del one
        self.assertIn(text, str(caught.warning))

    def test_a_message_longer_than_its_buffer_is_told_of(self):
        receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        self.addCleanup(sender.close)
        sender.send(bytes(100))
        ask = 1, socket.MSG_PEEK | socket.MSG_TRUNC
        if sys.version_info < (3, 15):
            self.assertEqual(len(receiver.recv(*ask)), 100)
        else:
            # 3.15.2 itself stumbles over the length.
            self.assertRaises(ValueError, receiver.recv, *ask)
        self.assertEqual(len(receiver.recv(100)), 100)

    def test_urgent_data_hides_nothing_behind_it(self):
        client, server = self.tcp_pair()
        self.blocked(server.recv, 1).kill()
        client.sendall(b"before")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"behind")
        reader = self.blocked_or_done(server)
        self.assertEqual(reader.wait(), b"beforebehind")

    def test_an_urgent_byte_that_is_not_there_is_not_waited_for(self):
        one, other = self.pair()
        _client, server = self.tcp_pair()
        for sock in (other, server):
            # It is known to be empty then.
            self.blocked(sock.recv, 1).kill()
            for receive in (sock.recv, sock.recvfrom):
                self.assert_errno(errno.EINVAL, receive, 1, socket.MSG_OOB)
            self.assert_errno(errno.EINVAL, sock.recv_into, bytearray(1), 1, socket.MSG_OOB)
        one.send(b"x")
        self.assertEqual(other.recv(1), b"x")

    def blocked_or_done(self, sock):
        def read_all():
            got = b""
            while len(got) < 12:
                got += sock.recv(100)
            return got

        return eventlet.spawn(read_all)

    def test_descriptors_in_a_unix_stream_hide_nothing_behind_them(self):
        one, other = self.pair()
        read, write = os.pipe()
        # Both ends are known to the hub then.
        self.blocked(one.recv, 1).kill()
        socket.send_fds(other, [b"with"], [read])
        other.sendall(b"behind")
        self.assertEqual(one.recv(100), b"with")
        self.assertEqual(one.recv(100), b"behind")
        os.close(read)
        os.close(write)


class SocketsOnPoll(Sockets):
    hub = "poll"


class Files(OnHub):
    def test_a_green_file_leaves_its_descriptor_as_it_is(self):
        read, write = os.pipe()
        with green_os.fdopen(read, "rb") as reader, greenio.GreenPipe(write, "wb", 0) as writer:
            waiter = self.blocked(reader.read, 4)
            self.assertTrue(os.get_blocking(read) and os.get_blocking(write))
            writer.write(b"data")
            self.assertEqual(waiter.wait(), b"data")

    def test_reading_and_writing_obey_a_flag_that_the_program_has_set(self):
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        self.assertRaises(BlockingIOError, green_os.read, read, 1)
        with self.assertRaises(BlockingIOError):
            while True:
                green_os.write(write, bytes(65536))
        with green_os.fdopen(write, "wb", 0) as writer, green_os.fdopen(read, "rb", 0) as reader:
            self.assertIsNone(writer.write(b"x"))
            while reader.read(1 << 20):
                pass
            self.assertIsNone(reader.read(1))

    def test_a_message_is_written_whole(self):
        for kind in (plain.SOCK_DGRAM, plain.SOCK_SEQPACKET):
            one, other = plain.socketpair(plain.AF_UNIX, kind)
            with one, other:
                self.assertEqual(green_os.write(one.fileno(), bytes(9000)), 9000)
                self.assertEqual(len(other.recv(65536)), 9000)

    def test_the_wrong_end_of_a_pipe_is_an_error_at_once(self):
        read, write = os.pipe()
        self.assertRaises(OSError, green_os.write, read, b"x")
        self.assertRaises(OSError, green_os.read, write, 1)
        with eventlet.Timeout(5):
            self.assertRaises(OSError, green_os.readv, write, [bytearray(1)])
            self.assertRaises(OSError, green_os.eventfd_read, write)
            self.assertRaises(OSError, green_os.eventfd_write, read, 1)
        os.close(read)
        os.close(write)

    def test_terminals_are_read_and_written(self):
        master, slave = os.openpty()
        reader = self.blocked(green_os.read, slave, 100)
        self.assertEqual(green_os.write(master, b"line\n"), 5)
        self.assertEqual(reader.wait(), b"line\n")
        self.assertTrue(os.get_blocking(master) and os.get_blocking(slave))
        os.close(master)
        os.close(slave)

    def test_name_and_mode_are_those_of_a_plain_file(self):
        for mode in ("rb", "wb"):
            number = os.open(os.devnull, os.O_RDWR)
            with green_os.fdopen(number, mode) as file:
                self.assertEqual((file.name, file.mode, file.raw.closefd), (number, mode, True))
        with green_os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb", 0) as file:
            self.assertFalse(green_os.fdopen(file.fileno(), "rb", 0, closefd=False).closefd)

    def test_a_folder_is_no_file(self):
        folder = os.open("/", os.O_RDONLY)
        self.addCleanup(os.close, folder)
        self.assertRaises(IsADirectoryError, green_os.fdopen, folder, "rb")

    def test_two_green_threads_write_to_one_buffered_file(self):
        read, write = os.pipe()
        with greenio.GreenPipe(read, "rb") as reader, greenio.GreenPipe(write, "wb", 8192) as writer:
            first = self.blocked(writer.write, bytes(1 << 18))
            second = self.blocked(writer.write, bytes(1 << 18))
            self.assertEqual(len(reader.read((1 << 19) - 8192)), (1 << 19) - 8192)
            first.wait()
            second.wait()
            flush = eventlet.spawn(writer.flush)
            self.assertEqual(len(reader.read(8192)), 8192)
            flush.wait()


class FilesOnPoll(Files):
    hub = "poll"


class Turns(OnHub):
    """What returns at once, again and again, lets others run."""

    def assert_fair(self, operation):
        ran = threading.Event()
        eventlet.spawn_after(0.001, ran.set)
        while not ran.is_set():
            operation()

    def test_reads_and_writes(self):
        one, other = self.pair()
        self.assert_fair(lambda: (other.send(b"x"), one.recv(1)))
        self.assert_fair(lambda: (other.sendmsg([b"x"]), one.recvmsg(1)))
        read, write = os.pipe()
        self.assert_fair(lambda: (green_os.write(write, b"x"), green_os.read(read, 1)))
        with greenio.GreenPipe(read, "rb", 0) as reader, greenio.GreenPipe(write, "wb", 0) as writer:
            self.assert_fair(lambda: (writer.write(b"x"), reader.read(1)))

    def test_select_and_poll(self):
        from eventlet.green import select as green

        one, _ = self.pair()
        self.assert_fair(lambda: green.select([], [one], [], 1))
        poller = green.poll()
        poller.register(one, select.POLLOUT)
        self.assert_fair(lambda: poller.poll(1000))
        with green.epoll() as epoll:
            epoll.register(one.fileno(), select.EPOLLOUT)
            self.assert_fair(lambda: epoll.poll(1))

    def test_not_in_the_hub_itself(self):
        one, other = self.pair()
        done = []

        def run():
            for _ in range(2000):
                other.send(b"x")
                done.append(one.recv(1))

        hubs.get_hub().schedule_call_global(0, run)
        eventlet.sleep(0.05)
        self.assertEqual(len(done), 2000)


class TurnsOnPoll(Turns):
    hub = "poll"


class TurnsOnAsyncio(Turns):
    hub = "asyncio"


class Selecting(OnHub):
    """One waits in select or poll for a descriptor that another reads."""

    def test_in_either_order(self):
        from eventlet.green import select as green

        poller = green.poll()

        def poll(number):
            poller.register(number, select.POLLIN)
            poller.poll(5000)

        for wait in (poll, lambda number: green.select([number], [], [], 5)):
            for select_first in (True, False):
                read, write = os.pipe()
                read_one = (green_os.read, read, 1)
                calls = [(wait, read), read_one] if select_first else [read_one, (wait, read)]
                first, second = (self.blocked(*call) for call in calls)
                os.write(write, b"xy")
                results = [first.wait(), second.wait()]
                self.assertIn(b"x", results)
                os.close(read)
                os.close(write)


class SelectingOnPoll(Selecting):
    hub = "poll"


class Handed(Scenario):
    def test_a_pipe_that_is_read_here_is_blocking_in_a_child(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import subprocess
            slow = [sys.executable, "-c", "import time; time.sleep(0.4); print('hello')"]
            first = subprocess.Popen(slow, stdout=subprocess.PIPE)
            second = subprocess.Popen(["cat"], stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            first.stdout.close()
            assert second.communicate(timeout=10) == (b"hello\\n", b"")
            """
        )

    def test_a_program_that_closes_all_descriptors_goes_on(self):
        for close in ("os.closerange(3, 256)", "[close(number) for number in range(3, 256)]"):
            self.check(
                f"""
                import eventlet
                eventlet.monkey_patch()
                import os, socket
                def close(number):
                    try:
                        os.close(number)
                    except OSError:
                        pass
                def work():
                    one, other = socket.socketpair()
                    eventlet.spawn_after(0.01, other.sendall, b"x")
                    assert one.recv(1) == b"x"
                    # Now, and not when whoever was awaited lets go of them.
                    one.close()
                    other.close()
                work()
                late = []
                eventlet.spawn_after(0.05, late.append, 1)
                {close}
                files = [os.open(os.devnull, os.O_RDWR) for _ in range(8)]
                work()
                eventlet.sleep(0.06)
                assert late
                [os.fstat(number) for number in files]
                """
            )

    def test_the_child_of_a_fork_keeps_what_it_has_opened_since(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os
            eventlet.sleep(0.01)
            def child(depth):
                pid = os.fork()
                if pid:
                    return os.waitpid(pid, 0)[1] == 0
                ok = False
                try:
                    os.closerange(3, 256)
                    files = [os.open(os.devnull, os.O_RDWR) for _ in range(8)]
                    read, write = os.pipe()
                    eventlet.spawn_after(0.01, os.write, write, b"x")
                    ok = os.read(read, 1) == b"x" and (depth == 0 or child(depth - 1))
                    [os.fstat(number) for number in files]
                finally:
                    os._exit(0 if ok else 1)
            assert child(1)
            """
        )

    def test_every_wait_for_a_child_lets_others_run(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, subprocess
            count = ticks()
            for wait in (
                lambda pid: os.wait3(0),
                lambda pid: os.wait4(pid, 0),
                lambda pid: os.waitid(os.P_PID, pid, os.WEXITED),
            ):
                before = count[0]
                wait(subprocess.Popen(["sleep", "0.2"]).pid)
                assert count[0] - before > 10, count
            assert os.open in os.supports_dir_fd
            """
        )

    def test_sendfile_waits_for_room(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, socket, tempfile
            with tempfile.TemporaryFile() as file:
                file.write(bytes(1 << 22))
                for method in ("sendfile", "_sendfile_use_sendfile", "_sendfile_use_send"):
                    one, other = socket.socketpair()
                    file.seek(0)
                    sending = eventlet.spawn(getattr(one, method), file)
                    got = 0
                    while got < 1 << 22:
                        got += len(other.recv(1 << 20))
                    assert sending.wait() == 1 << 22
                    assert os.get_blocking(one.fileno())
            """
        )



if __name__ == "__main__":
    unittest.main()
