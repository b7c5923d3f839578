"""What pip chooses where both stock's releases and ours can be had, and a program asks for a greenlet or eventlet of
its own: never an older release than it would choose from stock's alone. The index is a folder of wheels that are empty
but for their metadata; that of ours is the installed one.
"""

import importlib.metadata
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

OURS = {name: importlib.metadata.version(name) for name in ("greenloom", "greenlet", "eventlet")}
GREENLET, EVENTLET = (OURS[name].partition("+")[0] for name in ("greenlet", "eventlet"))


class Pins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.stock, cls.ours = (pathlib.Path(folder.name) / name for name in ("stock", "ours"))
        cls.stock.mkdir(), cls.ours.mkdir()
        for version in ("3.1.1", GREENLET, "999.0"):
            write_wheel(cls.stock, "greenlet", version)
        for version in ("0.33.3", EVENTLET):
            write_wheel(cls.stock, "eventlet", version, ["dnspython>=1.15.0", "greenlet>=1.0"])
        write_wheel(cls.stock, "dnspython", "2.8.0")
        for name, version in OURS.items():
            write_wheel(cls.ours, name, version, importlib.metadata.requires(name) or [])

    def chosen(self, folders, *wanted):
        """The distributions that pip would install, with their versions, or what it says."""
        links = [argument for folder in folders for argument in ("--find-links", str(folder))]
        with tempfile.TemporaryDirectory() as output:
            done = subprocess.run(
                [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "--quiet",
                 "--no-index", *links, "--dest", output, *wanted],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            if done.returncode:
                return done.stderr
            return dict(wheel.name.split("-")[:2] for wheel in pathlib.Path(output).iterdir())

    def assert_as_stock(self, *wanted):
        both = self.chosen([self.stock, self.ours], *wanted)
        self.assertEqual(both, self.chosen([self.stock], *wanted))

    def assert_ours(self, *wanted):
        both = self.chosen([self.stock, self.ours], *wanted)
        self.assertLessEqual(OURS.items(), both.items())

    def test_eventlet_alone_is_ours_although_there_is_a_newer_greenlet(self):
        self.assert_ours("eventlet")

    def test_a_cap_that_allows_the_greenlet_we_stand_in_for_gets_ours(self):
        self.assert_ours("eventlet", f"greenlet>=3.1,<={GREENLET}")

    def test_a_pin_of_the_releases_we_stand_in_for_gets_ours(self):
        self.assert_ours(f"eventlet=={EVENTLET}", f"greenlet=={GREENLET}")

    def test_a_cap_below_our_greenlet_gets_what_it_gets_from_stock(self):
        self.assert_as_stock("eventlet", "greenlet<3.2")

    def test_a_greenlet_newer_than_ours_gets_what_it_gets_from_stock(self):
        self.assert_as_stock("eventlet", f"greenlet>{GREENLET}")

    def test_a_cap_below_our_eventlet_gets_what_it_gets_from_stock(self):
        self.assert_as_stock(f"eventlet<{EVENTLET}")

    def test_our_eventlet_by_its_full_version_with_another_greenlet_is_refused(self):
        said = self.chosen([self.stock, self.ours], f"eventlet=={OURS['eventlet']}", "greenlet<3.2")
        self.assertIn("conflicting dependencies", said)


def write_wheel(folder, name, version, requires=()):
    about = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


if __name__ == "__main__":
    unittest.main()
