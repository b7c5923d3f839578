"""Runs functions that block in OS threads, while the green threads of the caller's hub go on.

One pool serves the whole process. Its threads are started as they are needed, at most EVENTLET_THREADPOOL_SIZE (20) of
them. A result is sent to an event of the caller's hub, whichever OS thread that runs in.
"""

import _imp
import atexit
import copy
import os
import traceback
import warnings

import eventlet.hubs
from eventlet import event, patcher
from eventlet.support import greenlets as greenlet

__all__ = ["execute", "Proxy", "killall", "set_num_threads"]

_threading = patcher.original("threading")
_queue = patcher.original("queue")

# False: errors of functions are printed too, with the caller's stack.
QUIET = True

_nthreads = int(os.environ.get("EVENTLET_THREADPOOL_SIZE", 20))
_in_worker = _threading.local()
_workers = None


class _Workers:
    """OS threads that take jobs from one queue. A job is an event, a function and its arguments; no function: end."""

    def __init__(self):
        self.threads = []
        self._jobs = _queue.SimpleQueue()
        self._lock = _threading.Lock()
        self._idle = 0

    def submit(self, done, function, args, kwargs):
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self.threads) < _nthreads:
                self._start_one()
        self._jobs.put((done, function, args, kwargs))

    def end(self):
        """Tells all threads to end once the jobs before are done. Returns an event for each of them."""
        events = [event.Event() for _ in self.threads]
        for done in events:
            self._jobs.put((done, None, (), {}))
        return events

    def _start_one(self):
        thread = _threading.Thread(target=self._run, name=f"tpool_thread_{len(self.threads)}", daemon=True)
        thread.start()
        self.threads.append(thread)

    def _run(self):
        _in_worker.yes = True
        while True:
            done, function, args, kwargs = self._take()
            if function is None:
                done.send()
                return
            done.send(_call(function, args, kwargs))
            # Nothing of a job may live on while the next one is awaited.
            done = function = args = kwargs = None

    def _take(self):
        try:
            return self._jobs.get_nowait()
        except _queue.Empty:
            with self._lock:
                self._idle += 1
            return self._jobs.get()


