"""Services over RabbitMQ, unmodified, on our eventlet, greenlet and amqp, and on stock's: the service's CPU time.

    compare.py OURS_PYTHON STOCK_PYTHON HOST:PORT RESULTS.json [PROGRAM...]

The two environments differ in nothing else. What a service is asked to do comes from a process of its own, on ours for
both; it asks for the same once before it is measured. A value is microseconds of the service's CPU, its own and the
system's, for one call, task or cast, and the median of the turns.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from turns import Failed, in_turns, keep, median, output_of, ratio, shown  # noqa: E402

TURNS = int(os.environ.get("TURNS", "5"))
TICK = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE = 120


def cpu_seconds(pid):
    """Of all OS threads of a process."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


class Services:
    """How a program is run on an interpreter: each method returns the microseconds of one operation."""

    def __init__(self, ours, address):
        self.ours = ours
        self.address = address

    def load(self, *arguments):
        output_of([self.ours, "-W", "ignore", "load.py", *map(str, arguments)], PATIENCE, cwd=HERE, env=self.env())

    def env(self):
        return {**os.environ, "BROKER": f"pyamqp://guest:guest@{self.address}/", "PYTHONWARNINGS": "ignore"}

    @contextlib.contextmanager
    def running(self, *command):
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, cwd=HERE, env=self.env(), stdout=output, stderr=output)
            try:
                yield process
            except Failed as failure:
                output.seek(0)
                raise Failed(f"{failure}\n{output.read()[-2000:].decode(errors='replace')}") from None
            finally:
                process.kill()
                process.wait()

    def measured(self, process, kind, count):
        self.load(kind, self.address, count // 5)
        before = cpu_seconds(process.pid)
        self.load(kind, self.address, count)
        return (cpu_seconds(process.pid) - before) / count * 1e6

    def nameko(self, python, count=3000):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
            settings.write(f"AMQP_URI: amqp://guest:guest@{self.address}/\nmax_workers: 200\n")
            settings.flush()
            command = os.path.join(os.path.dirname(python), "nameko")
            with self.running(command, "run", "--config", settings.name, "adder") as process:
                self.until_it_answers()
                return self.measured(process, "nameko", count)

    def until_it_answers(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.load("nameko", self.address, 200)
            except Failed:
                if time.monotonic() > end:
                    raise

    def celery(self, python, count=3000):
        worker = ["-m", "celery", "-A", "tasks", "worker", "-P", "eventlet", "-c", "100", "--loglevel", "WARNING"]
        with self.running(python, *worker) as process:
            return self.measured(process, "celery", count)

    def oslo(self, python, count=3000):
        topic = f"bench-{uuid.uuid4().hex}"
        self.load("oslo", self.address, count, topic)
        agent = os.path.join(os.path.dirname(HERE), "oslo_agent.py")
        url = f"rabbit://guest:guest@{self.address}/"
        _, used = output_of([python, "-W", "ignore", agent, url, topic, str(count)], PATIENCE).split()
        return float(used) / count * 1e6


#: Each with its floor and its aim.
PROGRAMS = {
    "nameko": ("a nameko service, 200 calls at once: a call", 0.5, 0.35),
    "celery": ("Celery `-P eventlet`, tasks that do nothing: a task", 0.6, 0.5),
    "oslo": ("oslo.messaging's `rabbit://` server, casts of an agent's size: a cast", 0.6, 0.45),
}


def main(ours, stock, address, results, *wanted):
    services = Services(ours, address)
    pythons = {"ours": ours, "stock": stock}
    raw = {}
    print("| the service's CPU, µs | ours | stock | ours is | floor, aim |\n|---|---|---|---|---|")
    for name, (title, floor, aim) in PROGRAMS.items():
        if wanted and name not in wanted:
            continue
        turns, problems = in_turns(("ours", "stock"), lambda side: getattr(services, name)(pythons[side]), TURNS)
        for side, problem in problems.items():
            print(f"{name} on {side} failed: {problem}", file=sys.stderr)
        found = ratio(turns["ours"], turns["stock"])
        if found is None:
            verdict = "not measured"
        else:
            verdict = "aim" if found <= aim else "floor" if found <= floor else "MISSES"
        figures = [shown(median(turns[side])) for side in pythons]
        print(f"| {title} | {' | '.join(figures)} | {shown(found)}x | {verdict}: {floor}x, {aim}x |", flush=True)
        raw[name] = {"unit": "microseconds of CPU", "turns": turns}
    keep(results, ours, figures=raw)


if __name__ == "__main__":
    main(*sys.argv[1:])
