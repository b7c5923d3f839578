"""Why the native module cannot be imported: it is built for one interpreter each, and this is another."""

import os
import sys


def explained(missing):
    """*missing*, with what the reader can do about it: the interpreters that this package was built for."""
    here = os.path.dirname(os.path.abspath(__file__))
    built = sorted(name for name in os.listdir(here) if name.startswith("_native.") and name.endswith(".so"))
    has = f"is built for another interpreter ({', '.join(built)})" if built else "was not built"
    text = (
        f"greenloom in {here} {has}, and this is {sys.implementation.name} %d.%d, {sys.executable}: "
        "install it with this one, python -m pip install greenloom, or leave that folder out of PYTHONPATH"
    ) % sys.version_info[:2]
    return ModuleNotFoundError(text, name=missing.name, path=missing.path)
