"""For tests that look into another program."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap


@contextlib.contextmanager
def program(script, **environment):
    """A program that can be looked into. It has said "ready" when this goes on."""
    started = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GREENLOOM_INSPECT": "1", **environment},
    )
    with started:
        try:
            line = started.stdout.readline()
            if line != "ready\n":
                raise AssertionError(line + started.stderr.read())
            yield started
        finally:
            started.kill()


def greenloom_command(*words):
    """What the command says, its exit status, and its complaints."""
    done = subprocess.run(
        [sys.executable, "-m", "greenloom", *map(str, words)], capture_output=True, text=True, timeout=60, input=""
    )
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
    folder = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = os.path.join(folder, "greenloom" if os.environ.get("XDG_RUNTIME_DIR") else f"greenloom-{os.geteuid()}")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.path.join(folder, str(pid)))
        lines = connection.makefile("rw")
        lines.readline()
        lines.write(json.dumps({"id": 1, **request}) + "\n")
        lines.flush()
        return json.loads(lines.readline())
