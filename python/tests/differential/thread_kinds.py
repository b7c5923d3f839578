"""Threads, timers, thread-locals and executors."""

import concurrent.futures
import contextvars
import sys
import threading
import time

from kinds import LONG, NAN, SHORT, Thing, kind, operation

#: Until CPython 3.12 a thread whose join() refuses a timeout is declared to have ended.
REFUSED = (NAN, "x", 1e100) if sys.version_info >= (3, 13) else (-1,)


@kind("thread")
class Thread(Thing):
    """A thread that waits for a gate, and a timer."""

    made_with = ((False, True),)

    def __init__(self, daemon):
        self.gate = threading.Event()
        self.raised = []
        self.thread = threading.Thread(target=self.body, daemon=daemon, name="one")
        self.timer = threading.Timer(LONG, self.gate.set)
        self.timer.daemon = True
        self.variable = contextvars.ContextVar("variable", default="outside")
        self.seen = None

    def body(self):
        self.gate.wait()
        self.seen = self.variable.get(), threading.current_thread().name, threading.get_ident() == self.thread.ident

    @operation(weight=2)
    def start(self):
        return self.thread.start()

    @operation((None, LONG, SHORT, 0, -1), line="join", weight=3)
    def join(self, timeout):
        return self.thread.join(timeout)

    @operation(REFUSED, line="join")
    def join_badly(self, timeout):
        return self.thread.join(timeout)

    @operation()
    def open(self):
        self.gate.set()

    @operation()
    def look(self):
        thread = self.thread
        return thread.is_alive(), thread.daemon, thread.ident is not None, thread in threading.enumerate()

    @operation()
    def make_daemon(self):
        self.thread.daemon = True

    @operation()
    def join_oneself(self):
        return threading.current_thread().join()

    @operation()
    def start_timer(self):
        return self.timer.start()

    @operation((SHORT, 0, -1))
    def short_timer(self, interval):
        fired = threading.Event()
        timer = threading.Timer(interval, fired.set)
        timer.start()
        timer.join(5)
        return fired.is_set(), timer.is_alive(), timer.finished.is_set()

    @operation()
    def cancel_timer(self):
        self.timer.cancel()

    @operation((None, LONG), line="join the timer")
    def join_timer(self, timeout):
        return self.timer.join(timeout)

    @operation()
    def one_that_raises(self):
        caught = []
        before, threading.excepthook = threading.excepthook, lambda args: caught.append(args.exc_type.__name__)
        try:
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join(5)
        finally:
            threading.excepthook = before
        return caught, thread.is_alive()

    @operation((-1, NAN, 1e100, "x", 0))
    def sleep(self, seconds):
        return time.sleep(seconds)

    @operation()
    def stack_size(self):
        return threading.stack_size()

    def state(self):
        return self.seen, self.thread.is_alive(), self.gate.is_set()


@kind("local")
class Local(Thing):
    def __init__(self):
        self.made = 0
        thing = self

        class Counted(threading.local):
            common = 1

            def __init__(self, start):
                thing.made += 1
                self.value = start

        self.local = Counted(10)
        self.plain = threading.local()
        self.plain.value = "the main thread's"

    @operation(owned=True)
    def add(self):
        self.local.value += 1
        return self.local.value

    @operation(("value", "other"), owned=True)
    def get(self, name):
        return getattr(self.plain, name)

    @operation(("value", "other"), owned=True)
    def set(self, name):
        setattr(self.plain, name, self.payload(2))

    @operation(("value", "other"), owned=True)
    def delete(self, name):
        delattr(self.plain, name)

    @operation(owned=True)
    def look(self):
        return sorted(vars(self.plain)), sorted(vars(self.local)), hasattr(self.local, "common")

    def state(self):
        return self.made, self.plain.value, self.local.value


@kind("executor")
class Executor(Thing):
    made_with = ((1, 2),)

    def __init__(self, workers):
        self.executor = concurrent.futures.ThreadPoolExecutor(workers)
        self.gate = threading.Event()
        self.futures = []

    def task(self, number):
        self.gate.wait()
        if number % 3 == 2:
            raise KeyError(number)
        return number

    @operation(weight=3)
    def submit(self):
        self.futures.append(self.executor.submit(self.task, len(self.futures)))
        time.sleep(0.02)

    @operation()
    def open(self):
        self.gate.set()
        time.sleep(0.02)

    @operation((0, 1, 2), (None, LONG, SHORT, 0), line="result {0}", weight=3)
    def result(self, number, timeout):
        return self.futures[number].result(timeout)

    @operation((0, 1, 2), (None, SHORT), line="exception {0}")
    def exception(self, number, timeout):
        return self.futures[number].exception(timeout)

    @operation((0, 1, 2))
    def cancel(self, number):
        return self.futures[number].cancel()

    @operation((0, 1, 2))
    def look(self, number):
        future = self.futures[number]
        return future.done(), future.running(), future.cancelled()

    @operation((None, SHORT), ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"), line="wait {1}")
    def wait(self, timeout, when):
        done, others = concurrent.futures.wait(list(self.futures), timeout, when)
        return len(done), len(others)

    @operation((None, SHORT), line="as completed")
    def as_completed(self, timeout):
        return len(list(concurrent.futures.as_completed(list(self.futures), timeout)))

    @operation((False, True), (False, True), line="shutdown")
    def shutdown(self, wait, cancel):
        return self.executor.shutdown(wait, cancel_futures=cancel)

    def state(self):
        return [(future.done(), future.cancelled()) for future in self.futures]
