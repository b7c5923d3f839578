"""What a program puts in place of a function, a class or a clock: who uses it, and who must not."""

import os
import unittest

from scenario import Scenario

PATCHED = "import eventlet\neventlet.monkey_patch()\n"


class Replaced(Scenario):
    def check(self, program, *options, before="", **settings):
        import textwrap

        super().check(before + PATCHED + textwrap.dedent(program), *options, **settings)

    def test_create_connection_uses_what_the_module_has(self):
        self.check(
            """
            import socket
            listener = socket.create_server(("127.0.0.1", 0))
            def getaddrinfo(host, port, *rest):
                print(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname())]
            class Own(socket.socket):
                def connect(self, address):
                    print(address == listener.getsockname())
                    super().connect(address)
            socket.getaddrinfo, socket.socket = getaddrinfo, Own
            print(type(socket.create_connection(("pinned.invalid", 1))).__name__)
            """,
            prints="pinned.invalid\nTrue\nOwn\n",
        )

    def test_default_contexts_are_of_the_class_that_the_module_has(self):
        self.check(
            """
            import ssl
            assert type(ssl.create_default_context()) is ssl.SSLContext
            assert ssl._create_default_https_context is ssl.create_default_context
            class Own:
                def __init__(self, protocol):
                    self.__dict__.update(verify_flags=0, verify_mode=0)
                def load_default_certs(self, purpose):
                    self.loaded = True
                __class__ = property(lambda self: Own)
                keylog_filename = None
            ssl.SSLContext = Own
            print(ssl.create_default_context().check_hostname)
            """,
            prints="True\n",
        )

    def test_os_functions_do_not_use_what_is_put_in_place_of_others(self):
        self.check(
            """
            import os, tempfile
            def broken(*args):
                raise AssertionError(args)
            source, target = tempfile.TemporaryFile(), tempfile.TemporaryFile()
            source.write(b"x" * 10)
            source.flush()
            for name in ("fstat", "get_blocking", "close", "getpid"):
                setattr(os, name, broken)
            print(os.sendfile(target.fileno(), source.fileno(), 0, 10))
            read, write = os.pipe()
            print(os.write(write, b"x" * 10), os.read(read, 10))
            print(os.system("exit 0"))
            """,
            prints="10\n10 b'xxxxxxxxxx'\n0\n",
        )

    @unittest.skipIf(os.environ.get("EVENTLET_HUB") == "asyncio", "that clock is asyncio's own")
    def test_a_stopped_clock_stops_no_wait(self):
        self.check(
            """
            import os, queue, select, socket, subprocess, threading
            # As freezegun does, and mock.patch("time.monotonic").
            def stop(running):
                for module in list(sys.modules.values()):
                    for name, value in list(vars(module).items()):
                        if value is running:
                            setattr(module, name, lambda: 5.0)
            stop(time.monotonic)
            one, other = socket.socketpair()
            one.settimeout(0.01)
            poll = select.poll()
            poll.register(one, select.POLLIN)
            lock = threading.Lock()
            lock.acquire()
            native.acquire()
            thread = threading.Thread(target=time.sleep, args=(0.5,))
            thread.start()
            def times_out(call):
                try:
                    return not call()
                except (TimeoutError, queue.Empty):
                    return True
            for call in (
                lambda: one.recv(1),
                lambda: select.select([one], [], [], 0.01)[0],
                lambda: poll.poll(10),
                lambda: lock.acquire(timeout=0.01),
                lambda: native.acquire(timeout=0.01),
                lambda: threading.Event().wait(0.01),
                lambda: queue.SimpleQueue().get(timeout=0.01),
                lambda: thread.join(0.01),
                lambda: eventlet.sleep(0.01),
            ):
                assert times_out(call), call
            print("ends")
            """,
            before="import _thread\nnative = _thread.allocate_lock()\n",
            prints="ends\n",
        )


class System(Scenario):
    def check(self, program, **settings):
        import textwrap

        super().check(PATCHED + textwrap.dedent(program), **settings)

    def test_others_run_while_a_command_does(self):
        self.check(
            """
            import os, threading
            read, write = os.pipe()
            os.set_inheritable(read, True)
            # The command ends when another thread has written.
            threading.Thread(target=lambda: (time.sleep(0.01), os.write(write, b"x\\n"))).start()
            print(os.waitstatus_to_exitcode(os.system(f"read line <&{read}; exit 3")))
            print(os.waitstatus_to_exitcode(os.system(b"exit 4")))
            for wrong in ("a\\0b", 3):
                try:
                    os.system(wrong)
                except (TypeError, ValueError) as error:
                    print(type(error).__name__)
            """,
            prints="3\n4\nValueError\nTypeError\n",
        )


if __name__ == "__main__":
    unittest.main()
