"""Ways to see what green threads, the hub and its timers are doing."""

import inspect
import linecache
import os
import re
import sys
import traceback
import weakref

__all__ = [
    "spew", "unspew", "format_hub_listeners", "format_hub_timers", "hub_listener_stacks", "hub_exceptions",
    "tpool_exceptions", "hub_prevent_multiple_readers", "hub_timer_stacks", "hub_blocking_detection",
    "format_asyncio_info", "format_threads_info",
]

_timer_stacks = weakref.WeakKeyDictionary()


class Spew:
    """A trace function that prints each line before it runs, and what the names in it stand for.

    *trace_names* limits it to modules of these names; without *show_values* only the lines are printed.
    """

    def __init__(self, trace_names=None, show_values=True):
        self.trace_names = trace_names
        self.show_values = show_values

    def __call__(self, frame, event, arg):
        if event != "line":
            return self
        name, line = self._source(frame)
        if self.trace_names is not None and name not in self.trace_names:
            return self
        print(f"{name}:{frame.f_lineno}: {line.rstrip()}")
        if self.show_values:
            self._print_values(frame, line)
        return self

    def _source(self, frame):
        if "__file__" in frame.f_globals:
            return frame.f_globals["__name__"], linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        try:
            lines, first = inspect.getsourcelines(frame)
            # Of a module the first line is said to be 0.
            return "[unknown]", lines[frame.f_lineno - (first or 1)]
        except (OSError, IndexError):
            return "[unknown]", f"Unknown code named [{frame.f_code.co_name}].  VM instruction #{frame.f_lasti}"

    def _print_values(self, frame, line):
        found = [
            f"{token}={names[token]!r}"
            for token in re.split(r"\W+", line)
            for names in (frame.f_globals, frame.f_locals)
            if token in names
        ]
        if found:
            print("\t" + " ".join(found))


def spew(trace_names=None, show_values=False):
    """Prints each line of Python of this OS thread before it runs, to stdout, until `unspew`; see `Spew`."""
    sys.settrace(Spew(trace_names, show_values))


def unspew():
    """Ends what `spew` began."""
    sys.settrace(None)


def format_hub_listeners():
    """Returns a text with the listeners of the hub: who waits to read or write which file descriptor.

    After `hub_listener_stacks(True)`, with the stacks of those who made them.
    """
    from eventlet import hubs

    hub = hubs.get_hub()
    lines = ["READERS:", *map(repr, hub.get_readers()), "WRITERS:", *map(repr, hub.get_writers())]
    return os.linesep.join(lines)


def format_hub_timers():
    """Returns a text with the timers of the hub; after `hub_timer_stacks(True)`, with the stacks of their makers."""
    from eventlet import hubs

    lines = ["TIMERS:"]
    for pair in hubs.get_hub().timers:
        lines.append(repr(pair))
        lines.extend(_timer_stacks.get(pair[1], "").splitlines())
    return os.linesep.join(lines)


def format_asyncio_info():
    """Returns a text with the tasks of the running asyncio loop, which the asyncio hub has, and the loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    return os.linesep.join(["TASKS:", repr(asyncio.all_tasks(loop)), f"EVENTLOOP: {loop}"])


def format_threads_info():
    """Returns a text with the threads that the `threading` module knows; patched ones are green threads."""
    import threading

    return os.linesep.join(["THREADS:", repr({thread.ident: thread for thread in threading.enumerate()})])


def hub_listener_stacks(state=False):
    """Makes listeners of the hub remember, or not, where they were made."""
    from eventlet import hubs

    hubs.get_hub().set_debug_listeners(state)


def hub_timer_stacks(state=False):
    """Makes timers of this thread's hub remember, or not, where they were started. It is slow: every timer passes
    through here."""
    from eventlet import hubs
    from eventlet.hubs import timer

    timer._g_debug = state
    hub = hubs.get_hub()
    if not state:
        vars(hub).pop("add_timer", None)
        _timer_stacks.clear()
        return
    add_timer = type(hub).add_timer

    def remember(timer):
        _timer_stacks[timer] = "".join(traceback.format_stack())
        return add_timer(hub, timer)

    hub.add_timer = remember


def hub_prevent_multiple_readers(state=True):
    """Forbids, or allows, that two green threads wait to read (or to write) the same file descriptor.

    If allowed, each event wakes one of them, and which data goes to whom is up to chance. It is forbidden at first,
    in every hub of the process alike, and RuntimeError in the asyncio hub: asyncio does not allow it.
    """
    from eventlet.hubs import asyncio, get_hub, hub

    if not state and isinstance(get_hub(), asyncio.Hub):
        raise RuntimeError("the asyncio hub allows one reader and one writer of a file descriptor")
    hub.g_prevent_multiple_readers = state


def hub_exceptions(state=True):
    """Makes the hub print, or not, errors that end timers and green threads."""
    from eventlet import greenpool, hubs

    hubs.get_hub().set_timer_exceptions(state)
    greenpool.DEBUG = state


def tpool_exceptions(state=False):
    """Makes `tpool.execute` print, or not, the errors that it raises."""
    from eventlet import tpool

    tpool.QUIET = not state


def hub_blocking_detection(state=False, resolution=1):
    """Raises RuntimeError in code that has kept the hub from running for *resolution* seconds, or stops doing so.

    It uses SIGALRM, so it works in the main OS thread only, and takes the alarm away from others.
    """
    from eventlet import hubs

    assert resolution > 0
    hub = hubs.get_hub()
    hub.debug_blocking = state
    hub.debug_blocking_resolution = resolution
    if not state:
        hub.block_detect_post()
