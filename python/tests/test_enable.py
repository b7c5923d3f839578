"""`greenloom enable`: ours in every program of an environment, whatever starts it."""

import importlib.metadata
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import venv

import greenloom

from support import run_python

WHICH = "import greenlet, eventlet; print(getattr(greenlet, '__greenloom__', False), eventlet.__file__)"

#: Runs a command whose mounts only it sees.
PRIVATE_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


class Environment(unittest.TestCase):
    """What the tests of all kinds of environments do in theirs, whose interpreter is `python`."""

    def run_python(self, *arguments, **environment):
        return run_python(self.python, *arguments, **environment)

    def greenloom(self, *arguments):
        return self.run_python("-m", "greenloom", *arguments)

    def put_greenloom(self):
        self.packages = self.run_python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")[1].strip()
        source = os.path.dirname(greenloom.__file__)
        shutil.copytree(source, os.path.join(self.packages, "greenloom"), symlinks=False)
        drop_in = os.path.join(self.packages, "greenloom", "drop_in")
        if not os.path.exists(os.path.join(drop_in, "eventlet")):
            self.fail(f"{drop_in} lacks the drop-ins")
        info = importlib.metadata.distribution("greenloom")._path
        shutil.copytree(info, os.path.join(self.packages, os.path.basename(info)))
        dns = os.path.dirname(__import__("dns").__file__)
        shutil.copytree(dns, os.path.join(self.packages, "dns"))

    def put_stock(self):
        for package in ("greenlet", "eventlet"):
            os.mkdir(os.path.join(self.packages, package))
            with open(os.path.join(self.packages, package, "__init__.py"), "w") as file:
                file.write("stock = True\n")

    def assert_ours(self, *flags):
        status, output = self.run_python(*flags, "-c", WHICH)
        self.assertEqual(status, 0, output)
        self.assertTrue(output.startswith("True "), output)
        self.assertIn(os.path.join("greenloom", "drop_in", "eventlet"), output)

    def assert_stock(self):
        self.assertEqual(self.run_python("-c", "import greenlet, eventlet; print(greenlet.stock, eventlet.stock)"),
                         (0, "True True\n"))  # fmt: skip


