"""C libraries made green: their blocking calls park the green thread, and the OS thread goes on with others.

>>> import greenloom.hooks
>>> greenloom.hooks.install(["psycopg2", "pycurl"])     # or install(), for all extension modules
>>> greenloom.hooks.uninstall()

See docs/native.md for how it works, what it was tried with, and what not to do.
"""

import functools
import importlib.util
import os
import sys
import warnings
from importlib.machinery import ExtensionFileLoader
from typing import NamedTuple, Optional

from . import _native

__all__ = ["Library", "install", "report", "uninstall"]

#: What was asked for: names of modules or shared objects, or None for all modules.
_names = set()
#: Top-level names of modules that are left alone. What sqlite3 waits for is its library's.
_OWN = (sys.stdlib_module_names | {"greenlet", "greenloom"}) - {"_sqlite3"}
_own_create_module = ExtensionFileLoader.create_module
#: Whether forks are followed, and what the program ends by.
_follows = False
#: Classes of hubs.
_warned_of = set()


class Library(NamedTuple):
    """A shared object, in a report."""

    #: Its file.
    path: str
    #: The hooked calls that it makes.
    calls: tuple
    #: Why it was left as it is; None for one that is hooked.
    refused: Optional[str]

    def __repr__(self):
        return f"<{self.path}: {f'refused, {self.refused}' if self.refused else ', '.join(self.calls) or 'no calls'}>"


def install(names=None):
    """Hooks the blocking calls of extension modules and of the libraries that they bring.

    What is loaded is hooked at once, what is loaded later when it is imported. A program that imports its modules
    first and calls this then, or the other way round, has the same. It may be called again, for more. On an OS thread
    without a hub, and in the hub's own greenlet, all calls are the C library's.

    :param names: names of modules or packages; ``foo`` stands for ``_foo`` and all that is in the package, too. A name
        with ``.so`` in it is that of a shared object, which ctypes or cffi have loaded: its file, or its soname.
        Without names all extension modules are meant but those of the standard library; of that, sqlite3.
    :raises TypeError: for a string in the place of a list
    :warns UserWarning: of a name that no module has, loaded or to be found
    :warns RuntimeWarning: of a hub with which hooked calls block the OS thread, be it made before or later
    """
    global _follows
    if isinstance(names, str):
        raise TypeError(f"install() takes a list of names: install([{names!r}])")
    names = [None] if names is None else list(names)
    for name in filter(_is_unknown, names):
        warnings.warn(
            f"there is no module {name!r} to hook here; a shared object is named with its .so, as libfoo.so.1",
            stacklevel=2,
        )
    _names.update(names)
    if not _follows:
        _follows = True
        os.register_at_fork(after_in_child=_native._hooks_adopt)
        sys.excepthook = functools.partial(_native._hooks_excepthook, sys.excepthook)
    objects = [name for name in _names if name and ".so" in name]
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    loaded = [spec for spec in specs if spec and isinstance(spec.loader, ExtensionFileLoader)]
    _native._hooks_install([*objects, *(spec.origin for spec in loaded if _is_meant(spec.name))])
    ExtensionFileLoader.create_module = _create_module
    _warn_of_hub()


def uninstall():
    """Takes all hooks out again. Calls that wait go on to wait as they are."""
    ExtensionFileLoader.create_module = _own_create_module
    _names.clear()
    _native._hooks_uninstall()


def report():
    """The libraries that were looked at, each a :class:`Library`: what is hooked, and what was refused and why."""
    _native._hooks_look()
    return [Library(path, tuple(calls), refused) for path, calls, refused in _native._hooks_report()]


def _warn_of_hub():
    """Called when hooks are installed, and by eventlet when it has made a hub."""
    if not _names or _native._hooks_hub_parks():
        return
    kind = type(_native._current_hub())
    if kind not in _warned_of:
        _warned_of.add(kind)
        warnings.warn(
            f"hooked C libraries block the OS thread: {kind.__module__}.{kind.__qualname__} does not park their calls, "
            "since it waits in its own way; use one of eventlet's hubs, with EVENTLET_HUB=epolls say",
            RuntimeWarning,
            stacklevel=3,
        )


def _is_meant(name):
    parts = name.split(".")
    if None in _names and parts[0] not in _OWN:
        return True
    packages = {".".join(parts[: count + 1]) for count in range(len(parts))}
    return not packages.isdisjoint(_names) or parts[0].startswith("_") and parts[0][1:] in _names


def _is_unknown(name):
    top = name.partition(".")[0] if name and ".so" not in name else None
    if top is None or top in sys.modules or "_" + top in sys.modules:
        return False
    return importlib.util.find_spec(top) is None and importlib.util.find_spec("_" + top) is None


def _create_module(self, spec):
    module = _own_create_module(self, spec)
    if _is_meant(spec.name):
        _native._hooks_install([spec.origin])
    else:
        _native._hooks_look()
    return module
