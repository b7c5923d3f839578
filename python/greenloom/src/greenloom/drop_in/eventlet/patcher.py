"""Makes modules of the standard library, and modules that use them, cooperate with the hub.

There are three ways, from the most to the least thorough:

- `monkey_patch` changes the modules of the standard library in place, for the whole process;
- `import_patched` and `inject` import a fresh copy of one module that sees the green modules of `eventlet.green`;
- `original` gives a module as it is without any patch, for who really wants to block an OS thread.

A green module names in `__patched__` what it replaces in the module it stands for. If it has a function
`_patch_in_place`, that function is called with the module as well, for what is more than one attribute.
"""

import enum
import functools
import importlib
import os
import pkgutil
import sys
import types
from importlib.machinery import BuiltinImporter, ExtensionFileLoader

import _imp as imp
from greenloom import hooks

from eventlet.support import functions

__all__ = ["inject", "import_patched", "monkey_patch", "is_monkey_patched"]

#: Names of what is patched, as `monkey_patch` takes them, with True.
already_patched = {}

__exclude = {"__builtins__", "__file__", "__name__"}

_ORIGINAL = "__original_module_"
_PATCHED = "__patched_module_"

#: What an original module must find when it is imported, besides what is never patched.
_ORIGINAL_IMPORTS = {
    "queue": ("_thread", "time", "threading"),
    "selectors": ("select",),
    "socket": ("select", "selectors"),
    "ssl": ("select", "selectors", "socket"),
    "subprocess": ("_thread", "os", "select", "selectors", "threading", "time"),
}


class SysModulesSaver:
    """Remembers entries of sys.modules, and holds the import lock from its creation until `restore`."""

    def __init__(self, module_names=()):
        self._saved = {}
        imp.acquire_lock()
        self.save(*module_names)

    def save(self, *module_names):
        """Remembers these entries, absent ones too."""
        for name in module_names:
            self._saved[name] = sys.modules.get(name)

    def save_absent(self, *module_names):
        """Remembers that these entries, unless they were saved, were absent."""
        for name in module_names:
            self._saved.setdefault(name)

    def restore(self):
        """Puts sys.modules back to what was saved, and what packages there say of these modules."""
        try:
            replaced = {name: sys.modules.pop(name, None) for name in self._saved}
            sys.modules.update((name, module) for name, module in self._saved.items() if module is not None)
            for name, module in self._saved.items():
                _put_back_in_package(name, replaced[name], module)
        finally:
            imp.release_lock()


def _put_back_in_package(name, replaced, module):
    package, _, child = name.rpartition(".")
    package = sys.modules.get(package)
    if replaced is None or getattr(package, child, None) is not replaced:
        return
    if module is None:
        delattr(package, child)
    else:
        setattr(package, child, module)


def inject(module_name, new_globals, *additional_modules):
    """Imports a fresh copy of a module, which sees the given modules in place of those in sys.modules.

    `additional_modules` are pairs of a name and a module; without any, all green modules are used. `new_globals`, if
    it is not None, receives all names of the copy. A module is copied once: later calls return the same copy,
    whatever they ask for. sys.modules is left as it was, but for an entry that keeps the copy. Returns the copy.
    """
    kept_as = _PATCHED + module_name
    if kept_as in sys.modules:
        return sys.modules[kept_as]

    additional_modules = additional_modules or _all_green_modules()
    tree = _tree_of(module_name)
    visible = _stays_visible(module_name)
    saver = SysModulesSaver([name for name, _ in additional_modules])
    try:
        if not visible:
            saver.save(module_name, *tree)
        for name in (module_name, *tree):
            sys.modules.pop(name, None)
        for name in tree:
            if _PATCHED + name in sys.modules:
                sys.modules[name] = sys.modules[_PATCHED + name]
        for name, module in additional_modules:
            _cover(name, module)
        copy = importlib.import_module(module_name)
        if new_globals is not None:
            new_globals.update((name, getattr(copy, name)) for name in dir(copy) if name not in __exclude)
        new = [name for name in _tree_of(module_name) if name in sys.modules]
        for name in (module_name, *new):
            sys.modules[_PATCHED + name] = sys.modules[name]
        if not visible:
            saver.save_absent(*new)
    finally:
        saver.restore()
    return copy


