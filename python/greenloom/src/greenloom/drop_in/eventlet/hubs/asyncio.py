"""A hub that waits in an asyncio event loop, so that coroutines and green threads of one OS thread share it.

The native loop runs green threads and timers as in every hub; whenever it has nothing to run, or after each turn, it
lets the event loop run for a while. Whatever the event loop does that concerns green threads rings the hub's bell,
which ends that while. But for what a fork needs, only public functions of event loops are used, so one of another
policy, uvloop's say, serves as well.

asyncio's modules must see the standard library as it is, whatever is monkey-patched: asyncio is therefore imported
late.
"""

import functools
import os
import weakref

from greenlet import getcurrent

from eventlet import patcher
from eventlet.hubs import hub


def is_available():
    """Whether this system has asyncio: yes."""
    return True


class Hub(hub.BaseHub):
    """Waits in an event loop, ``loop``, which is the running loop of this OS thread once the hub runs."""

    loop = None
    _bell = None
    # Imported once: a program may take asyncio out of sys.modules later.
    _asyncio = None

    def _post_initialize(self):
        """Makes the event loop, when this is the thread's hub already: importing asyncio may ask for that."""
        self._asyncio = asyncio = _prepared_asyncio()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        _hubs.add(self)
        # Green threads find the loop from the first turn on.
        self.schedule_call_global(0, asyncio._set_running_loop, self.loop)

    def _listener(self, evtype, fileno, cb, tb, mark_as_closed):
        try:
            os.fstat(fileno)
        except OSError:
            raise ValueError(f"invalid file descriptor: {fileno!r}") from None
        return super()._listener(evtype, fileno, cb, tb, mark_as_closed)

    def wait(self, seconds=None):
        """Runs the event loop until something concerns a green thread, for *seconds* at most; with 0 for one pass."""
        loop = self.loop
        if loop is None:
            super().wait(seconds)  # Something waits while the event loop is being made.
            return
        asyncio = self._asyncio
        self._listen_to_bell()
        if seconds is not None and seconds <= 0:
            loop.stop()
            end = None
        else:
            end = loop.call_later(self.default_sleep() if seconds is None else seconds, loop.stop)
        asyncio._set_running_loop(None)
        try:
            loop.run_forever()
        finally:
            asyncio._set_running_loop(loop)
            if end is not None:
                end.cancel()

    def _watch(self, evtype, fileno):
        listeners = self.listeners[evtype]
        if evtype == self.READ:
            start, stop = self.loop.add_reader, self.loop.remove_reader
        else:
            start, stop = self.loop.add_writer, self.loop.remove_writer
        if fileno in listeners:
            start(fileno, self._found_ready, listeners, fileno)
        else:
            stop(fileno)

    def _found_ready(self, listeners, fileno):
        """The event loop found a file descriptor ready."""
        self.loop.stop()
        self._note_looked()
        listener = listeners.get(fileno)
        if listener is not None:
            self._tell(listener, fileno)

    def _listen_to_bell(self):
        bell = self._poller_fileno()
        if bell == self._bell:
            return
        # The first wait, or the first in a forked process.
        if self._bell is not None:
            self.loop.remove_reader(self._bell)
        self.loop.add_reader(bell, self._ring)
        self._bell = bell

    def _ring(self):
        self.loop.stop()
        super().wait(0)

    def _thread_ends(self):
        self._asyncio._set_running_loop(None)
        self.loop.close()

    def _renew_after_fork(self):
        """Parts a forked process from its parent, with whom it would share an epoll object and the waking socket."""
        loop = self.loop
        selector = getattr(loop, "_selector", None)
        if selector is None:
            return  # Another loop than the standard library's has its own ways.
        renewed = type(selector)()
        for key in list(selector.get_map().values()):
            try:
                renewed.register(key.fd, key.events, key.data)
            except OSError:
                pass  # It was closed.
        loop._selector = renewed
        selector.close()
        loop._close_self_pipe()
        loop._make_self_pipe()
        # Its threads are the parent's.
        loop._default_executor = None
        # Which loop runs is remembered for one process.
        self._asyncio._set_running_loop(loop)


# All of this process; those of other threads do not live on in a fork, but nobody waits in them either.
_hubs = weakref.WeakSet()


def _renew_all_after_fork():
    for each in list(_hubs):
        each._renew_after_fork()


os.register_at_fork(after_in_child=_renew_all_after_fork)


_preparing = patcher.original("_thread").allocate_lock()
_is_prepared = False


def _prepared_asyncio():
    """Returns asyncio, which sees original modules: those of other threads' hubs as well, so this happens once."""
    global _is_prepared
    with _preparing:
        if not _is_prepared:
            patcher._unmonkey_patch_asyncio_all()
            import asyncio

            asyncio.run = _run_in_hub(asyncio.run)
            _is_prepared = True
    import asyncio

    return asyncio


def _run_in_hub(run):
    """`asyncio.run`, but in a green thread its coroutine runs in the hub's event loop, and the green thread parks."""

    @functools.wraps(run)
    def run_in_hub(main, **options):
        from eventlet import asyncio as bridge, hubs

        current = hubs._current_hub()
        if not isinstance(current, Hub) or current.greenlet is getcurrent() or options.get("loop_factory"):
            return run(main, **options)
        return bridge._run(main)

    return run_in_hub
