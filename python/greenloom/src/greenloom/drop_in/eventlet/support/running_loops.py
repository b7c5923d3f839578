"""An event loop of asyncio in each green thread that runs one.

asyncio remembers one running loop for an OS thread, the task it runs, and hooks for asynchronous generators. While
there are such loops, every switch of greenlets puts aside those of the greenlet that is left, and brings back those of
the one that goes on.
"""

import sys
import weakref

from greenlet import gettrace, settrace

from eventlet import hubs

# By hub, which each OS thread has one of.
_followers = weakref.WeakKeyDictionary()


def follow():
    """Begins to do so in this OS thread, if the caller runs a loop. The loop itself calls this when it first waits."""
    events = sys.modules.get("asyncio.events")
    if events is None or (hub := hubs.get_hub()) in _followers:
        return
    # The asyncio hub has one that all its green threads find.
    loop = events._get_running_loop()
    if loop is None or loop is getattr(hub, "loop", None):
        return
    _followers[hub] = follower = _Follower(gettrace(), weakref.ref(hub))
    settrace(follower)


class _Follower:
    """A trace function: called after each switch."""

    def __init__(self, former, hub):
        self._former, self._hub = former, hub
        self._asides = weakref.WeakKeyDictionary()

    def __call__(self, event, args):
        if self._former is not None:
            self._former(event, args)
        origin, target = args
        aside = _put_aside()
        if aside is not None:
            self._asides[origin] = aside
        aside = self._asides.pop(target, None)
        if aside is not None:
            _bring_back(*aside)
        elif not self._asides and gettrace() in (self, None):
            # All loops have ended.
            _followers.pop(self._hub(), None)
            settrace(self._former)


def _put_aside():
    events = sys.modules["asyncio.events"]  # not imported: a program may have taken asyncio out meanwhile
    loop = events._get_running_loop()
    if loop is None:
        return None
    task = _swap_task(loop, None)
    hooks = sys.get_asyncgen_hooks()
    events._set_running_loop(None)
    sys.set_asyncgen_hooks(None, None)
    return loop, task, hooks


def _bring_back(loop, task, hooks):
    sys.modules["asyncio.events"]._set_running_loop(loop)
    sys.set_asyncgen_hooks(*hooks)
    if task is not None:
        _swap_task(loop, task)


def _swap_task(loop, task):
    if sys.version_info < (3, 14):
        return None  # Each loop has a task of its own.
    return sys.modules["asyncio.tasks"]._swap_current_task(loop, task)
