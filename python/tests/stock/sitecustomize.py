"""Lets greenlet's own tests, from its published wheel, run against the greenlet that is installed here.

``greenlet.tests`` is looked for in the folder that GREENLOOM_STOCK_GREENLET names, where that wheel was unpacked. Being
a ``sitecustomize`` on PYTHONPATH, this reaches the processes that the tests start.
"""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys

# Stock leaks in these on every version, and the tests insist on it. From 3.15 on ours does not, and must not.
LEAKING_WITH_STOCK_ONLY = {
    "test_permutations",
    "test_recursive_startup",
    "test_issue251_issue252_explicit_reference_not_collectable",
    "test_issue251_issue252_need_to_collect_in_background",
    "test_issue251_issue252_need_to_collect_in_background_cleanup_disabled",
}
if sys.version_info < (3, 15):
    LEAKING_WITH_STOCK_ONLY.clear()


class StockTests:
    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, name, path=None, target=None):
        if name == "greenlet.tests":
            return importlib.util.spec_from_file_location(
                name, os.path.join(self.folder, "__init__.py"), submodule_search_locations=[self.folder]
            )
        if name == "greenlet.tests.leakcheck":
            spec = importlib.util.spec_from_file_location(name, os.path.join(self.folder, "leakcheck.py"))
            spec.loader = LeakChecks(name, spec.origin)
            return spec
        return None


class LeakChecks(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        fails = module.fails_leakcheck
        module.fails_leakcheck = lambda test: test if test.__name__ in LEAKING_WITH_STOCK_ONLY else fails(test)


if "GREENLOOM_STOCK_GREENLET" in os.environ:
    sys.meta_path.insert(0, StockTests(os.path.join(os.environ["GREENLOOM_STOCK_GREENLET"], "greenlet", "tests")))


def patient(run, factor):
    """`subprocess.run` with limits that are so many times longer."""

    def run_patiently(*arguments, timeout=None, **keywords):
        return run(*arguments, timeout=None if timeout is None else timeout * factor, **keywords)

    return run_patiently


# Emulated, a child of the tests may take longer than they give it.
if "GREENLOOM_PATIENCE" in os.environ:
    subprocess.run = patient(subprocess.run, float(os.environ["GREENLOOM_PATIENCE"]))
