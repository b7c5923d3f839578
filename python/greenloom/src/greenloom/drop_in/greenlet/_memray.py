"""Shows memray that greenlet is here.

memray follows greenlets once it sees a file named `_greenlet.` being loaded. Here the native module has another name,
so it is loaded again by that one, which makes no second copy.
"""

import ctypes
import os
import tempfile

from greenloom import _native

with tempfile.TemporaryDirectory() as folder:
    link = os.path.join(folder, "_greenlet.so")
    os.symlink(_native.__file__, link)
    ctypes.CDLL(link)
