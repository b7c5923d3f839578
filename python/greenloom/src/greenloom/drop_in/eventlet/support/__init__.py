"""What several modules need and nobody else should."""

import functools
import inspect
import warnings

_MISSING = object()

#: Programs written for older versions ask for it.
PY33 = False


def get_errno(exc):
    """The error number of an exception, or what it has as its first argument; None if it has neither."""
    number = getattr(exc, "errno", None)
    if number is not None:
        return number
    return exc.args[0] if exc.args else None


def bytes_to_str(b, encoding="ascii"):
    """The text of bytes in an encoding."""
    return b.decode(encoding)


def wrap_deprecated(old, new):
    """A decorator that makes a function, or a class when it is called, warn that `new` has taken the place of `old`."""
    old, new = (name if "." in name else "eventlet." + name for name in (old, new))
    message = f"{old} is deprecated, use {new}"

    def decorate(wrapped):
        @functools.wraps(wrapped.__init__ if inspect.isclass(wrapped) else wrapped)
        def warn(*args, **kwargs):
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return target(*args, **kwargs)

        if not inspect.isclass(wrapped):
            target = wrapped
            return warn
        target = wrapped.__init__
        return type(wrapped.__name__, (wrapped,), {"__init__": warn, "__module__": wrapped.__module__})

    return decorate
