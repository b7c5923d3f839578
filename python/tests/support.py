"""Helpers of the tests."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap


def interruptible():
    """For `preexec_fn`: whoever is started in the background ignores SIGINT, and so would a child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_script(script, *arguments, argv=(), env=None, timeout=120):
    """Runs a program in a fresh interpreter. Returns its exit code, and its output with errors."""
    done = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(script), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        preexec_fn=interruptible,
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stdout


def run_python(python, *arguments, **environment):
    """Runs an interpreter that finds nothing by PYTHON variables but those that are given, and nothing where it is
    started. Returns its exit code, and its output before its errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [python, *arguments], env={**clean, **environment}, capture_output=True, text=True, timeout=60, cwd=empty
        )
    return done.returncode, done.stdout + done.stderr
