"""Live progress: one line that is written over on a terminal, a line a second elsewhere."""

import sys
import time

import eventlet


def show(agent, expected):
    """Shows progress until it is killed."""
    began = time.monotonic()
    on_terminal = sys.stderr.isatty()
    while True:
        eventlet.sleep(0.1 if on_terminal else 1)
        counts = agent.counts
        line = (
            f"{time.monotonic() - began:5.1f} s  {counts.ended:>5} of {expected} done, {counts.waiting:>4} waiting, "
            f"{counts.retried} retried, {len(counts.given_up)} given up"
        )
        write(f"\r\x1b[K{line}" if on_terminal else f"{line}\n")


def clear():
    """Clears the line on a terminal."""
    if sys.stderr.isatty():
        write("\r\x1b[K")


def write(text):
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass  # Progress that cannot be shown is no reason to stop.
