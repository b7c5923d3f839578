"""The end of a program: for which green threads it waits."""

import pathlib
import subprocess
import sys
import time
import unittest

from scenario import Scenario

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"

_PROGRAM = """
import eventlet
eventlet.monkey_patch()
import socket, threading, time
listener = socket.create_server(("127.0.0.1", 0))
def park():
    listener.accept()
def work():
    for _ in range(3):
        time.sleep(0.2)
    print("worked", flush=True)
def loop():
    while True:
        time.sleep(0.05)
for function in ({functions},):
    threading.Thread(target=function).start()
print("last line", monotonic(), flush=True)
"""


class Ends(Scenario):
    def seconds_to_end(self, functions, **env):
        """How long after its last line a program ends that has started these, and what else it printed."""
        before, output = self.run_program(_PROGRAM.format(functions=functions), **env).split("last line ")
        self.assertEqual(before, "")
        said, _, rest = output.partition("\n")
        return time.monotonic() - float(said), rest

    def test_a_thread_that_waits_for_ever_does_not_hold_it_up(self):
        seconds, rest = self.seconds_to_end("park")
        self.assertEqual(rest, "")
        self.assertLess(seconds, 2)

    def test_finite_work_is_done_before(self):
        self.assertEqual(self.seconds_to_end("work")[1], "worked\n")
        self.assertEqual(self.seconds_to_end("park, work")[1], "worked\n")

    def test_a_thread_that_goes_on_for_ever_holds_it_up_for_a_limited_time(self):
        self.assertLess(self.seconds_to_end("loop")[0], 10)

    def test_how_long_can_be_set(self):
        self.assertEqual(self.seconds_to_end("work, loop", GREENLOOM_EXIT_WAIT="0")[1], "")
        self.assertEqual(self.seconds_to_end("work", GREENLOOM_EXIT_WAIT="inf")[1], "worked\n")
        with self.assertRaises(subprocess.TimeoutExpired):
            self.run_program(_PROGRAM.format(functions="park"), seconds=3, GREENLOOM_EXIT_WAIT="inf")

    def test_a_socket_that_is_left_open_can_still_be_told_of(self):
        # What the interpreter does to modules before it ends.
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import socket
            from eventlet.greenio import base
            one, other = socket.socketpair()
            vars(base).update(dict.fromkeys(vars(base)))
            assert "GreenSocket" in repr(one)
            assert one.getpeername() == ""
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
            one.shutdown(socket.SHUT_RDWR)
            one.close()
            """
        )

    def test_the_agent_ends_on_sigterm(self):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "agent" / "check.py")], capture_output=True, text=True, timeout=50
        )
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
