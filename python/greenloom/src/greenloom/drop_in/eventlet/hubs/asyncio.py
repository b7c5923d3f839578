"""A hub that waits in an asyncio event loop, so that coroutines and green threads of one OS thread share it.

The native loop runs green threads and timers as in every hub; whenever it has nothing to run, or after each turn, it
lets the event loop run for a while. Whatever the event loop does that concerns green threads rings the hub's bell,
which ends that while. But for what a fork needs, only public functions of event loops are used, so one of another
policy, uvloop's say, serves as well.

asyncio's modules must see the standard library as it is, whatever is monkey-patched: asyncio is therefore imported
late.
"""

import contextlib
import functools
import os
import select
import signal
import weakref
from posix import fstat as _fstat  # as it is, whatever a program puts into os

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
    # The file that wakes the loop, so that it is known again.
    _pipe = None
    # Imported once: a program may take asyncio out of sys.modules later.
    _asyncio = None

    def _post_initialize(self):
        """Makes the event loop, when this is the thread's hub already: importing asyncio may ask for that."""
        self._asyncio = asyncio = _prepared_asyncio()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        selector, pipe = self._selector_and_pipe()
        if pipe:
            self._pipe = _file_of(pipe)
            self._wait_natively(selector)
        _hubs.add(self)
        # Green threads find the loop from the first turn on.
        self.schedule_call_global(0, asyncio._set_running_loop, self.loop)

    def _listener(self, evtype, fileno, cb, tb, mark_as_closed):
        try:
            _fstat(fileno)
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
        self._renew_if_lost()
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

    wait._looks_at_poller = True

    def _watch(self, evtype, fileno):
        listeners = self.listeners[evtype]
        if evtype == self.READ:
            start, stop = self.loop.add_reader, self.loop.remove_reader
        else:
            start, stop = self.loop.add_writer, self.loop.remove_writer
        self._renew_if_lost()
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

    def _wait_natively(self, selector):
        """The handlers of signals may wait: they are not called beneath the selector's own wait."""
        select = selector.select

        def wait_and_select(timeout=None):
            if (timeout is None or timeout > 0) and getcurrent() is self.greenlet:
                self._wait_for(selector.fileno(), timeout)
                timeout = 0
            return select(timeout)

        if hasattr(selector, "fileno"):
            selector.select = wait_and_select

    def _thread_ends(self):
        self._asyncio._set_running_loop(None)
        self.loop.close()

    def _selector_and_pipe(self):
        """What the standard library's loops wait with; None for another loop, or for one that was closed."""
        return getattr(self.loop, "_selector", None), getattr(self.loop, "_ssock", None)

    def _owns_descriptors(self):
        """Whether the event loop still has those that it waits with: a program may have closed all that it did not
        open, and opened others since that have their numbers."""
        selector, pipe = self._selector_and_pipe()
        if None in (selector, pipe):
            return True
        modify = getattr(getattr(selector, "_selector", None), "modify", None)
        try:
            if _file_of(pipe) != self._pipe:
                return False
            if modify is not None:
                # Only the loop's own epoll object knows this file by this number.
                modify(pipe.fileno(), select.EPOLLIN)
        except OSError:
            return False
        except ValueError:
            pass  # The program has closed the loop.
        return True

    def _renew_if_lost(self):
        if not self._owns_descriptors():
            self._renew_descriptors(are_own=False)

    def _renew_descriptors(self, are_own):
        """Gives the event loop new ones in place of its parent's, which a forked process would share with it, or of
        those that it has lost."""
        loop = self.loop
        selector, pipe = self._selector_and_pipe()
        if not are_own:
            # The bell first: by its old number it might be taken for what is made here.
            self._renew_if_closed()
        own = {pipe.fileno(), self._bell}
        renewed = type(selector)()
        for key in list(selector.get_map().values()):
            if key.fd not in own:
                with contextlib.suppress(OSError):  # It was closed.
                    renewed.register(key.fd, key.events, key.data)
        self._bell = None
        self._wait_natively(renewed)
        loop._selector = renewed
        if are_own:
            selector.close()
            for end in (loop._ssock, loop._csock):
                end.close()
        else:
            # Their numbers may be of others' files by now.
            _keep_for_ever(selector)
            for end in (loop._ssock, loop._csock):
                end.detach()
        loop._internal_fds -= 1
        loop._make_self_pipe()
        self._pipe = _file_of(loop._ssock)
        if getattr(loop, "_signal_handlers", None):
            with contextlib.suppress(ValueError):  # It is not the main thread.
                signal.set_wakeup_fd(loop._csock.fileno())

    def _renew_after_fork(self):
        if None in self._selector_and_pipe():
            return
        self._renew_descriptors(are_own=self._owns_descriptors())
        # Its threads are the parent's.
        self.loop._default_executor = None
        # Which loop runs is remembered for one process.
        self._asyncio._set_running_loop(self.loop)


def _file_of(sock):
    """What tells a socket's file from all others, whatever their numbers."""
    status = _fstat(sock.fileno())
    return status.st_dev, status.st_ino


def _keep_for_ever(selector):
    """An epoll object closes its number when it goes, so it must not."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(getattr(selector, "_selector", None)))


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
