"""The harness that runs these tests: a hang and a crash are failures of their own test, and others go on."""

import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

SUITE = pathlib.Path(__file__).resolve().parents[2] / "tools" / "suite.py"
TESTS = """
import os, signal, time, unittest
class Tests(unittest.TestCase):
    def test_a_passes(self): pass
    def test_b_hangs(self): time.sleep(60)
    def test_c_crashes(self): os.kill(os.getpid(), signal.SIGKILL)
    def test_d_is_skipped(self): self.skipTest("no")
    def test_e_passes(self): pass
"""


class Suite(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.baseline = os.path.join(self.folder.name, "baseline")

    def run_suite(self, tests, *options):
        folder = os.path.join(self.folder.name, "tests")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "test_some.py"), "w") as file:
            file.write(textwrap.dedent(tests))
        done = subprocess.run(
            [sys.executable, SUITE, sys.executable, folder, *options],
            env={**os.environ, "SUITE_SECONDS": "2"},
            capture_output=True,
            text=True,
            timeout=50,
        )
        return done.returncode, done.stdout + done.stderr

    def test_hangs_and_crashes_fail_and_the_rest_is_run(self):
        status, output = self.run_suite(TESTS)
        self.assertEqual(status, 1)
        self.assertIn("2 passed, 2 failed, 1 skipped", output)
        self.assertIn("line 5 in test_b_hangs", output)
        self.assertIn("status -9", output)

    def test_a_process_that_does_not_exit_is_a_failure(self):
        status, output = self.run_suite(
            """
            import threading, time
            def test_that_leaves_a_thread(): threading.Thread(target=time.sleep, args=(60,)).start()
            """
        )
        self.assertEqual(status, 1)
        self.assertIn("failed: test_some.py::exit", output)

    def test_what_stock_passes_has_to_pass(self):
        name = ("--baseline", self.baseline, "--name", "1/a")
        good = "def test_one(): pass\ndef test_two(): pass\n"
        self.assertEqual(self.run_suite(good + "def test_three(): assert False\n", *name, "--record")[0], 0)
        self.assertEqual(self.run_suite(good, *name)[0], 0)
        status, output = self.run_suite("def test_one(): pass\ndef test_three(): pass\n", *name)
        self.assertEqual(status, 1)
        self.assertIn("stock passes 2, 1 of which did not pass here; 1 pass only here", output)
        self.assertIn("missing: test_some.py::test_two", output)
        skipping = "import pytest\n@pytest.mark.skip\ndef test_one(): pass\ndef test_two(): pass\n"
        self.assertEqual(self.run_suite(skipping, *name)[0], 1)

    def test_a_baseline_keeps_the_runs_apart(self):
        one, two = "def test_one(): pass\n", "def test_two(): pass\n"
        for name, tests in (("1/a", one + two), ("1/b", one), ("1/c", one)):
            self.run_suite(tests, "--baseline", self.baseline, "--name", name, "--record")
        with open(self.baseline) as file:
            self.assertEqual(
                file.read().splitlines()[1:],
                ["# runs: 1/a 1/b 1/c", "test_some.py::test_one", "test_some.py::test_two  only in 1/a"],
            )
        self.assertEqual(self.run_suite(one, "--baseline", self.baseline, "--name", "1/b")[0], 0)
        self.assertEqual(self.run_suite(one, "--baseline", self.baseline, "--name", "1/a")[0], 1)
        status, output = self.run_suite(one, "--baseline", self.baseline, "--name", "2/a")
        self.assertNotEqual(status, 0)
        self.assertIn("has no run 2/a", output)


if __name__ == "__main__":
    unittest.main()
