"""For tests that look into another program."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap


@contextlib.contextmanager
def program(script, stderr=subprocess.PIPE, within=(), begin=None, **environment):
    """A program that can be looked into. It has said "ready" when this goes on. *within* are the words of a command
    that starts it, *begin* is called before that in its process."""
    started = subprocess.Popen(
        [*within, sys.executable, "-c", textwrap.dedent(script)],
        preexec_fn=begin,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "GREENLOOM_INSPECT": "1", **environment},
    )
    with started:
        try:
            line = started.stdout.readline()
            if line != "ready\n":
                raise AssertionError(line + (started.stderr.read() if started.stderr else ""))
            yield started
        finally:
            started.kill()


def greenloom_command(*words, within=(), begin=None):
    """What the command says, its exit status, and its complaints. *within* and *begin* as for `program`."""
    command = [*within, sys.executable, "-m", "greenloom", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, input="", preexec_fn=begin)
    return done.stdout, done.returncode, done.stderr


def look(pid, until=lambda seen: True):
    """What `greenloom stacks` says, once it says what is waited for."""
    for _ in range(100):
        said, status, complaints = greenloom_command("stacks", pid, "--json")
        if status:
            raise AssertionError(complaints)
        seen = json.loads(said)
        if until(seen):
            return seen
    raise AssertionError(said)


def all_wait(seen):
    return all(hub["waits"] for hub in seen["hubs"])


def group_of(seen, function):
    """The group whose innermost application frame is that function."""
    found = [group for group in seen["stacks"]["groups"] if any(f["function"] == function for f in group["stack"])]
    assert len(found) == 1, seen
    return found[0]


def ask(pid, **request):
    """What the program's socket answers."""
    with contextlib.closing(ask_of(pid)) as asks:
        return asks(**request)


class ask_of:
    """A connection to the program's socket, which is called with a request."""

    def __init__(self, pid):
        folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        name = "greenloom" if os.environ.get("XDG_RUNTIME_DIR") else f"greenloom-{os.geteuid()}"
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(os.path.join(folder, name, str(pid)))
        self.lines = self.connection.makefile("rw")
        self.lines.readline()

    def __call__(self, **request):
        self.lines.write(json.dumps({"id": 1, **request}) + "\n")
        self.lines.flush()
        return json.loads(self.lines.readline())

    def close(self):
        self.lines.close()
        self.connection.close()


def processor_time(pid):
    """How long all OS threads of a process have run, in seconds."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Terminal:
    """The command `greenloom` in a pseudo-terminal of its own, and what it has written there."""

    def __init__(self, *words):
        self.ours, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        command = [sys.executable, "-m", "greenloom", *map(str, words)]
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        os.close(terminal)
        self.written = ""

    def press(self, keys):
        """Presses keys; what was written before is forgotten."""
        self.written = ""
        os.write(self.ours, keys.encode())

    def shows(self, what):
        """Waits until that was written. A space may have been written as a movement of the cursor."""
        pattern = re.compile("(?: |\x1b\\[[0-9;]*[A-Za-z])+".join(map(re.escape, what.split(" "))))
        while not pattern.search(self.written):
            if not select.select([self.ours], [], [], 30)[0]:
                raise AssertionError(f"{what!r} is not in {self.written!r}")
            self.written += os.read(self.ours, 4096).decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
