"""What it costs to be looked into: a program with the socket closed, open, with `greenloom top`, and while traced.

    PYTHON bench/python/inspected.py [--turns 5] [--threads 50000] [--json FILE]

Every measurement is a process of its own; the ways take turns, and a ratio is the median of those within each turn. An
operation is timed in batches, of which the median counts.

- ``switch``: one green thread gives way to another; ``hop``: an item goes through a queue of one; ``lock``: a free lock
  is taken and given back; ``spawn``: a green thread is made, runs and is waited for; ``wsgi``: a request of ``hello``
  over a connection that stays, from another process
- ``off again``: the same as ``off``, for how much two runs of one program differ
- ``sleepers``: beside so many sleeping green threads; ``and top``: asked once a second for what ``greenloom top`` asks
- ``grouped``: twice as many sleepers, whose stacks are asked for again and again: how long an answer takes
- ``pause``: the longest time for which the hub did not come back to a green thread that only gives way, in 3 seconds
- ``page``: the page of a million events in Chromium, where there is one
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import turns

sys.path.insert(0, str(pathlib.Path(__file__).parent / "eventlet"))

from micro import eventlet_hop, eventlet_spawn  # noqa: E402

WAYS = {
    # The variable, how many sleepers, and who looks.
    "off": ("", 0, None),
    "off again": ("", 0, None),
    "open": ("1", 0, None),
    "trace": ("1", 0, "trace"),
    "sleepers": ("1", 1, None),
    "sleepers and top": ("1", 1, "top"),
    # Nothing but the pause is measured beside it.
    "grouped": ("1", 2, "stacks"),
}

# Which way is compared with which.
COMPARED = {"off again": "off", "open": "off", "trace": "open", "sleepers and top": "sleepers"}


def switch(count):
    import eventlet

    def turns():
        for _ in range(count // 2):
            eventlet.sleep(0)

    threads = [eventlet.spawn(turns) for _ in range(2)]
    for thread in threads:
        thread.wait()


def lock(count):
    from eventlet.semaphore import Semaphore

    one = Semaphore()
    for _ in range(count):
        one.acquire()
        one.release()


def wsgi(count):
    """Returns the seconds that the client needed, for its start is none of it."""
    import eventlet
    from eventlet import wsgi as server
    from eventlet.green import subprocess as green

    def hello(_, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"hello"]

    listener = eventlet.listen(("127.0.0.1", 0))
    serves = eventlet.spawn(server.server, listener, hello, log_output=False)
    command = [sys.executable, __file__, "--ask", str(listener.getsockname()[1]), "--count", str(count)]
    seconds = float(green.check_output(command))
    serves.kill()
    listener.close()
    return seconds


def ask(port, count):
    """The client: so many requests, one after another."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begun = time.perf_counter()
        for _ in range(count):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\r\n\r\nhello"):
                part = connection.recv(4096)
                if not part:
                    raise SystemExit(f"the server has closed after {answer!r}")
                answer += part
        print(time.perf_counter() - begun)


# With the part of a batch that each does.
OPERATIONS = {
    "switch": (switch, 1.0),
    "hop": (eventlet_hop, 0.3),
    "lock": (lock, 1.0),
    "spawn": (eventlet_spawn, 0.1),
    "wsgi": (wsgi, 0.02),
}


def longest_pause(seconds):
    """The longest time for which the hub did not come back to a green thread that only gives way."""
    import eventlet

    end, before, longest = time.monotonic() + seconds, time.monotonic(), 0.0
    while before < end:
        eventlet.sleep(0)
        now = time.monotonic()
        longest = max(longest, now - before)
        before = now
    return longest * 1000


def measured(threads, count):
    """The program: says that it is ready, measures when it is told to, and tells."""
    import eventlet

    for _ in range(threads):
        eventlet.spawn_n(eventlet.sleep, 10_000)
    eventlet.sleep(0.01)
    path = ""
    if os.environ.get("GREENLOOM_INSPECT"):
        import greenloom.inspect

        path = greenloom.inspect.start()
    print(path, flush=True)
    sys.stdin.readline()
    found = {}
    for name, (operation, part) in OPERATIONS.items() if count else ():
        times, batch = [], max(1, int(count * part))
        for _ in range(12):
            begun = time.perf_counter()
            seconds = operation(batch)
            times.append(seconds or time.perf_counter() - begun)
        # Those who look do so once a second: the middle has their part in it, the fastest would not.
        found[name] = statistics.median(times) / batch
    found["pause"] = longest_pause(3)
    print(json.dumps(found), flush=True)


