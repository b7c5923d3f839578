"""Each call of libc's that is hooked parks a green thread of Python: by a library that ctypes has loaded."""

import textwrap
import unittest

from module import ModuleTests

START = """
import fcntl, tempfile
library = ctypes.CDLL(FOLDER + "/libevery.so")
hooks.install(["libevery.so"])

def waits(name, *args):
    return spawn_and_reach(getattr(library, name), *args)

def is_made_elsewhere(name, *args):
    # It may be done before anybody parks, but not without an OS thread of the pool.
    before = len(os.listdir("/proc/self/task"))
    assert eventlet.spawn(getattr(library, name), *args).wait() == 0
    return len(os.listdir("/proc/self/task")) > before
"""


class EveryCall(ModuleTests):
    def check(self, program, *args, **options):
        super().check(START + textwrap.dedent(program), *args, **options)

    def test_what_waits_for_something_to_come(self):
        self.check("""
            for call in [b"read", b"readv", b"recv", b"recvfrom", b"recvmsg", b"recvmmsg", b"poll", b"ppoll",
                         b"select", b"pselect", b"epoll_wait", b"epoll_pwait"]:
                ours, theirs = socket.socketpair()
                waiting = waits("every_receive", call, ours.fileno())
                theirs.send(b"x")
                assert waiting.wait() == 1, call
        """)

    def test_a_limit_of_the_socket_ends_it_and_one_that_is_non_blocking_does_not_wait(self):
        self.check("""
            import struct
            for call in [b"read", b"readv", b"recv", b"recvfrom", b"recvmsg", b"recvmmsg"]:
                ours, theirs = socket.socketpair()
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20000))
                assert waits("every_receive", call, ours.fileno()).wait() == -errno.EAGAIN, call
                os.set_blocking(ours.fileno(), False)
                assert library.every_receive(call, ours.fileno()) == -errno.EAGAIN, call
        """)

    def test_what_sends_more_than_there_is_room_for(self):
        self.check("""
            from eventlet.green import socket
            for call in [b"write", b"writev", b"send", b"sendto", b"sendmsg", b"sendmmsg", b"sendfile"]:
                ours, theirs = socket.socketpair()
                waiting = waits("every_send", call, ours.fileno(), 3_000_000)
                left = 3_000_000
                while left:
                    left -= len(theirs.recv(left))
                assert waiting.wait() == 3_000_000, call
        """)

    def test_sleeps(self):
        self.check("""
            for call in [b"nanosleep", b"usleep", b"sleep", b"clock_nanosleep"]:
                began = time.monotonic()
                assert waits("every_sleep", call).wait() == 0, call
                assert time.monotonic() - began >= 0.02, call
        """)

    def test_connections(self):
        self.check("""
            listener = socket.create_server(("127.0.0.1", 0), backlog=0)
            for call in [b"accept", b"accept4"]:
                waiting = waits("every_accept", call, listener.fileno())
                client = socket.create_connection(listener.getsockname())
                server = socket.socket(fileno=waiting.wait())
                client.send(b"x")
                assert server.recv(1) == b"x", call
            # When the queue is full, nobody answers.
            connected = [eventlet.spawn(library.every_connect, listener.fileno()).wait() for _ in range(10)]
            assert connected[0] > 0 and connected[-1] == -errno.EINPROGRESS, connected
            assert waits("every_connect", listener.fileno()).wait() == -errno.EINPROGRESS
        """)

    def test_children(self):
        self.check("""
            for call in [b"waitpid", b"wait4", b"waitid", b"wait"]:
                reader, writer = os.pipe()
                waiting = waits("every_wait", call, reader)
                os.write(writer, b"x")
                assert waiting.wait() == 7, call
        """)

    def test_locks_of_files(self):
        self.check("""
            with tempfile.NamedTemporaryFile() as ours, open(ours.name) as theirs:
                fcntl.flock(theirs, fcntl.LOCK_EX)
                waiting = waits("every_lock", ours.fileno())
                fcntl.flock(theirs, fcntl.LOCK_UN)
                assert waiting.wait() == 0
        """)

    def test_names(self):
        for call in ["getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname_r"]:
            with self.subTest(call):
                self.check(f"assert is_made_elsewhere('every_lookup', b'{call}')")

    def test_files_if_that_is_wanted(self):
        for call in ["pread", "pread64", "pwrite", "pwrite64", "fsync", "fdatasync"]:
            for wanted in (False, True):
                with self.subTest(call, wanted=wanted):
                    program = f"assert is_made_elsewhere('every_file', b'{call}') is {wanted}"
                    self.check(program, env={"GREENLOOM_HOOKS_FILES": str(int(wanted))})

    def test_the_report_has_all_of_them(self):
        self.check("""
            (library,) = [one for one in hooks.report() if one.path.endswith("libevery.so")]
            wanted = '''
                accept accept4 clock_nanosleep close connect epoll_pwait epoll_wait fdatasync flock fsync getaddrinfo
                gethostbyname gethostbyname_r getnameinfo nanosleep poll ppoll pread pread64 pselect pwrite pwrite64
                read readv recv recvfrom recvmmsg recvmsg select send sendfile sendmmsg sendmsg sendto sleep usleep
                wait wait4 waitid waitpid write writev'''.split()
            assert list(library.calls) == wanted, set(library.calls) ^ set(wanted)
        """)


if __name__ == "__main__":
    unittest.main()
