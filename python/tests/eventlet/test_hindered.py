"""Looking into a program that is stopped, or where the system does not let one of the two do all that it would."""

import shutil
import signal
import subprocess
import sys
import unittest

from inspect_support import all_wait, greenloom_command, look, processor_time, program
from seccomp import CAN_REFUSE, refuses

WAITS = """
    import eventlet
    for _ in range(3):
        eventlet.spawn(eventlet.sleep, 1000)
    eventlet.sleep(0)
    print("ready", flush=True)
    eventlet.sleep(1000)
"""
COMPUTES = """
    import eventlet, re
    def culprit():
        re.match("(a+)+b", "a" * 64)
    eventlet.sleep(0)
    print("ready", flush=True)
    eventlet.spawn(culprit).wait()
"""
WITHOUT_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")


def can_do_without_proc():
    try:
        return not subprocess.run([*WITHOUT_PROC, "true"], capture_output=True).returncode
    except OSError:
        return False


@unittest.skipUnless(CAN_REFUSE, "it is not known which numbers system calls have here")
class Refused(unittest.TestCase):
    def test_that_a_program_may_not_read_its_memory_nor_send_signals_is_said(self):
        for calls, said in (
            (("tgkill",), "not known: it runs, and the system forbids the signal by which it would be asked; it runs"),
            (("process_vm_readv",), "hub 0 has not moved for"),
            (("tgkill", "process_vm_readv"), "the system forbids the signal"),
        ):
            with self.subTest(calls), program(COMPUTES, begin=refuses(*calls), GREENLOOM_WATCHDOG="50") as process:
                line = process.stderr.readline()
                self.assertIn("C code holds the interpreter's lock; ", line)
                self.assertIn(said, line)
                self.assertIn("the interpreter's lock was not to be had", greenloom_command("stacks", process.pid)[0])
            with self.subTest(calls), program(WAITS, begin=refuses(*calls)) as process:
                self.assertEqual(look(process.pid, all_wait)["stacks"]["total"], 4)

    def test_a_program_that_may_not_open_a_socket_says_so_and_goes_on(self):
        with program(WAITS, begin=refuses("socket")) as process:
            self.assertIn("cannot be looked into: Operation not permitted", process.stderr.readline())
            self.assertIsNone(process.poll())
            self.assertIn("cannot be looked into: start it with", greenloom_command("stacks", process.pid)[2])

    def test_a_program_that_may_not_take_connections_does_not_try_all_the_time(self):
        with program(WAITS, begin=refuses("accept", "accept4")) as process:
            command = [sys.executable, "-m", "greenloom", "stacks", str(process.pid)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as asks:
                with self.assertRaises(subprocess.TimeoutExpired):
                    asks.wait(1)
                before = processor_time(process.pid)
                with self.assertRaises(subprocess.TimeoutExpired):
                    asks.wait(1)
                self.assertLess(processor_time(process.pid) - before, 0.05)
                asks.kill()

    def test_a_program_that_may_not_know_who_asks_answers_nobody(self):
        with program(WAITS, begin=refuses("getsockopt")) as process:
            _, status, complaints = greenloom_command("stacks", process.pid)
            self.assertEqual((status, complaints.count("\n")), (1, 1))
            self.assertIn("the system does not say who asks: Operation not permitted", complaints)

    def test_whoever_may_not_connect_is_told_that(self):
        with program(WAITS) as process:
            for call in ("socket", "getsockopt"):
                with self.subTest(call):
                    _, status, complaints = greenloom_command("stacks", process.pid, begin=refuses(call))
                    self.assertEqual(status, 1)
                    self.assertIn(f"process {process.pid} does not answer: Operation not permitted", complaints)


@unittest.skipUnless(can_do_without_proc(), "needs the right to mount")
class WithoutProc(unittest.TestCase):
    def test_a_program_without_it_is_looked_into(self):
        with program(COMPUTES, within=WITHOUT_PROC, GREENLOOM_WATCHDOG="50") as process:
            line = process.stderr.readline()
            self.assertRegex(line, "it runs .* < <string>:4 culprit < ")
            self.assertIn("its native code is not known: the OS thread has ended, or the system does not tell", line)
        with program(WAITS, within=WITHOUT_PROC) as process:
            self.assertEqual(look(process.pid, all_wait)["stacks"]["total"], 4)

    def test_it_is_not_needed_to_look(self):
        with program(WAITS) as process:
            look(process.pid, all_wait)
            said, status, complaints = greenloom_command("stacks", process.pid, within=WITHOUT_PROC)
            self.assertEqual((status, complaints), (0, ""))
            self.assertIn("4 green threads at 2 places", said)


class Stopped(unittest.TestCase):
    def assert_all_say_it(self, pid):
        is_stopped = f"greenloom: process {pid} is stopped, by a signal or a debugger: it answers when it goes on\n"
        for words in ("stacks", "metrics", "trace -o /dev/null", "kill 0:1 --yes"):
            command, *more = words.split()
            with self.subTest(words):
                self.assertEqual(greenloom_command(command, pid, *more), ("", 1, is_stopped))

    def test_a_program_that_is_stopped_is_told_so_by_each_command_and_answers_afterwards(self):
        with program(WAITS) as process:
            look(process.pid, all_wait)
            process.send_signal(signal.SIGSTOP)
            self.assert_all_say_it(process.pid)
            process.send_signal(signal.SIGCONT)
            self.assertEqual(look(process.pid)["stacks"]["total"], 4)
            process.kill()
            self.assertEqual(process.stderr.read(), "")

    @unittest.skipUnless(shutil.which("gdb"), "needs gdb")
    def test_a_debugger_that_has_it_is_no_end(self):
        with program(WAITS) as process:
            look(process.pid, all_wait)
            debugger = subprocess.Popen(
                ["gdb", "-nx", "-p", str(process.pid), "-batch", "-ex", "shell echo attached; read answer"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            with debugger:
                said = ""
                while "attached\n" not in said and (line := debugger.stdout.readline()):
                    said += line
                if "ptrace" in said:
                    debugger.kill()
                    self.skipTest("the system forbids to debug")
                self.assert_all_say_it(process.pid)
                debugger.communicate("go on\n")
            self.assertEqual(look(process.pid)["stacks"]["total"], 4)
            process.kill()
            self.assertEqual(process.stderr.read(), "")


if __name__ == "__main__":
    unittest.main()
