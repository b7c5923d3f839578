"""What CPython's functions refuse as a timeout is refused with the same kind of exception."""

import unittest

from scenario import Scenario


class Refused(Scenario):
    def test_timeouts_that_cpython_refuses(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import select
            # Of poll, 3.15 waits for as long as it is told.
            too_long = (1 << 31,) if sys.version_info < (3, 15) else ()
            for ask, error, numbers in (
                (lambda t: select.select([], [], [], t), ValueError, (-1, float("nan"))),
                (lambda t: select.select([], [], [], t), OverflowError, (1e300, 1 << 64)),
                (lambda t: select.poll().poll(t), OverflowError, (1 << 64, 1e300, *too_long)),
                (lambda t: select.poll().poll(t), TypeError, ("1",)),
                (lambda t: select.epoll().poll(t), OverflowError, (1 << 64, 1e300)),
            ):
                for number in numbers:
                    try:
                        ask(number)
                    except error:
                        continue
                    print(number)
            """
        )

    def test_a_timeout_is_refused_as_functions_of_c_refuse_it(self):
        self.check(
            """
            import _thread, queue, select, signal, socket, threading

            class Index:
                def __init__(self, number):
                    self.number = number
                def __index__(self):
                    return self.number

            before = threading.Lock(), threading.RLock(), queue.SimpleQueue()

            def filled(kind=queue.SimpleQueue):
                each = kind()
                each.put(1)
                return each

            def waits():
                held = _thread.allocate_lock()
                held.acquire()
                ended = threading.Thread(target=int)
                ended.start()
                ended.join()
                lock, rlock, simple = before
                return dict(
                    settimeout=lambda t: socket.socket().settimeout(t), sleep=time.sleep, select=lambda t:
                    select.select([], [], [], t), lock=lambda t: threading.Lock().acquire(True, t),
                    held=lambda t: held.acquire(timeout=t), rlock=lambda t: threading.RLock().acquire(timeout=t),
                    not_blocking=lambda t: threading.RLock().acquire(False, t), simple=lambda t:
                    filled().get(timeout=t), empty=lambda t: queue.SimpleQueue().get(timeout=t),
                    event=lambda t: threading.Event().wait(t), join=ended.join,
                    put=lambda t: queue.Queue().put(1, timeout=t), get=lambda t: filled(queue.Queue).get(timeout=t),
                    get_empty=lambda t: queue.Queue().get(timeout=t),
                    sigtimedwait=lambda t: signal.sigtimedwait([signal.SIGUSR1], t),
                    old_lock=lambda t: (lock.acquire(True, t), lock.release()),
                    old_rlock=lambda t: (rlock.acquire(True, t), rlock.release()),
                    old_queue=lambda t: simple.get(timeout=t),
                )

            nan, inf = float("nan"), float("inf")
            timeouts = [inf, -inf, 1e100, -1e100, 1e12, 10**30, -10**30, 1 << 63, -1.5, -0.0, 0, "1", b"", []]
            timeouts += [Index(0), Index(-10), Index(10**30)]
            locks = ["lock", "held", "rlock", "simple", "event"]
            finite = [nan], ["settimeout", "sleep", "select", "sigtimedwait", *locks]

            def outcomes():
                found = {}
                for name, wait in waits().items():
                    for timeout in timeouts + finite[0] * (name in finite[1]):
                        try:
                            wait(timeout)
                            outcome = None
                        except Exception as error:
                            outcome = type(error)
                        found[name, repr(timeout), getattr(timeout, "number", None)] = outcome
                return found

            real = outcomes()
            import eventlet
            eventlet.monkey_patch()
            ours = outcomes()
            for (name, _, number), kind in real.items():
                if ours[name, _, number] is not kind:
                    print(name, _, number, kind, ours[name, _, number])
            """
        )


if __name__ == "__main__":
    unittest.main()
