"""The names that greenlet keeps in its extension module, for those who look there."""

from greenloom import _native

globals().update({name: value for name, value in vars(_native).items() if not name.startswith("__")})
