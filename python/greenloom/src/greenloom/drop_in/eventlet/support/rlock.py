"""The lock of threads that are green threads: `eventlet.green.thread.RLock`."""

import threading as _stdlib_threading

from greenloom import _native


class RLock(_native.RLock, _stdlib_threading._PyRLock):
    __doc__ = _native.RLock.__doc__
    # Where programs know it.
    __module__ = "eventlet.green.thread"
    __slots__ = ()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        # The with statement calls release(), as that of the class in Python does that stock eventlet takes.
        if "release" in vars(cls) and "__exit__" not in vars(cls):
            cls.__exit__ = _exit


def _exit(self, *exc_info):
    """Releases it."""
    self.release()


_exit.__name__ = "__exit__"
