"""Runs modules of CPython's `test` package under `eventlet.monkey_patch()`, and compares with the same tests unpatched.

    cpython_tests.py run --python PYTHON --results FOLDER [--patch] [--jobs N] [--only TEXT] [--stacks] [MODULE...]
    cpython_tests.py check --python PYTHON --results FOLDER [--jobs N] [--quick] [MODULE...]
    cpython_tests.py table --name 3.13 UNPATCHED STOCK OURS

`run` writes the outcome of each test to FOLDER, a file a module. `check` runs patched, and what did not pass, unpatched
too: it fails if a test passes only unpatched and is not in python/tests/cpython/expected.txt. `table` compares three
folders: it prints Markdown, and writes python/tests/cpython/figures-NAME.json. Without names of modules all in
python/tests/cpython/modules.txt are run, or with --quick those that are marked so there. --only runs the tests whose
name has that text; --stacks shows where each greenlet of a hung test stands.

Each module runs in a process of its own. A test without progress for HANG_SECONDS is hung: its process is killed, and
the rest of the module goes on in another one, as after a crash.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent / "tests" / "cpython"
HANG_SECONDS = float(os.environ.get("HANG_SECONDS", "12"))
#: Imports of a test module and what it imports, on a busy machine.
IMPORT_SECONDS = 60
#: Marks all processes that a module starts, wherever they go, so that none outlives it.
MARK = "GREENLOOM_CPYTHON_TEST"
PASSED, FAILED, SKIPPED, HUNG, CRASHED, NOT_RUN = "passed", "failed", "skipped", "hung", "crashed", "not run"
STUCK = (HUNG, CRASHED, "fixture_fails")


# Running


class Module:
    """The outcomes of a module's tests, in their order, and what went wrong outside of any test."""

    def __init__(self, name):
        self.name = name
        self.tests = {}
        self.left_out = set()
        self.outside = []
        self.seconds = 0.0

    def passed(self):
        return {test for test, what in self.tests.items() if what["outcome"] == PASSED}

    def count(self, *outcomes):
        return sum(what["outcome"] in outcomes for what in self.tests.values())

    def as_json(self):
        return {"module": self.name, "seconds": round(self.seconds, 1), "outside": self.outside, "tests": self.tests}


def run_module(options, name, patch, left_out=()):
    """Runs a module to its end, in as many processes as that takes; but not where one gets no further than the last."""
    module = Module(name)
    module.left_out = set(left_out)
    began = time.monotonic()
    while True:
        done = len(module.left_out)
        over = run_process(options, module, patch)
        if over or len(module.left_out) == done:
            break
    module.seconds = time.monotonic() - began
    for test, what in module.tests.items():
        if what["outcome"] is None:
            what.update(outcome=NOT_RUN, why="a fixture of its class or module failed or skipped")
    return module


