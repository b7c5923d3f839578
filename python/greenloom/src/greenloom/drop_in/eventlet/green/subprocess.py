"""`subprocess` whose children are waited for in the hub, and whose pipes are green.

It is a copy of the standard library's module that sees green modules, and an `io` that opens pipes as green ones.
"""

import io as _io
import subprocess as _stdlib
import types as _types

from eventlet import greenio as _greenio
from eventlet import patcher as _patcher
from eventlet.green import os, select, selectors, threading, time

__patched__ = ["Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"]

_green_io = _types.ModuleType("io")
_green_io.__dict__.update(vars(_io))
_green_io.open = _greenio.GreenPipe

_copy = _patcher.inject(
    "subprocess",
    globals(),
    ("io", _green_io),
    ("os", os),
    ("select", select),
    ("selectors", selectors),
    ("threading", threading),
    ("time", time),
)

# Who catches them does not know which module it came from.
for _name in ("CalledProcessError", "CompletedProcess", "SubprocessError", "TimeoutExpired"):
    globals()[_name] = getattr(_stdlib, _name)
    setattr(_copy, _name, globals()[_name])


class Popen(_copy.Popen):
    """As subprocess.Popen; other green threads run while it waits and communicates."""

    def wait(self, timeout=None, check_interval=None):
        """As Popen.wait. `check_interval` is accepted and not needed: the end of the child is noticed."""
        return super().wait(timeout)


_copy.Popen = Popen
