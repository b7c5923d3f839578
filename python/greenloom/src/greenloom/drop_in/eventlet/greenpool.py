"""Pools of green threads: work for many, some at a time.

>>> import eventlet
>>> pool = eventlet.GreenPool(10)
>>> sum(pool.imap(lambda x: x * x, range(4)))
14
"""

import traceback

from greenloom import _native

from eventlet import greenthread, queue

__all__ = ["GreenPool", "GreenPile"]

#: Whether an exception that ends a function of ``spawn_n`` is printed.
DEBUG = True


def _report(*exc_info):
    if DEBUG:
        traceback.print_exception(*exc_info)


class GreenPool(_native.GreenPool):
    """A limit to how many green threads run at a time.

    :param size: that many
    :ivar sem: a :class:`~eventlet.semaphore.Semaphore` of the free places
    :ivar coroutines_running: the set of the greenlets that run
    """

    def imap(self, function, *iterables):
        """As the function ``map``, each call in a green thread of its own; see :meth:`starmap`."""
        return self.starmap(function, zip(*iterables))

    def starmap(self, function, iterable):
        """Calls the function with each tuple of arguments, in a green thread of its own.

        Returns an iterator over the results, in the order of the arguments; an exception is raised in place of its
        result, and the iterator goes on after that. Arguments are taken as results are, so both may be endless.

        :param function: None for one that returns its arguments as a tuple
        """
        if function is None:
            function = _arguments
        results = GreenMap(self.size)
        # What takes the arguments may wait; the caller does not.
        greenthread.spawn_n(self._do_map, function, iterable, results)
        return results

    def _do_map(self, function, iterable, results):
        try:
            for args in iterable:
                results.spawn(function, *args)
        except Exception as error:
            # Of the iterable: the waiters for results have to hear of it.
            results.spawn(_raise, error)
        results.done_spawning()


def _arguments(*args):
    return args


def _raise(error):
    raise error


class GreenPile:
    """Green threads whose results are wanted in the order in which they were started: iterate over the pile for them.

    Spawn and iterate in the same green thread: iteration ends when all that was spawned so far has been returned.

    :param size_or_pool: how many may run at a time, or the :class:`GreenPool` to take them from
    """

    def __init__(self, size_or_pool=1000):
        self.pool = size_or_pool if isinstance(size_or_pool, GreenPool) else GreenPool(size_or_pool)
        self.waiters = queue.LightQueue()
        self.counter = 0

    def spawn(self, func, *args, **kw):
        """Starts a green thread; waits for a free place first."""
        self.counter += 1
        try:
            self.waiters.put(self.pool.spawn(func, *args, **kw))
        except BaseException:
            self.counter -= 1
            raise

    def __iter__(self):
        return self

    def __next__(self):
        if self.counter == 0:
            raise StopIteration
        return self._next()

    def next(self):
        """The next result; waits for it."""
        return self.__next__()

    def _next(self):
        try:
            return self.waiters.get().wait()
        finally:
            self.counter -= 1


class GreenMap(GreenPile):
    """A pile that is filled in one green thread and read in another: it ends when :meth:`done_spawning` was called."""

    def __init__(self, size_or_pool):
        super().__init__(size_or_pool)
        # So that arguments are not taken much faster than results.
        self.waiters = queue.LightQueue(maxsize=self.pool.size)

    def done_spawning(self):
        """There is nothing to come."""
        self.spawn(StopIteration)

    def __next__(self):
        value = self._next()
        if isinstance(value, StopIteration):
            raise value
        return value