def _stays_visible(module_name):
    # Who copies a package and then modules of it, and did not import the package itself, means the copy wherever it is
    # imported. So it was always, and programs replace functions of dnspython's so that greendns uses theirs.
    top, _, inner = module_name.partition(".")
    copy = sys.modules.get(_PATCHED + top)
    return bool(inner) and copy is not None and sys.modules.get(top, copy) is copy


def _tree_of(module_name):
    """Names of all modules that are of one piece with this one: what is in it, and the whole of a package that was
    copied."""
    top = module_name.partition(".")[0]
    if _PATCHED + top not in sys.modules:
        return [name for name in list(sys.modules) if name.startswith(module_name + ".")]
    names = {name.removeprefix(_PATCHED) for name in list(sys.modules)}
    return [name for name in names if name == top or name.startswith(top + ".")]


def _cover(name, module):
    sys.modules[name] = module
    package, _, child = name.rpartition(".")
    if package:
        # `import a.b` and a.b.c: what counts is the attribute of a.
        setattr(importlib.import_module(package), child, module)


def import_patched(module_name, *additional_modules, **kw_additional_modules):
    """Imports a copy of a module that sees green modules, all of them or those given as pairs or keywords. Returns it.

    The module in sys.modules, if there is one, stays as it is.
    """
    return inject(module_name, None, *additional_modules, *kw_additional_modules.items())


def patch_function(func, *additional_modules):
    """Wraps a function that imports within its body, so that it finds green modules there.

    All other code that imports while the function runs finds them as well, so this is for short functions without
    another way.
    """
    additional_modules = additional_modules or _all_green_modules()

    @functools.wraps(func)
    def patched(*args, **kw):
        saver = SysModulesSaver()
        try:
            for name, module in additional_modules:
                saver.save(name)
                _cover(name, module)
            return func(*args, **kw)
        finally:
            saver.restore()

    return patched


def original(modname):
    """Returns a module of the standard library without patches, whether or not something is patched already.

    It is a module of its own: what others change in the module of that name does not reach it.
    """
    kept_as = _ORIGINAL + modname
    if kept_as in sys.modules:
        return sys.modules[kept_as]

    present = importlib.import_module(modname)
    if _is_native(present):
        # It has no code that looks up globals, and a second import would have second types of lock and file.
        copy = _copy_of(present)
    elif modname == "threading":
        copy = _original_threading(present)
    else:
        copy = _import_again(modname, [(name, original(name)) for name in _ORIGINAL_IMPORTS.get(modname, ())])
        _share_enums(copy, present)
    if modname == "os":
        copy.environ, copy.environb = present.environ, present.environb
    sys.modules[kept_as] = copy
    return copy


def _share_enums(copy, present):
    # The family of a socket, say, is the module's own, which pickle looks for there.
    for name, value in vars(present).items():
        if isinstance(value, enum.Enum) or isinstance(value, enum.EnumMeta) and value.__module__ == present.__name__:
            setattr(copy, name, value)


def _original_threading(present):
    thread = original("_thread")
    for_import = _copy_of(thread)
    if hasattr(thread, "_set_sentinel"):
        # Until Python 3.12 an OS thread has one lock that tells of its end. A copy that takes the OS thread that
        # imports it for the main one must not take that lock from the Thread that runs there.
        for_import._set_sentinel = thread.allocate_lock
    copy = _import_again("threading", [("_thread", for_import), ("time", original("time"))])
    copy._thread = thread
    if hasattr(thread, "_set_sentinel"):
        copy._set_sentinel = thread._set_sentinel
    _correct_main_thread(copy, present)
    return copy