def run_process(options, module, patch):
    """Runs what is left of a module; whether it came to its end. Otherwise one test or fixture more is done with."""
    token = f"{os.getpid()}-{module.name}-{time.monotonic_ns()}"
    # A short name: tests make Unix sockets below it.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cpy", dir="/tmp"))
    notes, done, stacks, cwd = folder / "notes", folder / "done", folder / "stacks", folder / "d"
    notes.touch()
    cwd.mkdir()
    done.write_text("\n".join(module.left_out))
    command = [options.python, str(HERE / "runner.py"), module.name, str(notes), "--done", str(done)]
    command += ["--patch"] * patch + ["--only", options.only] + ["--stacks", str(stacks)] * options.stacks
    environment = {**os.environ, MARK: token, "TMPDIR": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"}
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        state = Watch(module, notes, process).until_end(lambda: stacks.touch() if options.stacks else None)
    finally:
        kill_marked(token)
        process.wait()
    text = (folder / "output").read_bytes()[-20_000:].decode(errors="replace")
    shutil.rmtree(folder, ignore_errors=True)
    return state.settle(process.returncode, text)


class Watch:
    """Reads the notes of a running process, and ends it when it makes no progress."""

    def __init__(self, module, notes, process):
        self.module = module
        self.notes = open(notes)
        self.process = process
        self.running = self.fixture = None
        self.listed = self.over = self.hung = False
        self.begun_line = ""

    def until_end(self, before_kill):
        progress = time.monotonic()
        while True:
            ended = self.process.poll() is not None
            if self._read():
                progress = time.monotonic()
            if ended:
                self._read()
                self.notes.close()
                return self
            limit = HANG_SECONDS if self.listed else IMPORT_SECONDS
            if not self.hung and time.monotonic() - progress > limit:
                self.hung = True
                before_kill()
                time.sleep(0.5)
                self._end()
            time.sleep(0.05)

    def _end(self):
        # faulthandler prints the stacks of the OS threads; a process that defers signals needs the second one.
        for number in (signal.SIGABRT, signal.SIGKILL):
            self.process.send_signal(number)
            try:
                self.process.wait(2)
                return
            except subprocess.TimeoutExpired:
                pass

    def _read(self):
        *lines, self.begun_line = (self.begun_line + self.notes.read()).split("\n")
        for line in lines:
            self._take(json.loads(line))
        return bool(lines)

    def _take(self, event):
        module = self.module
        if "tests" in event:
            for test in event["tests"]:
                if test not in module.left_out:
                    module.tests.setdefault(test, {"outcome": None, "why": ""})
            self.listed = True
        elif "begins" in event:
            self.running, self.fixture = event["begins"], None
        elif "ends" in event:
            self._done(event["ends"], event["outcome"], event["why"], event["seconds"])
            self.running = None
        elif "fixture" in event:
            self.running, self.fixture = None, event
        elif "over" in event:
            self.over, self.running, self.fixture = True, None, None
        elif "alive" not in event:
            kind = "fixture_fails" if "fixture_fails" in event else "fixture_skips"
            noted = {"outcome": kind, "where": event[kind], "why": event["why"]}
            if noted not in module.outside:  # it is called again in the process after this one
                module.outside.append(noted)

    def _done(self, test, outcome, why, seconds=None):
        self.module.tests[test] = {"outcome": outcome, "why": why[-6000:], "seconds": seconds}
        self.module.left_out.add(test)

    def settle(self, status, text):
        """After the end of the process. Whether the module is through."""
        if self.over and not self.hung and status == 0:
            return True
        outcome, why = (HUNG if self.hung else CRASHED), f"the process ended with status {status}:\n{text}"
        if self.running is not None:
            self._done(self.running, outcome, why)
            return False
        where = "exit" if self.over else "between tests" if self.listed else "import"
        if self.fixture:
            where = f"{self.fixture['fixture']} of {self.fixture['of']}"
        self.module.outside.append({"outcome": outcome, "where": where, "why": why[-6000:]})
        if self.fixture and self.fixture["fixture"].startswith("setUp"):
            of = self.fixture["of"] + "."
            for test, what in self.module.tests.items():
                if what["outcome"] is None and test.startswith(of):
                    self._done(test, outcome, f"in {where}")
        return self.over


def kill_marked(token):
    """Kills every process whose mark in the environment begins so: daemons and children of children, too."""
    mark = f"{MARK}={token}".encode()
    for _ in range(20):
        pids = map(int, filter(str.isdigit, os.listdir("/proc")))
        found = [pid for pid in pids if any(each.startswith(mark) for each in environment_of(pid))]
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not found:
            return
        time.sleep(0.02)


def end_by_signal(number, frame):
    kill_marked(f"{os.getpid()}-")
    os._exit(128 + number)


def environment_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ()


# What to run, and what is known


def modules_of(options):
    """Names of the modules asked for that this interpreter has; a name that ends in .* stands for a whole package."""
    names = options.module
    if not names:
        lines = [line.split() for line in (HERE / "modules.txt").read_text().splitlines()]
        names = [words[0] for words in lines if words and words[0] != "#" and ("quick" in words or not options.quick)]
    folder = pathlib.Path(ask(options, "import os, test; print(os.path.dirname(test.__file__))"))
    found = []
    for name in names:
        path = folder / name.removesuffix(".*").replace(".", "/")
        if name.endswith(".*"):
            found += sorted(f"{name[:-2]}.{file.stem}" for file in path.glob("test_*.py"))
        elif path.with_suffix(".py").exists() or path.is_dir():
            found.append(name)
    if not found:
        sys.exit(f"{options.python} has none of these modules in its `test` package: {' '.join(names)}")
    return list(dict.fromkeys(found))


class Known:
    """The tests that are known not to pass on this CPython, from expected.txt.

    There, a reason comes before each indented list of them; `CLASS.*` is all of a class, and a test may be followed by
    the versions of CPython that it is about. `MODULE.(exit)` and the like is what is outside of any test.
    """

    def __init__(self, options):
        version = ask(options, "import sys; print('%d.%d' % sys.version_info[:2])")
        self.names = set()
        for line in (HERE / "expected.txt").read_text().splitlines():
            if line.startswith("    "):
                # A name may have spaces: a fixture's is that of its class, too.
                test, _, versions = line.strip().partition("  ")
                versions = versions.split()
                if not versions or version in versions:
                    self.names.add(test)

    def __contains__(self, test):
        return test in self.names or test.rpartition(".")[0] + ".*" in self.names

    def __iter__(self):
        return iter(self.names)


def ask(options, code):
    return subprocess.check_output([options.python, "-c", code], text=True).strip()


def in_parallel(options, function, names):
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(function, names))


# The three commands


def run(options):
    options.results.mkdir(parents=True, exist_ok=True)

    def one(name):
        module = run_module(options, name, options.patch)
        (options.results / f"{name}.json").write_text(json.dumps(module.as_json(), indent=1) + "\n")
        tell(module)

    in_parallel(options, one, modules_of(options))


