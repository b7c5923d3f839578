"""What `help()` has to say: a text for each public module, class, function, method and property."""

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import pydoc
import types
import unittest
import warnings

import amqp
import eventlet
import greenlet
import greenloom

# Copies of the standard library's modules have its functions under our names.
STANDARD_LIBRARY = os.path.dirname(os.__file__)


class Docstrings(unittest.TestCase):
    maxDiff = None

    def test_everything_public_has_one(self):
        lacking = [name for name, value in public() if not inspect.getdoc(value)]
        self.assertEqual(lacking, [], "these lack a docstring")

    def test_native_ones_do_not_repeat_the_signature(self):
        for name, value in public():
            last = name.rpartition(".")[2]
            self.assertFalse((inspect.getdoc(value) or "").startswith(f"{last}("), name)

    def test_help_shows_signature_and_text(self):
        shown = pydoc.render_doc(eventlet.spawn, renderer=pydoc.plaintext)
        self.assertIn("spawn(func, *args, **kwargs)", shown)
        shown = pydoc.render_doc(eventlet.Queue, renderer=pydoc.plaintext)
        self.assertIn("put(self, /, item, block=True, timeout=None)", shown)


def public():
    """Dotted names and values."""
    for package in (greenlet, eventlet, amqp, greenloom):
        for name in modules(package):
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    module = importlib.import_module(name)
                except (ImportError, NotImplementedError):
                    continue
            yield name, module
            for attribute, value in vars(module).items():
                if is_ours(attribute, value) and not isinstance(value, types.ModuleType):
                    yield f"{name}.{attribute}", value
                    if isinstance(value, type):
                        yield from ((f"{name}.{attribute}.{each}", method) for each, method in members(value))


def modules(package):
    yield package.__name__
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None):
        parts = found.name.split(".")
        # What importing them does is their purpose, or they are found by another name.
        others = found.name.startswith(("greenloom.gunicorn", "greenloom.drop_in"))
        if not others and not any(part.startswith("_") for part in parts):
            yield found.name


def members(cls):
    for name, value in vars(cls).items():
        described = callable(value) or isinstance(value, property) or inspect.isgetsetdescriptor(value)
        # What a class of the standard library has is its to describe.
        theirs = any(hasattr(base, name) for base in cls.__mro__ if not is_named_by_us(base))
        if described and not theirs and not name.startswith("_") and not isinstance(value, type):
            yield name, getattr(cls, name)


def is_ours(name, value):
    if name.startswith("_") or not callable(value) or not is_named_by_us(value):
        return False
    functions = vars(value).values() if isinstance(value, type) else [value]
    files = [function.__code__.co_filename for function in functions if isinstance(function, types.FunctionType)]
    return not any(file.startswith(STANDARD_LIBRARY) and "site-packages" not in file for file in files)


def is_named_by_us(value):
    return (getattr(value, "__module__", None) or "").partition(".")[0] in ("greenlet", "eventlet", "amqp", "greenloom")


if __name__ == "__main__":
    unittest.main()
