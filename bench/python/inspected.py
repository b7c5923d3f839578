"""What it costs to be looked into: a program with the socket closed, open, with `greenloom top`, and while traced.

    PYTHON bench/python/inspected.py [--turns 5] [--threads 50000] [--json FILE]

Every measurement is a process of its own; the ways take turns, and a ratio is the median of those within each turn. An
operation is timed in batches, of which the median counts.

- ``switch``: one green thread gives way to another; ``lock``: a free lock is taken and given back; ``spawn``: a green
  thread is made, runs and is waited for
- ``sleepers``: beside so many sleeping green threads; ``and top``: asked once a second for what ``greenloom top`` asks
- ``pause``: the longest time for which the hub did not come back to a green thread that only gives way, in 3 seconds
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import turns

WAYS = {
    # The variable, how many sleepers, and who looks.
    "off": ("", 0, None),
    "open": ("1", 0, None),
    "trace": ("1", 0, "trace"),
    "sleepers": ("1", 1, None),
    "sleepers and top": ("1", 1, "top"),
}

# Which way is compared with which.
COMPARED = {"open": "off", "trace": "open", "sleepers and top": "sleepers"}


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


def spawn(count):
    import eventlet

    for _ in range(count):
        eventlet.spawn(int).wait()


# With the part of a batch that each does.
OPERATIONS = {"switch": (switch, 1.0), "lock": (lock, 1.0), "spawn": (spawn, 0.1)}


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
    for name, (operation, part) in OPERATIONS.items():
        times, batch = [], max(1, int(count * part))
        for _ in range(12):
            begun = time.perf_counter()
            operation(batch)
            times.append(time.perf_counter() - begun)
        # Those who look do so once a second: the middle has their part in it, the fastest would not.
        found[name] = statistics.median(times) / batch
    found["pause"] = longest_pause(3)
    print(json.dumps(found), flush=True)


def watcher(what, pid, path, folder):
    """Who looks at the program."""
    if what == "trace":
        command = ["trace", str(pid), "--seconds", "600", "--events", "100000000", "-o", os.path.join(folder, "out")]
        return subprocess.Popen([sys.executable, "-m", "greenloom", *command], stdout=subprocess.DEVNULL)
    return subprocess.Popen([sys.executable, __file__, "--look", path])


def look(path):
    """Asks what `greenloom top` asks, once a second, and reads the answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        lines = connection.makefile("rw")
        lines.readline()
        while True:
            begun = time.monotonic()
            for what in ("hubs", "stacks"):
                lines.write(json.dumps({"id": 1, "ask": what}) + "\n")
                lines.flush()
                if not lines.readline():
                    return
            time.sleep(max(0.0, begun + 1 - time.monotonic()))


def run(way, threads, count):
    variable, sleepers, who = WAYS[way]
    environment = {**os.environ, "GREENLOOM_INSPECT": variable, "GREENLOOM_WATCHDOG": "0"}
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
            return json.loads(told)
        finally:
            for process in filter(None, (looks, program)):
                process.kill()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=50_000)
    parser.add_argument("--count", type=int, default=100_000, help="operations of a batch")
    parser.add_argument("--json", help="where the raw numbers go")
    parser.add_argument("--measured", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--look", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.measured is not None:
        return measured(told.measured, told.count)
    if told.look is not None:
        return look(told.look)
    values, problems = turns.in_turns(WAYS, lambda way: run(way, told.threads, told.count), told.turns)
    for way, problem in problems.items():
        print(f"{way}: {problem}", file=sys.stderr)
    if told.json:
        with open(told.json, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)

    def figures(way, name):
        return [value and value[name] for value in values[way]]

    for name in OPERATIONS:
        parts = [f"off {turns.shown((turns.median(figures('off', name)) or 0) * 1e9)} ns"]
        for way, base in COMPARED.items():
            parts.append(f"{way} {turns.ratio(figures(way, name), figures(base, name)):.3f}x of {base}")
        print(f"{name:7}", ", ".join(parts))
    print("pause  ", ", ".join(f"{way} {turns.median(figures(way, 'pause')):.1f} ms" for way in WAYS))


if __name__ == "__main__":
    main()