def watcher(what, pid, path, folder):
    """Who looks at the program."""
    if what == "trace":
        command = ["trace", str(pid), "--seconds", "600", "--events", "100000000", "-o", os.path.join(folder, "out")]
        return subprocess.Popen([sys.executable, "-m", "greenloom", *command], stdout=subprocess.DEVNULL)
    command = [sys.executable, __file__, "--look", path] + ["--stacks"] * (what == "stacks")
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def look(path, stacks):
    """Asks what `greenloom top` asks, once a second, and reads; or for stacks, and prints how long each took."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        lines = connection.makefile("rw")
        lines.readline()
        while True:
            begun = time.monotonic()
            for what in ("stacks",) if stacks else ("hubs", "stacks"):
                lines.write(json.dumps({"id": 1, "ask": what}) + "\n")
                lines.flush()
                if not lines.readline():
                    return
            took = time.monotonic() - begun
            if stacks:
                print(took * 1000, flush=True)
            time.sleep(0.1 if stacks else max(0.0, 1 - took))


def run(way, threads, count):
    variable, sleepers, who = WAYS[way]
    environment = {**os.environ, "GREENLOOM_INSPECT": variable, "GREENLOOM_WATCHDOG": "0"}
    count = 0 if who == "stacks" else count
    command = [sys.executable, __file__, "--measured", str(sleepers * threads), "--count", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        program = subprocess.Popen(command, env=environment, **pipes)
        looks = None
        try:
            path = program.stdout.readline().strip()
            if who:
                looks = watcher(who, program.pid, path, folder)
                time.sleep(0.5)
            program.stdin.write("\n")
            program.stdin.flush()
            told = program.stdout.readline()
            if not told:
                raise turns.Failed(f"the program of {way!r} has ended")
            found = json.loads(told)
            if who == "stacks":
                looks.kill()
                found["stacks"] = statistics.median(float(line) for line in looks.stdout.read().split())
            return found
        finally:
            for process in filter(None, (looks, program)):
                process.kill()
                process.wait()


def page():
    """How long the page of a million events takes to open, as `BENCH=1 make test-page` prints it."""
    root = pathlib.Path(__file__).resolve().parents[2]
    tests = root / "crates/trace/tests/page"
    sys.path.insert(0, str(tests))
    import chromium

    if not any(map(shutil.which, chromium.PROGRAMS)):
        return "no Chromium here; it is left out"
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    turns.output_of(["cargo", "build", "--quiet", "-p", "greenloom", "--example", "timeline"], timeout=600, cwd=root)
    with tempfile.TemporaryDirectory() as folder:
        example = str(target / "debug/examples/timeline")
        environment = {**os.environ, "GREENLOOM_TRACE_FOLDER": folder, "GREENLOOM_TRACE_EXAMPLE": example}
        return turns.output_of([sys.executable, str(tests / "time_page.py")], timeout=600, env=environment).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=50_000)
    parser.add_argument("--count", type=int, default=100_000, help="operations of a batch")
    parser.add_argument("--json", help="where the raw numbers go")
    parser.add_argument("--measured", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--look", help=argparse.SUPPRESS)
    parser.add_argument("--stacks", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.measured is not None:
        return measured(told.measured, told.count)
    if told.look is not None:
        return look(told.look, told.stacks)
    if told.ask is not None:
        return ask(told.ask, told.count)
    values, problems = turns.in_turns(WAYS, lambda way: run(way, told.threads, told.count), told.turns)
    for way, problem in problems.items():
        print(f"{way}: {problem}", file=sys.stderr)
    if told.json:
        with open(told.json, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)

    def figures(way, name):
        return [value and value.get(name) for value in values[way]]

    for name in OPERATIONS:
        parts = [f"off {turns.shown((turns.median(figures('off', name)) or 0) * 1e9)} ns"]
        for way, base in COMPARED.items():
            parts.append(f"{way} {turns.ratio(figures(way, name), figures(base, name)):.3f}x of {base}")
        print(f"{name:7}", ", ".join(parts))
    print(f"grouped {turns.median(figures('grouped', 'stacks')) or 0:.0f} ms for the stacks of {2 * told.threads}")
    print("pause  ", ", ".join(f"{way} {turns.median(figures(way, 'pause')) or 0:.1f} ms" for way in WAYS))
    print("page   ", page())


if __name__ == "__main__":
    main()
