"""Looking into a running program: `greenloom stacks`, `metrics` and `kill`, and the functions under them."""

import os
import pty
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import eventlet
import greenloom.inspect
from inspect_support import all_wait, ask_of, greenloom_command, group_of, look, processor_time, program

WAITING = """
    import eventlet
    from eventlet import queue
    items = queue.Queue()
    def taker():
        items.get()
    def napper():
        eventlet.sleep(1000)
    threads = [eventlet.spawn(taker) for _ in range(7)] + [eventlet.spawn_n(napper) for _ in range(40)]
    eventlet.sleep(0)
    print("ready", flush=True)
    eventlet.sleep(1000)
"""


class Stacks(unittest.TestCase):
    def test_those_that_wait_are_grouped_by_place_with_their_stack(self):
        with program(WAITING) as process:
            seen = look(process.pid, all_wait)
            said, status, _ = greenloom_command("stacks", process.pid)
        takers, nappers = group_of(seen, "taker"), group_of(seen, "napper")
        self.assertEqual((takers["count"], takers["state"]), (7, "waits"))
        self.assertEqual((nappers["count"], nappers["state"]), (40, "waits"))
        self.assertEqual([frame["line"] for frame in takers["stack"] if frame["function"] == "taker"], [6])
        self.assertEqual(seen["stacks"]["total"], 48)
        self.assertEqual([hub["waits"] for hub in seen["hubs"]], [True])
        self.assertEqual(status, 0)
        self.assertIn("40 waiting for: sleep, such as 0:", said)
        self.assertIn("<string>:6 taker", said)

    def test_the_oldest_of_a_group_are_named(self):
        threads = [eventlet.spawn(eventlet.sleep, 1000) for _ in range(20)]
        eventlet.sleep(0)
        groups = greenloom.inspect.stacks()["groups"]
        examples = max(groups, key=lambda group: group["count"])["examples"]
        self.assertEqual([example["number"] for example in examples], [id(thread) for thread in threads[:3]])
        for thread in threads:
            thread.kill()

    def test_one_that_never_waits_is_shown_where_it_runs(self):
        busy = """
            import eventlet
            def spins():
                print("ready", flush=True)
                while True:
                    pass
            eventlet.spawn(spins).wait()
        """
        with program(busy) as process:
            seen = look(process.pid)
        group = group_of(seen, "spins")
        self.assertEqual((group["state"], group["count"]), ("runs", 1))
        self.assertIn(group["stack"][0]["line"], (5, 6))
        self.assertEqual([hub["waits"] for hub in seen["hubs"]], [False])

    def test_a_program_whose_lock_c_code_holds_answers_and_says_so(self):
        stuck = """
            import ctypes, eventlet
            def holds_the_lock():
                print("ready", flush=True)
                ctypes.PyDLL(None).sleep(1000)
            eventlet.spawn(holds_the_lock).wait()
        """
        with program(stuck) as process:
            seen = look(process.pid)
            said, _, _ = greenloom_command("stacks", process.pid)
            metrics, status, _ = greenloom_command("metrics", process.pid)
            _, refused, complaints = greenloom_command("kill", process.pid, "0:1", "--yes")
        self.assertIn("the interpreter's lock was not to be had", seen["stacks"]["problems"][0])
        self.assertIn("\ngreen threads unknown\nthe interpreter's lock", said)
        self.assertEqual([hub["waits"] for hub in seen["hubs"]], [False])
        self.assertEqual(status, 0)
        self.assertIn("greenloom_switches_total", metrics)
        self.assertEqual(refused, 1)
        self.assertIn("the interpreter's lock was not to be had", complaints)

    def test_green_threads_that_come_and_go_meanwhile_are_no_matter(self):
        churn = """
            import eventlet
            def short():
                eventlet.sleep(0)
            def spawner():
                while True:
                    eventlet.spawn_n(short)
                    eventlet.sleep(0)
            def keeper():
                eventlet.sleep(1000)
            for _ in range(5000):
                eventlet.spawn_n(keeper)
            for _ in range(50):
                eventlet.spawn_n(spawner)
            eventlet.sleep(0)
            print("ready", flush=True)
            eventlet.sleep(1000)
        """
        with program(churn) as process:
            for _ in range(5):
                seen = look(process.pid)
                self.assertEqual(group_of(seen, "keeper")["count"], 5000)
                self.assertEqual(seen["stacks"]["problems"], [])
            self.assertIsNone(process.poll())

    def test_the_signal_that_the_environment_names_dumps_all_stacks(self):
        with program(WAITING, GREENLOOM_INSPECT="", GREENLOOM_DUMP_SIGNAL="USR1") as process:
            process.send_signal(signal.SIGUSR1)
            lines = [process.stderr.readline() for _ in range(3)]
        self.assertEqual(lines[0], f"greenloom: process {process.pid}\n")
        self.assertRegex(lines[1], r"^hub 0 \(main\) (waits|runs), \d+ switches")
        self.assertEqual(lines[2], "48 green threads at 3 places\n")

    def test_a_signal_that_there_is_not_is_named_and_the_program_goes_on(self):
        with program(WAITING, GREENLOOM_DUMP_SIGNAL="TEA") as process:
            self.assertIn("must be a signal such as USR1, not 'TEA'", process.stderr.readline())
        with program(WAITING, GREENLOOM_DUMP_SIGNAL="KILL") as process:
            self.assertIn("no program can handle signal 9", process.stderr.readline())
            self.assertIsNone(process.poll())


