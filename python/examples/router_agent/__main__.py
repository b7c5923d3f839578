"""Runs the router agent on a feed; see ``python -m router_agent --help``."""

import argparse
import json
import pathlib
import resource
import signal
import sys
import time

import eventlet
from eventlet import tpool
from eventlet.event import Event

from . import feed, progress
from .agent import Agent
from .device import Device
from .summary import Summary

SHIPPED = pathlib.Path(__file__).resolve().parents[3] / "examples" / "router-agent" / "routers.feed"
EPILOG = """
Ctrl-C stops it after the updates in work, with the summary. Exit status: 0 when the feed was worked through, 130 when
it was stopped, 1 when the summary cannot be written, 2 when the options or the feed cannot be used.
"""


def main():
    options = arguments()
    over = Event()
    # Asked for until the summary is out, so that a second Ctrl-C, or an early one, does not end the program without it.
    signal.signal(signal.SIGINT, lambda *_: send_once(over, False))
    try:
        summary = run(options, over)
    except OSError as error:
        sys.exit(complain(f"router-agent: {error}", 2))
    try:
        print(json.dumps(measured(summary)) if options.json else summary, flush=True)
    except OSError as error:
        sys.exit(complain(f"router-agent: cannot write the summary: {error}", 1))
    sys.exit(130 if summary.stopped else 0)


def arguments():
    description = "Works through router updates with a pool of green threads, each talking to a device over TCP."
    parser = argparse.ArgumentParser("router_agent", description=description, epilog=EPILOG)
    parser.add_argument("--feed", metavar="FILE", type=pathlib.Path, default=SHIPPED, help="the updates")
    parser.add_argument("--workers", metavar="N", type=at_least_one, default=8, help="work at a time; 8 by default")
    parser.add_argument("--routers", metavar="N", type=at_least_one, help="only the first N that the feed names")
    parser.add_argument("--json", action="store_true", help="figures instead of the summary")
    return parser.parse_args()


def at_least_one(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def complain(line, status):
    """Says a line to whoever reads it, and returns the exit status."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass
    return status


def send_once(event, value):
    if not event.ready():
        event.send(value)


def run(options, over):
    """Works through the feed; *over* gets True when that is done, and False from who stops it."""
    updates, bad_lines = read_feed(options)
    device = Device()
    agent = Agent(device.address, options.workers)
    working = eventlet.spawn(agent.process_routers)
    showing = eventlet.spawn(progress.show, agent, len(updates))

    def feed_it():
        take_in(agent, updates)
        agent.wait_until_done()
        send_once(over, True)

    feeding = eventlet.spawn(feed_it)
    whole = over.wait()
    feeding.kill()
    agent.stop()
    working.wait()
    showing.kill()
    progress.clear()
    took = time.monotonic() - agent.began
    device.stop()
    routers = len({update.router for _, update in updates})
    return Summary(agent.counts, bad_lines, routers, options.workers, took, stopped=not whole)


def read_feed(options):
    """The feed's updates with their lines; bad lines are named and counted."""
    # File I/O has no other way than to block, so an OS thread of the pool does it.
    text = tpool.execute(options.feed.read_bytes).decode(errors="replace")
    updates, bad_lines, routers = [], 0, set()
    for line, update in feed.parse(text):
        if isinstance(update, feed.BadLine):
            complain(f"{options.feed}:{line}: {update}; skipped", 2)
            bad_lines += 1
        elif update.router in routers or options.routers is None or len(routers) < options.routers:
            routers.add(update.router)
            updates.append((line, update))
    return updates, bad_lines


def take_in(agent, updates):
    """Hands the updates to the agent in bursts, as a busy server would."""
    for number, (line, update) in enumerate(updates):
        if number % 100 == 99:
            eventlet.sleep(0.06)
        agent.update(line, update)


def measured(summary):
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        **summary.figures(),
        "CPU seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "memory, MiB": round(usage.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
