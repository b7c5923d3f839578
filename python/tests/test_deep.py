"""Deep recursion of every kind in a greenlet: a result or an exception, never the end of the process."""

import signal
import sys
import unittest

from support import run_script

# Each is run in a greenlet of the default stack size. What it ends with does not matter, but that it ends.
WORKLOADS = {
    "python": "def f(): f()\nf()",
    "python through sorted": "def f(x): return sorted([1], key=f)\nf(1)",
    "python through map": "def f(x): return list(map(f, [1]))\nf(1)",
    "python through max": "def f(x): return max([1, 2], key=f)\nf(1)",
    "python through reduce": "import functools\ndef f(a, b): return functools.reduce(f, [1, 2])\nf(1, 2)",
    "__repr__": "class C:\n    def __repr__(self): return repr(self)\nrepr(C())",
    "__getattr__": "class C:\n    def __getattr__(self, name): return getattr(self, name + 'x')\nC().a",
    "__eq__": "class C:\n    def __eq__(self, other): return [self] == [C()]\nC() == C()",
    "__init__": "class C:\n    def __init__(self): C()\nC()",
    "__del__": (
        "n = 0\nclass C:\n    def __del__(self):\n        global n\n        n += 1\n        if n < 5000: C()\n"
        "sys.unraisablehook = lambda *a: None\nC()"
    ),
    "repr of nested lists": "x = []\nfor _ in range(100000): x = [x]\nrepr(x)",
    "comparison of nested lists": "x, y = [], []\nfor _ in range(100000): x, y = [x], [y]\nx == y",
    "isinstance of nested tuples": "x = int\nfor _ in range(100000): x = (x,)\nisinstance('', x)",
    "json encoder": "import json\nx = []\nfor _ in range(100000): x = [x]\njson.dumps(x)",
    "json decoder": "import json\njson.loads('[' * 100000 + ']' * 100000)",
    "pickle": "import pickle\nx = []\nfor _ in range(100000): x = [x]\npickle.dumps(x)",
    "copy.deepcopy": "import copy\nx = []\nfor _ in range(100000): x = [x]\ncopy.deepcopy(x)",
    "parser": "compile('(' * 199 + '1' + ')' * 199, '', 'eval')",
    "parser and compiler": "compile('+'.join(['1'] * 5000), '', 'eval')",
    "compiler of unary operators": "compile('-' * 3000 + '1', '', 'eval')",
    "ast.literal_eval": "import ast\nast.literal_eval('[' * 90 + ']' * 90)",
    "re compiler": "import re\nre.compile('(?:' * 400 + 'a' + ')' * 400)",
    "re matcher": "import re\nre.match('(?:a|b)*?c', 'ab' * 50000)",
    "dealloc of nested lists": "x = []\nfor _ in range(500000): x = [x]\ndel x",
    "dealloc of linked objects": (
        "class C: pass\nx = None\nfor _ in range(300000):\n    y = C(); y.next = x; x = y\ndel x, y"
    ),
    "chained iterators": "import itertools\nx = iter([1])\nfor _ in range(5000): x = map(lambda v: v, x)\nlist(x)",
    "generators": "def g(n):\n    if n: yield from g(n - 1)\n    yield n\nlist(g(5000))",
    "ctypes callbacks": (
        "import ctypes\nCB = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\n"
        "def f(n): return cb(n + 1)\ncb = CB(f)\nsys.unraisablehook = lambda *a: None\ncb(0)"
    ),
    "exceptions in a chain": "def f():\n    try: raise ValueError\n    except ValueError: f()\nf()",
    "imports": "import xml.dom.minidom, email.mime.text, asyncio, http.client, decimal, sqlite3",
}

HARNESS = """
import sys, greenlet
def work():
    namespace = {{"sys": sys}}
    try:
        exec({code!r}, namespace)
    except (RecursionError, MemoryError, SyntaxError, OverflowError) as error:
        return type(error).__name__
    return "done"
print("ended with", greenlet.greenlet(work).switch())
# The main greenlet's own counters were not touched.
def depth(n): return n if n == 0 else depth(n - 1)
depth(800)
"""


class DeepRecursion(unittest.TestCase):
    def test_nothing_crashes(self):
        self.assertGreaterEqual(len(WORKLOADS), 22)
        for name, code in WORKLOADS.items():
            with self.subTest(name):
                status, output = run_script(HARNESS.format(code=code))
                self.assertEqual(status, 0, output[-2000:])
                self.assertIn("ended with", output)

    def test_python_recursion_has_the_usual_limit(self):
        status, output = run_script(
            """
            import sys, greenlet
            def count(n):
                try:
                    return count(n + 1)
                except RecursionError:
                    return n
            sys.setrecursionlimit(500)
            here = count(0)
            there = greenlet.greenlet(count).switch(0)
            print(here, there)
            assert abs(here - there) < 10, (here, there)
            """
        )
        self.assertEqual(status, 0, output)


@unittest.skipIf(
    sys.version_info >= (3, 14),
    "all C code of the standard library looks at the stack pointer there, so none of it can run off the end",
)
class Overflow(unittest.TestCase):
    """The parser knows no limit but its own, so it can run off the end of a small stack in every version."""

    SCRIPT = "import greenlet; greenlet.greenlet(lambda: compile('(' * 190 + '1' + ')' * 190, '', 'eval')).switch()"
    SMALL = {"GREENLOOM_STACK_SIZE": "64K"}

    def test_the_message_names_the_greenlet_and_the_setting(self):
        status, output = run_script(self.SCRIPT, env=self.SMALL)
        self.assertEqual(status, -signal.SIGSEGV, output)
        self.assertRegex(output, r"stack overflow in greenlet \d+ <greenlet.greenlet object at 0x[0-9a-f]+>")
        self.assertIn("its stack of 65536 bytes is full", output)
        self.assertIn("GREENLOOM_STACK_SIZE", output)

    def test_faulthandler_still_prints_its_traceback(self):
        status, output = run_script(self.SCRIPT, "-X", "faulthandler", env=self.SMALL)
        self.assertEqual(status, -signal.SIGSEGV, output)
        self.assertIn("GREENLOOM_STACK_SIZE", output)
        self.assertIn("Fatal Python error: Segmentation fault", output)

class Budget(unittest.TestCase):
    @unittest.skipIf(sys.version_info < (3, 12), "the counter is the program's own there")
    def test_the_c_budget_holds_whatever_the_limit_for_python_code_is(self):
        status, output = run_script(
            """
            import sys, greenlet
            sys.setrecursionlimit(10 ** 6)
            def f(x): return sorted([1], key=f)
            def work():
                try: f(1)
                except RecursionError: return "RecursionError"
            print(greenlet.greenlet(work).switch())
            """
        )
        self.assertEqual((status, output.strip()), (0, "RecursionError"))


if __name__ == "__main__":
    unittest.main()
