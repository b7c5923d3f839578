"""Putting Greenloom's drop-in packages first, where stock ones are installed and must stay.

The drop-ins lie in the folder ``drop_in`` of this package. With that folder first on the module search path they win
over anything installed; with it in PYTHONPATH they do so in subprocesses too.
"""

import os
import sys

DROP_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drop_in")

#: The packages that are replaced.
REPLACED = ("greenlet", "eventlet", "amqp")


class InstalledTooLate(ImportError):
    """A stock package was imported before :func:`install` was called."""


def install(*, subprocesses=True):
    """Makes ``import greenlet``, ``import eventlet`` and ``import amqp`` mean Greenloom's from now on, whatever is
    installed.

    Call it before anything imports them. *subprocesses* sets PYTHONPATH too, so that Python processes started from
    here do the same. Calling it again does nothing.

    :raises InstalledTooLate: when a stock package was imported already.
    """
    for name in REPLACED:
        module = sys.modules.get(name)
        if module is not None and not _is_ours(module):
            raise InstalledTooLate(
                f"{name} was imported from {getattr(module, '__file__', 'an unknown place')} before "
                f"greenloom.install() was called; call it first, or start the program with `greenloom run`"
            )
    if DROP_IN not in sys.path:
        sys.path.insert(0, DROP_IN)
    if subprocesses:
        os.environ["PYTHONPATH"] = with_drop_ins(os.environ.get("PYTHONPATH"))


def with_drop_ins(pythonpath):
    """A value for PYTHONPATH that has the drop-ins first."""
    rest = [entry for entry in (pythonpath or "").split(os.pathsep) if entry and entry != DROP_IN]
    return os.pathsep.join([DROP_IN, *rest])


def _is_ours(module):
    # Each of ours says so: stock eventlet on our greenlet could not be told from ours by what it holds.
    return getattr(module, "__greenloom__", False)
