"""Values of which each green thread has its own; what ``threading.local`` is when that is patched."""

from greenloom._native import get_ident, local

__all__ = ["get_ident", "local"]
