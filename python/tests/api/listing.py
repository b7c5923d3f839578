"""What `inspect.signature` says of the public callables of greenlet, eventlet and amqp.

    listing.py            lists them: a JSON object of dotted names, each with its parameters or null
    listing.py NAMES      says the same of the names in the JSON file NAMES; "missing" where there is no such name

Stock's interpreter lists, and ours is asked for what stock has. A parameter is [name, kind, default].
"""

import contextlib
import importlib
import inspect
import json
import pkgutil
import re
import sys
import types
import warnings

# Copies of the standard library's modules, which ours takes from the interpreter; patched modules of others; a tracer
# for Python 2; and the hubs of other systems.
SKIPPED = re.compile(
    r"eventlet\.(green\.(http|httplib|Queue|profile|zmq|MySQLdb|OpenSSL)|zipkin|hubs\.(kqueue|pyevent))\b"
)

PACKAGES = ("greenlet", "eventlet", "amqp")
MISSING = object()


def main():
    warnings.simplefilter("ignore")
    if len(sys.argv) == 2:
        with open(sys.argv[1]) as file:
            listed = {name: parameters_by_name(name) for name in json.load(file)}
    else:
        listed = {name: parameters(value) for name, value in public()}
    json.dump(listed, sys.stdout)


def public():
    """Dotted names and values: what the modules define, and the methods of classes among them."""
    for module_name in sorted(set().union(*map(modules, PACKAGES))):
        try:
            module = quietly_imported(module_name)
        except ImportError:
            continue
        for name, value in vars(module).items():
            if not is_public(module, name, value):
                continue
            yield f"{module_name}.{name}", value
            if isinstance(value, type):
                for method in methods(value):
                    yield f"{module_name}.{name}.{method}", getattr(value, method)


def modules(package):
    """The names of a package and of all public modules below it."""
    names = {package}
    for found in pkgutil.walk_packages(quietly_imported(package).__path__, f"{package}.", onerror=lambda name: None):
        private = any(part.startswith("_") or part == "tests" for part in found.name.split("."))
        if not private and not SKIPPED.match(found.name):
            names.add(found.name)
    return names


def quietly_imported(name):
    with contextlib.redirect_stdout(sys.stderr):
        return importlib.import_module(name)


def is_public(module, name, value):
    """A callable that the module defines, that it names in `__all__`, or that it gathers as a package does."""
    if name.startswith("_") or isinstance(value, types.ModuleType) or not callable(value) or not is_theirs(value):
        return False
    home = value.__module__
    return home == module.__name__ or name in getattr(module, "__all__", ()) or hasattr(module, "__path__")


def is_theirs(value):
    return (getattr(value, "__module__", None) or "").partition(".")[0] in (*PACKAGES, "greenloom")


def methods(cls):
    """The names of the public methods that the packages gave to a class; what the standard library gave is its own."""
    for name in dir(cls):
        home = next((base for base in cls.__mro__ if name in vars(base)), object)
        if is_theirs(home) and not name.startswith("_"):
            value = getattr(cls, name)
            if callable(value) and not isinstance(value, type):
                yield name


def parameters_by_name(dotted):
    parts = dotted.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            value = quietly_imported(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            value = getattr(value, part, MISSING)
        return "missing" if value is MISSING else parameters(value)
    return "missing"


def parameters(value):
    try:
        found = inspect.signature(value).parameters.values()
    except (ValueError, TypeError):
        return None
    return [[each.name, each.kind.name, default(each)] for each in found]


def default(parameter):
    """A default's text, without what tells one run, or the place of a class, from another."""
    if parameter.default is parameter.empty:
        return None
    if isinstance(parameter.default, type):
        return parameter.default.__name__
    return re.sub(r" at 0x\w+", "", repr(parameter.default))


if __name__ == "__main__":
    main()
