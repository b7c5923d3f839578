"""Green threads that wait for each other's results: a graph of jobs that runs as far as its data allows."""

from collections import namedtuple

from eventlet import greenthread
from eventlet.event import Event

__all__ = ["Collision", "DAGPool", "PropagateError"]

_MISSING = object()


class Collision(Exception):
    """A key is used twice: spawned or posted again, or posted while its green thread runs."""


class PropagateError(Exception):
    """Raised in place of the value of *key*, whose green thread ended with the error *exc*.

    One that passes through several green threads is wrapped by each: follow `exc` to the first.
    """

    def __init__(self, key, exc):
        # The arguments of the constructor, so that it can be pickled.
        super().__init__(key, exc)
        self.key = key
        self.exc = exc
        self.msg = f"PropagateError({key}): {type(exc).__name__}: {exc}"

    def __str__(self):
        return self.msg


class DAGPool:
    """A set of values by key, and green threads that make more of them.

    Each green thread has a key, and names the keys it depends on. It gets their values as they come, in the order in
    which they do, and what it returns is the value of its own key. So the data decides what runs; the number of green
    threads is not limited. *preload* are first values: a mapping, or pairs.

        pool = DAGPool({"a": 1, "b": 2})
        pool.spawn("sum", ("a", "b"), lambda key, results: sum(value for _, value in results))
        assert pool["sum"] == 3

    If a green thread raises, reading its value raises PropagateError; an unhandled one goes on down the graph.
    Any green thread may read values, and `post` them.
    """

    _Coro = namedtuple("_Coro", ("greenthread", "pending"))

    def __init__(self, preload={}):
        self.values = dict(preload)
        self.coros = {}
        # Sent and replaced at every post.
        self.event = Event()

    def waitall(self):
        """Returns a dictionary of all values, once every green thread spawned has one. The same as `wait()`."""
        return self.wait()

    def wait(self, keys=_MISSING):
        """Returns a dictionary of the values of *keys*, else of all keys known; parks until all are there.

        Raises the PropagateError of one that failed, or was posted as one.
        """
        return dict(self.wait_each(keys))

    def wait_each(self, keys=_MISSING):
        """Yields a (key, value) pair for each of *keys*, else for each key known now, as they come.

        Parks between them. Raises PropagateError in place of a value that is one.
        """
        return self._each_value(self._keys_or_all(keys))

    def wait_each_success(self, keys=_MISSING):
        """As `wait_each`, passing over values that are PropagateErrors."""
        return (pair for pair in self._each(self._keys_or_all(keys)) if not isinstance(pair[1], PropagateError))

    def wait_each_exception(self, keys=_MISSING):
        """As `wait_each`, but yields only the values that are PropagateErrors, and does not raise them."""
        return (pair for pair in self._each(self._keys_or_all(keys)) if isinstance(pair[1], PropagateError))

    def spawn(self, key, depends, function, *args, **kwds):
        """Starts a green thread that calls *function(key, results, *args, **kwds)*; what it returns is posted.

        *results* yields as `wait_each(depends)` does. Raises Collision if *key* has a value or a green thread.
        """
        if key in self.coros or key in self.values:
            raise Collision(key)
        # Shared: what was delivered leaves the set, and the rest is what `waiting_for` tells.
        pending = set(depends)
        thread = greenthread.spawn(self._run, function, key, self._each_value(pending), *args, **kwds)
        self.coros[key] = self._Coro(thread, pending)

    def spawn_many(self, depends, function, *args, **kwds):
        """Calls `spawn` for each key of the mapping *depends*, whose values are the keys each one depends on.

        A Collision leaves those before it running.
        """
        for key, needed in depends.items():
            self.spawn(key, needed, function, *args, **kwds)

    def kill(self, key):
        """Kills the green thread of *key*, so that its value may be posted. Raises KeyError if there is none."""
        self.coros[key].greenthread.kill()
        self.coros.pop(key, None)

    def post(self, key, value, replace=False):
        """Sets the value of *key* and wakes all its waiters. Does not park.

        Raises Collision if another green thread runs under *key*, and if there is a value, unless *replace* is true.
        A PropagateError as a value is raised wherever it is read.
        """
        coro = self.coros.get(key)
        if coro is not None and coro.greenthread is not greenthread.getcurrent():
            raise Collision(key)
        if key in self.values and not replace:
            raise Collision(key)
        self.values[key] = value
        posted, self.event = self.event, Event()
        posted.send()

    def __getitem__(self, key):
        """Returns the value of *key*; parks until there is one."""
        ((_, value),) = self.wait_each((key,))
        return value

    def get(self, key, default=None):
        """Returns the value of *key* if it is there, else *default*. Does not park."""
        return _value(self.values.get(key, default))

    def keys(self):
        """Returns the keys that have values."""
        return tuple(self.values)

    def items(self):
        """Returns the (key, value) pairs there are. Raises the first PropagateError among them."""
        return tuple((key, _value(value)) for key, value in self.values.items())

    def running(self):
        """Returns how many green threads of this pool have not ended."""
        return len(self.coros)

    def running_keys(self):
        """Returns the keys of the green threads that have not ended."""
        return tuple(self.coros)

    def waiting(self):
        """Returns how many green threads of this pool lack a value. Others that wait are not counted."""
        return len(self.waiting_for())

    def waiting_for(self, key=_MISSING):
        """Returns the set of keys whose values the green thread of *key* lacks; empty once *key* has a value.

        Without *key* returns a dictionary of such sets for all green threads that lack something. A key in there with
        neither a green thread nor a value is why a graph hangs. Raises KeyError for an unknown *key*.
        """
        if key is _MISSING:
            lacking = {each: self._lacking(coro) for each, coro in self.coros.items()}
            return {each: keys for each, keys in lacking.items() if keys}
        if key in self.coros:
            return self._lacking(self.coros[key])
        if key in self.values:
            return set()
        raise KeyError(key)

    def _lacking(self, coro):
        # Values that came since it last ran are still in its set.
        return coro.pending - self.values.keys()

    def _keys_or_all(self, keys):
        return self.coros.keys() | self.values.keys() if keys is _MISSING else set(keys)

    def _each(self, pending):
        """Yields the pairs of the set *pending* as they come, each after taking its key out of the set."""
        while True:
            for key in pending & self.values.keys():
                pending.discard(key)
                yield key, self.values[key]
            if not pending:
                return
            if pending.isdisjoint(self.values):
                self.event.wait()

    def _each_value(self, pending):
        return ((key, _value(value)) for key, value in self._each(pending))

    def _run(self, function, key, results, *args, **kwds):
        try:
            result = function(key, results, *args, **kwds)
        except Exception as error:
            result = PropagateError(key, error)
        finally:
            self.coros.pop(key, None)
        try:
            self.post(key, result)
        except Collision:
            pass  # It posted a value of its own.
        return result


def _value(value):
    if isinstance(value, PropagateError):
        raise value
    return value
