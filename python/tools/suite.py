"""Runs test files with pytest, each in a process of its own, with a limit of time for every test; compares with stock.

    suite.py PYTHON FOLDER [--baseline FILE --name 3.11/epolls [--on-purpose FILE]] [--only TEXT] [--log FILE]
    suite.py PYTHON FOLDER --baseline FILE --name 3.11/epolls --record

FOLDER holds the package `tests`, or test files at its top. PYTHON has pytest. The baseline says what stock passes: a
line a test, with the runs in which stock passes it, or does not, where that is not the same in all. Each test that
stock passes has to pass, but for those of --on-purpose, which ask for what we do better; without a baseline each that
is not skipped. With --record the outcomes go into the baseline.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

PLUGIN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "suite"
#: What a test may take, in seconds. Stock's longest takes five on a quiet machine.
TEST_SECONDS = float(os.environ.get("SUITE_SECONDS", "60"))
#: What a file may take; its tests are watched one by one, so this is for what escapes that.
FILE_SECONDS = 900
PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"


class Outcome:
    def __init__(self, outcome=PASSED, why=""):
        self.outcome = outcome
        self.why = why

    def add(self, outcome, why):
        """One more phase of the same test: it passes if all do."""
        if outcome == PASSED or self.outcome == FAILED:
            return
        self.outcome, self.why = outcome, why


def main():
    options = arguments()
    files = test_files(options.folder, options.only)
    stock = stock_passes(options) if options.baseline and not options.record else None
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        outcomes = {}
        for of_file in pool.map(lambda file: run_file(options, file), files):
            outcomes.update(of_file)
    if options.record:
        return record(options, outcomes)

    must_pass = stock
    if stock is None:
        must_pass = [test for test, outcome in outcomes.items() if outcome.outcome != SKIPPED]
    missed = [test for test in must_pass if outcome_of(outcomes, test) != PASSED]
    report(options, outcomes, stock, missed, time.monotonic() - began)
    sys.exit(1 if missed or not outcomes else 0)


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__.strip())
    parser.add_argument("python", type=os.path.abspath)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--baseline", type=pathlib.Path)
    parser.add_argument("--name", default="")
    parser.add_argument("--on-purpose", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--log", type=pathlib.Path)
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()


def test_files(folder, only):
    """The files with tests, the longest first, so that none is left over at the end."""
    files = {*folder.rglob("test_*.py"), *folder.rglob("*_test.py")}
    names = [str(file.relative_to(folder)) for file in files]
    return sorted((name for name in names if only in name), key=lambda name: (-(folder / name).stat().st_size, name))


# Running


def run_file(options, file):
    """The outcome of each test of a file. One process after the other, where a test ends its process."""
    outcomes = {}
    while True:
        before = len(outcomes)
        over = run_process(options, [file], outcomes)
        if over or len(outcomes) == before:
            return outcomes


def run_process(options, tests, outcomes):
    """Runs pytest and notes the outcomes; whether it came to its end. A hang or a crash is a failure of its test."""
    with tempfile.TemporaryDirectory() as folder:
        notes = pathlib.Path(folder) / "outcomes"
        notes.touch()
        done = [f"--deselect={test}" for test in outcomes]
        plugins = ["-p", "no:faulthandler", "-p", "no:cacheprovider", "-p", "outcomes"]
        command = [options.python, "-m", "pytest", "-q", *plugins, *done, *tests]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SUITE_OUTCOMES": str(notes),
            "SUITE_SECONDS": str(TEST_SECONDS),
        }
        status, output = run_group(command, options.folder, environment)
        running, over, exited = None, False, False
        for line in notes.read_text().splitlines():
            event = json.loads(line)
            if "begins" in event:
                running = event["begins"]
            elif "over" in event:
                over = True
            elif "exits" in event:
                exited = event["exits"] == status
            else:
                outcomes.setdefault(event["test"], Outcome()).add(event["outcome"], event["why"])
                running = None if event["phase"] == "teardown" else running
    if exited:
        return True
    where = running or f"{tests[0]}::{'exit' if over else 'collection'}"
    outcomes[where] = Outcome(FAILED, f"the process ended with status {status}:\n{output[-20_000:]}")
    return over


def run_group(command, folder, environment):
    """Runs a program and ends whatever it has left running. Its exit status, and its output with errors."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(FILE_SECONDS)
        except subprocess.TimeoutExpired:
            status = f"none after {FILE_SECONDS} s"
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        return status, output.read().decode(errors="replace")


