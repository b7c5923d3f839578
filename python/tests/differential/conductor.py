"""Runs one program: `conductor.py native|green GRACE`, the program as JSON on its standard input.

A step is done by one of the program's threads. Before the next step the conductor waits until the step is over, or has
not ended for GRACE seconds and so waits for a later step. So the outcome does not depend on the schedule: after each
step a line of JSON says which operations ended and with what.
"""

import json
import os
import sys

MODE, GRACE = sys.argv[1], float(sys.argv[2])
if MODE == "green":
    import eventlet

    eventlet.monkey_patch()

import faulthandler  # noqa: E402
import queue  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402

import datagram_kinds  # noqa: E402, F401
import io_kinds  # noqa: E402, F401
import process_kinds  # noqa: E402, F401
import several_kinds  # noqa: E402, F401
import sync_kinds  # noqa: E402, F401
import thread_kinds  # noqa: E402, F401
import tls_kinds  # noqa: E402, F401
from kinds import KINDS, SHORT, described  # noqa: E402

#: An operation that does not wait, or only for a SHORT time, and takes so long is stuck.
STUCK = 4
#: Seconds after which the stacks go to the standard error and the process ends, if the program does not say it.
LIMIT = 14
FREE = object()


class Worker:
    """A thread that does one operation after the other."""

    def __init__(self):
        self.orders = queue.SimpleQueue()
        self.pending = None
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            step = self.orders.get()
            began = time.monotonic()
            try:
                result = described(step.method(*step.arguments))
            except Exception as error:
                result = described(error)
            if step.brief and time.monotonic() - began > 2:
                result = ["late", result]
            step.result = result
            self.pending = None


class Step:
    result = FREE

    def __init__(self, thing, name, operation, arguments):
        self.method = getattr(thing, operation)
        self.arguments = arguments
        self.thing = thing
        self.text = f"{name}.{operation}({', '.join(map(repr, arguments))})"
        line = self.method.line
        self.line = line and f"{name} {line.format(*arguments)}"
        self.brief = not line or thing.is_brief(operation, arguments)


def is_race(watch, taker):
    """Whether one takes what the other waits to see: when it comes, the other may be too late."""
    if watch.thing is not taker.thing or not (watch.line and taker.line):
        return False
    _, verb, *where = watch.line.split()
    _, takes, *taken = taker.line.split()
    if (verb, takes) in {("select", "read"), ("spin", "get")}:
        return True
    if verb != "watch":
        return False
    end, direction = where
    return takes in {"r": ("read", "accept"), "w": ("write",)}[direction] and taken[:1] in ([], [end])


class Conductor:
    def __init__(self, program):
        self.owned = program["owned"]
        self.races = program.get("races", False)
        self.things = {name: KINDS[kind](*arguments) for name, kind, *arguments in program["things"]}
        self.workers = [Worker() for _ in range(program["threads"])]
        self.waiting = []
        self.process = os.getpid()

    def run(self, steps):
        for worker, name, operation, *arguments in steps:
            step = Step(self.things[name], name, operation, arguments)
            chosen = self.free_worker(worker)
            if chosen is None or not self.may_begin(step):
                self.say([step.text, "skipped"])
                continue
            chosen.pending = step
            self.waiting.append(step)
            chosen.orders.put(step)
            self.settle(step)
            ended = [s for s in self.waiting if s.result is not FREE]
            self.waiting = [s for s in self.waiting if s.result is FREE]
            self.say([step.text, sorted(([s.text, s.result] for s in ended), key=repr)])
        self.say(["waiting", sorted(step.text for step in self.waiting)])
        self.say(["state", {name: described(thing.state()) for name, thing in self.things.items()}])

    def free_worker(self, number):
        """The named thread if it matters which; otherwise any that has nothing to do."""
        if self.owned:
            worker = self.workers[number]
            return worker if worker.pending is None else None
        return next((worker for worker in self.workers if worker.pending is None), None)

    def may_begin(self, step):
        """Whether the outcome is sure: nobody can say which of two that wait in one line is woken."""
        if step.method.owned and not self.owned:
            return False
        if step.method.alone and any(other.thing is step.thing for other in self.waiting):
            return False
        if not self.races and any(is_race(step, other) or is_race(other, step) for other in self.waiting):
            return False
        same_line = [other for other in self.waiting if step.line and other.line == step.line]
        return all(other.text == step.text and not self.owned for other in same_line)

    def settle(self, step):
        """Waits for the step's end if it is a sure one, and until nothing has ended for GRACE seconds."""
        began = changed = time.monotonic()
        ended = 0
        while True:
            now = time.monotonic()
            count = sum(s.result is not FREE for s in self.waiting)
            if count != ended:
                ended, changed = count, now
            if ended == len(self.waiting):
                return
            brief = any(s.brief and s.result is FREE for s in self.waiting)
            if now - changed > GRACE and (not brief or now - began > STUCK):
                return
            time.sleep(0.001)

    def say(self, line):
        if os.getpid() != self.process:
            line = ["said by a child", line]
        os.write(OUTPUT, json.dumps(line).encode() + b"\n")


OUTPUT = os.dup(1)


def main():
    warnings.simplefilter("ignore")
    program = json.load(sys.stdin)
    faulthandler.dump_traceback_later(program.get("limit", LIMIT), exit=True)
    try:
        conductor = Conductor(program)
        conductor.run(program["steps"])
    except BaseException as error:
        os.write(OUTPUT, json.dumps(["the conductor failed", repr(error)]).encode() + b"\n")
        raise
    os.write(OUTPUT, b'["over"]\n')
    os._exit(0)


main()