class Kill(unittest.TestCase):
    KILLED = """
        import eventlet, sys
        def victim():
            try:
                eventlet.sleep(1000)
            finally:
                print("finally", flush=True)
        thread = eventlet.spawn(victim)
        eventlet.sleep(0)
        print("ready", flush=True)
        try:
            thread.wait()
        except eventlet.greenlet.GreenletExit as exit:
            print(repr(exit), flush=True)
    """

    def test_it_ends_where_it_waits_and_its_waiter_is_told(self):
        with program(self.KILLED) as process:
            example = group_of(look(process.pid, all_wait), "victim")["examples"][0]
            name = f"{example['hub']}:{example['number']}"
            _, status, complaints = greenloom_command("kill", process.pid, name)
            self.assertEqual((status, "say --yes" in complaints), (1, True), complaints)
            said, status, complaints = greenloom_command("kill", process.pid, name, "--yes")
            self.assertEqual((said, status), (f"green thread {name} gets a GreenletExit\n", 0), complaints)
            self.assertEqual(process.stdout.readline(), "finally\n")
            self.assertEqual(process.stdout.readline(), "GreenletExit()\n")
            self.assertEqual(process.wait(30), 0)

    def test_at_a_terminal_it_asks_first(self):
        with program(self.KILLED) as process:
            example = group_of(look(process.pid, all_wait), "victim")["examples"][0]
            name = f"{example['hub']}:{example['number']}"
            for answer, status in ((b"\n", 1), (b"no\n", 1), (b"y\n", 0)):
                master, terminal = pty.openpty()
                command = [sys.executable, "-m", "greenloom", "kill", str(process.pid), name]
                asked = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
                os.close(terminal)
                question = b""
                while not question.endswith(b"[y/N] "):
                    question += os.read(master, 1000)
                self.assertIn(f"kill green thread {name} of process {process.pid}".encode(), question)
                os.write(master, answer)
                self.assertEqual(asked.wait(30), status)
                os.close(master)
            self.assertEqual(process.stdout.readline(), "finally\n")

    def test_what_is_no_green_thread_is_not_killed(self):
        with program(self.KILLED) as process:
            groups = look(process.pid)["stacks"]["groups"]
            main = next(group for group in groups if group.get("name") == "the OS thread's own")["examples"][0]
            for name, why in (
                (f"0:{main['number']}", "it is not killed"),
                ("0:1", "there is no green thread 0:1"),
                (f"9:{main['number']}", "there is no green thread 9:"),
            ):
                _, status, complaints = greenloom_command("kill", process.pid, name, "--yes")
                self.assertEqual((status, why in complaints), (1, True), complaints)
            self.assertIsNone(process.poll())


