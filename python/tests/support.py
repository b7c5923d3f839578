"""Helpers of the tests."""

import os
import signal
import subprocess
import sys
import textwrap


def interruptible():
    """For `preexec_fn`: whoever is started in the background ignores SIGINT, and so would a child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_script(script, *arguments, env=None, timeout=120):
    """Runs a program in a fresh interpreter. Returns its exit code, and its output with errors."""
    done = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        preexec_fn=interruptible,
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stdout