def tell(module):
    kinds = (PASSED, FAILED, HUNG, CRASHED, SKIPPED, NOT_RUN)
    counts = ", ".join(f"{module.count(kind)} {kind}" for kind in kinds if module.count(kind))
    told = STUCK if module.tests else (*STUCK, "fixture_skips")
    outside = "".join(f"; {each['outcome']}: {each['where']}" for each in module.outside if each["outcome"] in told)
    print(f"{module.name}: {counts or 'nothing to run'} in {module.seconds:.0f} s{outside}", flush=True)


def check(options):
    known = Known(options)
    options.results.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    outcomes = in_parallel(options, lambda name: check_module(options, known, name), modules_of(options))
    lost = {test: what for _, of_module in outcomes for test, what in of_module.items()}
    for test, what in sorted(lost.items()):
        print(f"--- {what['outcome']}: {test}\n{what['why']}", file=sys.stderr)
    passed = sum(patched.count(PASSED) for patched, _ in outcomes)
    print(f"{passed} passed, {len(lost)} lost in {time.monotonic() - began:.0f} s")
    better = [test for patched, _ in outcomes for test in patched.passed() if test in known]
    report("listed in expected.txt, but passed", better)
    report("passed unpatched only", lost)
    sys.exit(1 if lost else 0)


def check_module(options, known, name):
    """Runs a module patched. Returns that, and what passes unpatched only."""
    # A hang takes its time, so the selection does without those that are known.
    patched = run_module(options, name, True, known if options.quick else ())
    # What is neither passed nor known: does it pass unpatched? If not, it says nothing of ours.
    unpatched = run_module(options, name, False, patched.passed() | set(known))
    (options.results / f"{name}.json").write_text(json.dumps(patched.as_json(), indent=1) + "\n")
    tell(patched)
    lost = {f"{name}.({each['where']})": each for each in patched.outside if each["outcome"] in STUCK}
    for each in unpatched.outside:
        lost.pop(f"{name}.({each['where']})", None)
    for test in unpatched.passed():
        lost[test] = patched.tests.get(test, {"outcome": NOT_RUN, "why": ""})
    return patched, {test: what for test, what in lost.items() if test not in known}


def report(title, lines):
    if lines:
        print(f"  {title}:\n" + "\n".join(f"    {line}" for line in sorted(lines)))


def table(options):
    """Of the tests that pass unpatched: how many pass under stock eventlet's patches, and under ours."""
    unpatched, *others = (results_in(folder) for folder in options.folders)
    rows = {}
    for name in sorted(unpatched):
        passes = [test for test, what in unpatched[name].items() if what["outcome"] == PASSED]
        row = rows[name] = {"unpatched": len(passes)}
        for kind, results in zip(("stock", "ours"), others):
            if name in results:
                outcomes = {test: results[name].get(test, {"outcome": NOT_RUN})["outcome"] for test in passes}
                row[kind] = list(outcomes.values()).count(PASSED)
                row[f"{kind} does not pass"] = {test: how for test, how in outcomes.items() if how != PASSED}
    figures = {"python": options.name, "modules": {name: row for name, row in rows.items() if row["unpatched"]}}
    (HERE / f"figures-{options.name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("| module | unpatched | stock | ours |\n|---|---|---|---|")
    for name, row in figures["modules"].items():
        print(f"| {name} | {row['unpatched']} | {share([row], 'stock')} | {share([row], 'ours')} |")
    rows = figures["modules"].values()
    print(f"| all | {sum(row['unpatched'] for row in rows)} | {share(rows, 'stock')} | {share(rows, 'ours')} |")


def results_in(folder):
    return {path.stem: json.loads(path.read_text())["tests"] for path in folder.glob("*.json")}


def share(rows, kind):
    """How many pass, of the modules for which that is known, and what part of those that pass unpatched they are."""
    rows = [row for row in rows if kind in row]
    passed, unpatched = sum(row[kind] for row in rows), sum(row["unpatched"] for row in rows)
    if not rows:
        return ""
    return str(passed) if passed == unpatched else f"{passed} of {unpatched}, {100 * passed / unpatched:.1f} %"


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__.strip())
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "check"):
        command = commands.add_parser(name)
        command.add_argument("--python", type=os.path.abspath, required=True)
        command.add_argument("--results", type=pathlib.Path, required=True)
        command.add_argument("--patch", action="store_true")
        command.add_argument("--jobs", type=int, default=1)
        command.add_argument("--quick", action="store_true")
        command.add_argument("--stacks", action="store_true")
        command.add_argument("--only", default="")
        command.add_argument("module", nargs="*")
    command = commands.add_parser("table")
    command.add_argument("--name", required=True)
    command.add_argument("folders", type=pathlib.Path, nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    signal.signal(signal.SIGTERM, end_by_signal)
    signal.signal(signal.SIGINT, end_by_signal)
    {"run": run, "check": check, "table": table}[options.command](options)
