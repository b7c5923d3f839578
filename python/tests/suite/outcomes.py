"""A pytest plugin for tools/suite.py: notes each test's outcome as soon as it is known, and ends a process that hangs.

SUITE_OUTCOMES names the file for the outcomes, one JSON object a line. A test, the collection or the exit that takes
longer than SUITE_SECONDS ends the process, with the stacks of all OS threads on standard error. The watch is a thread
of C that needs no lock of the interpreter, so that it comes through whatever a test has patched or blocked.
"""

import atexit
import faulthandler
import json
import os

import pytest

# Taken before a test patches them, and before pytest captures standard error.
_write = os.write
_outcomes = os.open(os.environ["SUITE_OUTCOMES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_errors = os.dup(2)
_seconds = float(os.environ["SUITE_SECONDS"])


def note(**what):
    _write(_outcomes, json.dumps(what).encode() + b"\n")


def watch():
    faulthandler.dump_traceback_later(_seconds, exit=True, file=_errors)


faulthandler.enable(file=_errors)
watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    note(begins=item.nodeid)
    watch()
    return (yield)


def pytest_runtest_logreport(report):
    note(test=report.nodeid, phase=report.when, outcome=report.outcome, why=reason(report))


def pytest_collectreport(report):
    if not report.passed:
        note(test=report.nodeid, phase="teardown", outcome=report.outcome, why=reason(report))


def pytest_sessionfinish(exitstatus):
    note(over=True)
    watch()
    # Comes after the wait for threads that are still running.
    atexit.register(note, exits=int(exitstatus))


def reason(report):
    if report.passed:
        return ""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return str(report.longrepr)
