"""Small random programs, on OS threads and under monkey_patch(): their outcomes have to be the same.

    differential.py check                                  the kept programs, and a few seeds
    differential.py search --seeds 100 --seconds 600       from seed 100 on, for ten minutes
    differential.py show SEED|PROGRAM                      one program: both outcomes, and a smaller program

`kept.txt` has a program a line: each once differed, or shows a difference of `expected.txt`, where differences are that
are known, each below its reason. A program that differs in any other way is a failure, printed as it is to be kept.
"""

import argparse
import concurrent.futures
import itertools
import json
import pathlib
import re
import sys
import time

from programs import GRACE, NATIVE, Pythons, program_of, smaller

HERE = pathlib.Path(__file__).resolve().parent
#: The seeds of the quick form.
QUICK_SEEDS = range(40)
#: What it may take to make a program smaller.
SHRINK_SECONDS = 40


class Expected:
    """The known differences, `WHERE: WHAT`, in which `*` stands for anything."""

    def __init__(self, file):
        self.patterns = [line.strip() for line in file.read_text().splitlines() if line.startswith("    ")]
        self.whole = [pattern_of(pattern) for pattern in self.patterns]
        # A pattern for every operation, or one that needs others, keeps none from being drawn.
        parts = [pattern.split(": ", 1) for pattern in self.patterns]
        places = {place for place, what in parts if not re.match(r"[a-z*]+\.", what)} - {"*"}
        self.where = [pattern_of(place) for place in places]
        self.met = set()

    def has(self, difference):
        found = [p for p, whole in zip(self.patterns, self.whole) if whole.fullmatch(difference.text)]
        self.met.update(found)
        return bool(found)

    def is_known(self, operation):
        return any(where.fullmatch(operation) for where in self.where)


def pattern_of(text):
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def main():
    options = arguments()
    pythons = Pythons(options.native or options.python, options.python)
    expected = Expected(HERE / "expected.txt")
    if options.what == "show":
        return show(pythons, expected, options.program)
    kept = [line for line in (HERE / "kept.txt").read_text().splitlines() if line.startswith("{")]
    programs = [("kept", json.loads(line)) for line in kept] if options.seeds is None else []
    programs = itertools.chain(programs, ((seed, program_of(seed, expected.is_known)) for seed in seeds(options)))

    counts, failed = {}, set()
    until = time.monotonic() + options.seconds
    for seed, program, difference in differences(pythons, programs, expected, options.jobs, until):
        kind = "same" if difference is None else "unsure" if difference.where == "unsure" else "expected"
        if kind == "expected" and not expected.has(difference):
            kind = "failed"
            if difference.text not in failed:
                report(pythons, seed, program, difference, options.shrink)
            failed.add(difference.text)
        counts[kind] = counts.get(kind, 0) + 1
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())), flush=True)
    if options.seeds is None:
        for pattern in expected.patterns:
            if pattern not in expected.met:
                print(f"not met: remove it from expected.txt if it is mended: {pattern}")
    sys.exit(1 if failed else 0)


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__.strip())
    parser.add_argument("what", choices=["check", "search", "show"])
    parser.add_argument("program", nargs="?")
    parser.add_argument("--python", default=sys.executable, help="with the eventlet to be tested")
    parser.add_argument("--native", help="for the OS threads, if not the same")
    parser.add_argument("--seeds", type=int, help="the first seed of a search")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shrink", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    if options.what == "search":
        options.seeds = options.seeds or 0
    return options


def seeds(options):
    if options.seeds is None:
        return QUICK_SEEDS
    return iter(range(options.seeds, sys.maxsize))


def differences(pythons, programs, expected, jobs, until):
    """Runs the programs side by side, until they or the time are over."""
    programs = iter(programs)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {}
        while True:
            while len(running) < jobs and time.monotonic() < until:
                seed, program = next(programs, (None, None))
                if program is None:
                    break
                running[pool.submit(pythons.difference, program, expected.has)] = seed, program
            if not running:
                return
            for future in concurrent.futures.wait(running, return_when="FIRST_COMPLETED").done:
                yield *running.pop(future), future.result()


def report(pythons, seed, program, difference, shrink):
    print(f"--- {seed}: {difference.text}", flush=True)
    if shrink:
        program = smallest(pythons, program, difference)
    print(json.dumps(program), flush=True)


def smallest(pythons, program, difference):
    operation = difference.where.split("(")[0]
    until = time.monotonic() + SHRINK_SECONDS

    def is_it(found):
        return found.where.split("(")[0] == operation and found.what == difference.what

    def keeps(fewer):
        found = pythons.difference(fewer, is_it) if time.monotonic() < until else None
        return found is not None and is_it(found)

    return smaller(program, keeps)


def show(pythons, expected, text):
    program = json.loads(text) if text.startswith("{") else program_of(int(text), expected.is_known)
    difference = pythons.difference(program)
    print(json.dumps(program))
    if difference is None:
        for line in pythons.outcome(NATIVE, program, GRACE):
            print(line)
        return
    for native, green in zip(*difference.outcomes):
        print("  " if native == green else "! ", native, "" if native == green else f"\n   {green}")
    print(difference.text)
    print(json.dumps(smallest(pythons, program, difference)))


if __name__ == "__main__":
    main()
