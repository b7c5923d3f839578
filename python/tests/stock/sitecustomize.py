"""
Lets greenlet's own tests, from its published wheel, run against the greenlet that is installed here.

``greenlet.tests`` is looked for in the folder that GREENLOOM_STOCK_GREENLET names, where that wheel was unpacked. Being
a ``sitecustomize`` on PYTHONPATH, this reaches the processes that the tests start.
"""

import importlib.util
import os
import sys


class StockTests:
    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, name, path=None, target=None):
        if name != "greenlet.tests":
            return None
        return importlib.util.spec_from_file_location(
            name, os.path.join(self.folder, "__init__.py"), submodule_search_locations=[self.folder]
        )


if "GREENLOOM_STOCK_GREENLET" in os.environ:
    sys.meta_path.insert(0, StockTests(os.path.join(os.environ["GREENLOOM_STOCK_GREENLET"], "greenlet", "tests")))
