"""threading and _thread whose threads are green.

Over 500 lines: the programs that the tests run make up most of it, and share their beginning.
"""

import unittest

from scenario import Scenario

PATCHED = """
import eventlet
eventlet.monkey_patch()
import greenlet, queue, threading, _thread
from eventlet.green import thread as green_thread
native = eventlet.patcher.original("threading")
"""


class Green(Scenario):
    def check(self, program, *options, **settings):
        import textwrap

        super().check(PATCHED + textwrap.dedent(program), *options, **settings)


class Threads(Green):
    def test_they_run_in_turn_on_one_os_thread(self):
        self.check(
            """
            order, os_threads, begin = [], set(), threading.Event()
            def work(name):
                begin.wait()
                for i in range(3):
                    order.append(name)
                    os_threads.add(threading.get_native_id())
                    time.sleep(0)
            threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
            for thread in threads:
                thread.start()
            begin.set()
            for thread in threads:
                thread.join()
            print("".join(order), len(os_threads))
            """,
            prints="ababab 1\n",
        )

    def test_join(self):
        self.check(
            """
            thread = threading.Thread(target=time.sleep, args=(0.6,))
            for misuse in (thread.join, lambda: threading.current_thread().join()):
                try:
                    misuse()
                except RuntimeError as error:
                    print(error)
            thread.start()
            begin = monotonic()
            assert thread.join(0.05) is None and thread.is_alive() and monotonic() - begin < 0.5
            assert thread.join(-1) is None and thread.is_alive()
            others = [eventlet.spawn(thread.join) for _ in range(3)]
            thread.join()
            assert not thread.is_alive() and 0.6 <= monotonic() - begin < 5
            for other in others:
                other.wait()
            thread.join()
            """,
            prints="cannot join thread before it is started\ncannot join current thread\n",
        )

    def test_an_eventlet_timeout_ends_a_join_and_nothing_else(self):
        self.check(
            """
            thread = threading.Thread(target=time.sleep, args=(0.2,))
            thread.start()
            with eventlet.Timeout(0.05, False):
                thread.join()
                print("never")
            assert thread.is_alive()
            thread.join()
            assert not thread.is_alive()
            """
        )

    def test_identity(self):
        self.check(
            """
            main = threading.main_thread()
            assert threading.current_thread() is main
            assert main.ident == threading.get_ident() == _thread.get_ident()
            assert isinstance(main, threading.Thread) and main.name == "MainThread" and main in threading.enumerate()
            seen = {}
            def work():
                current = threading.current_thread()
                seen_all.wait()
                assert threading.current_thread() is current
                seen[current] = threading.get_ident()
            seen_all = threading.Event()
            threads = [threading.Thread(target=work, name=str(i)) for i in range(5)]
            for thread in threads:
                thread.start()
            assert set(threading.enumerate()) == {main, *threads} and threading.active_count() == 6
            seen_all.set()
            for thread in threads:
                thread.join()
            assert seen == {thread: thread.ident for thread in threads} and len(set(seen.values())) == 5
            assert threading.enumerate() == [main]
            """
        )

    def test_sleep_is_no_method_of_a_class(self):
        self.check(
            """
            class Policy:
                sleep = time.sleep
            count = ticks()
            Policy().sleep(0.05)
            assert count[0] > 3 and type(time.sleep) is type(len), count
            for wrong in (-1, float("nan"), 1e100, None):
                try:
                    time.sleep(wrong)
                except (ValueError, OverflowError, TypeError) as error:
                    print(type(error).__name__)
            """,
            prints="ValueError\nValueError\nOverflowError\nTypeError\n",
        )

    def test_the_old_name_of_current_thread_is_not_warned_about(self):
        self.check(
            """
            import warnings
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                assert threading.currentThread() is threading.main_thread()
            assert not seen, seen
            """
        )

    def test_green_threads_look_like_threads(self):
        self.check(
            """
            def work():
                me = threading.current_thread()
                assert me is threading.current_thread() and isinstance(me, threading.Thread)
                assert me.ident == threading.get_ident() == id(eventlet.getcurrent()) == id(me._g)
                assert me.is_alive() and me.daemon and me.isDaemon() and me.native_id == threading.get_native_id()
                assert repr(me).startswith("<_GreenThread(GreenThread-")
                me.name = "renamed"
                assert me.getName() == me.get_name() == me.name == "renamed"
                for misuse in (me.start, me.join, lambda: setattr(me, "daemon", False)):
                    try:
                        misuse()
                    except RuntimeError as error:
                        print(error)
                time.sleep(0.05)
                return me
            green = eventlet.spawn(work)
            me = green.wait()
            assert not me.is_alive()
            me.join()
            found = []
            green = eventlet.spawn(lambda: (found.append(threading.current_thread()), time.sleep(0.6)))
            eventlet.sleep(0)
            begin = monotonic()
            found[0].join(0.02)
            assert found[0].is_alive() and monotonic() - begin < 0.5
            found[0].join()
            assert monotonic() - begin >= 0.5
            """,
            prints="threads can only be started once\ncannot join current thread\n"
            "cannot set daemon status of active thread\n",
        )

    def test_what_describes_a_green_thread_does_not_keep_it(self):
        self.check(
            """
            import gc, weakref
            gc.disable()
            refs = []
            def work():
                refs.append(weakref.ref(threading.current_thread()))
            for _ in range(10):
                refs.append(weakref.ref(eventlet.spawn(work)))
                eventlet.sleep(0)
            eventlet.sleep(0.01)
            assert len(refs) == 20 and not any(ref() for ref in refs), refs
            assert len(threading._active) == 1
            """
        )

    def test_the_copy_of_threading_leaves_nothing_behind(self):
        self.check(
            """
            from eventlet.green import threading as copy
            def work():
                other = copy.Thread(target=copy.current_thread)
                other.start()
                other.join()
            for _ in range(10):
                eventlet.spawn(work).wait()
            assert len(copy._active) == len(threading._active) == 1, copy._active
            """
        )

    def test_who_is_killed_after_it_was_notified_leaves_that_to_the_next(self):
        self.check(
            """
            def outcome(call):
                try:
                    call()
                except BaseException as error:
                    return error
            condition, semaphore = threading.Condition(), threading.Semaphore(0)
            def wait():
                with condition:
                    condition.wait()
            def notify():
                with condition:
                    condition.notify()
            for call, tell in ((wait, notify), (semaphore.acquire, semaphore.release)):
                for kill in (lambda g: g.kill(), lambda g: g.kill(eventlet.Timeout())):
                    first, second = eventlet.spawn(outcome, call), eventlet.spawn(call)
                    eventlet.sleep(0.01)
                    tell()
                    kill(first)
                    with eventlet.Timeout(2):
                        second.wait()
            # One that was not told takes nothing from others.
            event = threading.Event()
            waiters = [eventlet.spawn(event.wait) for _ in range(3)]
            eventlet.sleep(0)
            waiters[0].kill()
            eventlet.sleep(0.01)
            assert not waiters[1].dead and not waiters[2].dead
            event.set()
            assert [each.wait() for each in waiters[1:]] == [True, True]
            """
        )

    def test_who_is_killed_while_it_takes_the_lock_of_a_condition_again_has_it_then(self):
        self.check(
            """
            for lock in (None, threading.Lock()):
                condition = threading.Condition(lock)
                def wait():
                    try:
                        with condition:
                            condition.wait()
                    except BaseException as error:
                        return error
                for error in (greenlet.GreenletExit(), eventlet.Timeout(), OSError("mine")):
                    waiter = eventlet.spawn(wait)
                    eventlet.sleep(0)
                    with condition:
                        condition.notify()
                        eventlet.sleep(0.01)
                        waiter.kill(error)
                        assert not waiter.dead
                    raised = waiter.wait()
                    assert raised is error, raised
                    assert condition.acquire(False)
                    condition.release()
            """
        )

    def test_errors_that_are_no_exceptions_end_a_thread_of_thread_only(self):
        self.check(
            """
            import sys
            seen = []
            sys.unraisablehook = lambda args: seen.append(args.exc_type)
            class Error(BaseException):
                pass
            def fail():
                raise Error
            _thread.start_new_thread(fail, ())
            eventlet.sleep(0.01)
            assert seen == [Error], seen
            """
        )

    def test_errors_go_to_the_excepthook(self):
        self.check(
            """
            seen = []
            threading.excepthook = lambda args: seen.append((args.exc_type, args.thread.name))
            for error in (ValueError, SystemExit, KeyError):
                def work(error=error):
                    raise error
                thread = threading.Thread(target=work, name=error.__name__)
                thread.start()
                thread.join()
                assert not thread.is_alive()
            seen = [name for _, name in seen]
            print(seen)
            """,
            prints="['ValueError', 'SystemExit', 'KeyError']\n",
        )

    def test_local_is_of_each_green_thread(self):
        self.check(
            """
            class Local(threading.local):
                kind = "mine"
                def __init__(self, value):
                    self.value = value
            local, seen = Local(1), []
            def work(value):
                seen.append(local.value)
                local.value = value
                time.sleep(0.01)
                seen.append(local.value)
            threads = [threading.Thread(target=work, args=(i,)) for i in (7, 8)]
            for thread in threads:
                thread.start()
            eventlet.spawn(work, 9).wait()
            for thread in threads:
                thread.join()
            print(sorted(seen), local.value)
            """,
            prints="[1, 1, 1, 7, 8, 9] 1\n",
        )

    def test_synchronisation(self):
        self.check(
            """
            condition, event, barrier = threading.Condition(), threading.Event(), threading.Barrier(3)
            semaphore, log = threading.BoundedSemaphore(2), []
            def work(i):
                with semaphore:
                    barrier.wait()
                    event.wait()
                    with condition:
                        log.append(i)
                        condition.notify_all()
            semaphore = threading.BoundedSemaphore(2)
            threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
            for thread in threads:
                thread.start()
            barrier.wait()
            assert not semaphore.acquire(timeout=0.01) and not event.wait(0.01)
            event.set()
            with condition:
                assert condition.wait_for(lambda: len(log) == 2, timeout=5)
                assert not condition.wait(0.01)
            fired = []
            timer = threading.Timer(0.02, fired.append, [1])
            timer.start()
            cancelled = threading.Timer(0.02, fired.append, [2])
            cancelled.start()
            cancelled.cancel()
            timer.join(), cancelled.join()
            print(sorted(log), fired)
            """,
            prints="[0, 1] [1]\n",
        )

    def test_pools_of_the_standard_library(self):
        self.check(
            """
            from concurrent import futures
            import multiprocessing.pool
            count = ticks()
            with futures.ThreadPoolExecutor(3) as pool:
                assert list(pool.map(lambda i: (time.sleep(0.05), i)[1], range(6))) == list(range(6))
                late = [pool.submit(time.sleep, 0.2) for _ in range(2)]
                done, pending = futures.wait(late, timeout=0.05)
                assert len(pending) == 2
            with multiprocessing.pool.ThreadPool(3) as pool:
                assert pool.map(abs, [-1, 2, -3]) == [1, 2, 3]
            assert count[0] > 10, count
            """
        )

    def test_the_end_of_the_program_waits_for_threads_but_not_for_daemons(self):
        for module in ("threading", "eventlet.green.threading", "native"):
            self.check(
                f"""
                import atexit, importlib
                module = native if "{module}" == "native" else importlib.import_module("{module}")
                def work(seconds, text):
                    time.sleep(seconds)
                    print(text, flush=True)
                module.Thread(target=work, args=(0.1, "awaited")).start()
                module.Thread(target=work, args=(9, "daemon"), daemon=True).start()
                atexit.register(print, "end")
                print("last line", flush=True)
                """,
                prints="last line\nawaited\nend\n",
                seconds=8,
            )

    def test_a_pool_that_nobody_shut_down_is_at_the_end(self):
        self.check(
            """
            from concurrent.futures import ThreadPoolExecutor
            pool = ThreadPoolExecutor(2)
            pool.submit(lambda: (time.sleep(0.1), print("done")))
            """,
            prints="done\n",
        )

    def test_trace_and_profile_hooks_are_given_to_threads(self):
        self.check(
            """
            seen = []
            threading.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name))
            def traced():
                sys.setprofile(None)
            thread = threading.Thread(target=traced)
            thread.start()
            thread.join()
            assert "traced" in seen
            """
        )


