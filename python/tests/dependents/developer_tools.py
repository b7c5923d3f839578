"""Tools that look into a program, each on one that runs green threads: coverage, memray, py-spy, loguru and, from
CPython 3.14 on, `pdb -p`. What each was seen to do is in docs/python.md.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from importlib import metadata

PROGRAM = """
import sys, time
import eventlet
eventlet.monkey_patch()

def allocate(kept):
    kept.append(bytearray(1 << 20))
    time.sleep(0.001)
    kept.append(bytearray(1 << 20))

def first(kept):
    for _ in range(5):
        allocate(kept)
    until = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < until:
        sum(range(1000))
        time.sleep(0)

def second(kept):
    for _ in range(5):
        allocate(kept)

kept = []
threads = [eventlet.spawn(first, kept), eventlet.spawn(second, kept)]
for each in threads:
    each.wait()
"""

WAITING = """
import eventlet
def step():
    eventlet.sleep(0.1)
print("waits", flush=True)
for _ in range(600):
    step()
"""


def run(*command, **options):
    environment = {**os.environ, **options.pop("env", {})}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, env=environment, **options
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def program_in(folder, text):
    path = folder / "program.py"
    path.write_text(text)
    return str(path)


def with_waiting(use, folder):
    """Calls `use` with the process number of a program whose hub waits."""
    command = [sys.executable, program_in(folder, WAITING)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "waits\n"
            return use(process.pid)
        finally:
            process.kill()


def coverage(folder):
    """Every line of green threads that switch counts."""
    program = program_in(folder, PROGRAM)
    python = (sys.executable, "-m", "coverage")
    run(*python, "run", "--concurrency=eventlet", program, "0.01", cwd=folder)
    run(*python, "json", "-q", f"--include={program}", cwd=folder)
    (file,) = json.loads((folder / "coverage.json").read_text())["files"].values()
    assert file["missing_lines"] == [], file["missing_lines"]


def memray(folder):
    """Memory counts for the green thread that asked for it."""
    result = folder / "memory.bin"
    program = program_in(folder, PROGRAM)
    run(sys.executable, "-m", "memray", "run", "-q", "-o", str(result), program, "0.01")
    tree = run(
        sys.executable, "-c", "import sys, memray\n"
        "for record in memray.FileReader(sys.argv[1]).get_high_watermark_allocation_records(merge_threads=True):\n"
        "    if record.size >= 1 << 20:\n"
        "        print(record.n_allocations, *(name for name, _, _ in record.stack_trace()))\n",
        str(result),
    )  # fmt: skip
    counts = {}
    for line in tree.splitlines():
        count, *stack = line.split()
        if stack[0] == "allocate":
            counts[" ".join(stack)] = counts.get(" ".join(stack), 0) + int(count)
    assert counts == {"allocate first main": 10, "allocate second main": 10}, counts


def py_spy(folder):
    """Samples show the function of the green thread that runs, down to its base; a dump shows where the hub waits."""
    result = folder / "samples"
    tool = os.path.join(os.path.dirname(sys.executable), "py-spy")
    program = program_in(folder, PROGRAM)
    run(tool, "record", "-f", "raw", "-o", str(result), "--", sys.executable, program, "1")
    stacks = result.read_text()
    assert "main (eventlet/greenthread.py" in stacks and ";first (program.py" in stacks, stacks
    printed = with_waiting(lambda pid: run(tool, "dump", "--pid", str(pid)), folder)
    assert "run (eventlet/hubs/hub.py" in printed, printed


def loguru(folder):
    """Its look at the caller's frame works in a function that was spawned directly."""
    text = (
        "import eventlet, sys\nfrom loguru import logger\nlogger.remove()\n"
        "logger.add(sys.stdout, format='{function} {name} {message}')\n"
        "eventlet.spawn(logger.info, 'spawned').wait()\neventlet.spawn_n(logger.info, 'too')\neventlet.sleep(0)\n"
    )
    printed = run(sys.executable, program_in(folder, text))
    assert printed == "main eventlet.greenthread spawned\nmain eventlet.greenthread too\n", printed


def pdb(folder):
    """`pdb -p` stops where a green thread calls a function next."""

    def attach(pid):
        command = [sys.executable, "-m", "pdb", "-p", str(pid)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as debugger:
            began = time.monotonic()
            try:
                printed, _ = debugger.communicate("where\ndetach\n", timeout=60)
            except subprocess.TimeoutExpired:
                debugger.kill()
                printed = debugger.communicate()[0] + f"\nno end after {time.monotonic() - began:.0f} s"
        return printed

    printed = with_waiting(attach, folder)
    assert "program.py(3)step()" in printed and "program.py(7)<module>()" in printed, printed


def main():
    tools = [coverage, memray, py_spy, loguru] + [pdb] * (sys.version_info >= (3, 14))
    for tool in tools:
        name = tool.__name__.replace("_", "-")
        try:
            version = metadata.version(name) if tool is not pdb else "of this CPython"
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            tool(pathlib.Path(folder))
        print(name, version, "works")


if __name__ == "__main__":
    main()
