"""Locks between green threads; what ``threading.Lock`` is when that is patched."""

from greenloom._native import Lock

__all__ = ["Lock"]
