"""`time` with a `sleep` that lets other green threads run."""

import time as _time

from greenloom._native import _time_sleep as sleep

from eventlet.patcher import slurp_properties

__patched__ = ["sleep"]

slurp_properties(_time, globals(), ignore=__patched__, srckeys=dir(_time))
