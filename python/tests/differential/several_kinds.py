"""One wait for several files, which may change while it waits; and timers."""

import os
import selectors
import threading
import time

from kinds import LONG, NAN, SHORT, Thing, kind, operation

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
PIPES = (0, 1, 2)


@kind("selector")
class Selector(Thing):
    """A selector object, and three pipes that it may watch."""

    made_with = (("DefaultSelector", "PollSelector", "EpollSelector", "SelectSelector"),)

    def __init__(self, name):
        self.selector = getattr(selectors, name)()
        self.pipes = [list(os.pipe()) for _ in PIPES]
        for pipe in PIPES[:2]:
            self.selector.register(self.pipes[pipe][0], READ, pipe)

    @operation((None, LONG, SHORT, 0, -1), line="select", weight=6)
    def select(self, timeout):
        return sorted((key.data, events) for key, events in self.selector.select(timeout))

    @operation((NAN, "x"), line="select")
    def select_badly(self, timeout):
        return len(self.selector.select(timeout))

    # Whether a wait that has begun takes notice is up to the selector; only epoll's does.
    @operation(PIPES, alone=True, weight=3)
    def register(self, pipe):
        return self.selector.register(self.pipes[pipe][0], READ, pipe).events

    @operation(PIPES, alone=True)
    def register_writable(self, pipe):
        return self.selector.register(self.pipes[pipe][1], WRITE, pipe + 10).data

    @operation(PIPES, (READ, WRITE, READ | WRITE), alone=True)
    def modify(self, pipe, events):
        return self.selector.modify(self.pipes[pipe][0], events, pipe).events

    @operation(PIPES, alone=True)
    def unregister(self, pipe):
        return self.selector.unregister(self.pipes[pipe][0]).data

    @operation(alone=True)
    def close(self):
        return self.selector.close()

    @operation(PIPES, weight=4)
    def write(self, pipe):
        return os.write(self.pipes[pipe][1], self.payload(3))

    @operation(PIPES, line="read {0}", weight=2)
    def read(self, pipe):
        return os.read(self.pipes[pipe][0], 50)

    @operation(PIPES, alone=True)
    def hang_up(self, pipe):
        fd, self.pipes[pipe][1] = self.pipes[pipe][1], -1
        return os.close(fd)

    @operation()
    def look(self):
        files = self.selector.get_map()
        return files and sorted(key.data for key in files.values())

    def state(self):
        return self.look()


@kind("timer")
class Timer(Thing):
    def __init__(self):
        self.calls = []
        self.timer = self.another(SHORT)

    def another(self, seconds):
        return threading.Timer(seconds, self.calls.append, ["called"])

    @operation((LONG, SHORT, 0), alone=True)
    def make(self, seconds):
        self.timer = self.another(seconds)

    @operation((LONG, SHORT), alone=True)
    def make_that_fails(self, seconds):
        self.timer = threading.Timer(seconds, self.calls.append, [], {"wrong": 1})

    @operation(weight=3)
    def start(self):
        self.timer.start()
        time.sleep(0 if self.timer.interval == LONG else 3 * SHORT)
        return self.timer.is_alive(), len(self.calls)

    @operation(weight=2)
    def cancel(self):
        self.timer.cancel()
        time.sleep(0.02)
        return self.timer.is_alive(), self.timer.finished.is_set()

    @operation((None, LONG, SHORT, 0), line="join", weight=3)
    def join(self, timeout):
        return self.timer.join(timeout)

    @operation()
    def look(self):
        return self.timer.is_alive(), self.timer.daemon, self.timer.ident is not None

    def state(self):
        self.timer.cancel()
        return self.calls