class OsThreads(Green):
    def test_green_threads_of_several_os_threads(self):
        self.check(
            """
            results = {}
            def in_os_thread(name):
                def work():
                    time.sleep(0.02)
                    return threading.current_thread().name.split("-")[0], threading.get_native_id()
                green = [eventlet.spawn(work) for _ in range(3)]
                results[name] = {thread.wait() for thread in green}
            threads = [native.Thread(target=in_os_thread, args=(i,)) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            idents = {ident for result in results.values() for _, ident in result}
            assert len(idents) == 3 and all(len(result) == 1 for result in results.values()), results
            """
        )

    def test_an_event_wakes_a_thread_of_another_os_thread(self):
        self.check(
            """
            there, back = threading.Event(), threading.Event()
            def work():
                assert there.wait(5)
                back.set()
            thread = native.Thread(target=work)
            thread.start()
            count = ticks()
            time.sleep(0.05)
            begin = monotonic()
            there.set()
            assert back.wait(5) and monotonic() - begin < 2
            thread.join()
            """
        )

    def test_a_patched_queue_between_os_threads(self):
        self.check(
            """
            requests, replies = queue.Queue(2), queue.Queue()
            def work():
                while True:
                    item = requests.get()
                    if item is None:
                        return
                    replies.put(item * item)
            threads = [native.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for i in range(50):
                requests.put(i)
            assert sorted(replies.get(timeout=5) for _ in range(50)) == [i * i for i in range(50)]
            for _ in threads:
                requests.put(None)
            for thread in threads:
                thread.join()
            """
        )


