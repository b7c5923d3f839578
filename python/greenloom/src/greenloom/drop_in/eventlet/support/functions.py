"""Functions that take the place of functions of C.

Those are no methods of a class that has them as attributes, as in ``sleep = time.sleep`` or
``_selector_cls = select.poll``; pickle finds them by their name in their module.
"""

import types


class Function(staticmethod):
    """What it is made of is called with the arguments as they are, wherever it is an attribute."""

    def __get__(self, instance, owner=None):
        return self

    def __reduce__(self):
        return self.__name__

    def __repr__(self):
        return f"<green function {self.__name__}>"


def stand_for_those_of_c(original, namespace, names):
    """Makes it so for each function of a namespace, by these names, that stands for one of C in the module `original`.
    """
    made = {}  # one may have several names
    for name in names:
        function = namespace.get(name)
        in_c = isinstance(getattr(original, name, None), types.BuiltinFunctionType)
        if in_c and isinstance(function, types.FunctionType):
            namespace[name] = made.setdefault(function, Function(function))


def belongs_to(what, module_name, name):
    """Makes pickle name a function or class by its place in the standard library, the first that it has there: another
    process, which may not be patched, finds its own there. Programs look there, too, whether an RLock is one of C."""
    if not isinstance(what, (types.FunctionType, Function)):
        if type(what) is not type or not what.__module__.startswith("eventlet.green."):
            return
    if what.__name__ == name:
        what.__module__, what.__qualname__ = module_name, name
