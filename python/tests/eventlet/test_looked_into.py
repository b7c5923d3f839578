"""What a running program tells to those who look: at what its green threads wait, and what they do for a while."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest

from inspect_support import Terminal, all_wait, ask, greenloom_command, group_of, look, program


class Waits(unittest.TestCase):
    """What one waits for, who has it, and what looks wrong."""

    STUCK = """
        import eventlet
        eventlet.monkey_patch()
        import select, socket, threading
        from eventlet import queue, semaphore
        one, other, leaked = threading.Lock(), semaphore.Semaphore(), semaphore.Semaphore()
        reentrant, condition = threading.RLock(), threading.Condition()
        items, pool = queue.Queue(5), eventlet.GreenPool(2)
        def first():
            with one:
                eventlet.sleep(0)
                with other:
                    pass
        def second():
            with other:
                eventlet.sleep(0)
                with one:
                    pass
        def leaker():
            leaked.acquire()
        def victim():
            leaked.acquire()
        def getter():
            items.get(timeout=500)
        def reader():
            client.recv(1)
        def chooser():
            select.select([idle], [], [], 1000)
        def napper():
            eventlet.sleep(1000)
        def spawner():
            pool.spawn_n(napper)
        def holder():
            with reentrant:
                eventlet.sleep(1000)
        def signalled():
            with condition:
                condition.wait()
        def waiter():
            threads[0].wait()
        def late():
            eventlet.sleep(1000)
        def early():
            eventlet.spawn(late).wait()
        server, client = socket.create_server(("127.0.0.1", 0)), socket.socket()
        client.connect(server.getsockname())
        idle, other_end = socket.socketpair()
        functions = first, second, leaker, victim, getter, reader, waiter, holder, holder, signalled
        functions += (chooser, early) + (spawner,) * 4
        threads = [eventlet.spawn(function) for function in functions]
        eventlet.sleep(0.01)
        print("ready", flush=True)
        print(server.getsockname()[1], flush=True)
        eventlet.sleep(1000)
    """

    @classmethod
    def setUpClass(cls):
        with program(cls.STUCK) as process:
            port = int(process.stdout.readline())
            cls.seen, cls.port = look(process.pid, all_wait), port
            cls.said = greenloom_command("stacks", process.pid)[0]
            example = cls.example("first")
            cls.one = ask(process.pid, ask="thread", thread=example)
            cls.gone = ask(process.pid, ask="thread", thread={"hub": 0, "number": 1})

    @classmethod
    def example(cls, function):
        return group_of(cls.seen, function)["examples"][0]

    def waits(self, function):
        group = group_of(self.seen, function)
        return group["waits_for"], group["waits"]

    def test_two_that_wait_for_each_other_are_named(self):
        first, second = (f"{{hub}}:{{number}}".format(**self.example(name)) for name in ("first", "second"))
        circle = {
            f"deadlock: {one} waits for a semaphore that {two} has, {two} waits for a semaphore that {one} has"
            for one, two in ((first, second), (second, first))
        }
        found = [hint for hint in self.seen["stacks"]["hints"] if hint.startswith("deadlock")]
        self.assertEqual(len(found), 1)
        self.assertIn(found[0], circle)
        self.assertIn(found[0], self.said)
        self.assertEqual(self.waits("first")[1]["holder"], self.example("second"))

    def test_a_semaphore_that_was_not_given_back_is_named(self):
        what, waits = self.waits("victim")
        self.assertEqual((what, waits["detail"], waits["holder_has_ended"]), ("semaphore", "0 of 1 free", True))
        hint = f"semaphore {waits['object']} was not given back: the green thread that took it last has ended, "
        self.assertIn(hint + "and 1 waits for it", self.seen["stacks"]["hints"])

    def test_a_pool_that_is_all_taken_is_named(self):
        _, waits = self.waits("spawner")
        hint = f"semaphore {waits['object']}: all 2 are taken, and 2 wait for one"
        self.assertIn(hint, self.seen["stacks"]["hints"])

    def test_one_that_begins_after_it_is_waited_for_is_alive(self):
        what, waits = self.waits("early")
        self.assertEqual((what, waits["holder"], waits["holder_has_ended"]),
                         ("green thread", self.example("late"), False))

    def test_nothing_else_looks_wrong(self):
        # A condition waits by way of a lock that it has taken itself.
        self.assertEqual(group_of(self.seen, "signalled")["waits_for"], "semaphore")
        self.assertEqual(len(self.seen["stacks"]["hints"]), 3, self.seen["stacks"]["hints"])

    def test_an_rlock_is_told_with_the_one_that_has_it(self):
        groups = self.seen["stacks"]["groups"]
        holders = [group for group in groups if any(frame["function"] == "holder" for frame in group["stack"])]
        (waits,) = (group["waits"] for group in holders if group["waits_for"] == "lock")
        (owner,) = (group["examples"][0] for group in holders if group["waits_for"] != "lock")
        self.assertEqual((waits["detail"], waits["waiters"], waits["holder"]), ("count 1", 1, owner))

    def test_a_socket_is_told_with_its_peer(self):
        what, waits = self.waits("reader")
        self.assertEqual(what, "I/O")
        self.assertRegex(waits["detail"], rf"^fd \d+ to read, peer 127\.0\.0\.1:{self.port}$")

    def test_several_descriptors_are_told_as_the_call(self):
        self.assertEqual(self.waits("chooser")[0], "select")

    def test_a_queue_is_told_with_its_items_and_a_limit_with_what_is_left_of_it(self):
        what, waits = self.waits("getter")
        self.assertEqual((what, waits["detail"], waits["waiters"]), ("queue: an item", "0 of 5 items", 1))
        self.assertTrue(490 < waits["due_in"] <= 500, waits)
        self.assertIn("due in 8 min", self.said)

    def test_a_hub_is_told_with_what_it_has(self):
        (sizes,) = self.seen["stacks"]["hubs"]
        # The main greenlet's sleep, those of the pool and of one with a lock, the limits of the getter and the chooser.
        self.assertEqual((sizes["hub"], sizes["ready"], sizes["timers"]), (0, 0, 7))
        # The reader's, and the chooser's; the hub on asyncio has them in its event loop.
        native = os.environ.get("EVENTLET_HUB") != "asyncio"
        self.assertEqual(sizes["descriptors"], 2 if native else None)

    def test_ages_are_told(self):
        self.assertTrue(0 < group_of(self.seen, "napper")["age"] < 60)
        self.assertRegex(self.said, r"the oldest: .* old, at 0x")

    def test_one_is_told_of_with_those_that_wait_for_it(self):
        info = self.one["thread"]
        self.assertEqual((info["name"], info["state"], info["waits_for"]), ("first", "waits", "semaphore"))
        self.assertEqual(info["waits"]["holder"], self.example("second"))
        waiters = sorted(waiter["number"] for waiter in info["waiters"])
        self.assertEqual(waiters, sorted(self.example(name)["number"] for name in ("second", "waiter")))
        self.assertEqual([frame["function"] for frame in info["stack"]][-2:-1], ["first"])
        self.assertEqual(self.gone["problem"], "there is no green thread 0:1: it may have ended")


class Top(unittest.TestCase):
    def test_a_program_is_shown_and_one_of_its_green_threads(self):
        with program(Waits.STUCK) as process, Terminal("top", process.pid, "--seconds", 0.1) as terminal:
            terminal.shows("deadlock:")
            terminal.shows("spawner")
            terminal.press("/first\r")
            terminal.shows("filter")
            terminal.press("\r")
            terminal.shows("the oldest:")
            terminal.press("\r")
            terminal.shows("waited for")
            terminal.shows("<string>:")
            terminal.press("q")
            self.assertEqual(terminal.process.wait(30), 0)

    def test_two_programs_are_shown_and_the_end_of_one(self):
        with program(Waits.STUCK) as one, program(Trace.BUSY) as other:
            with Terminal("top", one.pid, other.pid, "--seconds", 0.1) as terminal:
                terminal.shows("spawner")
                terminal.shows("sleeper")
                other.kill()
                terminal.shows(f"process {other.pid} has ended")

    def test_a_hub_that_does_not_move_is_shown_with_the_line(self):
        stuck = """
            import eventlet, time
            def culprit():
                print("ready", flush=True)
                time.sleep(1000)
            eventlet.spawn(culprit).wait()
        """
        with program(stuck) as process, Terminal("top", process.pid, "--seconds", 0.1) as terminal:
            terminal.shows("STUCK")
            terminal.shows("it runs <string>:5 culprit")


class Trace(unittest.TestCase):
    BUSY = """
        import eventlet
        def sleeper():
            while True:
                eventlet.sleep(0.001)
        def spinner():
            while True:
                eventlet.sleep(0)
        for _ in range(3):
            eventlet.spawn(sleeper)
        eventlet.spawn(spinner)
        eventlet.sleep(0)
        print("ready", flush=True)
        eventlet.sleep(1000)
    """

    @staticmethod
    def watcher(pid, path):
        """A command that records for a minute. It does so when this returns."""
        command = [sys.executable, "-m", "greenloom", "trace", str(pid), "--seconds", "60", "-o", path]
        watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = watcher.stderr.readline()
        if said != f"greenloom: recording process {pid} for 60 s; Ctrl-C ends it early\n":
            raise AssertionError(said)
        return watcher

    NOTHING = ("--seconds", 0, "-o", "/dev/null")

    def test_what_a_program_does_is_written_as_a_file(self):
        with tempfile.TemporaryDirectory() as folder, program(self.BUSY) as process:
            page, path = os.path.join(folder, "out.html"), os.path.join(folder, "out")
            for out in (page, path):
                said, status, complaints = greenloom_command("trace", process.pid, "--seconds", 0.3, "-o", out)
                begun = f"greenloom: recording process {process.pid} for 0.3 s; Ctrl-C ends it early\n"
                self.assertEqual((status, complaints), (0, begun))
                self.assertRegex(said, rf"^\d+ events in 0\.3 s: {out}\n$")
            with open(page, encoding="utf-8") as text, open(path, "rb") as proto:
                self.assertIn("<!doctype html>", text.read(100))
                written = proto.read()
            self.assertIn(b"sleeper", written)
            self.assertIn(b"spinner", written)
            # Nothing is left that records, and the program goes on.
            self.assertEqual(greenloom_command("trace", process.pid, *self.NOTHING)[1], 0)
            self.assertIsNone(process.poll())

    def test_a_watcher_that_goes_away_ends_the_recording(self):
        with program(self.BUSY) as process:
            with self.watcher(process.pid, "/dev/null") as watcher:
                _, status, complaints = greenloom_command("trace", process.pid, *self.NOTHING)
                self.assertEqual((status, "is being recorded already" in complaints), (1, True), complaints)
                watcher.kill()
            while status:
                self.assertIn("is being recorded already", complaints)
                _, status, complaints = greenloom_command("trace", process.pid, *self.NOTHING)

    def test_an_interrupt_and_the_end_of_the_program_end_it_early_and_it_is_written(self):
        for end in ("interrupt", "kill"):
            with tempfile.TemporaryDirectory() as folder, program(self.BUSY) as process:
                out = os.path.join(folder, "out")
                watcher = self.watcher(process.pid, out)
                if end == "interrupt":
                    watcher.send_signal(signal.SIGINT)
                else:
                    process.kill()
                said, complaints = watcher.communicate(timeout=30)
                self.assertRegex(said, r"^\d+ events in \d+\.\d s.*: ")
                self.assertGreater(os.path.getsize(out), 100)
                if end == "kill":
                    self.assertEqual(complaints, f"greenloom: process {process.pid} has ended meanwhile\n")

    def test_a_program_whose_lock_c_code_holds_says_so(self):
        stuck = """
            import ctypes, eventlet
            eventlet.sleep(0)
            print("ready", flush=True)
            ctypes.PyDLL(None).sleep(1000)
        """
        with program(stuck) as process:
            _, status, complaints = greenloom_command("trace", process.pid, *self.NOTHING)
        self.assertEqual(status, 1)
        self.assertIn("the interpreter's lock was not to be had", complaints)


if __name__ == "__main__":
    unittest.main()
