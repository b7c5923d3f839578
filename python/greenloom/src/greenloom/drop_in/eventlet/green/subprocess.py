"""`subprocess` whose children are waited for in the hub, and whose pipes are green.

It is a copy of the standard library's module that sees green modules, and an `io` that opens pipes as green ones. The
module itself is patched by giving it these to see: its classes stay who they are, for those who replace or subclass
them.
"""

import functools as _functools

import io as _io
import subprocess as _stdlib
import types as _types

from eventlet import greenio as _greenio
from eventlet import patcher as _patcher
from eventlet.green import os, select, selectors, threading, time

__patched__ = []

_green_io = _types.ModuleType("io")
_green_io.__dict__.update(vars(_io))
_green_io.open = _greenio.GreenPipe

# What it sees, and by which flag of monkey_patch() that is green by itself.
_SEEN = [
    ("io", _green_io, None),
    ("os", os, "os"),
    ("select", select, "select"),
    ("selectors", selectors, "select"),
    ("threading", threading, "thread"),
    ("time", time, "time"),
]
_copy = _patcher.inject("subprocess", globals(), *((name, module) for name, module, _ in _SEEN))

# Who catches them does not know which module it came from.
for _name in ("CalledProcessError", "CompletedProcess", "SubprocessError", "TimeoutExpired"):
    globals()[_name] = getattr(_stdlib, _name)
    setattr(_copy, _name, globals()[_name])


def _with_check_interval(wait):
    @_functools.wraps(wait)
    def wait_in_the_hub(self, timeout=None, check_interval=None):
        """As Popen.wait. `check_interval` is accepted and not needed: the end of the child is noticed."""
        return wait(self, timeout)

    return wait_in_the_hub


_copy.Popen.wait = _with_check_interval(_copy.Popen.wait)


def _patch_in_place(module):
    for name, green, flag in _SEEN:
        if hasattr(module, name) and not _patcher.is_monkey_patched(flag):
            setattr(module, name, green)
    if hasattr(module, "_PopenSelector"):
        module._PopenSelector = getattr(module.selectors, module._PopenSelector.__name__)
    module.Popen.wait = _with_check_interval(module.Popen.wait)
    # Popen here and Popen there are one class.
    globals().update((name, getattr(module, name)) for name in module.__all__)
