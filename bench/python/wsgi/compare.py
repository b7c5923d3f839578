"""Our WSGI server beside stock eventlet's, bjoern and granian.

    compare.py OURS_PYTHON STOCK_PYTHON LOAD RESULTS.json [FIGURE...]

OURS_PYTHON has our eventlet, STOCK_PYTHON stock's, bjoern and granian; both have Flask and Django. LOAD is the client,
compiled. A server has one core and the client another one. A value is requests a second; the contenders take turns as
../turns.py says, and the processor time of a server for one request is kept beside it: that survives a busy machine.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from turns import Failed, in_turns, keep, median, output_of, ratio, shown  # noqa: E402

TURNS = int(os.environ.get("TURNS", "5"))
SECONDS = os.environ.get("SECONDS", "1.5")
CONNECTIONS = "64"
CONTENDERS = ("ours", "ours, log on", "stock", "bjoern", "granian")
PLAIN = ("ours", "stock", "bjoern", "granian")
TICK = os.sysconf("SC_CLK_TCK")

#: By figure: what is served and asked, by whom, and what ours is held to: (what, beside whom, floor, aim).
FIGURES = {
    "hello": ("hello", "0", PLAIN, [("ours", "bjoern", 0.95, 1.1), ("ours", "granian", 1.4, 1.6)]),
    "log": ("hello", "0", ("ours", "ours, log on"), [("ours, log on", "ours", 0.9, 0.95)]),
    "post": ("post", "16384", PLAIN, [("ours", "granian", 1.0, 1.3)]),
    "chunked": ("post", "chunked:16384", ("ours", "stock", "granian"), [("ours", "granian", 1.0, 1.3)]),
    "small": ("1KiB", "0", PLAIN, [("ours", "granian", 1.0, 1.3)]),
    "large": ("64KiB", "0", PLAIN, [("ours", "granian", 1.0, 1.3)]),
    "huge": ("1MiB", "0", PLAIN, [("ours", "granian", 1.0, 1.3)]),
    "file": ("file", "0", PLAIN, [("ours", "granian", 1.0, 1.3)]),
    "flask": ("flask", "0", PLAIN, [("ours", "granian", 1.0, 1.0)]),
    "django": ("django", "0", PLAIN, [("ours", "granian", 1.0, 1.0)]),
    "websocket": ("websocket", "websocket", ("ours", "stock"), [("ours", "stock", 2.0, 3.0)]),
}
TITLES = {
    "hello": "hello", "log": "hello, access log", "post": "POST of 16 KiB", "chunked": "POST of 16 KiB in chunks",
    "small": "answer of 1 KiB", "large": "answer of 64 KiB", "huge": "answer of 1 MiB", "file": "1 MiB of a file",
    "flask": "Flask hello", "django": "Django hello", "websocket": "websocket echo",
}


def processor_seconds(session):
    """What all processes of a session have used."""
    used = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
            if int(fields[3]) == session:
                used += int(fields[11]) + int(fields[12])
    return used / TICK


def wait_for(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise Failed("nobody listens")


def measure(pythons, load, kind, asked, contender):
    """Requests a second, and microseconds of the server's processor time for one."""
    server = "eventlet" if contender in ("ours", "ours, log on", "stock") else contender
    python = pythons["ours" if contender.startswith("ours") else "stock"]
    env = {**os.environ, "BENCH_KIND": "logged" if contender == "ours, log on" else kind}
    command = [python, os.path.join(HERE, "servers.py"), server]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, cwd=HERE,
        start_new_session=True)
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise Failed("the server did not start")
        wait_for(int(port))
        output_of([load, port, CONNECTIONS, "0.3", "1", asked])
        before = processor_seconds(process.pid)
        answer = json.loads(output_of([load, port, CONNECTIONS, SECONDS, "1", asked]))
        used = processor_seconds(process.pid) - before
        return {**answer, "microseconds": used / answer["answers"] * 1e6}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def of(turns, contender, what):
    return [turn and turn[what] for turn in turns.get(contender, [])]


def row(name, bounds, turns):
    cells = [TITLES[name]]
    for contender in CONTENDERS:
        rate, cost = (median(of(turns, contender, what)) for what in ("per_second", "microseconds"))
        cells.append("-" if rate is None else f"{shown(rate)} ({cost:.1f})")
    verdicts, missed = [], False
    for mine, other, floor, aim in bounds:
        found, cost = (ratio(of(turns, mine, what), of(turns, other, what)) for what in ("per_second", "microseconds"))
        if found is None:
            verdicts.append(f"{other}: not measured")
            continue
        verdict = "aim" if found >= aim else "floor" if found >= floor else "MISSES"
        missed |= verdict == "MISSES"
        verdicts.append(f"{found:.2f}x {other} ({verdict}: {floor:g}, {aim:g}; CPU {cost:.2f}x)")
    return "| " + " | ".join(cells + [", ".join(verdicts)]) + " |", missed


def main(ours, stock, load, results, *wanted):
    # Servers run in this folder, from which granian imports the application.
    pythons = {"ours": os.path.abspath(ours), "stock": os.path.abspath(stock)}
    print(f"{output_of([ours, '-V']).strip()}: requests a second, and microseconds of CPU for one")
    print("| work | ours | log on | stock eventlet | bjoern | granian | ours is (verdict: floor, aim) |")
    print("|---|---|---|---|---|---|---|")
    raw, all_missed = {}, []
    for name, (kind, asked, contenders, bounds) in FIGURES.items():
        if wanted and name not in wanted:
            continue
        turns, problems = in_turns(
            contenders, lambda contender: measure(pythons, load, kind, asked, contender), TURNS)
        line, missed = row(name, bounds, turns)
        print(line, flush=True)
        for contender, problem in problems.items():
            print(f"    {contender} failed: {problem.strip().splitlines()[-1:]}", file=sys.stderr)
        raw[name] = turns
        all_missed += [name] if missed else []
    keep(results, ours, figures=raw)
    print("floors missed: " + (", ".join(all_missed) or "none"))


if __name__ == "__main__":
    main(*sys.argv[1:])
