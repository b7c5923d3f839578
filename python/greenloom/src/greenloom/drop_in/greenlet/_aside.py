"""Stepping aside for stock packages in an interpreter for which there is no greenloom.

PYTHONPATH, which ``greenloom run`` sets for subprocesses, may bring the drop-ins to another interpreter. That one gets
what it would have got without them.
"""

import importlib
import os
import sys

DROP_IN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def step_aside(missing):
    """Puts the stock packages in place of ours, also of an eventlet whose import led here.

    :raises ModuleNotFoundError: *missing*, where there is no stock greenlet, or if something else is missing.
    """
    if (missing.name or "").partition(".")[0] != "greenloom":
        raise missing
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != DROP_IN]
    begun = [name for name in ("greenlet", "eventlet") if is_ours(sys.modules.get(name))]
    ours = {name: sys.modules.pop(name) for name in begun}
    try:
        for name in begun:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        sys.modules.update(ours)
        if error.name != "greenlet":
            raise
        raise missing from None


def is_ours(module):
    return module is not None and os.path.dirname(os.path.dirname(os.path.abspath(module.__file__))) == DROP_IN