class Socket(unittest.TestCase):
    def test_the_child_of_a_fork_has_its_own(self):
        forks = """
            import eventlet, os, sys
            eventlet.sleep(0)  # with a hub that was the parent's
            child = os.fork()
            def in_child():
                eventlet.sleep(1000)
            def in_parent():
                eventlet.sleep(1000)
            eventlet.spawn_n(in_child if child == 0 else in_parent)
            eventlet.sleep(0)
            if child:
                print("ready", flush=True)
                print(child, flush=True)
            eventlet.sleep(1000)
        """
        with program(forks) as process:
            child = int(process.stdout.readline())
            try:
                # The child has opened its own before its fork returned.
                in_child, in_parent = look(child, all_wait), look(process.pid, all_wait)
            finally:
                os.kill(child, signal.SIGKILL)
        self.assertEqual((in_child["stacks"]["total"], in_parent["stacks"]["total"]), (2, 2))
        # Its OS thread has another number there.
        (hub,) = in_child["hubs"]
        self.assertEqual((hub["os_thread"], hub["os_thread_id"]), ("main", child))
        group_of(in_child, "in_child")
        group_of(in_parent, "in_parent")

    def test_it_goes_with_the_program(self):
        with program("import eventlet, greenloom.inspect\nprint('ready')\nprint(greenloom.inspect.start())") as process:
            path = process.stdout.readline().strip()
            self.assertEqual(process.wait(30), 0)
            self.assertEqual(os.path.basename(path), str(process.pid))
            self.assertFalse(os.path.exists(path))

    def test_it_is_in_a_private_folder_where_there_is_no_runtime_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            with program(WAITING, XDG_RUNTIME_DIR="", TMPDIR=folder) as process:
                (private,) = os.listdir(folder)
                self.assertEqual(private, f"greenloom-{os.geteuid()}")
                self.assertEqual(os.stat(os.path.join(folder, private)).st_mode & 0o777, 0o700)
                socket = os.path.join(folder, private, str(process.pid))
                self.assertEqual(os.stat(socket).st_mode & 0o777, 0o600)
                # It is found by the environment of the process.
                self.assertEqual(look(process.pid)["stacks"]["total"], 48)

    def test_a_folder_that_others_can_enter_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(os.path.join(folder), 0o700)
            os.mkdir(os.path.join(folder, f"greenloom-{os.geteuid()}"), 0o755)
            with program(WAITING, XDG_RUNTIME_DIR="", TMPDIR=folder) as process:
                self.assertIn("is not a folder of this user's alone", process.stderr.readline())

    @unittest.skipUnless(os.geteuid() == 0, "needs rights to give up")
    def test_a_program_with_rights_that_its_user_has_not_is_refused(self):
        privileged = """
            import os, eventlet
            os.setresuid(65534, 0, 0)
            import greenloom.inspect
            try:
                greenloom.inspect.start()
            except OSError as error:
                print("ready", flush=True)
                print(error, flush=True)
        """
        with program(privileged, GREENLOOM_INSPECT="") as process:
            self.assertIn("rights that its user has not", process.stdout.readline())

    def test_a_program_without_a_descriptor_left_is_looked_into_by_one_after_the_other(self):
        has_none = """
            import eventlet, os, resource
            eventlet.sleep(0)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            try:
                while True:
                    os.dup(0)
            except OSError:
                print("ready", flush=True)
            eventlet.sleep(1000)
        """
        with program(has_none) as process:
            first = ask_of(process.pid)
            self.assertIn("hubs", first(ask="hubs"))
            command = [sys.executable, "-m", "greenloom", "stacks", str(process.pid)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
                with self.assertRaises(subprocess.TimeoutExpired):
                    second.wait(1)
                before = processor_time(process.pid)
                with self.assertRaises(subprocess.TimeoutExpired):
                    second.wait(1)
                # The wait is no loop.
                self.assertLess(processor_time(process.pid) - before, 0.3)
                first.close()
                self.assertIn("1 green thread at 1 place", second.communicate()[0])

    @unittest.skipUnless(os.geteuid() == 0, "needs rights to give up")
    def test_a_program_that_has_given_up_its_rights_since_is_found(self):
        gives_up = """
            import eventlet, os
            eventlet.sleep(0)
            os.setgid(65534)
            os.setuid(65534)
            print("ready", flush=True)
            eventlet.sleep(1000)
        """
        with tempfile.TemporaryDirectory() as folder:
            for folders in ({"XDG_RUNTIME_DIR": "", "TMPDIR": "/tmp"}, {"XDG_RUNTIME_DIR": folder}):
                with self.subTest(**folders), unittest.mock.patch.dict(os.environ, folders):
                    with program(gives_up, **folders) as process:
                        self.assertEqual(look(process.pid)["stacks"]["total"], 1)

    def test_its_os_threads_leave_signals_to_the_program(self):
        with program(WAITING, GREENLOOM_DUMP_SIGNAL="USR1") as process:
            masks = {}
            for task in os.listdir(f"/proc/{process.pid}/task"):
                with open(f"/proc/{process.pid}/task/{task}/status") as status:
                    of_task = dict(line.split(":\t") for line in status.read().splitlines() if ":\t" in line)
                masks[of_task["Name"]] = int(of_task["SigBlk"], 16)
        ours = [mask for name, mask in masks.items() if name.startswith("greenloom-")]
        self.assertEqual(len(ours), 2, masks)
        for mask in ours:
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR2):
                self.assertTrue(mask >> number - 1 & 1, number)
            for number in (signal.SIGSEGV, signal.SIGUSR1):
                self.assertFalse(mask >> number - 1 & 1, number)

    def test_nothing_is_open_unless_it_is_asked_for(self):
        with program(WAITING, GREENLOOM_INSPECT="") as process:
            _, status, complaints = greenloom_command("stacks", process.pid)
            tasks = os.listdir(f"/proc/{process.pid}/task")
        self.assertEqual((status, "start it with GREENLOOM_INSPECT=1" in complaints), (1, True), complaints)
        self.assertEqual(len(tasks), 1)

    def test_a_process_that_there_is_not_and_words_that_are_not_understood(self):
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        _, status, complaints = greenloom_command("stacks", ended.pid)
        self.assertEqual((status, complaints), (1, f"greenloom: there is no process {ended.pid}\n"))
        _, status, complaints = greenloom_command("stacks", "me")
        self.assertEqual((status, "greenloom stacks PID [--json]" in complaints), (2, True), complaints)


class Metrics(unittest.TestCase):
    def test_they_count_what_the_hub_does(self):
        def switches():
            line = next(line for line in greenloom.inspect.metrics().splitlines() if "switches_total{" in line)
            return float(line.split()[-1])

        eventlet.sleep(0)
        before = switches()
        for _ in range(100):
            eventlet.sleep(0)
        self.assertGreaterEqual(switches() - before, 100)

    def test_an_application_serves_them(self):
        told = []
        body = b"".join(greenloom.inspect.metrics_app({}, lambda status, headers: told.append((status, headers))))
        ((status, headers),) = told
        self.assertEqual(status, "200 OK")
        self.assertEqual(dict(headers)["Content-Length"], str(len(body)))
        self.assertIn("application/openmetrics-text", dict(headers)["Content-Type"])
        self.assertTrue(body.endswith(b"# EOF\n"))


if __name__ == "__main__":
    unittest.main()
