"""Greenloom for Python: green threads on stacks of their own.

This package holds the native module and what is not part of the ``greenlet`` API: stack sizes, a list of all greenlets,
what the hubs have done, and putting the drop-in packages first where stock ones are installed.

>>> import greenloom
>>> greenloom.stack_size() >= 256 * 1024
True
"""

from ._install import InstalledTooLate, install

try:
    from ._native import greenlets, set_stack_size, stack_pool, stack_size
except ModuleNotFoundError as _missing:
    if _missing.name != f"{__name__}._native":
        raise
    from ._built_for import explained

    raise explained(_missing) from None

from ._hubs import hubs

__version__ = "0.1.0"

__all__ = [
    "InstalledTooLate",
    "greenlets",
    "hubs",
    "install",
    "set_stack_size",
    "stack_pool",
    "stack_size",
]
