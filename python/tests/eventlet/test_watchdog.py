"""What the watchdog says of hubs that do not move, and that it changes nothing for them."""

import contextlib
import os
import subprocess
import sys
import unittest

from inspect_support import ask_of, greenloom_command, look, program


class Watchdog(unittest.TestCase):
    def blocked_by(self, what, until=("moves again",)):
        """What is said of a program whose green thread blocks its hub, until that was said."""
        script = f"""
            import eventlet, threading, time, ctypes
            lock = threading.Lock()
            def culprit():
                {what}
            eventlet.sleep(0)
            print("ready", flush=True)
            eventlet.spawn(culprit).wait()
            eventlet.sleep(1000)
        """
        lines = []
        with program(script, GREENLOOM_WATCHDOG="50") as process:
            while not all(said in "".join(lines) for said in until):
                lines.append(process.stderr.readline())
        self.assertRegex(lines[0], r"^greenloom: hub 0 has not moved for \d+ ms: ")
        return lines

    def test_a_line_of_python_that_blocks_is_named(self):
        blocked, *_ = self.blocked_by("time.sleep(0.3)")
        self.assertIn("it runs <string>:5 culprit", blocked)
        self.assertRegex(blocked, "it is in the system call (clock_nanosleep|p?select)")

    def test_a_loop_that_does_not_end_is_named(self):
        loop = "end = time.monotonic() + 0.3\n                while time.monotonic() < end: pass"
        blocked, *_ = self.blocked_by(loop)
        self.assertRegex(blocked, r"it runs <string>:6 culprit < ")
        # That the interpreter runs it is nothing new.
        self.assertNotIn("EvalFrame", blocked)

    def test_a_lock_that_is_not_given_back_is_told_from_other_waits(self):
        blocked, *_ = self.blocked_by("lock.acquire(); lock.acquire(timeout=0.3)")
        self.assertIn("it runs <string>:5 culprit", blocked)
        self.assertRegex(blocked, r"it waits for a lock \(futex 0x.*make it after eventlet.monkey_patch\(\)")

    def test_the_line_that_called_c_code_which_holds_the_interpreter_s_lock_is_named(self):
        blocked, *_ = self.blocked_by("ctypes.PyDLL(None).usleep(300000)")
        self.assertIn("it runs <string>:5 culprit < ", blocked)
        # And the function of C. musl's has no unwind tables.
        self.assertRegex(blocked, r"it is in the system call clock_nanosleep; in .*(usleep|musl)")
        blocked, *_ = self.blocked_by("ctypes.PyDLL(None).usleep(900000)")
        self.assertIn("C code holds the interpreter's lock; it runs <string>:5 culprit < ", blocked)

    def test_many_hubs_that_wait_for_the_interpreter_s_lock_are_told_of_while_c_code_holds_it(self):
        waits = """
            import ctypes, eventlet, sys
            threading = eventlet.patcher.original("threading")
            begun = threading.Barrier(31)
            def busy():
                begun.wait()
                while True:
                    eventlet.sleep(0)
            for _ in range(30):
                threading.Thread(target=lambda: eventlet.spawn(busy).wait(), daemon=True).start()
            def culprit():
                ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)
            begun.wait()
            print("ready", flush=True)
            eventlet.spawn(culprit).wait()
            eventlet.sleep(1000)
        """
        # Of so many hubs more may be said than a pipe has room for.
        with program(waits, subprocess.DEVNULL, GREENLOOM_WATCHDOG="500") as process:
            with contextlib.closing(ask_of(process.pid)) as asks:

                def blocked():
                    return {hub["number"]: hub for hub in asks(ask="hubs")["hubs"] if "blocked" in hub}

                # It lasts as long as it does not read what comes below, and whoever asks is answered meanwhile.
                while 0 not in blocked():
                    pass
                self.assertIn("greenloom_switches_total", asks(ask="metrics")["metrics"])
                for _ in range(3):
                    problem, = asks(ask="stacks")["stacks"]["problems"]
                    self.assertIn("the interpreter's lock was not to be had", problem)
                found = blocked()
                process.stdin.write("x")
                process.stdin.flush()
                while 0 in blocked():
                    pass
        culprit = found[0]["whereabouts"]
        self.assertIn("C code holds the interpreter's lock; it runs <string>:12 culprit < ", culprit)
        for hub in found.values():
            # Now and then it looks up.
            waits = "it waits for a lock" in hub["whereabouts"]
            if waits and any(frame["function"] == "take_gil" for frame in hub["backtrace"]):
                self.assertIn("that is the interpreter's lock, which another OS thread has", hub["whereabouts"])
                self.assertNotIn("monkey_patch", hub["whereabouts"])

    def test_c_code_that_computes_is_named(self):
        blocked, *_ = self.blocked_by("__import__('re').match('(a+)+b', 'a' * 24)")
        self.assertIn(":5 culprit < ", blocked)
        # Where the interpreter has no symbols, it is the file and the address.
        self.assertRegex(blocked, "; it runs; in .*(sre_|python)")
        self.assertNotIn("EvalFrame", blocked)

    def test_it_is_said_that_native_code_is_not_known_where_no_signal_gets_through(self):
        deaf = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"
        blocked, *_ = self.blocked_by(f"{deaf}; __import__('re').match('(a+)+b', 'a' * 24)")
        self.assertIn("its native code is not known: it runs, and blocks or handles every signal", blocked)

    def test_system_calls_of_what_blocks_do_not_end_for_it(self):
        # Nothing in between begins a system call anew, as Python would.
        polls = "print('polled', ctypes.CDLL(None, use_errno=True).poll(None, 0, 500), ctypes.get_errno(), " \
            "file=__import__('sys').stderr, flush=True)"
        lines = self.blocked_by(polls, until=("moves again", "polled"))
        self.assertRegex(lines[0], r"it is in the system call p?poll; in .*(poll|musl)")
        self.assertIn("polled 0 0\n", lines)

    def test_lines_are_read_without_the_lock_whatever_they_look_like(self):
        holds = "holds = ctypes.PyDLL(None).usleep"
        for source, line, file, function in (
            ("\n" * 3000 + "def far(\n): holds(\n\n300000)\nfar()", 3002, "far.py", "far"),
            ("class \u03b1:\n  def \xe9(self):\n    for _ in range(1):\n\n\n\n      holds(300000)\n\u03b1().\xe9()",
             7, "\xe4.py", "\u03b1.\xe9" if sys.version_info >= (3, 11) else "\xe9"),
            ("def last():\n  x = [\n   1,\n   holds(300000),\n   3]\nlast()", 4, "\U0001f40d.py", "last"),
        ):
            with self.subTest(file):
                runs = f"exec(compile({source!r}, {file!r}, 'exec'), dict(holds=holds))"
                blocked, *_ = self.blocked_by(f"{holds}; {runs}")
                self.assertIn(f"it runs {file}:{line} {function} < {file}:", blocked)

    def test_code_that_comes_and_goes_is_read_without_a_fault(self):
        changes = """
            import eventlet, time
            def nested(depth, end):
                code = compile("def inner(): return [n for n in range(50)]\\ninner()", "x" * depth, "exec")
                while time.monotonic() < end:
                    exec(code, {})
                    if depth < 20:
                        nested(depth + 1, min(end, time.monotonic() + 0.001))
            eventlet.sleep(0)
            print("ready", flush=True)
            for _ in range(100):
                eventlet.spawn(nested, 1, time.monotonic() + 0.01).wait()
        """
        with program(changes, GREENLOOM_WATCHDOG="1") as process:
            said = process.stderr.read()
            self.assertEqual(process.wait(30), 0)
        self.assertIn(" nested", said)

    def test_what_it_finds_is_a_record_of_a_logger_that_is_handled(self):
        logs = """
            import eventlet, logging, time
            eventlet.monkey_patch(time=False)
            logging.basicConfig(stream=__import__("sys").stdout, format="%(name)s %(levelname)s %(message)s")
            def culprit():
                time.sleep(0.3)
            eventlet.sleep(0)
            print("ready", flush=True)
            eventlet.spawn(culprit).wait()
            while True:
                eventlet.sleep(0.01)
        """
        with program(logs, GREENLOOM_WATCHDOG="50") as process:
            lines = [process.stdout.readline(), process.stdout.readline()]
        self.assertRegex(lines[0], r"^greenloom WARNING hub 0 has not moved for \d+ ms: it runs <string>:6 culprit")
        self.assertRegex(lines[1], r"^greenloom WARNING hub 0 moves again, after \d+ ms$")

    def test_a_standard_error_that_is_closed_full_or_not_read_is_no_matter(self):
        blocks = """
            import eventlet, time
            def culprit():
                while True:
                    time.sleep(0.2)
                    eventlet.sleep(0)
            eventlet.sleep(0)
            print("ready", flush=True)
            eventlet.spawn(culprit).wait()
        """

        def is_told(seen):
            return any("blocked" in hub for hub in seen["hubs"])

        for kind in ("closed", "full", "not read"):
            with self.subTest(kind):
                reader, writer = os.pipe()
                if kind == "closed":
                    os.close(reader)
                elif kind == "full":
                    os.close(writer)
                    writer = os.open("/dev/full", os.O_WRONLY)
                else:
                    os.set_blocking(writer, False)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            os.write(writer, b"x" * 4096)
                    os.set_blocking(writer, True)
                with program(blocks, stderr=writer, GREENLOOM_WATCHDOG="20") as process:
                    os.close(writer)
                    look(process.pid, is_told)
                    # And once more, behind what was said.
                    look(process.pid, is_told)
                if kind != "closed":
                    os.close(reader)

    @unittest.skipUnless(sys.version_info >= (3, 13), "needs interpreters with locks of their own")
    def test_a_green_thread_that_runs_another_interpreter_is_looked_at_without_a_fault(self):
        runs_another = """
            import eventlet, _interpreters
            def culprit():
                other = _interpreters.create()
                computes = "def f(n): return sum(f(n - 1) for _ in range(3)) if n else 1\\n"
                _interpreters.exec(other, computes + "print('ready', flush=True)\\nfor _ in range(4): f(11)")
                _interpreters.destroy(other)
            eventlet.spawn(culprit).wait()
            print("fine", flush=True)
        """
        with program(runs_another, GREENLOOM_WATCHDOG="20") as process:
            said, status, complaints = greenloom_command("stacks", process.pid)
            self.assertEqual(status, 0, complaints)
            self.assertIn("<string>:6 culprit", said)
            self.assertEqual(process.stdout.readline(), "fine\n")
            self.assertEqual(process.wait(30), 0)

    def test_what_waits_in_its_own_way_blocks_nobody(self):
        fine = """
            import eventlet
            def busy():
                while True:
                    eventlet.sleep(0)
            eventlet.spawn(eventlet.sleep, 1000)
            print("ready", flush=True)
            eventlet.sleep(0.5)
            eventlet.spawn(busy)
            eventlet.sleep(0.5)
        """
        with program(fine, GREENLOOM_WATCHDOG="200") as process:
            self.assertEqual(process.wait(30), 0)
            self.assertEqual(process.stderr.read(), "")


if __name__ == "__main__":
    unittest.main()