class RLocks(Green):
    def test_who_comes_first_is_served_first(self):
        self.check(
            """
            lock, order = threading.RLock(), []
            def work(name):
                for _ in range(3):
                    with lock, lock:
                        order.append(name)
                        time.sleep(0)
            for thread in [eventlet.spawn(work, name) for name in "abc"]:
                thread.wait()
            print("".join(order), str(lock).split(" at ")[0])
            """,
            prints="abcabcabc <unlocked _thread.RLock object owner=0 count=0\n",
        )

    def test_its_methods(self):
        self.check(
            """
            lock = threading.RLock()
            assert lock.acquire() and lock.acquire(False) and lock.acquire(timeout=1) and lock._is_owned()
            assert lock._recursion_count() == 3
            saved = lock._release_save()
            assert not lock._is_owned() and lock._recursion_count() == 0
            lock._acquire_restore(saved)
            assert lock._recursion_count() == 3
            def other():
                begin = monotonic()
                assert not lock.acquire(False) and not lock._is_owned() and lock.locked()
                assert not lock.acquire(timeout=0.1) and 0.1 <= monotonic() - begin < 3
                assert not lock.acquire(timeout=0)
                for misuse in (lock.release, lock._release_save):
                    try:
                        misuse()
                    except RuntimeError as error:
                        print(error)
                for wrong in ((False, 1), (True, -3)):
                    try:
                        lock.acquire(*wrong)
                    except ValueError:
                        print("ValueError")
            eventlet.spawn(other).wait()
            for _ in range(3):
                lock.release()
            assert not lock.locked()
            """,
            prints="cannot release un-acquired lock\n" * 2 + "ValueError\n" * 2,
        )

    def test_killed_and_timed_out_waiters_do_not_take_it_along(self):
        self.check(
            """
            lock, got = threading.RLock(), []
            def wait(name):
                with lock:
                    got.append(name)
            with lock:
                threads = [eventlet.spawn(wait, name) for name in "abcd"]
                eventlet.sleep(0)
                threads[0].kill()
                with eventlet.Timeout(0.02, False):
                    eventlet.sleep(1)
            # Given to b already, which is killed before it knows.
            threads[1].kill()
            threads[3].wait()
            assert got == ["c", "d"] and not lock.locked(), got
            """
        )

    def test_finalizers_and_signal_handlers_may_take_it_at_any_moment(self):
        self.check(
            """
            import gc, signal
            lock, hub = threading.RLock(), eventlet.hubs.get_hub().greenlet
            inside, taken = [], {"finalizer": 0, "handler": 0, "thread": 0}
            def take(name, **how):
                # The hub cannot wait.
                if greenlet.getcurrent() is hub or not lock.acquire(**how):
                    return
                assert not inside or inside[-1] is greenlet.getcurrent(), inside
                inside.append(greenlet.getcurrent())
                taken[name] += 1
                inside.pop()
                lock.release()
            class Garbage:
                def __init__(self):
                    self.itself = self
                def __del__(self):
                    take("finalizer", timeout=20)
            def work():
                for _ in range(300):
                    with lock:
                        Garbage()
                        inside.append(greenlet.getcurrent())
                        inside.pop()
                    take("thread")
                    eventlet.sleep(0)
            signal.signal(signal.SIGPROF, lambda *_: take("handler", blocking=False))
            gc.set_threshold(1)
            signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
            threads = [eventlet.spawn(work) for _ in range(3)]
            for thread in threads:
                thread.wait()
            while not taken["handler"]:
                take("thread")
            signal.setitimer(signal.ITIMER_PROF, 0)
            gc.collect()
            del Garbage.__del__
            assert not lock.locked() and taken["thread"] >= 900 and all(taken.values()), (lock, taken)
            """
        )

    def test_it_is_an_object_as_cpythons_is(self):
        self.check(
            """
            import copy, pickle, weakref
            lock = threading.RLock()
            assert weakref.ref(lock)() is lock and isinstance(lock, threading._PyRLock)
            lock.attribute = 1
            for refused in (
                lambda: pickle.dumps(lock), lambda: copy.copy(lock), lambda: lock.release(1),
                lambda: lock.acquire(timeout=None), lambda: lock.acquire(True, 1, 2), lambda: lock._acquire_restore(1),
            ):
                try:
                    refused()
                except TypeError as error:
                    seen = error
                else:
                    raise AssertionError
                assert not lock.locked(), seen
            assert lock._owner is None and lock._count == 0 and lock._waiters == []
            with lock as entered, lock:
                assert entered is True and lock._owner == id(greenlet.getcurrent()) and lock._count == 2
                waiter = eventlet.spawn(lock.acquire)
                eventlet.sleep(0)
                assert lock._waiters == [waiter]
            assert waiter.wait() and lock._owner == id(waiter)
            class Released(type(lock)):
                def release(self):
                    print("given back")
                    super().release()
            with Released() as mine:
                pass
            """,
            prints="given back\n",
        )

    def test_it_is_not_given_to_the_threads_of_an_os_thread_that_has_ended(self):
        self.check(
            """
            lock = threading.RLock()
            def os_thread():
                eventlet.spawn(lock.acquire)
                eventlet.sleep(0.01)
            with lock:
                other = native.Thread(target=os_thread)
                other.start()
                other.join()
                assert len(lock._waiters) == 1
                waiter = eventlet.spawn(lock.acquire, timeout=20)
                eventlet.sleep(0)
            assert waiter.wait()
            """
        )