class Enable(Environment):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.prefix = os.path.realpath(folder.name)
        venv.create(self.prefix, with_pip=False)
        self.python = os.path.join(self.prefix, "bin", "python")
        self.put_greenloom()

    def test_without_stock_they_are_there_until_it_is_disabled(self):
        self.assertNotEqual(self.run_python("-c", "import greenlet")[0], 0)
        status, output = self.greenloom("enable")
        self.assertEqual(status, 0, output)
        self.assert_ours()
        self.assert_ours("-I")
        self.assertIn("enabled", self.greenloom("status")[1])
        self.assertEqual(self.greenloom("disable")[0], 0)
        self.assertNotEqual(self.run_python("-c", "import greenlet")[0], 0)
        self.assertEqual(self.greenloom("disable"), (0, "it was not enabled\n"))

    def test_without_dnspython_the_system_resolves_names(self):
        self.greenloom("enable")
        shutil.rmtree(os.path.join(self.packages, "dns"))
        patched = "import eventlet; eventlet.monkey_patch(); import socket; "
        names = "print(socket.getaddrinfo('127.0.0.1', 80)[0][4], socket.gethostbyname('localhost'))"
        self.assertEqual(self.run_python("-c", patched + names), (0, "('127.0.0.1', 80) 127.0.0.1\n"))
        status, output = self.run_python("-c", "import eventlet.support.greendns")
        self.assertEqual(status, 1)
        self.assertIn("which is not installed: pip install dnspython", output)

    def test_without_vine_amqp_says_what_to_install(self):
        self.greenloom("enable")
        status, output = self.run_python("-c", "import amqp")
        self.assertEqual(status, 1)
        self.assertIn("which is not installed: pip install vine", output)

    def test_it_wins_over_stock_that_is_installed_later(self):
        self.greenloom("enable")
        self.put_stock()
        self.assert_ours()

    def test_it_wins_over_stock_until_it_is_disabled(self):
        self.put_stock()
        self.assert_stock()
        for _ in range(2):
            status, output = self.greenloom("enable")
            self.assertEqual(status, 0, output)
        self.assert_ours()
        self.assert_ours("-I")
        self.greenloom("disable")
        self.assert_stock()

    def test_an_environment_that_is_moved_or_copied_stays_enabled(self):
        self.put_stock()
        self.greenloom("enable")
        copy = os.path.join(self.prefix, "..", os.path.basename(self.prefix) + "-copy")
        self.addCleanup(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(self.prefix, copy, symlinks=True)
        # The old one must not be what helps.
        shutil.rmtree(os.path.join(self.packages, "greenloom"))
        self.assert_stock()
        self.python = os.path.join(os.path.realpath(copy), "bin", "python")
        self.assert_ours()
        self.assert_ours("-I")
        self.assertIn(": enabled", self.greenloom("status")[1])

    def test_built_for_another_interpreter_it_steps_aside(self):
        self.put_stock()
        self.greenloom("enable")
        package = os.path.join(self.packages, "greenloom")
        (native,) = [name for name in os.listdir(package) if name.startswith("_native")]
        os.rename(os.path.join(package, native), os.path.join(package, "_native.cpython-399-x86_64-linux-gnu.so"))
        self.assert_stock()
        status, output = self.run_python("-c", "import greenloom")
        self.assertEqual(status, 1)
        self.assertIn("is built for another interpreter (_native.cpython-399-x86_64-linux-gnu.so), and this is", output)
        shutil.rmtree(package)
        self.assert_stock()

    def test_status_says_which_from_where_and_who_uses_them(self):
        self.put_stock()
        info = os.path.join(self.packages, "celery-5.0.dist-info")
        os.mkdir(info)
        with open(os.path.join(info, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\nName: celery\nVersion: 5.0\n"
                       "Requires-Dist: eventlet (>=0.32) ; extra == 'eventlet'\n")  # fmt: skip
        status, output = self.greenloom("status")
        self.assertEqual(status, 0, output)
        self.assertIn(f"greenloom 0.1.0 in {self.prefix}: not enabled", output)
        self.assertIn(f"greenlet: stock, from {self.packages}", output)
        self.assertIn("used by: celery", output)
        self.greenloom("enable")
        output = self.greenloom("status")[1]
        self.assertIn(": enabled", output)
        self.assertIn("eventlet: Greenloom, from", output)

    def test_status_names_stock_releases_that_are_not_used(self):
        self.put_stock()
        for name, version in (("greenlet", "3.5.6"), ("eventlet", "0.33.0")):
            info = os.path.join(self.packages, f"{name}-{version}.dist-info")
            os.mkdir(info)
            with open(os.path.join(info, "METADATA"), "w") as file:
                file.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        self.assertNotIn("not used", self.greenloom("status")[1])
        self.greenloom("enable")
        greenlet, eventlet, amqp = self.greenloom("status")[1].splitlines()[1:4]
        self.assertTrue(greenlet.endswith(" (stock 3.5.6 is installed and not used)"), greenlet)
        self.assertIn("(stock 0.33.0 is installed and not used; mind that Greenloom's is as 0.41.3)", eventlet)
        self.assertNotIn("stock", amqp)

    def test_a_reader_who_leaves_early_is_no_error(self):
        out, into = os.pipe()
        os.close(out)
        self.addCleanup(os.close, into)
        command = [self.python, "-m", "greenloom", "status"]
        done = subprocess.run(command, stdout=into, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, ""))

    @unittest.skipIf(os.getuid() == 0, "root may write everywhere")
    def test_a_folder_that_may_not_be_written_is_told(self):
        mode = stat.S_IMODE(os.stat(self.packages).st_mode)
        os.chmod(self.packages, 0o555)
        self.addCleanup(os.chmod, self.packages, mode)
        status, output = self.greenloom("enable")
        self.assertEqual(status, 1)
        self.assertIn("cannot be written", output)

    def test_a_file_that_cannot_be_written_is_told(self):
        os.mkdir(os.path.join(self.packages, "greenloom.pth"))
        status, output = self.greenloom("enable")
        self.assertEqual(status, 1, output)
        self.assertIn("cannot be written", output)
        self.assertNotIn("Traceback", output)

    def put_labelled(self, name, version):
        info = os.path.join(self.packages, f"{name}-{version}+greenloom.0.1.0.dist-info")
        os.mkdir(info)
        with open(os.path.join(info, "METADATA"), "w") as file:
            file.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}+greenloom.0.1.0\n")

    def test_where_all_are_labelled_distributions_there_is_nothing_to_enable(self):
        self.put_stock()
        for name, version in (("greenlet", "3.5.6"), ("eventlet", "0.41.3"), ("amqp", "5.4.2")):
            self.put_labelled(name, version)
        status, output = self.greenloom("enable")
        self.assertEqual(status, 1)
        self.assertIn("nothing to enable", output)

    def test_where_one_is_a_labelled_distribution_the_others_are_enabled(self):
        self.put_stock()
        self.put_labelled("amqp", "5.4.2")
        status, output = self.greenloom("enable")
        self.assertEqual(status, 0, output)
        self.assert_ours()

    def test_from_a_folder_of_no_environment_it_is_refused(self):
        elsewhere = os.path.join(self.prefix, "elsewhere")
        os.mkdir(elsewhere)
        os.rename(os.path.join(self.packages, "greenloom"), os.path.join(elsewhere, "greenloom"))
        code = f"import sys; sys.path.insert(0, {elsewhere!r}); sys.argv[1:] = ['enable']; " \
               "from greenloom.__main__ import main; main()"  # fmt: skip
        status, output = self.run_python("-c", code)
        self.assertEqual(status, 1, output)
        self.assertIn("install it into an environment", output)

    def test_run_takes_a_command_of_the_environment(self):
        info = os.path.join(self.packages, "shown-1.dist-info")
        os.mkdir(info)
        with open(os.path.join(info, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\nName: shown\nVersion: 1\n")
        with open(os.path.join(info, "entry_points.txt"), "w") as file:
            file.write("[console_scripts]\nshow = shown:main\n")
        with open(os.path.join(self.packages, "shown.py"), "w") as file:
            file.write("import sys, greenlet\ndef main():\n    print(sys.argv, greenlet.__greenloom__)\n    return 3\n")
        status, output = self.greenloom("run", "show", "-x", "y")
        self.assertEqual((status, output), (3, f"['{self.prefix}/bin/show', '-x', 'y'] True\n"))
        # A project has a folder of the name, often.
        with tempfile.TemporaryDirectory() as project:
            os.mkdir(os.path.join(project, "show"))
            command = [self.python, "-m", "greenloom", "run", "show"]
            self.assertEqual(subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL).returncode, 3)
            with open(os.path.join(project, "show", "__main__.py"), "w") as file:
                file.write("raise SystemExit(4)")
            self.assertEqual(subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL).returncode, 4)
        status, output = self.greenloom("run", "nothing-here")
        self.assertEqual(status, 1)
        self.assertIn("no command of that name", output)
        status, output = self.greenloom("run", "python3", "server.py", "a b")
        self.assertEqual(status, 1)
        self.assertEqual(output, "greenloom: no interpreter is named: greenloom run server.py 'a b'\n")

    def test_version_and_help(self):
        self.assertEqual(self.greenloom("--version"), (0, "greenloom 0.1.0\n"))
        self.assertEqual(self.greenloom("run", "--version"), (0, "greenloom 0.1.0\n"))
        for command in ([], ["run"], ["enable"], ["disable"], ["status"]):
            for flag in ("-h", "--help"):
                status, output = self.greenloom(*command, flag)
                self.assertEqual(status, 0)
                self.assertIn(f"greenloom {command[0] if command else 'enable'}", output)
        for command in ("top", "stacks", "metrics", "trace", "kill"):
            status, output = self.greenloom(command, "--help")
            self.assertEqual(status, 0)
            self.assertIn(f"greenloom {command}", output)

    def test_a_commands_help_is_about_that_command(self):
        commands = ("run", "enable", "disable", "status", "top", "stacks", "metrics", "trace", "kill")
        for command in commands:
            output = self.greenloom(command, "--help")[1]
            self.assertEqual({line.split()[1] for line in output.splitlines() if "greenloom " in line}, {command})
        self.assertIn("--html", self.greenloom("trace", "--help")[1])
        self.assertIn("--break-system-packages", self.greenloom("enable", "--help")[1])

    def test_a_word_that_is_not_known_is_named(self):
        self.put_stock()
        for words in (["bogus"], ["enable", "--bogus"], ["disable", "--user", "bogus"]):
            status, output = self.greenloom(*words)
            self.assertEqual(status, 1, output)
            self.assertRegex(output.splitlines()[0], f"^greenloom: .*'{words[-1]}'$")
            self.assertIn("usage: greenloom run", output)
        for words in (["run"], ["run", "--native"], ["run", "-m"], ["run", "-c"]):
            status, output = self.greenloom(*words)
            self.assertEqual(status, 1, output)
            self.assertIn("not said what to run", output)
        self.assert_stock()

    def test_a_module_that_cannot_be_run_is_told_in_one_line_as_by_python(self):
        os.mkdir(os.path.join(self.packages, "bare"))
        for module in ("nosuch", "nosuch.within", "bare", "email"):
            wanted = self.run_python("-m", module)
            self.assertEqual(wanted[0], 1)
            self.assertEqual(self.greenloom("run", "-m", module), wanted)
        # An error of the module's own is one.
        with open(os.path.join(self.packages, "wants.py"), "w") as file:
            file.write("import nosuch\n")
        status, output = self.greenloom("run", "-m", "wants")
        self.assertEqual(status, 1)
        self.assertIn("Traceback", output)
        self.assertIn("No module named 'nosuch'", output)

    def test_the_status_tells_that_amqp_lacks_vine(self):
        self.put_stock()
        self.assertNotIn("vine", self.greenloom("status")[1])
        self.greenloom("enable")
        self.assertIn("needs vine, which is not installed: pip install vine\n", self.greenloom("status")[1])
        with open(os.path.join(self.packages, "vine.py"), "w"):
            pass
        self.assertNotIn("vine", self.greenloom("status")[1])

    def test_a_virtual_environment_that_reads_no_packages_of_the_user_says_so(self):
        status, output = self.greenloom("enable", "--user")
        self.assertEqual(status, 1, output)
        self.assertIn("leave out --user", output)

    @unittest.skipIf(subprocess.run([*PRIVATE_MOUNTS, "true"], stderr=subprocess.DEVNULL).returncode, "no own mounts")
    def test_a_file_system_that_is_read_only_is_told(self):
        read_only = f"mount --bind {self.packages} {self.packages}; mount -o remount,bind,ro {self.packages}; "
        enable = f"exec {self.python} -I -m greenloom enable"
        done = subprocess.run([*PRIVATE_MOUNTS, "sh", "-ec", read_only + enable], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, "cannot be written: Read-only file system; .* environment, or make one")
        self.assertNotIn("Traceback", done.stderr)


