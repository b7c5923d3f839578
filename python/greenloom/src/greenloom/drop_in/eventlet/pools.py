"""Pools of things that are costly to make and that few may use at a time."""

from collections import deque
from contextlib import contextmanager

from eventlet import event

__all__ = ["Pool", "TokenPool"]


class Pool:
    """Lends at most *max_size* items at a time; `get` parks the calling green thread while all of them are out.

    Items are made by *create*, a function without arguments, or by the method `create` of a subclass, when one is
    asked for and none is free. *min_size* items are made at once. Free items are lent in turn; with *order_as_stack*
    the one returned last is lent first, so that the others grow idle.

        pool = Pool(max_size=8, create=lambda: connect(address))
        with pool.item() as connection:
            connection.send(b"hello")

    `max_size` may be assigned at any time; `resize` does so and also wakes those whom the new size lets in.
    """

    def __init__(self, min_size=0, max_size=4, order_as_stack=False, create=None):
        self.min_size = min_size
        self.max_size = max_size
        self.order_as_stack = order_as_stack
        self.current_size = 0
        self.free_items = deque()
        self._waiters = deque()
        # How many of the items and slots that are free belong to waiters that were woken and have not run yet.
        self._promised = 0
        if create is not None:
            self.create = create
        for _ in range(min_size):
            self.current_size += 1
            self.free_items.append(self.create())

    def create(self):
        """Makes an item. A pool without a *create* argument needs a subclass that overrides this."""
        raise NotImplementedError("give the pool a create function, or override create")

    def get(self):
        """Returns a free item, or a new one while there are fewer than `max_size`; else parks until one is returned.

        The longest waiter is served first. An error of `create` is raised here, and the next waiter may then try.
        """
        if self._available() <= self._promised:
            self._wait()
        if self.free_items:
            return self.free_items.popleft()
        self.current_size += 1
        try:
            return self.create()
        except BaseException:
            self._vacate()
            raise

    def put(self, item):
        """Returns *item* to the pool and wakes the waiter that has waited longest. Never parks.

        The item is dropped when the pool has been made smaller and holds too many.
        """
        if self.current_size > self.max_size:
            self.current_size -= 1
        elif self.order_as_stack:
            self.free_items.appendleft(item)
        else:
            self.free_items.append(item)
        self._wake()

    @contextmanager
    def item(self):
        """Lends an item for a `with` statement, as `get` and `put` would."""
        item = self.get()
        try:
            yield item
        finally:
            self.put(item)

    def resize(self, new_size):
        """Changes the number of items that may be out. Those lent stay lent, free ones beyond the size are dropped; a
        larger size lets waiters in at once."""
        self.max_size = new_size
        while self.free_items and self.current_size > new_size:
            self.free_items.pop()
            self.current_size -= 1
        self._wake()

    def free(self):
        """Returns how many calls of `get` would not park; negative while a smaller size is not reached yet."""
        return len(self.free_items) + self.max_size - self.current_size

    def _available(self):
        # Items that are free are lent, also those of a min_size that is larger than max_size.
        return len(self.free_items) + max(0, self.max_size - self.current_size)

    def waiting(self):
        """Returns how many green threads are parked in `get`."""
        return len(self._waiters)

    def _wait(self):
        """Parks until it is the caller's turn, and there is an item or a slot for it."""
        waiter = event.Event()
        self._waiters.append(waiter)
        while True:
            try:
                waiter.wait()
            except BaseException:
                if waiter.ready():
                    self._promised -= 1
                    self._wake()
                else:
                    self._waiters.remove(waiter)
                raise
            self._promised -= 1
            if self._available() > self._promised:
                return
            # The pool was made smaller in the meantime.
            waiter = event.Event()
            self._waiters.appendleft(waiter)

    def _wake(self):
        while self._waiters and self._available() > self._promised:
            self._promised += 1
            self._waiters.popleft().send()

    def _vacate(self):
        """Gives up the slot of an item that is no more."""
        self.current_size -= 1
        self._wake()


class Token:
    """What a `TokenPool` lends: nothing but the right to go on."""


class TokenPool(Pool):
    """A pool of tokens: a limit on how many green threads do something at a time."""

    def create(self):
        return Token()
