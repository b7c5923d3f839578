"""wsgi.server's hello world over keep-alive connections, side by side:

    wsgi_hello.py [--connections 64] [--seconds 3] [--rounds 3] [--quiet] [--json FILE] NAME=PYTHON ...

PYTHON is an interpreter of an environment with eventlet; the last one is what the others are compared with. The server
has one core to itself and the load another one. Besides responses a second, each round reads how much processor time
the server took for one: that figure survives a busy machine. The median of the rounds is shown. ``--quiet`` turns the
access log off.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

from wsgi_load import load

SERVER = pathlib.Path(__file__).with_name("wsgi_hello_server.py")
TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid):
    fields = pathlib.Path("/proc/{}/stat".format(pid)).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(python, options):
    """Responses a second, and microseconds of the server's processor time for one."""
    cores = sorted(os.sched_getaffinity(0))
    command = [python, "-W", "ignore", SERVER, *(["quiet"] if options.quiet else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            os.sched_setaffinity(server.pid, cores[:1])
            os.sched_setaffinity(0, cores[-1:])
            port = int(server.stdout.readline())
            load("127.0.0.1", port, options.connections, 0.5)
            before = processor_seconds(server.pid)
            done, seconds = load("127.0.0.1", port, options.connections, options.seconds)
            return {"rate": done / seconds, "microseconds": (processor_seconds(server.pid) - before) / done * 1e6}
        finally:
            os.sched_setaffinity(0, cores)
            server.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("environments", nargs="+", metavar="NAME=PYTHON")
    options = parser.parse_args()
    environments = dict(environment.split("=", 1) for environment in options.environments)
    rounds = {name: [] for name in environments}
    for _ in range(options.rounds):
        for name, python in environments.items():
            rounds[name].append(measure(python, options))
    medians = {
        name: {figure: statistics.median(one[figure] for one in results) for figure in results[0]}
        for name, results in rounds.items()
    }
    base = medians[list(environments)[-1]]
    print("{:<12} {:>12} {:>10} {:>14} {:>10}".format("", "responses/s", "ratio", "processor us", "ratio"))
    for name, figures in medians.items():
        print("{:<12} {:>12.0f} {:>9.1f}x {:>14.1f} {:>9.1f}x".format(
            name, figures["rate"], figures["rate"] / base["rate"], figures["microseconds"],
            base["microseconds"] / figures["microseconds"]))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rounds, indent=1) + "\n")


if __name__ == "__main__":
    main()