class LowLevel(Green):
    def test_start_new_thread(self):
        self.check(
            """
            seen = []
            ident = _thread.start_new_thread(lambda *a, **k: seen.append((a, k, _thread.get_ident())), (1, 2), {"x": 3})
            assert _thread._count() == 0
            eventlet.sleep(0)
            assert seen == [((1, 2), {"x": 3}, ident)], (seen, ident)
            for wrong in ((1,), (len, 1), (len, (), 1)):
                try:
                    _thread.start_new_thread(*(wrong if len(wrong) > 1 else (1, ())))
                except TypeError as error:
                    print("TypeError")
            counts = []
            _thread.start_new_thread(lambda: counts.append(_thread._count()), ())
            eventlet.sleep(0)
            print(counts, _thread._count())
            """,
            prints="TypeError\n" * 3 + "[1] 0\n",
        )

    def test_what_a_function_raises_goes_to_the_unraisable_hook(self):
        self.check(
            """
            def fail():
                raise ValueError("task failed")
            def report(unraisable):
                seen.append(unraisable)
            seen = []
            sys.unraisablehook = report
            _thread.start_new_thread(fail, ())
            eventlet.sleep(0)
            unraisable = seen.pop()
            assert str(unraisable.exc_value) == "task failed"
            assert unraisable.exc_traceback.tb_frame.f_code is fail.__code__
            if sys.version_info >= (3, 13):
                assert unraisable.object is None
                assert unraisable.err_msg == f"Exception ignored in thread started by {fail!r}", unraisable.err_msg
            else:
                assert (unraisable.object, unraisable.err_msg) == (fail, "Exception ignored in thread started by")
            """
        )

    def test_such_a_thread_has_a_dummy_thread_while_it_runs(self):
        self.check(
            """
            dummies = []
            def work():
                dummies.append(threading.current_thread())
                assert threading.current_thread() is dummies[0] in threading.enumerate()
            ident = _thread.start_new_thread(work, ())
            eventlet.sleep(0)
            dummy = dummies[0]
            assert type(dummy) is threading._DummyThread and dummy.ident == ident
            print(dummy in threading.enumerate())
            """,
            prints="False\n",
        )

    def test_representations_and_arguments(self):
        self.check(
            """
            import re, warnings
            lock = threading.RLock()
            assert re.fullmatch(r"<unlocked .* object owner=0 count=0 at 0x[0-9a-f]+>", repr(lock)), lock
            with lock, lock:
                assert re.fullmatch(rf"<locked .* object owner=\\d+ count=2 at 0x[0-9a-f]+>", repr(lock)), lock
            def refused(function, *args):
                try:
                    function(*args)
                except (TypeError, RuntimeError) as error:
                    return type(error)
            if sys.version_info >= (3, 13):
                assert refused(_thread._ThreadHandle()._set_done) is RuntimeError
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                if (3, 13) <= sys.version_info < (3, 15):
                    threading.RLock(1, x=2)
                    class WithArguments(type(lock)):
                        def __init__(self, a):
                            super().__init__()
                    WithArguments(1)
                    assert "RLock" in str(seen.pop().message)
            assert not seen, seen
            """
        )

    def test_exit_ends_the_thread_only(self):
        self.check(
            """
            import greenlet
            def work():
                try:
                    _thread.exit()
                finally:
                    print("ends")
            _thread.start_new_thread(work, ())
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            _thread.start_new_thread(sys.exit, ())
            eventlet.sleep(0.01)
            try:
                eventlet.spawn(work).wait()
            except greenlet.GreenletExit:
                print("GreenletExit")
            """,
            prints="ends\nends\nends\nGreenletExit\n",
        )

    def test_handles(self):
        self.check(
            """
            if hasattr(_thread, "start_joinable_thread"):
                handle = _thread.start_joinable_thread(lambda: time.sleep(0.05))
                assert not handle.is_done() and handle.ident
                assert handle.join(0.01) is None and not handle.is_done()
                handle.join()
                assert handle.is_done() and handle.join() is None
                try:
                    _thread._ThreadHandle().join()
                except RuntimeError as error:
                    assert str(error) == "thread not started"
                else:
                    raise AssertionError
                try:
                    _thread.start_joinable_thread(print, handle)
                except RuntimeError as error:
                    assert str(error) == "thread already started"
                else:
                    raise AssertionError
            if hasattr(_thread, "_set_sentinel"):
                sentinels = []
                def work():
                    sentinels.append(_thread._set_sentinel())
                    sentinels[0].acquire()
                    time.sleep(0.02)
                _thread.start_new_thread(work, ())
                eventlet.sleep(0)
                assert sentinels[0].locked()
                assert sentinels[0].acquire(timeout=1)
            """
        )

    def test_interrupt_main_does_not_end_the_caller(self):
        self.check(
            """
            import signal
            order = []
            def work():
                _thread.interrupt_main()
                order.append("went on")
                eventlet.sleep(0.01)
                order.append("and on")
            green = eventlet.spawn(work)
            try:
                eventlet.sleep(1)
            except KeyboardInterrupt:
                order.append("interrupted")
            green.wait()
            ending = threading.Thread(target=_thread.interrupt_main)
            try:
                ending.start()
                ending.join()
            except KeyboardInterrupt:
                order.append("interrupted")
            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
            eventlet.spawn(_thread.interrupt_main, signal.SIGUSR1).wait()
            eventlet.sleep(0.01)
            print(order, seen)
            """,
            prints="['interrupted', 'went on', 'and on', 'interrupted'] [1]\n",
        )

    def test_timeouts_that_c_refuses_are_refused(self):
        super(Green, self).check(
            """
            import _queue, _thread
            before = [_thread.allocate_lock().acquire, _thread.RLock().acquire]
            simple = _queue.SimpleQueue()
            import eventlet
            eventlet.monkey_patch()
            import queue, threading
            thread = threading.Thread(target=time.sleep, args=(0.1,))
            thread.start()
            waits = [*before, threading.RLock().acquire]
            waits = [lambda timeout, acquire=acquire: acquire(True, timeout) for acquire in waits]
            for each in simple, queue.SimpleQueue():
                waits.append(lambda timeout, each=each: each.get(timeout=timeout))
            if sys.version_info >= (3, 13):
                waits.append(thread.join)
            for wait in waits:
                for timeout, error in (float("nan"), ValueError), (1e300, OverflowError), ("1", TypeError):
                    try:
                        wait(timeout)
                    except error:
                        continue
                    raise AssertionError((wait, timeout))
            """
        )

    def test_stack_size_is_that_of_os_threads(self):
        self.check(
            """
            assert threading.stack_size() == 0 == threading.stack_size(256 * 1024)
            assert native.stack_size(512 * 1024) == 256 * 1024
            # Without an argument it is set to the default again.
            assert threading.stack_size() == 512 * 1024 and threading.stack_size() == 0
            try:
                threading.stack_size(1)
            except ValueError:
                print("ValueError")
            """,
            prints="ValueError\n",
        )

    def test_names_of_the_standard_library_are_there(self):
        self.check(
            """
            original = eventlet.patcher.original("_thread")
            missing = [name for name in dir(original) if not hasattr(_thread, name) or not hasattr(green_thread, name)]
            from eventlet.green import threading as copy
            missing += [name for name in native.__all__ if not hasattr(copy, name)]
            assert missing == ["__spec__"] or all(name.startswith("__") for name in missing), missing
            """
        )


if __name__ == "__main__":
    unittest.main()
