"""Green threads that wait for coroutines, and coroutines that wait for green threads."""

import asyncio
import sys

from greenlet import GreenletExit

from eventlet.event import Event
from eventlet.greenthread import spawn
from eventlet.hubs import get_hub

__all__ = ["spawn_for_awaitable"]


def spawn_for_awaitable(coroutine):
    """Starts a coroutine, or takes a future or task, and returns a green thread that ends with its result or error.

    The coroutine runs in the hub's event loop, so it must not call what parks a green thread: it awaits. Killing the
    green thread cancels it.

    :raises RuntimeError: unless the hub of this thread is the asyncio hub
    """
    loop = _hub_loop()
    if loop is None:
        raise RuntimeError(
            "spawn_for_awaitable() needs the asyncio hub: set the environment variable EVENTLET_HUB=asyncio, or call "
            "eventlet.hubs.use_hub('asyncio') first"
        )
    future = asyncio.ensure_future(coroutine, loop=loop)
    green_thread = spawn(_result_of, future)
    # Killed before it began, it does not see that itself.
    green_thread.link(lambda _: future.cancel())
    return green_thread


def _result_of(future):
    if not future.done():
        done = Event()
        future.add_done_callback(lambda _: done.send())
        try:
            done.wait()
        except BaseException:
            future.cancel()
            raise
    return future.result()


def _run(coroutine):
    """Runs a coroutine in the hub's event loop, and parks until it has ended. Returns its result."""
    if not asyncio.iscoroutine(coroutine):
        raise ValueError(f"a coroutine was expected, got {coroutine!r}")
    return _result_of(_hub_loop().create_task(coroutine))


def _await_green_thread(green_thread):
    """What ``await green_thread`` calls: an iterator that ends with the green thread's result, or raises its error.

    Killing the green thread cancels who awaits it; cancelling that kills the green thread. Besides the asyncio hub's
    event loop, any loop will do that runs in a green thread, as after ``monkey_patch`` it may.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a green thread can be awaited in the event loop of the asyncio hub (EVENTLET_HUB=asyncio), or in one "
            "that runs in a green thread"
        ) from None
    future = loop.create_future()
    future.add_done_callback(lambda _: green_thread.kill() if future.cancelled() and not green_thread.dead else None)

    def ended(green_thread):
        if loop is _hub_loop():
            _transfer(green_thread, future)
        else:
            # The loop may be parked in its selector.
            loop.call_soon_threadsafe(_transfer, green_thread, future)

    green_thread.link(ended)
    return future.__await__()


def _transfer(green_thread, future):
    if future.done():
        return
    try:
        future.set_result(green_thread.wait())
    except GreenletExit:
        future.cancel()
    except StopIteration as error:
        # One of those can't be raised out of a coroutine.
        future.set_exception(RuntimeError(f"green thread raised StopIteration: {error}"))
    except BaseException as error:
        future.set_exception(error)


def _hub_loop():
    """The event loop of this thread's hub; None if the hub has none."""
    hub = get_hub()
    module = sys.modules.get("eventlet.hubs.asyncio")
    return hub.loop if module is not None and isinstance(hub, module.Hub) else None
