"""`builtins` with an `open` that tells the hub when a file descriptor's number has a new meaning.

A file that was closed without notice, by the garbage collector for one, shows only in its number being used again.
"""

import builtins as builtins_orig

from eventlet import hubs, patcher
from eventlet.support import functions as _functions

__all__ = dir(builtins_orig)
__patched__ = ["open"]

patcher.slurp_properties(builtins_orig, globals(), ignore=__patched__, srckeys=dir(builtins_orig))

hubs.get_hub()

__original_open = builtins_orig.open
__notifying = False


def open(*args, **kwargs):
    """As the builtin; the hub learns of the file descriptor, whose number may have belonged to a closed file."""
    global __notifying
    file = __original_open(*args, **kwargs)
    # Notifying may import, and an import opens files.
    if not __notifying:
        __notifying = True
        try:
            hubs.notify_opened(file.fileno())
        finally:
            __notifying = False
    return file


_functions.stand_for_those_of_c(builtins_orig, globals(), __patched__)
