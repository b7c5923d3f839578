"""Queues between green threads, as in the standard library's ``queue``, also of different OS threads.

Unlike there, ``Queue(0)`` is a channel: ``put`` waits until somebody takes the item. ``Queue()`` and ``Queue(None)``
have no limit. A subclass may override ``_init``, ``_put``, ``_get`` and ``qsize``.
"""

from queue import Empty, Full

from greenloom._native import LifoQueue, LightQueue, PriorityQueue, Queue

__all__ = ["Queue", "PriorityQueue", "LifoQueue", "LightQueue", "Full", "Empty"]