class Managed(Environment):
    """A Python of the system's package manager: no virtual environment, and marked as PEP 668 says."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.prefix = os.path.realpath(folder.name)
        self.python = os.path.realpath(sys._base_executable)
        library = sysconfig.get_path("stdlib")
        self.library = os.path.join(self.prefix, "lib", os.path.basename(library))
        os.makedirs(self.library)
        for name in os.listdir(library):
            if name not in ("site-packages", "EXTERNALLY-MANAGED"):
                os.symlink(os.path.join(library, name), os.path.join(self.library, name))
        with open(os.path.join(self.library, "EXTERNALLY-MANAGED"), "w") as file:
            file.write("[externally-managed]\n")
        self.put_greenloom()
        self.put_stock()

    def run_python(self, *arguments, **environment):
        user = os.path.join(self.prefix, "user")
        return super().run_python(*arguments, PYTHONHOME=self.prefix, PYTHONUSERBASE=user, **environment)

    def test_the_systems_python_is_left_alone_unless_that_is_asked_for(self):
        status, output = self.greenloom("enable")
        self.assertEqual(status, 1, output)
        self.assertIn("--user", output)
        self.assertNotIn("Traceback", output)
        self.assert_stock()
        status, output = self.greenloom("enable", "--break-system-packages")
        self.assertEqual(status, 0, output)
        self.assert_ours()
        self.assertEqual(self.greenloom("disable")[0], 0)
        self.assert_stock()

    def test_a_user_enables_it_in_programs_of_that_user_alone(self):
        status, output = self.greenloom("enable", "--user")
        self.assertEqual(status, 0, output)
        self.assert_ours()
        self.assertIn(f"enabled by {self.prefix}/user/", self.greenloom("status")[1])
        self.assertEqual(self.run_python("-s", "-c", "import greenlet; print(greenlet.stock)"), (0, "True\n"))
        status, output = self.greenloom("disable")
        self.assertEqual(status, 0, output)
        self.assertIn(f"it was not enabled; it is still enabled by {self.prefix}/user/", output)
        self.assert_ours()
        self.assertEqual(self.greenloom("disable", "--user")[0], 0)
        self.assert_stock()
        self.assertIn(": not enabled", self.greenloom("status")[1])

    def test_it_wins_over_stock_among_the_users_packages(self):
        os.remove(os.path.join(self.packages, "greenlet", "__init__.py"))
        code = "import site; print(site.getusersitepackages())"
        folder = self.run_python("-c", code)[1].strip()
        shutil.move(os.path.join(self.packages, "eventlet"), os.path.join(folder, "eventlet"))
        shutil.move(os.path.join(self.packages, "greenlet"), os.path.join(folder, "greenlet"))
        self.greenloom("enable", "--user")
        self.assert_ours()

    def test_greenloom_among_the_users_packages_is_enabled_there(self):
        folder = self.run_python("-c", "import site; print(site.getusersitepackages())")[1].strip()
        shutil.move(self.packages, folder)
        os.mkdir(self.packages)
        status, output = self.greenloom("enable")
        self.assertEqual((status, output.startswith(f"enabled by {folder}/")), (0, True), output)
        self.assert_ours()


if __name__ == "__main__":
    unittest.main()