# Comparing


def stock_passes(options):
    """The tests that stock passes in this run and that we want to, of the files asked for."""
    baseline, runs = read_baseline(options.baseline)
    if options.name not in runs:
        sys.exit(f"{options.baseline} has no run {options.name}: {', '.join(sorted(runs))}")
    different = options.on_purpose.read_text().splitlines() if options.on_purpose else []
    passes = [test for test, not_in in baseline.items() if options.name not in not_in and test not in different]
    return [test for test in passes if options.only in test.split("::")[0]]


def outcome_of(outcomes, test):
    return outcomes[test].outcome if test in outcomes else "missing"


RUNS, NOT_IN, ONLY_IN = "# runs: ", "  not in ", "  only in "


def read_baseline(path):
    """For each test the runs in which stock does not pass it, and all runs that were recorded."""
    baseline, runs = {}, set()
    for line in path.read_text().splitlines():
        if line.startswith(RUNS):
            runs = set(line[len(RUNS) :].split())
        elif ONLY_IN in line:
            test, _, only_in = line.partition(ONLY_IN)
            baseline[test] = runs - set(only_in.split())
        elif line and not line.startswith("#"):
            test, _, not_in = line.partition(NOT_IN)
            baseline[test] = set(not_in.split())
    return baseline, runs


def write_baseline(path, baseline, runs):
    lines = ["# What stock eventlet passes of its own tests. Written by `make eventlet-baseline`."]
    lines.append(RUNS + " ".join(sorted(runs)))
    for test, not_in in sorted(baseline.items()):
        only_in = runs - not_in
        fewer = (ONLY_IN, only_in) if len(only_in) < len(not_in) else (NOT_IN, not_in)
        lines.append(test + (fewer[0] + " ".join(sorted(fewer[1])) if not_in else ""))
    path.write_text("\n".join(lines) + "\n")


def record(options, outcomes):
    """Adds a run of stock. A test counts as passed if it ever was, so recording again evens out a busy machine."""
    baseline, runs = read_baseline(options.baseline) if options.baseline.exists() else ({}, set())
    passed = {test for test, outcome in outcomes.items() if outcome.outcome == PASSED}
    for test in passed - baseline.keys():
        baseline[test] = set(runs)
    for test, not_in in baseline.items():
        if test in passed:
            not_in.discard(options.name)
        elif options.name not in runs:
            not_in.add(options.name)
    write_baseline(options.baseline, baseline, runs | {options.name})
    print(f"{options.name}: stock passes {len(passed)} of {len(outcomes)}")


def report(options, outcomes, stock, missed, seconds):
    for test in missed:
        outcome = outcomes.get(test, Outcome("missing", "no such test, or its file was skipped as a whole"))
        print(f"--- {outcome.outcome}: {test}\n{shown(outcome.why)}", file=sys.stderr)
    if options.log:
        options.log.write_text(json.dumps({test: vars(outcome) for test, outcome in outcomes.items()}, indent=1) + "\n")
    counts = {kind: sum(o.outcome == kind for o in outcomes.values()) for kind in (PASSED, FAILED, SKIPPED)}
    beside = ""
    if stock is not None:
        more = sum(o.outcome == PASSED and test not in stock for test, o in outcomes.items())
        beside = f"; stock passes {len(stock)}, {len(missed)} of which did not pass here; {more} pass only here"
    summary = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    print(f"{options.name or options.folder}: {summary} in {seconds:.0f} s{beside}")
    if missed:
        print("  did not pass:")
        print("\n".join(f"    {test}" for test in missed))


def shown(why):
    """The end of a reason, without pytest's own frames."""
    lines = [line for line in why.splitlines() if not any(part in line for part in ("/_pytest/", "/pluggy/", "runpy>"))]
    return "\n".join(lines[-60:])


if __name__ == "__main__":
    main()
