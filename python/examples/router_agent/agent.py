"""The agent: takes updates in, keeps each router's in order, and works through them with a pool.

A router that has updates waiting has one place in the queue, at the priority of its most urgent update. A worker that
takes a router applies its updates one after the other, most urgent first, so no router is ever worked on twice at a
time; what comes meanwhile joins the line. An update that the device refuses does not hold up the router's others: it
comes back after a delay that doubles, up to TRIES tries. An update that repeats the last one still waiting is merged
with it.
"""

import bisect
import itertools
import time
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import eventlet
from eventlet.event import Event
from eventlet.queue import PriorityQueue

from .device import Connection
from .feed import Update

#: After how many tries an update is given up.
TRIES = 4

#: How long the first retry waits, in seconds; each later one twice as long as the one before.
RETRY_AFTER = 0.05

#: Comes before all routers in the queue.
STOP = (-1, 0, None)


@dataclass
class Job:
    """An update on its way; *line* is the feed's, *problem* is why its last try failed."""

    line: int
    update: Update
    arrived: float = field(default_factory=time.monotonic)
    problem: str = ""
    tries: int = 0


@dataclass
class Counts:
    """What has happened so far. *deepest*: the most that ever waited, and when; *slowest*: a router, its seconds."""

    received: int = 0
    applied: int = 0
    merged: int = 0
    retried: int = 0
    given_up: List[Job] = field(default_factory=list)
    waiting: int = 0
    deepest: Tuple[int, float] = (0, 0.0)
    slowest: Optional[Tuple[str, float]] = None

    @property
    def ended(self):
        return self.applied + self.merged + len(self.given_up)


class Router:
    def __init__(self):
        self.waiting = []  # of (priority, age, job), the most urgent and oldest first
        self.in_work = False


class Agent:
    """An agent with so many workers for the device at *address*."""

    def __init__(self, address, workers):
        self.address = address
        self.workers = workers
        self.queue = PriorityQueue()
        self.routers = {}
        self.counts = Counts()
        self.began = time.monotonic()
        self.ages = itertools.count()
        self.connections = []
        self.stopping = False
        self.all_ended = Event()

    def update(self, line, update):
        """Takes an update in. Does not wait."""
        self.counts.received += 1
        self.enqueue(Job(line, update))

    def enqueue(self, job):
        priority, name = job.update.priority, job.update.router
        router = self.routers.setdefault(name, Router())
        # Only the last one: with another change between the two, the router would end up with that one.
        place = bisect.bisect_left(router.waiting, (priority + 1,))
        if place and router.waiting[place - 1][0] == priority and router.waiting[place - 1][2].update == job.update:
            self.counts.merged += 1
            self.note_end()
            return
        self.counts.waiting += 1
        if self.counts.waiting > self.counts.deepest[0]:
            self.counts.deepest = (self.counts.waiting, time.monotonic() - self.began)
        age = next(self.ages)
        router.waiting.insert(place, (priority, age, job))
        if not router.in_work:
            # A router may have several places; a worker that finds no work at one goes on to the next.
            self.queue.put((priority, age, name))

    def process_routers(self):
        """The loop that hands routers to workers, until the agent is stopped."""
        pool = eventlet.GreenPool(size=self.workers)
        while True:
            _, _, name = self.queue.get()
            if name is None:
                break
            pool.spawn_n(self.process, name)
        pool.waitall()

    def process(self, name):
        """Applies a router's updates, most urgent first, unless somebody is at it."""
        router = self.routers[name]
        if router.in_work:
            return
        router.in_work = True
        try:
            while router.waiting and not self.stopping:
                _, _, job = router.waiting.pop(0)
                self.counts.waiting -= 1
                self.apply(job)
        finally:
            router.in_work = False

    def apply(self, job):
        job.tries += 1
        job.problem = self.ask_device(job)
        if job.problem is None:
            self.finish(job, applied=True)
        elif job.tries >= TRIES:
            self.finish(job, applied=False)
        else:
            self.counts.retried += 1
            eventlet.spawn_after(RETRY_AFTER * 2 ** (job.tries - 1), self.enqueue, job)

    def ask_device(self, job):
        """One try, on a connection that is kept for the next one if it held. Returns what went wrong, or None."""
        try:
            connection = self.connections.pop() if self.connections else Connection(self.address)
            refusal = connection.apply(job.line, job.update)
        except OSError as error:
            return f"the device: {error}"
        self.connections.append(connection)
        return refusal and f"the device says: {refusal}"

    def finish(self, job, applied):
        took = time.monotonic() - job.arrived
        if self.counts.slowest is None or took > self.counts.slowest[1]:
            self.counts.slowest = (job.update.router, took)
        if applied:
            self.counts.applied += 1
        else:
            self.counts.given_up.append(job)
        self.note_end()

    def note_end(self):
        if self.counts.ended == self.counts.received:
            self.all_ended.send()
            self.all_ended = Event()

    def wait_until_done(self):
        """Waits until every update that was taken in is applied, merged or given up."""
        while self.counts.ended < self.counts.received:
            self.all_ended.wait()

    def stop(self):
        """Lets the updates in work end, and no other begin."""
        self.stopping = True
        self.queue.put(STOP)
