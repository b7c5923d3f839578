"""The router agent, as a person runs it."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from router_agent import feed  # noqa: E402
from router_agent.__main__ import SHIPPED  # noqa: E402
from scenario import interruptible  # noqa: E402


class Feed(unittest.TestCase):
    def test_a_line_is_an_update(self):
        expected = feed.Update("r007", feed.PRIORITIES["low"], "add-interface 10.0.0.0/24", 2)
        self.assertEqual(feed.parse_line("r007 low add-interface 10.0.0.0/24 fails=2"), expected)
        self.assertEqual(feed.parse_line("r1 high sync fails=always").fails, "always")

    def test_a_broken_line_says_what_is_wrong(self):
        for line, part in (
            ("r1", "priority is missing"),
            ("r1 soon sync", '"soon" is no priority'),
            ("r1 high", "action is missing"),
            ("r1 high reboot", '"reboot" is no action'),
            ("r1 high add-interface", "wants an argument"),
            ("r1 high add-interface fails=1", "wants an argument"),
            ("r1 high sync fails=often", "a number, or always"),
            ("r1 high sync now", '"now" is too much'),
            ("r1 high sync fails=1 now", '"now" is too much'),
            ("r/1 high sync", "no router's name"),
            ("r1 high set-gateway \x1b[31m", "is no argument"),
            ("r1 high set-gateway \ufffd", "is no argument"),
        ):
            with self.assertRaises(feed.BadLine) as raised:
                feed.parse_line(line)
            self.assertIn(part, str(raised.exception), line)

    def test_the_feed_is_that_of_the_rust_example(self):
        updates = [update for _, update in feed.parse(SHIPPED.read_text())]
        good = [update for update in updates if isinstance(update, feed.Update)]
        self.assertEqual((len(good), len(updates) - len(good)), (3200, 5))
        self.assertEqual(len({update.router for update in good}), 319)


class Program(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def feed(self, text):
        path = os.path.join(self.folder.name, "some.feed")
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def start(self, *arguments):
        command = [sys.executable, "-W", "ignore", "-m", "router_agent", *arguments]
        return subprocess.Popen(
            command, cwd=EXAMPLES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=interruptible,
        )

    def run_agent(self, *arguments):
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=50)
        return process.returncode, output, errors

    def number(self, summary, what):
        """The number before *what* in a summary."""
        lines = [line for line in summary.splitlines() if what in line]
        self.assertTrue(lines, f"no {what!r} in:\n{summary}")
        return int(lines[0].split()[0])

    def test_every_update_is_applied_merged_or_given_up(self):
        lines = []
        for number in range(120):
            fails = {7: " fails=1", 17: " fails=always"}.get(number % 40, "")
            lines.append(f"r{number % 10} normal add-interface 10.0.{number}.0/24{fails}")
        # The same change thrice in a row: two of them find the first still waiting.
        lines += 3 * ["r99 low sync"]
        status, summary, errors = self.run_agent("--feed", self.feed("\n".join(lines)), "--workers", "4")
        self.assertEqual(status, 0, summary + errors)
        self.assertEqual(self.number(summary, "updates for 11 routers, 4 workers"), 123)
        self.assertEqual(self.number(summary, "given up after"), 3)
        self.assertEqual(self.number(summary, "merged"), 2)
        self.assertEqual(self.number(summary, "applied"), 118)
        # Three that fail once, and three tries put off for each that never goes through.
        self.assertEqual(self.number(summary, "retries"), 3 + 3 * 3)
        self.assertIn("was the slowest router", summary)

    def test_bad_lines_are_named_with_file_and_line_and_skipped(self):
        path = self.feed(b"# comment\nr1 high sync\nr1 soon sync\n\nr2 low explode\nr3 high set-gateway \xff\n")
        _, summary, errors = self.run_agent("--feed", path)
        for part in (':3: "soon" is no priority', ':5: "explode" is no action', ":6: "):
            self.assertIn(path + part, errors)
        self.assertEqual((self.number(summary, "bad lines"), self.number(summary, "applied")), (3, 1))

    def test_what_was_given_up_says_why(self):
        _, summary, _ = self.run_agent("--feed", self.feed("r1 high sync fails=always\n"))
        self.assertIn("r1 sync (line 1, the device says: busy)", summary)

    def test_routers_limits_the_feed(self):
        path = self.feed("a high sync\nb high sync\na low sync\nc high sync\n")
        _, summary, _ = self.run_agent("--feed", path, "--routers", "2")
        self.assertEqual(self.number(summary, "updates for 2 routers"), 3)

    def test_what_cannot_be_used_is_named(self):
        status, _, errors = self.run_agent("--feed", "no/such.feed")
        self.assertEqual(status, 2)
        self.assertIn("no/such.feed", errors)
        for arguments, part in (("--workers 0", "at least 1"), ("--workers many", "many"), ("--speed", "--speed")):
            status, _, errors = self.run_agent(*arguments.split())
            self.assertEqual(status, 2)
            self.assertIn(part, errors)

    def test_ctrl_c_stops_it_with_the_summary(self):
        # More than it could get through before it is told, however late that is on a busy machine.
        lines = "".join(f"r{number} normal sync\n" for number in range(30_000))
        process = self.start("--feed", self.feed(lines), "--workers", "1")
        self.assertIn("waiting", process.stderr.readline())  # its first line of progress says that it works
        # An impatient one: the second comes while the first is worked on.
        for _ in range(2):
            process.send_signal(signal.SIGINT)
        summary, _ = process.communicate(timeout=50)
        self.assertEqual(process.returncode, 130, summary)
        self.assertIn("stopped after", summary)
        left = self.number(summary, "not begun or not finished")
        self.assertGreater(left, 0)
        self.assertEqual(self.number(summary, "applied") + left, self.number(summary, "updates for"))


if __name__ == "__main__":
    unittest.main()