def _correct_main_thread(copy, threading):
    """Makes a copy of threading know which is the main OS thread; until Python 3.12 it is the one that imports it."""
    main = copy._main_thread
    del copy._active[main._ident]
    main._ident = threading._main_thread._ident
    main._native_id = threading._main_thread._native_id
    copy._active[main._ident] = main


def _is_native(module):
    loader = module.__spec__.loader
    return loader is BuiltinImporter or isinstance(loader, ExtensionFileLoader)


def _import_again(modname, modules):
    saver = SysModulesSaver([modname] + [name for name, _ in modules])
    try:
        sys.modules.update(modules)
        sys.modules.pop(modname, None)
        return importlib.import_module(modname)
    finally:
        saver.restore()


def _copy_of(module):
    copy = types.ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update(module.__dict__)
    return copy


def monkey_patch(*, native=False, **on):
    """Makes modules of the standard library green, in place and for the whole process.

    Without arguments everything is patched, except builtins and MySQLdb. The flags are os (with signal), select (with
    selectors), socket (with ssl), thread (_thread, threading, queue and the locks of multiprocessing), time,
    subprocess, psycopg, MySQLdb and builtins. If some flag is True, only those that are True are patched; `all` is the
    value of the flags not given. An unknown flag is a TypeError.

    `native` makes C libraries green, too: all with True, those of some modules with a list of names, by
    `greenloom.hooks`. psycopg2 is green then as it is, and `psycopg` off unless it is True.

    It may be called late and again. Locks, RLocks, Conditions and SimpleQueues made before `thread` is patched keep
    working, from green threads and from other OS threads.
    """
    import eventlet.hubs

    # What the hub imports must be imported before it is patched.
    eventlet.hubs.get_hub()
    on = {"psycopg": False} | on if native else on
    new = [flag for flag, wanted in _wanted_flags(on).items() if wanted and not already_patched.get(flag)]
    if native:
        hooks.install(None if native is True else native)
    for flag in new:
        _patch_flag(flag)
    if "os" in new:
        _patch_connections()
    if "thread" in new:
        from eventlet.support import existing_locks, import_locks

        existing_locks.make_green()
        import_locks.follow_green_threads()


def _wanted_flags(on):
    flags = ("os", "select", "socket", "thread", "time", "psycopg", "MySQLdb", "builtins", "subprocess")
    off_unless_named = ("MySQLdb", "builtins")
    on = dict(on)
    if "__builtin__" in on:
        assert "builtins" not in on, "builtins and __builtin__ are the same"
        on["builtins"] = on.pop("__builtin__")
    rest = on.pop("all", None)
    for flag in on:
        if flag not in flags:
            raise TypeError(f"monkey_patch() got an unexpected keyword argument {flag!r}")
    if rest is None:
        rest = True not in on.values()
    return {flag: on.get(flag, rest and flag not in off_unless_named) for flag in flags}


def _patch_flag(flag):
    if flag == "psycopg":
        try:
            from eventlet.support import psycopg2_patcher
        except ImportError:
            return  # not installed (yet): the next call tries again
        psycopg2_patcher.make_psycopg_green()
        already_patched[flag] = True
        return

    modules = _GREEN_MODULES[flag]()
    already_patched[flag] = True
    imp.acquire_lock()
    try:
        for name, green in modules:
            _patch_module(name, green)
    finally:
        imp.release_lock()


def _patch_module(name, green):
    module = importlib.import_module(name)
    original(name)  # a C module has to be copied while it is whole
    for attribute in green.__patched__:
        replacement = getattr(green, attribute, None)
        if replacement is not None:
            setattr(module, attribute, replacement)
            functions.belongs_to(replacement, name, attribute)
    for attribute in getattr(green, "__deleted__", ()):
        if hasattr(module, attribute):
            delattr(module, attribute)
    patch_in_place = getattr(green, "_patch_in_place", None)
    if patch_in_place is not None:
        patch_in_place(module)


def _patch_connections():
    """Connections of multiprocessing keep what os had when they were defined: in each child that is spawned, that is
    before the program is imported and patches."""
    connection = sys.modules.get("multiprocessing.connection")
    if connection is None:
        return
    from eventlet.green import os as green

    connection.Connection._send.__defaults__ = (green.write,)
    connection.Connection._recv.__defaults__ = (green.read,)


