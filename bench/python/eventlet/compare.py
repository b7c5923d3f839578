"""Our eventlet beside stock eventlet, gevent, asyncio and uvloop.

    compare.py OURS_PYTHON STOCK_PYTHON LOAD RESULTS.json [FIGURE...]

OURS_PYTHON has our eventlet; STOCK_PYTHON is the same CPython with stock eventlet, stock greenlet, gevent and uvloop;
LOAD is the client, compiled. A value is the median of the turns; the contenders take them as ../turns.py says.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from turns import Failed, in_turns, keep, median, output_of, ratio, shown  # noqa: E402

TURNS = int(os.environ.get("TURNS", "5"))
CONNECTIONS = 64
IDLE = 9_900 if os.sysconf("SC_OPEN_MAX") < 10_200 else 10_000
SERVER_SECONDS = "1.5"
CONTENDERS = ("ours", "stock", "gevent", "asyncio", "uvloop")


class Figure:
    """One row. *bounds* are (what, contender, floor, aim) on the ratio of ours to a contender."""

    def __init__(self, title, unit, measure, bounds, contenders=CONTENDERS, turns=TURNS):
        self.title = title
        self.unit = unit
        self.measure = measure
        self.bounds = bounds
        self.contenders = contenders
        self.turns = turns

    def verdict(self, ratio, floor, aim):
        return "aim" if ratio <= aim else "floor" if ratio <= floor else "MISSES"


class Programs:
    """How a contender's programs are run."""

    def __init__(self, ours, stock, load):
        self.ours = ours
        self.stock = stock
        self.load = load

    def command(self, program, contender, *arguments):
        python = self.ours if contender == "ours" else self.stock
        name = "eventlet" if contender in ("ours", "stock") else contender
        return [python, os.path.join(HERE, program), name, *arguments]

    def micro(self, figure):
        return lambda contender: float(output_of(self.command("micro.py", contender, figure)))

    def answer(self, kind):
        """The server's processor time for one: it counts, too, where the client cannot ask for as many as it could
        give."""

        def measure(contender):
            with self.server(contender, kind) as (port, process):
                before = processor_seconds(process.pid)
                load = json.loads(output_of([self.load, port, str(CONNECTIONS), SERVER_SECONDS, "1"]))
                used = processor_seconds(process.pid) - before
            return used / load["answers"] * 1e6

        return measure

    def idle_memory(self, kind):
        def measure(contender):
            with self.server(contender, kind) as (port, process):
                before = resident(process.pid)
                holding = subprocess.Popen(
                    [self.load, port, str(IDLE), "hold", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                if holding.stdout.readline() != b"ready\n":
                    raise Failed("the connections were not answered")
                after = resident(process.pid)
                holding.communicate()
            return (after - before) / IDLE / 1024

        return measure

    def epoll_ctls(self):
        """The calls that a round trip takes once it runs: more round trips must bring no more of them."""

        def count(contender, trips):
            with tempfile.NamedTemporaryFile("r") as trace:
                command = ["strace", "-f", "-e", "trace=epoll_ctl", "-o", trace.name]
                output_of(command + self.command("micro.py", contender, "round_trip", str(trips)))
                return sum("epoll_ctl(" in line for line in trace)

        return lambda contender: (count(contender, 1500) - count(contender, 500)) / 1000

    @contextlib.contextmanager
    def server(self, contender, kind):
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self.command("servers.py", contender, kind),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
            port = process.stdout.readline().decode().strip()
            try:
                if not port:
                    raise Failed("the server did not start")
                yield port, process
            except Failed as failure:
                errors.seek(0)
                raise Failed(f"{failure}\n{errors.read()[-2000:].decode(errors='replace')}") from None
            finally:
                process.stdin.close()
                process.kill()
                process.wait()


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))


def figures(programs):
    micro, green = programs.micro, ("ours", "stock", "gevent")
    faster_than_uvloop = ("uvloop", 1.0, 1.0)
    half = [("stock", 0.5, 0.5)]
    return {
        "sleep": Figure(
            "`sleep(0)` among 10 green threads", "ns", micro("sleep"), [("stock", 0.15, 0.08), faster_than_uvloop]
        ),
        "spawn": Figure("spawn + wait", "ns", micro("spawn"), [("stock", 0.1, 0.05), faster_than_uvloop]),
        "pool": Figure("`GreenPool(8).spawn_n`", "ns", micro("pool"), [("stock", 0.12, 0.06)]),
        "hop": Figure("`LightQueue(1)` hop", "ns", micro("hop"), [("stock", 0.2, 0.1)]),
        "round_trip": Figure("socketpair round trip", "ns", micro("round_trip"), [("stock", 0.35, 0.2)]),
        "epoll_ctl": Figure(
            "`epoll_ctl` in one round trip", "calls", programs.epoll_ctls(), [("stock", 0.0, 0.0)], green, turns=1
        ),
        "raw": Figure(
            f"raw socket loop, {CONNECTIONS} connections, CPU of an answer", "µs", programs.answer("raw"),
            [("stock", 0.5, 0.5), ("uvloop", 1.1, 0.9)],
        ),
        "wsgi": Figure(
            "`wsgi.server` hello, CPU of an answer", "µs", programs.answer("wsgi"), [("stock", 0.2, 0.125)], green
        ),
        "idle_raw": Figure(
            f"{IDLE:,} idle connections of the raw loop, each", "KiB", programs.idle_memory("raw"), half, turns=1
        ),
        "idle_wsgi": Figure(
            f"{IDLE:,} idle connections of `wsgi.server`, each", "KiB", programs.idle_memory("wsgi"), half, green,
            turns=1,
        ),
    }  # fmt: skip


def row(figure, turns):
    cells = [f"{figure.title}, {figure.unit}"]
    cells += [shown(median(turns.get(contender, []))) for contender in CONTENDERS]
    verdicts, missed = [], False
    for contender, floor, aim in figure.bounds:
        found = ratio(turns["ours"], turns[contender])
        verdict = "not measured" if found is None else figure.verdict(found, floor, aim)
        missed |= verdict in ("MISSES", "not measured")
        verdicts.append(f"{shown(found)}x {contender} ({verdict}: {floor:g}, {aim:g})")
    return "| " + " | ".join(cells + [", ".join(verdicts)]) + " |", missed


def main(ours, stock, load, results, *wanted):
    programs = Programs(ours, stock, load)
    version = output_of([ours, "-V"]).strip()
    print(f"{version}: Greenloom's eventlet beside stock eventlet on stock greenlet, gevent, asyncio and uvloop")
    print("| work | ours | stock | gevent | asyncio | uvloop | ours is (verdict: floor, aim) |")
    print("|---|---|---|---|---|---|---|")
    raw, all_missed = {}, []
    for name, figure in figures(programs).items():
        if wanted and name not in wanted:
            continue
        turns, problems = in_turns(figure.contenders, figure.measure, figure.turns)
        line, missed = row(figure, turns)
        print(line, flush=True)
        for contender, problem in problems.items():
            print(f"    {contender} failed: {problem.strip().splitlines()[-1:]}", file=sys.stderr)
        raw[name] = {"unit": figure.unit, "turns": turns}
        all_missed += [name] if missed else []
    keep(results, ours, **{"idle connections": IDLE}, figures=raw)
    print("floors missed: " + (", ".join(all_missed) or "none"))


if __name__ == "__main__":
    main(*sys.argv[1:])
