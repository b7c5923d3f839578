"""Runs one module of CPython's `test` package in this process, patched or not, and notes each outcome as soon as it is
known. tools/cpython_tests.py starts it, watches the notes, and starts it again after a test that hung or crashed.

    runner.py MODULE NOTES --done FILE [--patch] [--only TEXT] [--stacks FILE]

NOTES is the file to write to, one JSON object a line. --done names a file with the tests to leave out, one a line;
`CLASS.*` stands for all of a class. --patch calls `eventlet.monkey_patch()` before anything of the test is imported.
With --stacks, the stacks of all greenlets are printed when that file appears; that takes an OS thread, which some tests
notice.

Processes that a test starts are not patched; those that it forks are.
"""

import argparse
import faulthandler
import importlib
import json
import os
import sys
import time
import unittest

#: Modules that ask for the network, and use no more of it than 127.0.0.1.
ONLY_LOOPBACK = ("test_socketserver",)

# Taken before they are patched, and before a test replaces them.
_open, _write, _close, _getpid, _now = os.open, os.write, os.close, os.getpid, time.monotonic
_pid = _getpid()
_notes = _module = None
_last = 0.0


def note(**what):
    """Appends to the notes. The file is opened each time, since tests close descriptors that they did not open."""
    global _last
    if _getpid() != _pid:
        return  # a child that a test forked, and that came back into the framework
    _last = _now()
    file = _open(_notes, os.O_WRONLY | os.O_APPEND)
    _write(file, json.dumps(what).encode() + b"\n")
    _close(file)


class Suite(unittest.TestSuite):
    """Tests in a row; says which fixture of a class or a module it is about to call."""

    def _tearDownPreviousClass(self, test, result):
        previous = getattr(result, "_previousTestClass", None)
        if previous not in (None, test.__class__):
            note(fixture="tearDownClass", of=short(unittest.util.strclass(previous)))
        super()._tearDownPreviousClass(test, result)

    def _handleModuleFixture(self, test, result):
        if self._get_previous_module(result) != test.__class__.__module__:
            note(fixture="setUpModule", of=_module)
        super()._handleModuleFixture(test, result)

    def _handleClassSetUp(self, test, result):
        if getattr(result, "_previousTestClass", None) != test.__class__:
            note(fixture="setUpClass", of=short(unittest.util.strclass(test.__class__)))
        super()._handleClassSetUp(test, result)

    def _handleModuleTearDown(self, result):
        note(fixture="tearDownModule", of=_module)
        super()._handleModuleTearDown(result)


class Result(unittest.TestResult):
    """Notes what becomes of each test. One with subtests passes if all of them do."""

    def startTest(self, test):
        super().startTest(test)
        note(begins=test.noted_as)
        self._outcome, self._why, self._began = None, "", _now()

    def stopTest(self, test):
        super().stopTest(test)
        if self._outcome is not None:  # else a KeyboardInterrupt ends it, and the process
            seconds = round(_now() - self._began, 2)
            note(ends=test.noted_as, outcome=self._outcome, why=self._why, seconds=seconds)

    def addSuccess(self, test):
        self._outcome = "passed"

    def addExpectedFailure(self, test, err):
        self._outcome = "passed"

    def addError(self, test, err):
        if not hasattr(test, "noted_as"):
            note(fixture_fails=str(test), why=self._exc_info_to_string(err, test))
            return
        self._failed(test, err)

    def addFailure(self, test, err):
        self._failed(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._failed(subtest, err)
        elif _now() - _last > 1:
            note(alive=True)

    def addSkip(self, test, reason):
        if hasattr(test, "test_case"):  # a subtest; unittest does not call addSuccess for its test
            self._outcome = self._outcome or "passed"
        elif not hasattr(test, "noted_as"):
            note(fixture_skips=str(test), why=str(reason))
        elif self._outcome is None:
            self._outcome, self._why = "skipped", str(reason)

    def addUnexpectedSuccess(self, test):
        self._outcome, self._why = "failed", "unexpected success"

    def _failed(self, test, err):
        self._outcome = "failed"
        self._why += self._exc_info_to_string(err, test)


def tests_of(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests_of(each)
        else:
            yield each


def short(name):
    """A test's or class's name, which begins with that of the module that runs, wherever the class comes from."""
    name = name.removeprefix("test.")
    return name if name.startswith(_module + ".") else f"{_module}.{name}"


def load(name):
    """The tests of a module in their order, each with the name it is noted by."""
    module = importlib.import_module("test." + name)
    loader = unittest.TestLoader()
    tests = list(tests_of(loader.loadTestsFromModule(module)))
    if loader.errors:
        raise ImportError("\n".join(map(str, loader.errors)))
    seen = {}
    for test in tests:
        name = short(test.id())
        seen[name] = seen.get(name, 0) + 1
        test.noted_as = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return tests


def print_stacks_when(path):
    """Starts an OS thread that prints all green threads' stacks when the file appears."""
    import _thread
    import gc
    import traceback

    sleep, exists, start, errors = time.sleep, os.path.exists, _thread.start_new_thread, os.dup(2)

    def watch():
        while not exists(path):
            sleep(0.1)
        from greenlet import greenlet

        for each in [each for each in gc.get_objects() if isinstance(each, greenlet) and each.gr_frame]:
            text = f"{each!r}\n" + "".join(traceback.format_stack(each.gr_frame)) + "\n"
            _write(errors, text.encode(errors="replace"))

    start(watch, ())


def main():
    global _notes, _module
    parser = argparse.ArgumentParser(usage=__doc__.strip())
    parser.add_argument("module")
    parser.add_argument("notes")
    parser.add_argument("--done", required=True)
    parser.add_argument("--patch", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--stacks")
    options = parser.parse_args()
    _notes, _module = options.notes, options.module
    with open(options.done) as file:
        done = file.read().splitlines()
    done, classes = set(done), tuple(name[:-1] for name in done if name.endswith(".*"))
    sys.argv[1:] = []  # tests of `__main__` look at it

    faulthandler.enable(os.dup(2))  # a test may close standard error
    if options.stacks:
        print_stacks_when(options.stacks)
    if options.patch:
        import eventlet

        eventlet.monkey_patch()

    from test import support

    support.verbose = False
    support.record_original_stdout(sys.stdout)
    # None would mean that all may be used. No network, nothing that opens windows, no tests that are slow on purpose.
    support.use_resources = ["cpu", "subprocess"] + ["network"] * (options.module in ONLY_LOOPBACK)
    try:
        tests = [test for test in load(options.module) if options.only in test.noted_as]
        tests = [test for test in tests if test.noted_as not in done and not test.noted_as.startswith(classes)]
    except unittest.SkipTest as skipped:
        note(fixture_skips=options.module, why=str(skipped))
        tests = []
    note(tests=[test.noted_as for test in tests])
    Suite(tests).run(Result())
    note(over=True)


if __name__ == "__main__":
    main()
