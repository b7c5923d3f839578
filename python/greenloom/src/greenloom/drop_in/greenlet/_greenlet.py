"""The names that greenlet keeps in its extension module, for those who look there.

No function is defined here. It would hold the names of the module, and what a program has put among them would no
longer be let go of when the interpreter ends.
"""

import sys

from greenloom import _native

globals().update({name: value for name, value in vars(_native).items() if not name.startswith("__")})

if "memray" in sys.modules:
    from greenlet import _memray  # noqa: F401

del sys
