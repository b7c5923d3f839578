"""PYTHONPATH brings the drop-ins to an interpreter that has no greenloom, where packages pretend to be stock's."""

import os
import subprocess
import sys
import tempfile
import unittest

from support import run_python

from greenloom._install import DROP_IN

#: A stock package with any name that is looked for in it.
STOCK_PACKAGE = (
    "from unittest.mock import MagicMock\nstock = True\n__all__ = ()\n__getattr__ = lambda name: MagicMock()\n"
)
WHOSE = "import greenlet, eventlet, amqp; print(*('stock' in vars(one) for one in (greenlet, eventlet, amqp)))"


class StepAside(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder], check=True)
        self.python = os.path.join(self.folder, "bin", "python")
        version = "python%d.%d" % sys.version_info[:2]
        self.packages = os.path.join(self.folder, "lib", version, "site-packages")
        for package in ("greenlet", "eventlet", "amqp"):
            self.write(f"{package}/__init__.py", "stock = True\n")

    def write(self, name, text):
        path = os.path.join(self.packages, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def run_python(self, *arguments, **environment):
        return run_python(self.python, *arguments, **environment)

    def test_stock_is_imported_where_there_is_no_greenloom(self):
        self.write("greenlet/__init__.py", STOCK_PACKAGE)
        self.write("eventlet/__init__.py", STOCK_PACKAGE)
        self.write("eventlet/_version.py", "__version__ = '0'\n")
        self.write("eventlet/green/__init__.py", "")
        self.write("eventlet/green/socket.py", "stock = True\n")
        self.write("amqp/__init__.py", STOCK_PACKAGE)
        for module in ("basic_message", "channel", "connection", "exceptions", "utils"):
            self.write(f"amqp/{module}.py", STOCK_PACKAGE)
        for first in ("greenlet", "eventlet", "eventlet.green.socket", "amqp", "amqp.connection"):
            with self.subTest(first=first):
                code = f"import {first}; print({first}.stock is True); {WHOSE}"
                self.assertEqual(self.run_python("-c", code, PYTHONPATH=DROP_IN), (0, "True\nTrue True True\n"))

    def test_what_is_missing_is_told_where_there_is_no_stock_either(self):
        for package in ("greenlet", "eventlet", "amqp"):
            os.remove(os.path.join(self.packages, package, "__init__.py"))
            os.rmdir(os.path.join(self.packages, package))
        for package in ("eventlet", "amqp"):
            with self.subTest(package=package):
                status, output = self.run_python("-c", f"import {package}", PYTHONPATH=DROP_IN)
                self.assertEqual(status, 1)
                self.assertTrue(output.endswith("No module named 'greenloom'\n"), output)


if __name__ == "__main__":
    unittest.main()
