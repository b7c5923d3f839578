"""Stepping aside for stock's package in an interpreter for which there is no greenloom.

PYTHONPATH, which ``greenloom run`` sets for subprocesses, may bring the drop-ins to another interpreter. That one gets
what it would have got without them.
"""

import importlib
import os
import sys

DROP_IN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def step_aside(missing):
    """Puts the stock package in place of ours.

    :raises ModuleNotFoundError: *missing*, where there is none, or if something else is missing.
    """
    if (missing.name or "").partition(".")[0] != "greenloom":
        raise missing
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != DROP_IN]
    ours = sys.modules.pop("amqp")
    del sys.modules[__name__]
    try:
        importlib.import_module("amqp")
    except ModuleNotFoundError as error:
        sys.modules["amqp"] = ours
        if error.name != "amqp":
            raise
        raise missing from None
