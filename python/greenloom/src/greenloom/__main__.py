"""
``greenloom run``: runs a program with Greenloom's drop-in packages in place of the stock ones.

    greenloom run script.py args...
    greenloom run -m module args...
    greenloom run -c code args...

``python -m greenloom run`` does the same.
"""

import os
import pkgutil
import runpy
import sys

from ._install import install

USAGE = "usage: greenloom run (script.py | -m module | -c code) [args...]"


def main():
    command, *rest = sys.argv[1:] or [""]
    if command in ("-h", "--help"):
        print(__doc__.strip())
        return
    if command != "run" or not rest or (rest[0] in ("-m", "-c") and len(rest) < 2):
        sys.exit(USAGE)
    # What the interpreter puts first is our command's; a program has its own there, even before the drop-ins.
    wants_own = not getattr(sys.flags, "safe_path", False)
    if wants_own:
        del sys.path[0]
    install()
    if rest[0] == "-m":
        own, sys.argv = os.getcwd(), rest[1:]
    elif rest[0] == "-c":
        own, sys.argv = "", ["-c", *rest[2:]]
    else:
        # A folder or archive with a __main__ is put there by runpy.
        is_file = pkgutil.get_importer(rest[0]) is None
        own, sys.argv = os.path.dirname(os.path.realpath(rest[0])) if is_file else None, rest
    if wants_own and own is not None:
        sys.path.insert(0, own)
    if rest[0] == "-m":
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    elif rest[0] == "-c":
        run_in_main(compile(rest[1], "<string>", "exec"), None)
    else:
        runpy.run_path(rest[0], run_name="__main__")


def run_in_main(code, filename):
    module = type(sys)("__main__")
    module.__file__ = filename
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    exec(code, vars(module))


if __name__ == "__main__":
    main()
