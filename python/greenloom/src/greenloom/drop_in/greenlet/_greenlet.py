"""The names that greenlet keeps in its extension module, for those who look there."""

import sys

from greenloom import _native

globals().update({name: value for name, value in vars(_native).items() if not name.startswith("__")})


def _show_to_memray():
    """memray follows greenlets once it sees `greenlet/_greenlet.` being loaded. Here the native module has another
    name, so it is loaded again by that one, which makes no second copy."""
    import ctypes
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "_greenlet.so")
        os.symlink(_native.__file__, link)
        ctypes.CDLL(link)


if "memray" in sys.modules:
    _show_to_memray()
