"""What the tests with an extension module of their own share: it is built for them, and each is a program of its own,
since hooks are for a whole process."""

import pathlib
import shutil
import subprocess
import sysconfig
import tempfile
import textwrap
import unittest

from support import run_script

SOURCES = pathlib.Path(__file__).parent

START = """
import ctypes, errno, os, socket, sys, threading, time
sys.path.insert(0, {folder!r})
FOLDER = {folder!r}
import eventlet, eventlet.debug, greenlet
from greenloom import hooks
hooks.install(["blocking"])
import blocking

eventlet.debug.hub_exceptions(False)
ours, theirs = socket.socketpair()
fd = ours.fileno()
DEADLINE = 20000

def spawn_and_reach(function, *args):
    # Returns when it waits.
    green_thread = eventlet.spawn(function, *args)
    eventlet.sleep(0)
    assert not green_thread.dead
    return green_thread

def end_of(green_thread):
    try:
        return green_thread.wait()
    except BaseException as error:
        return type(error).__name__
"""


@unittest.skipUnless(shutil.which("cc"), "needs a C compiler")
class ModuleTests(unittest.TestCase):
    """To be derived from: `check` runs a program that has the module `blocking`."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        for name in ("brought", "opened"):
            cc("-o", f"{cls.folder}/lib{name}.so", f"-Wl,-soname,lib{name}.so", SOURCES / "brought.c")
        cc("-o", f"{cls.folder}/libevery.so", "-Wl,-soname,libevery.so", SOURCES / "every.c")
        include = sysconfig.get_path("include")
        link = ("-L", cls.folder, "-lbrought", "-lpthread")
        # As a distribution's own, it has no search path: brought.so is found because it is loaded before.
        cc("-I", include, "-o", f"{cls.folder}/blocking.so", SOURCES / "blocking.c", *link)

    def run_program(self, program, env=None):
        start = START.format(folder=self.folder)
        load = "import ctypes; ctypes.CDLL({!r}, ctypes.RTLD_GLOBAL)\n".format(f"{self.folder}/libbrought.so")
        return run_script(load + start + textwrap.dedent(program), env=env, timeout=20)

    def check(self, program, wanted="", env=None):
        done = self.run_program(program, env)
        self.assertEqual(done, (0, wanted), done[1])


def cc(*arguments, compiler="cc"):
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", *map(str, arguments)], check=True)
