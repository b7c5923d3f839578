"""Looking into a running program: all green threads and what the hubs have done.

With the environment variable ``GREENLOOM_INSPECT=1``, or after :func:`start`, ``greenloom top PID``, ``greenloom stacks
PID``, ``greenloom trace PID``, ``greenloom metrics PID`` and ``greenloom kill PID HUB:NUMBER`` work from outside:
through a Unix socket that only the program's user can open, served by an OS thread of its own, so that a program that
is stuck is seen too.
``GREENLOOM_DUMP_SIGNAL=USR1`` makes the program write all stacks to its standard error when that signal comes.

What the functions here return of green threads and hubs needs no socket.
"""

import atexit
import json
import os
import signal
import sys

from . import _native
from ._trace import trace

__all__ = ["CONTENT_TYPE", "metrics", "metrics_app", "stacks", "start", "stop", "trace"]

#: The media type of :func:`metrics`.
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_settings = None


def start(dump_signal=None):
    """Opens the socket, and returns its path; the same path if it is open already.

    *dump_signal* is the number of a signal that makes the program write all stacks to its standard error. The child of
    a fork opens a socket of its own.

    :raises OSError: when there can be none: the program has rights that its user has not (setuid), or the folder for
        sockets is not this user's alone.
    """
    global _settings
    path = _native._inspect_start(int(dump_signal or 0))
    if _settings is None:
        atexit.register(stop)
        os.register_at_fork(after_in_child=_after_fork)
    _settings = dump_signal
    return path


def stop():
    """Closes the socket. Does nothing if there is none."""
    _native._inspect_stop()


def _log(message):
    """What the watchdog has found, as a record of the logger ``greenloom``, if somebody handles that."""
    # A program that has not imported it handles nothing.
    logging = sys.modules.get("logging")
    if logging is not None and logging.getLogger("greenloom").hasHandlers():
        logging.getLogger("greenloom").warning(message)


def _after_fork():
    if _native._inspect_after_fork():
        try:
            start(_settings)
        except OSError:
            # The program matters more than who looks at it.
            pass


def start_as_told():
    """Opens the socket if the environment says so. What is wrong with it is printed, and the program goes on."""
    wanted, name = os.environ.get("GREENLOOM_INSPECT"), os.environ.get("GREENLOOM_DUMP_SIGNAL")
    if wanted in (None, "", "0") and not name:
        return
    try:
        start(_signal(name) if name else None)
    except (OSError, ValueError) as error:
        os.write(2, f"greenloom: {error}\n".encode(errors="replace"))


def _signal(name):
    try:
        return int(name) if name.isdigit() else int(signal.Signals["SIG" + name.upper().removeprefix("SIG")])
    except KeyError:
        raise ValueError(f"GREENLOOM_DUMP_SIGNAL must be a signal such as USR1, not {name!r}") from None


def stacks():
    """All green threads of the process, grouped by where they are, as a dict:

    - ``total``: how many there are; ``left_out``: how many are in no group, since there were too many different places
    - ``groups``: the largest first, each with ``count``, ``state`` (``waits``, ``ready``, ``runs``), ``stack`` (a list
      of ``file``, ``line``, ``function``, innermost first), ``examples`` (``hub`` and ``number``, the oldest first),
      and of the oldest, where that is known, its ``age`` in seconds, what it ``waits_for``, and how that is (``waits``)
    - ``hints``: what looks wrong, in sentences: a deadlock, a lock that was not given back, a pool that is all taken

    The number is the greenlet's ``id()``.

    >>> import eventlet, greenloom.inspect
    >>> sleeper = eventlet.spawn(eventlet.sleep, 60)
    >>> eventlet.sleep(0)
    >>> [group["count"] for group in greenloom.inspect.stacks()["groups"] if group["state"] == "waits"]
    [1]
    """
    return json.loads(_native._inspect_stacks())


def metrics():
    """What the hubs of the process have done, as OpenMetrics text.

    >>> import greenloom.inspect
    >>> greenloom.inspect.metrics().endswith("# EOF\\n")
    True
    """
    return _native._inspect_metrics()


def metrics_app(environ, start_response):
    """A WSGI application that serves :func:`metrics`, for a route of your own server."""
    body = metrics().encode()
    start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
    return [body]
