"""Any module of ours may be the first that a program imports: none counts on another that was imported before."""

import pathlib
import unittest

import amqp
import eventlet
import greenlet
import greenloom
from support import run_script

PACKAGES = (greenlet, eventlet, amqp, greenloom)

# A child for each module, of a process that has imported none of ours.
EACH_ALONE = """
    import importlib, os, sys, traceback
    # What all of them would import again.
    import asyncio, http.client, http.server, logging, multiprocessing, ssl, subprocess, urllib.request

    packages, *names = sys.argv[1:]
    for name in names:
        child = os.fork()
        if not child:
            # What some of them print is about their users.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                importlib.import_module(name)
            except BaseException as error:
                missing = isinstance(error, ModuleNotFoundError) and error.name.partition(".")[0] or "?"
                if missing == "?" or missing in packages.split():
                    print(name, "".join(traceback.format_exception(error)), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(name, "ended with", status, flush=True)
"""


class Imports(unittest.TestCase):
    def test_each_module_may_be_imported_first(self):
        names = [name for package in PACKAGES for name in modules(package)]
        self.assertGreater(len(names), 100)
        packages = " ".join(package.__name__ for package in PACKAGES)
        # dnspython is half of what an import takes; what is ours of it is imported by name.
        env = {"EVENTLET_NO_GREENDNS": "yes"}
        self.assertEqual(run_script(EACH_ALONE, "-W", "ignore", argv=[packages, *names], env=env), (0, ""))


def modules(package):
    """The names of a package's modules that are written in Python."""
    folder = pathlib.Path(package.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        # The packages in it are asked by their own names, and importing __main__ runs it.
        if parts[0] != "drop_in" and parts != ("__main__",):
            yield ".".join((package.__name__, *parts)).removesuffix(".__init__")


if __name__ == "__main__":
    unittest.main()
