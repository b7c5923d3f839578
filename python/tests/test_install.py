"""Putting ours first where stock packages are installed: here a folder that pretends to be them."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import unittest


class Install(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for package in ("greenlet", "eventlet", "amqp"):
            os.mkdir(os.path.join(self.folder.name, package))
            with open(os.path.join(self.folder.name, package, "__init__.py"), "w") as file:
                file.write("stock = True\n")
        self.script = os.path.join(self.folder.name, "program.py")
        # Stock is first on PYTHONPATH, as an environment's site-packages would be before ours.
        self.path = self.folder.name

    def run_python(self, *arguments):
        path = os.pathsep.join(filter(None, [self.path, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
        )
        return done.returncode, done.stdout + done.stderr

    def test_stock_wins_without_help(self):
        self.assertEqual(self.run_python("-c", "import greenlet; print(greenlet.stock)"), (0, "True\n"))

    def test_install_makes_ours_win_in_subprocesses_too(self):
        code = (
            "import greenloom; greenloom.install(); greenloom.install()\n"
            "import greenlet, subprocess, sys\n"
            "assert not hasattr(greenlet, 'stock'); print(greenlet.__version__, flush=True)\n"
            "subprocess.run([sys.executable, '-c', 'import greenlet; print(hasattr(greenlet, \"stock\"))'])\n"
        )
        self.assertEqual(self.run_python("-c", code), (0, "3.5.6\nFalse\n"))

    def test_install_after_the_import_of_stock_is_an_error_that_says_so(self):
        status, output = self.run_python("-c", "import greenlet, greenloom; greenloom.install()")
        self.assertEqual(status, 1)
        self.assertIn("InstalledTooLate", output)
        self.assertIn("greenloom run", output)

    def test_eventlet_is_replaced_too(self):
        self.assertEqual(self.run_python("-c", "import eventlet; print(eventlet.stock)"), (0, "True\n"))
        code = "import eventlet; assert not hasattr(eventlet, 'stock'); print(eventlet.__version__)"
        self.assertEqual(self.run_python("-m", "greenloom", "run", "-c", code), (0, "0.41.3\n"))
        status, output = self.run_python("-c", "import eventlet, greenloom; greenloom.install()")
        self.assertIn("InstalledTooLate", output)

    def test_amqp_is_replaced_too(self):
        self.assertEqual(self.run_python("-c", "import amqp; print(amqp.stock)"), (0, "True\n"))
        code = "import amqp; assert not hasattr(amqp, 'stock'); print(amqp.__version__)"
        self.assertEqual(self.run_python("-m", "greenloom", "run", "-c", code), (0, "5.4.2\n"))
        status, output = self.run_python("-c", "import amqp, greenloom; greenloom.install()")
        self.assertIn("InstalledTooLate", output)

    def test_each_drop_in_is_the_version_that_it_stands_in_for(self):
        for package, version in (("greenlet", "3.5.6"), ("eventlet", "0.41.3"), ("amqp", "5.4.2")):
            self.assertEqual(importlib.metadata.version(package), f"{version}+greenloom.0.1.0")

    def test_metadata_says_licence_and_addresses_as_the_standards_have_it(self):
        for package in ("greenloom", "greenlet", "eventlet", "amqp"):
            distribution = importlib.metadata.distribution(package)
            self.assertEqual(distribution.metadata["License-Expression"], "MIT OR Apache-2.0")
            files = distribution.metadata.get_all("License-File")
            self.assertEqual(sorted(files), ["LICENSE-APACHE", "LICENSE-MIT"])
            for file in files:
                self.assertTrue(distribution.read_text(f"licenses/{file}"), (package, file))
            urls = [line.split(",")[0] for line in distribution.metadata.get_all("Project-URL")]
            self.assertEqual(sorted(urls), ["Changelog", "Documentation", "Repository"])
            self.assertEqual(distribution.metadata["Description-Content-Type"].split(";")[0], "text/markdown")

    def test_run_takes_a_script_a_module_or_code(self):
        with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
            file.write("import sys, greenlet\nprint(__name__, sys.argv[1:], greenlet.__version__)\n")
        self.addCleanup(os.remove, file.name)
        expected = (0, "__main__ ['a', '-b'] 3.5.6\n")
        self.assertEqual(self.run_python("-m", "greenloom", "run", file.name, "a", "-b"), expected)
        code = "import sys, greenlet; print(__name__, sys.argv[1:], greenlet.__version__)"
        self.assertEqual(self.run_python("-m", "greenloom", "run", "-c", code, "a", "-b"), expected)
        timeit = ["-m", "timeit", "-n1", "-r1", "import greenlet; greenlet.error"]
        status, output = self.run_python("-m", "greenloom", "run", *timeit)
        self.assertEqual(status, 0, output)
        self.assertIn("1 loop", output)

    def test_run_finds_modules_where_python_does(self):
        # The current folder belongs to `-m` and `-c`, and not to a script elsewhere.
        folder = os.path.realpath(self.folder.name)
        os.mkdir(os.path.join(folder, "scripts"))
        script = os.path.join(folder, "scripts", "show_path.py")
        link = os.path.join(folder, "link.py")
        with open(script, "w") as file:
            file.write("import sys; print([each for each in sys.path if 'drop_in' not in each])")
        os.symlink(script, link)
        program = os.path.join(folder, "program")
        os.mkdir(program)
        with open(script) as file, open(os.path.join(program, "__main__.py"), "w") as main:
            code = file.read()
            main.write(code)
        for arguments in ([script], [link], [program], ["-c", code]):
            _, by_python = self.run_python(*arguments)
            self.assertEqual(self.run_python("-m", "greenloom", "run", *arguments), (0, by_python))
            if sys.version_info >= (3, 11):
                _, by_python = self.run_python("-P", *arguments)
                self.assertEqual(self.run_python("-P", "-m", "greenloom", "run", *arguments), (0, by_python))

    def test_wrong_usage_is_told(self):
        for arguments in ([], ["run"], ["run", "-m"], ["walk", "x"]):
            status, output = self.run_python("-m", "greenloom", *arguments)
            self.assertEqual(status, 1)
            self.assertIn("usage:", output)


if __name__ == "__main__":
    unittest.main()
