"""What looks at a program from outside sees the stack of the greenlet that runs."""

import importlib.util
import os
import shutil
import subprocess
import sys
import unittest

from support import run_script

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import profilers  # noqa: E402

# Runs in a greenlet until it is told to end, three functions deep.
PROGRAM = """
import sys, greenlet
def inner():
    print("ready", flush=True)
    sys.stdin.read()
def middle():
    inner()
def outer():
    middle()
def main():
    greenlet.greenlet(outer).switch()
main()
"""


class Program:
    def __init__(self, text):
        self.text = text

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdout.readline()
        return self.process.pid

    def __exit__(self, *exception):
        self.process.communicate(timeout=60)


def may_be_read():
    """Whether another process of this user may be read: a setting of the system."""
    with Program(PROGRAM) as pid:
        try:
            with open(f"/proc/{pid}/mem", "rb"):
                return True
        except OSError:
            return False


@unittest.skipUnless(importlib.util.find_spec("_remote_debugging"), "CPython reads other processes from 3.14 on")
@unittest.skipUnless(may_be_read(), "other processes may not be read here")
class RemoteDebugging(unittest.TestCase):
    def assertSeen(self, count):
        still = sys.version_info >= (3, 15)
        taken, lost, wrong, failures = profilers.sample(count, 1.0, still, least=500)
        self.assertLess((lost + wrong) / taken, 0.01, (taken, lost, wrong, failures))

    def test_samples_are_not_lost_while_a_greenlet_switches(self):
        self.assertSeen(1)

    def test_samples_are_not_lost_while_ten_greenlets_switch(self):
        self.assertSeen(10)

    def test_the_running_greenlets_stack_is_whole(self):
        with Program(PROGRAM) as pid:
            trace = profilers.unwinder(pid).get_stack_trace()
        names = [frame.funcname for frames in profilers.threads_of(trace) for frame in frames]
        self.assertEqual(names, ["inner", "middle", "outer"])

    def test_asyncio_tools_see_tasks_beside_greenlets(self):
        program = """
import asyncio, greenlet, sys
main = greenlet.getcurrent()
suspended = [greenlet.greenlet(lambda: main.switch()) for _ in range(3)]
async def waits():
    await asyncio.sleep(1000)
async def top():
    task = asyncio.create_task(waits(), name="sleeper")
    for each in suspended:
        each.switch()
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    task.cancel()
asyncio.run(top())
"""
        for tool in ("ps", "pstree"):
            with Program(program) as pid:
                seen = subprocess.run(
                    [sys.executable, "-m", "asyncio", tool, str(pid)], capture_output=True, text=True, timeout=60
                )
            self.assertEqual(seen.returncode, 0, seen.stderr)
            self.assertIn("sleeper", seen.stdout)


class Others(unittest.TestCase):
    def test_faulthandler_writes_the_running_greenlets_stack(self):
        status, output = run_script(
            """
            import faulthandler, greenlet, sys
            def inner(): faulthandler.dump_traceback(sys.stdout, all_threads=False)
            def outer(): inner()
            greenlet.greenlet(outer).switch()
            """
        )
        self.assertEqual(status, 0, output)
        places = [line.split()[-1] for line in output.splitlines() if line.startswith("  File")]
        self.assertEqual(places, ["inner", "outer"], output)

    def test_faulthandler_does_so_after_a_fault(self):
        status, output = run_script(
            """
            import faulthandler, greenlet, os, signal
            faulthandler.enable()
            def inner(): os.kill(os.getpid(), signal.SIGABRT)
            def outer(): inner()
            greenlet.greenlet(outer).switch()
            """
        )
        self.assertNotEqual(status, 0)
        self.assertIn("in inner", output)
        self.assertIn("in outer", output)

    @unittest.skipUnless(shutil.which("gdb"), "needs gdb")
    def test_gdb_goes_through_a_greenlets_c_stack_to_its_end(self):
        with Program(PROGRAM) as pid:
            seen = subprocess.run(
                ["gdb", "-p", str(pid), "-batch", "-ex", "backtrace"], capture_output=True, text=True, timeout=120
            )
        if "ptrace" in seen.stderr:
            self.skipTest("processes may not be traced here")
        self.assertNotIn("Backtrace stopped", seen.stdout + seen.stderr)
        frames = [line for line in seen.stdout.splitlines() if line.startswith("#")]
        self.assertTrue(any("_native" in line or "greenlet/switch.rs" in line for line in frames), seen.stdout)
        self.assertIn("0x0000000000000000", frames[-1])

    @unittest.skipUnless(shutil.which("py-spy"), "needs py-spy")
    def test_py_spy_sees_the_running_greenlets_stack(self):
        with Program(PROGRAM) as pid:
            seen = subprocess.run(["py-spy", "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=60)
        if seen.returncode and "version" in seen.stderr.lower():
            self.skipTest("this py-spy does not know this CPython")
        stack = seen.stdout.partition('"MainThread"')[2]
        places = [line.split()[0] for line in stack.splitlines() if line.startswith("    ")]
        self.assertEqual(places, ["inner", "middle", "outer"], seen.stdout + seen.stderr)


if __name__ == "__main__":
    unittest.main()