def is_monkey_patched(module):
    """Tells whether a module, given as such or by its name, was patched by `monkey_patch`. Only flags' names are
    known."""
    return module in already_patched or getattr(module, "__name__", None) in already_patched


def _green_os_modules():
    from eventlet.green import fcntl, os, signal

    return [("os", os), ("fcntl", fcntl), ("signal", signal)]


def _green_select_modules():
    from eventlet.green import select, selectors

    return [("select", select), ("selectors", selectors)]


def _green_socket_modules():
    from eventlet.green import socket

    try:
        from eventlet.green import ssl
    except ImportError:
        return [("socket", socket)]
    return [("socket", socket), ("ssl", ssl)]


def _green_thread_modules():
    from eventlet.green import Queue, thread, threading

    return [("queue", Queue), ("_thread", thread), ("threading", threading)]


def _green_thread_modules_to_patch():
    try:
        from eventlet.green import multiprocessing_locks
    except ImportError:
        return _green_thread_modules()
    return [*_green_thread_modules(), ("_multiprocessing", multiprocessing_locks)]


def _green_time_modules():
    from eventlet.green import time

    return [("time", time)]


def _green_subprocess_modules():
    from eventlet.green import subprocess

    return [("subprocess", subprocess)]


def _green_MySQLdb():
    try:
        from eventlet.green import MySQLdb
    except ImportError:
        return []
    return [("MySQLdb", MySQLdb)]


def _green_builtins():
    from eventlet.green import builtin

    return [("builtins", builtin)]


_GREEN_MODULES = {
    "os": _green_os_modules,
    "select": _green_select_modules,
    "socket": _green_socket_modules,
    "thread": _green_thread_modules_to_patch,
    "time": _green_time_modules,
    "MySQLdb": _green_MySQLdb,
    "builtins": _green_builtins,
    "subprocess": _green_subprocess_modules,
}


def _all_green_modules():
    return (
        _green_os_modules()
        + _green_select_modules()
        + _green_socket_modules()
        + _green_thread_modules()
        + _green_time_modules()
    )


def _unmonkey_patch_asyncio_all():
    """Lets the modules of asyncio, and the thread pool they use, see original modules: the asyncio hub blocks in its
    loop."""
    for name in ("os", "select", "selectors", "socket", "ssl", "queue", "_thread", "threading", "time", "subprocess"):
        _unmonkey_patch_asyncio(name)


def _unmonkey_patch_asyncio(name):
    patched, unpatched = sys.modules.get(name), original(name)
    for module in _asyncio_modules():
        if getattr(module, name, None) is patched:
            setattr(module, name, unpatched)
    if name == "_thread":
        import asyncio.base_futures

        if hasattr(asyncio.base_futures, "get_ident"):
            asyncio.base_futures.get_ident = unpatched.get_ident
    if name in ("threading", "queue"):
        try:
            import concurrent.futures.thread as pool
        except RuntimeError:
            return  # the interpreter ends
        setattr(pool, name, unpatched)


def _asyncio_modules():
    import asyncio

    yield asyncio
    for _, name, _ in pkgutil.walk_packages(asyncio.__path__):
        if name == "__main__":
            continue
        try:
            yield importlib.import_module("asyncio." + name)
        except ImportError:
            pass  # for another system


def slurp_properties(source, destination, ignore=(), srckeys=None):
    """Copies attributes of a module into a dictionary: those of `srckeys`, by default of its `__all__`.

    Names of `ignore` and names that begin with two underscores are left out.
    """
    for name in source.__all__ if srckeys is None else srckeys:
        if not name.startswith("__") and name not in ignore:
            destination[name] = getattr(source, name)


if __name__ == "__main__":
    import runpy

    import eventlet.patcher

    sys.argv.pop(0)
    eventlet.patcher.monkey_patch()
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name="__main__")
