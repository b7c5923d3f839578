"""What type checkers say of programs on ours: mypy --strict and pyright accept what programs do, and refuse the lines
of `types/` that end in `# error`; of greenlet, both say what they say with the stubs for stock's.

Stock's are asked where GREENLOOM_STOCK_PYTHON names an interpreter that has types-greenlet (python/tools/test.sh).
"""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import amqp
import eventlet
import greenlet
import greenloom

TYPES = pathlib.Path(__file__).parent / "types"
STOCK = os.environ.get("GREENLOOM_STOCK_PYTHON")
CHECKERS = all(importlib.util.find_spec(name) for name in ("mypy", "pyright"))


class Stubs(unittest.TestCase):
    def test_every_public_module_has_one(self):
        for package in (greenlet, eventlet, amqp, greenloom):
            folder = pathlib.Path(package.__file__).parent
            self.assertTrue((folder / "py.typed").exists(), folder)
            for module in folder.rglob("*.py"):
                inside = module.relative_to(folder)
                private = any(part.startswith("_") and part != "__init__.py" for part in inside.parts)
                if not private and "drop_in" not in inside.parts:
                    said = f"{module} needs a stub, or a name that begins with _"
                    self.assertTrue(module.with_suffix(".pyi").exists(), said)


@unittest.skipUnless(CHECKERS, "mypy and pyright are not installed")
class Checked(unittest.TestCase):
    """The checkers read what is installed beside the interpreter that runs this."""

    def test_stubs_say_what_is_there(self):
        done = run(
            "mypy.stubtest", "greenlet", "eventlet", "amqp", "greenloom", "--concise", "--ignore-missing-stub",
            "--ignore-disjoint-bases", "--ignore-unused-allowlist", "--allowlist", TYPES / "allowlist.txt",
            "--mypy-config-file", TYPES / "mypy.ini",
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_mypy_accepts_what_programs_do_and_refuses_what_they_cannot(self):
        for program in programs():
            self.assertEqual(mypy_errors(program, sys.executable), wanted(program), program.name)

    def test_pyright_accepts_what_programs_do_and_refuses_what_they_cannot(self):
        for program in programs():
            self.assertEqual(pyright_errors(program, sys.executable), wanted(program), program.name)

    @unittest.skipUnless(STOCK, "GREENLOOM_STOCK_PYTHON names no interpreter with types-greenlet")
    def test_of_greenlet_stocks_stubs_say_the_same(self):
        program = TYPES / "greenlets.py"
        self.assertEqual(mypy_errors(program, STOCK), wanted(program))
        self.assertEqual(pyright_errors(program, STOCK), wanted(program))


def programs():
    return sorted(TYPES.glob("*.py"))


def wanted(program):
    lines = program.read_text().splitlines()
    return {number: line for number, line in enumerate(lines, 1) if line.endswith("# error")}


def lines_of(program, numbers):
    lines = program.read_text().splitlines()
    return {number: lines[number - 1] for number in numbers}


def mypy_errors(program, python):
    done = run("mypy", "--strict", "--no-error-summary", "--python-executable", python, program)
    return lines_of(program, (int(number) for number in re.findall(r"\.py:(\d+): error:", done.stdout)))


def pyright_errors(program, python):
    found = json.loads(run("pyright", "--outputjson", "--pythonpath", python, program).stdout)["generalDiagnostics"]
    return lines_of(program, (each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"))


def run(module, *arguments):
    # In a folder of its own: there is nothing to import, and a cache goes with it.
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


if __name__ == "__main__":
    unittest.main()
