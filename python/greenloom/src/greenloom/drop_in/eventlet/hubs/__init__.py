"""Hubs: the loop that runs a thread's green threads and waits for I/O.

Each OS thread has a hub of its own, made when it is first needed. Which class it is of can be chosen with
:func:`use_hub` or the environment variable EVENTLET_HUB: ``epolls`` (the default, native), ``poll``, ``selects``,
``asyncio``, or a class of one's own.
"""

import importlib
import inspect
import os
import sys
from _thread import _local
from functools import partial

from greenlet import getcurrent
from greenloom import hooks
from greenloom._native import _as_os_thread, _current_hub, _set_hub, _set_hub_factory, _switch, get_hub

from eventlet.support import greenlets as greenlet

__all__ = ["use_hub", "get_hub", "get_default_hub", "trampoline"]


class HubError(Exception):
    """No hub can be used."""


class IOClosed(IOError):
    """The file descriptor that a green thread waits on was closed."""


class _ThreadLocal(_local):
    """What a thread has: ``Hub``, the class of its hub, and ``hub``, the hub itself, as attributes."""

    @property
    def hub(self):
        hub = _current_hub()
        if hub is None:
            raise AttributeError("hub")
        return hub

    @hub.setter
    def hub(self, hub):
        _set_hub(hub)

    @hub.deleter
    def hub(self):
        _set_hub(None)


_threadlocal = _ThreadLocal()


class _EndsWithThread:
    """Ends a thread's hub when the thread ends and lets go of its locals: the last moment at which its greenlet can be
    unwound. Otherwise that stack, and the hub with its file descriptors, would be lost.
    """

    def __init__(self, hub):
        self.hub = hub

    def __del__(self):
        if sys.is_finalizing() or _current_hub() is not self.hub:
            return
        if self.hub.greenlet:
            self.hub.abort(wait=True)
        if hasattr(self.hub, "_thread_ends"):
            self.hub._thread_ends()


def _make_hub():
    if not hasattr(_threadlocal, "Hub"):
        use_hub()
    hub = _threadlocal.Hub()
    _set_hub(hub)
    if hasattr(hub, "_post_initialize"):
        hub._post_initialize()
    _threadlocal.end = _EndsWithThread(hub)
    hooks._warn_of_hub()
    return hub


# A green thread that is one of threading's has locals of its own.
_set_hub_factory(partial(_as_os_thread, _make_hub))

#: In order of preference.
builtin_hub_names = ("epolls", "kqueue", "poll", "selects")


def get_default_hub():
    """The module of the best hub for this system."""
    for module in builtin_hub_modules:
        if module.is_available():
            return module
    raise HubError(f"none of eventlet's hubs works on this system: {', '.join(builtin_hub_names)}")


def use_hub(mod=None):
    """Chooses the hub of this thread. Call it before anything waits: a hub that exists is dropped, with all that waits
    in it.

    :param mod: a class; a module with a class ``Hub``; the name of one of eventlet's hubs; ``"package.module"`` or
        ``"package.module:Class"``; None for EVENTLET_HUB or else the default
    """
    if mod is None:
        mod = os.environ.get("EVENTLET_HUB") or get_default_hub()
    class_name = "Hub"
    if isinstance(mod, str):
        name = mod.strip()
        if not name:
            raise RuntimeError("Need to specify a hub")
        if "." in name or ":" in name:
            name, _, given = name.partition(":")
            class_name = given or class_name
        else:
            name = f"eventlet.hubs.{name}"
        mod = importlib.import_module(name)
    if hasattr(mod, "is_available") and not mod.is_available():
        raise HubError(f"this hub does not work on this system: {mod!r}")
    _set_hub(None)
    kind = mod if inspect.isclass(mod) else getattr(mod, class_name)
    _as_os_thread(lambda: setattr(_threadlocal, "Hub", kind))


from eventlet import timeout  # noqa: E402 - it needs get_hub


def trampoline(fd, read=None, write=None, timeout=None, timeout_exc=timeout.Timeout, mark_as_closed=None):
    """Suspends the current green thread until a file descriptor is ready.

    :param fd: a number, or something with ``fileno()``
    :param read: wait until it can be read; or
    :param write: wait until it can be written
    :param timeout: raise *timeout_exc* after that many seconds
    :param mark_as_closed: called if the descriptor turns out to be closed or reused
    """
    hub = get_hub()
    current = getcurrent()
    if hub.greenlet is current:
        raise RuntimeError("do not call blocking functions from the mainloop")
    if read and write:
        raise RuntimeError("not allowed to trampoline for reading and writing")
    fileno = fd.fileno() if hasattr(fd, "fileno") else fd
    timer = None if timeout is None else hub.schedule_call_global(timeout, current.throw, timeout_exc)
    try:
        kind = hub.READ if read else hub.WRITE
        listener = hub.add(kind, fileno, current.switch, current.throw, mark_as_closed)
        try:
            return _switch(hub, fileno, bool(read))
        finally:
            hub.remove(listener)
    finally:
        if timer is not None:
            timer.cancel()


def notify_close(fd):
    """A file descriptor is being closed: its waiters hear of it in the next turn."""
    get_hub().notify_close(fd)


def notify_opened(fd):
    """A file descriptor was opened whose number may have been closed unnoticed: who still waits on the old file hears
    of that.
    """
    get_hub().mark_as_reopened(fd)


builtin_hub_modules = tuple(importlib.import_module(f"eventlet.hubs.{name}") for name in builtin_hub_names)
