"""What test-musl.sh's program, named python, starts with: it runs -c, -m or a file, as a CPython does.

It ignores the environment, options, signals and site; what the tests need of these is here.
"""

import faulthandler
import os
import runpy
import signal
import site
import sys
import warnings


def run(_name):
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    arguments = sys.argv[1:]
    try:
        while arguments[0].startswith("-") and arguments[0] not in ("-c", "-m"):
            option = arguments.pop(0)
            if option == "-W":
                warnings._processoptions([arguments.pop(0)])
            elif option == "-X" and arguments.pop(0) == "faulthandler":
                faulthandler.enable()
        site.main()
        if arguments[0] == "-c":
            import __main__

            sys.argv = ["-c", *arguments[2:]]
            sys.path.insert(0, "")
            exec(compile(arguments[1], "<string>", "exec"), vars(__main__))
        elif arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path.insert(0, os.getcwd())
            runpy._run_module_as_main(arguments[1])
        else:
            sys.argv = arguments
            sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
            runpy.run_path(arguments[0], run_name="__main__")
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
