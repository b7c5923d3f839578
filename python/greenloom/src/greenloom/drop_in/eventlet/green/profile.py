"""`profile` that knows greenlets: time is billed to the functions of the greenlet that spent it.

Each greenlet has a stack of calls and a table of timings of its own; the tables are added up in the end.
"""

import functools
import profile as profile_orig
import sys

from eventlet.patcher import slurp_properties
from eventlet.support.greenlets import getcurrent

__all__ = profile_orig.__all__

slurp_properties(profile_orig, globals(), srckeys=dir(profile_orig))


class Profile(profile_orig.Profile):
    """As profile.Profile, which can be started and stopped as well: start() measures whatever runs until stop()."""

    base = profile_orig.Profile

    def __init__(self, timer=None, bias=None):
        self._begin()
        super().__init__(timer, bias)

    def __call__(self, *args):
        self.dispatcher(*args)

    def _begin(self):
        self.cur = None
        self.timings = {}
        self.current_tasklet = getcurrent()
        self.sleeping = {}
        self.running = False

    def start(self, name="start"):
        """Begins to measure, with empty tables. Does nothing if it measures already."""
        if self.running:
            return
        self._begin()
        self.simulate_call("profiler")
        self.simulate_call(name)
        self.running = True
        sys.setprofile(self.dispatcher)

    def stop(self):
        """Ends measuring; the figures are complete then."""
        sys.setprofile(None)
        self.running = False
        self._add_up()

    def runctx(self, cmd, globals, locals):
        """As `profile.Profile.runctx`, with the figures added up."""
        try:
            return super().runctx(cmd, globals, locals)
        finally:
            self._add_up()

    def runcall(self, func, /, *args, **kw):
        """As `profile.Profile.runcall`, with the figures added up."""
        try:
            return super().runcall(func, *args, **kw)
        finally:
            self._add_up()

    def _follow_switch(self, t):
        """Bills `t` to the greenlet that ran, if another one runs now, and turns to that one's stack. Returns what is
        left."""
        current = getcurrent()
        if current is self.current_tasklet:
            return t
        pt, it, et, fn, frame, rcur = self.cur
        self.sleeping[self.current_tasklet] = (pt, it + t, et, fn, frame, rcur), self.timings
        self.current_tasklet = current
        self.cur, self.timings = self.sleeping.pop(current, (None, None))
        if self.timings is None:
            self.timings = {}
            self.simulate_call("profiler")
            self.simulate_call("new_tasklet")
        return 0

    def _add_up(self):
        sleeping, self.sleeping = self.sleeping, {}
        self._unwind()
        bottom, totals = self.cur, self.timings
        for self.cur, self.timings in sleeping.values():
            self._unwind()
            for function, (calls, _, own, cumulated, callers) in self.timings.items():
                if function not in totals:
                    totals[function] = self.timings[function]
                    continue
                all_calls, open_calls, all_own, all_cumulated, all_callers = totals[function]
                for caller, count in callers.items():
                    all_callers[caller] = all_callers.get(caller, 0) + count
                totals[function] = all_calls + calls, open_calls, all_own + own, all_cumulated + cumulated, all_callers
        self.cur, self.timings = bottom, totals

    def _unwind(self):
        # Returns from what still runs; the bottom of a stack is no call.
        while self.cur[-1]:
            self.base.trace_dispatch_return(self, self.cur[-2], 0)

    def _return(self, frame, t):
        # What was called before we looked is not on the stack.
        if isinstance(self.cur[-2], self.base.fake_frame):
            return False
        return self.trace_dispatch_return(frame, t)


def _in_its_greenlet(handler):
    @functools.wraps(handler)
    def dispatch(self, frame, t):
        return handler(self, frame, self._follow_switch(t))

    return dispatch


Profile.dispatch = {
    event: _in_its_greenlet(Profile._return if event in ("return", "c_return") else handler)
    for event, handler in profile_orig.Profile.dispatch.items()
}


def run(statement, filename=None, sort=-1):
    """Measures a statement, run in __main__, and prints the figures, or writes them to a file."""
    import __main__

    return runctx(statement, vars(__main__), vars(__main__), filename, sort)


def runctx(statement, globals, locals, filename=None, sort=-1):
    """As `run`, with the namespaces given."""
    prof = Profile()
    try:
        prof.runctx(statement, globals, locals)
    except SystemExit:
        pass
    if filename is not None:
        prof.dump_stats(filename)
    else:
        prof.print_stats(sort)