def _call(function, args, kwargs):
    """Returns a function's result and None, or None and its error."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        # The frames hold the arguments, and the error is to live as long as the caller likes.
        traceback.clear_frames(error.__traceback__)
        function = args = kwargs = None
        return None, error


def setup():
    """Makes the pool ready; `execute` does so by itself."""
    global _workers
    if _workers is not None:
        return
    assert _nthreads >= 0, "the number of threads of tpool can't be negative"
    if _nthreads == 0:
        warnings.warn(
            "Zero threads in tpool: its functions run in the thread of their caller and block its hub. "
            "See the environment variable EVENTLET_THREADPOOL_SIZE.",
            RuntimeWarning,
            stacklevel=3,
        )
    _workers = _Workers()


def execute(meth, *args, **kwargs):
    """Calls *meth* in an OS thread and parks the calling green thread until it returns; returns or raises what it does.

    Called from such a function, or while modules are being imported under the global import lock, it calls *meth*
    directly. A green thread that is killed or timed out in here stops waiting; *meth* goes on to its end.
    """
    setup()
    if _nthreads == 0 or getattr(_in_worker, "yes", False) or _imp.lock_held():
        return meth(*args, **kwargs)
    done = event.Event()
    _workers.submit(done, meth, args, kwargs)
    result, error = done.wait()
    if error is None:
        return result
    if not QUIET:
        traceback.print_exception(type(error), error, error.__traceback__)
        traceback.print_stack()
    try:
        raise error
    finally:
        # The traceback has this frame, which must have neither the error nor the arguments.
        done = error = meth = args = kwargs = None


def killall():
    """Ends the threads of the pool, once all functions given to them have returned; parks until then.

    The next `execute` starts new ones.
    """
    global _workers
    if _workers is None:
        return
    workers, _workers = _workers, None
    events = workers.end()
    # A function may need a lock that a green thread holds, so the hub runs on.
    if greenlet.getcurrent() is not eventlet.hubs.get_hub().greenlet:
        for done in events:
            done.wait()
    for thread in workers.threads:
        thread.join()


def set_num_threads(nthreads):
    """Sets how many threads the pool may have. Those there are stay until `killall`."""
    global _nthreads
    _nthreads = nthreads


@atexit.register
def _killall_at_exit():
    # Threads that hub-less programs never made are none to wait for.
    killall()


def _forget():
    """In the child of a fork there are no threads."""
    global _workers
    _workers = None


os.register_at_fork(after_in_child=_forget)


# What a proxy has itself; all else is the object's.
_OF_PROXY = ("_obj", "_autowrap", "_autowrap_names")


def proxy_call(autowrap, f, *args, **kwargs):
    """Calls *f* in the pool, or here if *nonblocking* is true; wraps a result that is an instance of *autowrap*."""
    if kwargs.pop("nonblocking", False):
        result = f(*args, **kwargs)
    else:
        result = execute(f, *args, **kwargs)
    return Proxy(result, autowrap) if isinstance(result, autowrap) else result


class Proxy:
    """Stands for *obj* and calls its methods in the pool, so that they park the caller instead of blocking the hub.

    Results and attributes that are instances of the types *autowrap*, or are found under the names *autowrap_names*,
    come as proxies too; the name "__call__" means results of calling *obj* itself. Attributes are set in the pool,
    since that may be work as well. Comparing, hashing, printing and measuring *obj* happen in the caller's thread,
    without parking.

    Methods given *nonblocking=True* are called in the caller's thread. They run in different threads at different
    times, so they must not depend on thread-locals, and must not use what belongs to the caller's hub.
    """

    def __init__(self, obj, autowrap=(), autowrap_names=()):
        self._obj = obj
        self._autowrap = autowrap
        self._autowrap_names = autowrap_names

    def __getattr__(self, attr_name):
        if attr_name in _OF_PROXY:
            raise AttributeError(attr_name)  # A proxy that is being copied has nothing yet.
        value = getattr(self._obj, attr_name)
        named = attr_name in self._autowrap_names
        if not callable(value) or isinstance(value, type) and issubclass(value, BaseException):
            return Proxy(value, self._autowrap) if named or isinstance(value, self._autowrap) else value

        def call(*args, **kwargs):
            result = self._call(value, *args, **kwargs)
            return Proxy(result) if named and not isinstance(result, Proxy) else result

        return call

    def __setattr__(self, attr_name, value):
        if attr_name in _OF_PROXY or hasattr(type(self), attr_name):
            super().__setattr__(attr_name, value)
            return
        try:
            self._call(setattr, self._obj, attr_name, value)
        except AttributeError:
            if hasattr(self._obj, attr_name):
                raise
            super().__setattr__(attr_name, value)  # The object takes no attributes; the proxy keeps it.

    def __delattr__(self, attr_name):
        if attr_name in self.__dict__ or hasattr(type(self), attr_name):
            super().__delattr__(attr_name)
        else:
            self._call(delattr, self._obj, attr_name)

    def _call(self, function, *args, **kwargs):
        return proxy_call(self._autowrap, function, *args, **kwargs)

    def __call__(self, *args, **kwargs):
        result = self._call(self._obj, *args, **kwargs)
        return Proxy(result) if "__call__" in self._autowrap_names else result

    def __enter__(self):
        result = self._call(self._obj.__enter__)
        return self if result is self._obj else result

    def __exit__(self, *exc):
        return self._call(self._obj.__exit__, *exc)

    def __getitem__(self, key):
        return self._call(self._obj.__getitem__, key)

    def __setitem__(self, key, value):
        return self._call(self._obj.__setitem__, key, value)

    def __delitem__(self, key):
        return self._call(self._obj.__delitem__, key)

    def __iter__(self):
        iterator = iter(self._obj)
        return self if iterator is self._obj else Proxy(iterator)

    def __next__(self):
        """The next item, asked for in a thread of the pool."""
        return self._call(next, self._obj)

    next = __next__

    def __copy__(self):
        return self._call(copy.copy, self._obj)

    def __deepcopy__(self, memo=None):
        return self._call(copy.deepcopy, self._obj, memo)

    def __eq__(self, other):
        return self._obj == other

    def __hash__(self):
        return hash(self._obj)

    def __repr__(self):
        return repr(self._obj)

    def __str__(self):
        return str(self._obj)

    def __len__(self):
        return len(self._obj)

    def __bool__(self):
        return bool(self._obj)
