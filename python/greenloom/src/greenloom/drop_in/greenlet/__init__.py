"""Greenlets on stacks of their own: Greenloom's drop-in for the ``greenlet`` package.

The names, their meaning and the C API are those of greenlet 3.5; see Greenloom's documentation for what is different.
"""

try:
    from greenloom._native import (
        CLOCKS_PER_SEC,
        GREENLET_USE_CONTEXT_VARS,
        GREENLET_USE_GC,
        GREENLET_USE_TRACING,
        GreenletExit,
        _C_API,
        enable_optional_cleanup,
        error,
        get_clocks_used_doing_optional_cleanup,
        getcurrent,
        gettrace,
        greenlet,
        settrace,
    )

    from greenloom import _told
    from . import _greenlet
except ModuleNotFoundError as missing:
    # The names below are then bound in a module that nobody sees: stock's has taken its place.
    from greenlet._aside import step_aside

    step_aside(missing)

__version__ = "3.5.6"

#: Tells that this is not the stock package.
__greenloom__ = True

__all__ = [
    "__version__",
    "_C_API",
    "GreenletExit",
    "error",
    "getcurrent",
    "greenlet",
    "gettrace",
    "settrace",
]
