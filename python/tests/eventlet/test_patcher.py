"""monkey_patch, import_patched, original, and what was made before the patch.

Over 500 lines: the programs that the tests run make up most of it.
"""

import unittest

from scenario import Scenario


class MonkeyPatch(Scenario):
    def test_each_flag_patches_its_modules_and_no_others(self):
        for flag, changed in {
            "os": "os",
            "select": "select",
            "socket": "socket",
            "thread": "thread",
            "time": "time",
            "subprocess": "subprocess",
            "builtins": "builtins",
        }.items():
            self.check(
                f"""
                import builtins, os, select, socket, subprocess, threading, time
                from eventlet import patcher

                def state():
                    return dict(os=os.read, select=select.select, socket=socket.socket, thread=threading.Lock,
                                time=time.sleep, subprocess=subprocess.Popen.wait, builtins=builtins.open)

                before = state()
                patcher.monkey_patch({flag}=True)
                after = state()
                print([name for name in before if before[name] is not after[name]])
                assert patcher.is_monkey_patched("{flag}") and list(patcher.already_patched) == ["{flag}"]
                """,
                prints=f"['{changed}']\n",
            )

    def test_all_flags_but_some(self):
        self.check(
            """
            from eventlet import patcher
            patcher.monkey_patch(all=False, os=True, time=True)
            print(sorted(patcher.already_patched))
            patcher.monkey_patch(thread=False, psycopg=False)
            print(sorted(patcher.already_patched))
            patcher.monkey_patch(all=True, psycopg=False, subprocess=False)
            print(sorted(patcher.already_patched))
            """,
            prints="['os', 'time']\n['os', 'select', 'socket', 'subprocess', 'time']\n"
            "['os', 'select', 'socket', 'subprocess', 'thread', 'time']\n",
        )

    def test_a_wrong_flag_is_an_error_and_nothing_is_patched(self):
        self.check(
            """
            from eventlet import patcher
            try:
                patcher.monkey_patch(time=True, tiem=True)
            except TypeError as error:
                print(error)
            print(patcher.already_patched)
            """,
            prints="monkey_patch() got an unexpected keyword argument 'tiem'\n{}\n",
        )

    def test_late_and_again(self):
        self.check(
            """
            import queue, socket, threading, time
            import eventlet
            eventlet.spawn(eventlet.sleep, 0.01).wait()
            eventlet.monkey_patch()
            def state():
                return threading.Lock, threading.RLock, threading.current_thread, queue.Queue, time.sleep, socket.socket
            first = state()
            lock = threading.RLock()
            eventlet.monkey_patch()
            eventlet.monkey_patch(thread=True)
            assert first == state()
            with lock:
                thread = threading.Thread(target=time.sleep, args=(0.01,))
                thread.start()
                thread.join()
            print(thread.is_alive())
            """,
            prints="False\n",
        )

    def test_in_a_thread_that_is_not_the_main_one(self):
        self.check(
            """
            import threading
            def work():
                import eventlet
                eventlet.monkey_patch()
                eventlet.spawn(time.sleep, 0.01).wait()
                assert threading.current_thread() is thread
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert threading.current_thread() is threading.main_thread() and not thread.is_alive()
            import eventlet
            for module in (threading, eventlet.patcher.original("threading"), eventlet.green.threading):
                assert module.main_thread().ident == threading.get_ident() == module.current_thread().ident
            later = threading.Thread(target=time.sleep, args=(0.01,))
            later.start()
            later.join()
            print(threading.active_count())
            """,
            prints="1\n",
        )

    def test_the_program_ends_while_daemons_use_locks(self):
        self.check(
            """
            import queue, threading
            lock, rlock, items = threading.Lock(), threading.RLock(), queue.SimpleQueue()
            def work():
                while True:
                    with lock, rlock:
                        items.put(1)
                        items.get()
            for _ in range(3):
                threading.Thread(target=work, daemon=True).start()
            import eventlet
            eventlet.monkey_patch()
            eventlet.sleep(0.05)
            print("ends")
            """,
            prints="ends\n",
        )

    def test_what_cannot_be_changed_keeps_its_lock(self):
        self.check(
            """
            import functools, threading
            lock, rlock = threading.Lock(), threading.RLock()
            kept = [functools.partial(each.acquire) for each in (lock, rlock)]
            import eventlet
            eventlet.monkey_patch()
            assert [each() for each in kept] == [True, True]
            assert not lock.acquire(blocking=False)
            """
        )

    def test_importing_and_patching_warns_of_nothing(self):
        self.check(
            """
            import pkgutil
            import eventlet
            eventlet.monkey_patch(builtins=True, psycopg=False)
            import eventlet.green, importlib
            left_out = {"MySQLdb", "OpenSSL", "zmq"}
            if sys.version_info >= (3, 15):
                left_out.add("profile")  # warns itself: it will be removed
            for module in pkgutil.walk_packages(eventlet.green.__path__, "eventlet.green."):
                if not module.name.split(".")[2] in left_out:
                    importlib.import_module(module.name)
            import concurrent.futures, http.server, logging.handlers, multiprocessing, urllib.request
            """,
            "-W", "error",
        )  # fmt: skip

    def test_sleep_refuses_what_the_standard_librarys_refuses(self):
        self.check(
            """
            real = time.sleep
            import eventlet
            eventlet.monkey_patch()
            for wrong in (-1, -0.001, float("nan"), float("inf"), 1e300, "1", None):
                errors = []
                for sleep in (real, time.sleep):
                    try:
                        sleep(wrong)
                    except Exception as error:
                        errors.append(type(error))
                assert errors[0] is errors[1], (wrong, errors)
            time.sleep(-0.0), time.sleep(1e-100)
            """
        )

    def test_functions_of_c_are_no_methods_of_a_class_that_has_them(self):
        self.check(
            """
            import inspect, os, pickle, select, signal, socket, threading, types
            import _thread, builtins

            modules = _thread, builtins, os, select, signal, socket, threading, time

            def of_c():
                return {
                    (module, name)
                    for module in modules
                    for name, value in vars(module).items()
                    if isinstance(value, types.BuiltinFunctionType)
                }

            before = of_c()
            import eventlet
            eventlet.monkey_patch(all=True)
            green = before - of_c()
            assert len(green) > 20, green
            for module, name in green:
                function = getattr(module, name)
                in_class = type("Holder", (), {name: function})
                assert getattr(in_class(), name) is function, name
                assert getattr(in_class, name) is function, name
                if not isinstance(function, type):
                    assert pickle.loads(pickle.dumps(function)) is function, name
                    inspect.signature(function)
            assert str(inspect.signature(os.read)) == "(fd, n)"

            class Worker:
                start, read, write, select = _thread.start_new_thread, os.read, os.write, select.select
                ident, wait = threading.get_ident, os.waitpid
                def run(self):
                    ends = os.pipe()
                    self.start(lambda: self.write(ends[1], b"x"), ())
                    self.select([ends[0]], [], [])
                    assert self.read(ends[0], 1) == b"x" and self.ident() == threading.get_ident()
                    self.wait(os.posix_spawn("/bin/true", ["true"], {}), 0)
            Worker().run()
            """
        )

    def test_so_they_are_in_the_green_modules(self):
        self.check(
            """
            from eventlet.green import os, select, socket, thread
            class Holder:
                read, poll, resolve, start = os.read, select.poll, socket.gethostbyname, thread.start_new_thread
            ends = os.pipe()
            os.write(ends[1], b"x")
            assert Holder().read(ends[0], 1) == b"x"
            assert Holder().resolve("127.0.0.1") == "127.0.0.1"
            Holder().poll().register(ends[0])
            Holder().start(print, ("started",))
            import eventlet
            eventlet.sleep(0)
            """,
            prints="started\n",
        )

    def test_a_program_is_run_patched(self):
        import tempfile

        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write("import sys, time\nfrom eventlet.patcher import is_monkey_patched\n")
            file.write("print(__name__, sys.argv[1:], is_monkey_patched('time'), time.sleep.__module__)\n")
            file.flush()
            output = self.run_program(
                f"""
                import runpy
                sys.argv = ["patcher", {file.name!r}, "a", "-b"]
                runpy.run_module("eventlet.patcher", run_name="__main__", alter_sys=False)
                """,
                "-W",
                "ignore",
            )
        self.assertTrue(output.startswith("__main__ ['a', '-b'] True"), output)

    def test_import_locks_stay_those_of_os_threads(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            native = eventlet.patcher.original("threading")
            import importlib._bootstrap
            assert importlib._bootstrap._thread.allocate_lock is eventlet.patcher.original("_thread").allocate_lock
            sys.modules.pop("encodings.punycode", None)
            def load():
                import encodings.punycode
            threads = [native.Thread(target=load) for _ in range(8)]
            for thread in threads:
                thread.start()
            load()
            for thread in threads:
                thread.join()
            print("done")
            """,
            prints="done\n",
        )


class Original(Scenario):
    def test_it_is_what_the_module_was(self):
        self.check(
            """
            import os, select, time, _thread, threading, socket, subprocess
            real = (time.sleep, select.poll, select.epoll, select.select, _thread.allocate_lock, _thread.get_ident,
                    os.read)
            import eventlet
            eventlet.monkey_patch()
            time_, select_, thread_, os_ = map(eventlet.patcher.original, ("time", "select", "_thread", "os"))
            assert real == (time_.sleep, select_.poll, select_.epoll, select_.select, thread_.allocate_lock,
                            thread_.get_ident, os_.read)
            assert eventlet.patcher.original("time") is time_
            """
        )

    def test_it_sees_originals_even_if_it_is_asked_for_late(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            original = eventlet.patcher.original
            subprocess = original("subprocess")
            for name in ("os", "select", "selectors", "threading", "time"):
                assert getattr(subprocess, name) is original(name), name
            assert original("queue").threading is original("threading")
            assert original("threading")._start_new_thread is not None if sys.version_info < (3, 13) else True
            assert original("selectors").select is original("select")
            assert original("selectors").PollSelector._selector_cls is original("select").poll
            """
        )

    def test_an_original_thread_is_an_os_thread(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            native = eventlet.patcher.original("threading")
            import threading
            seen = []
            def work():
                seen.append((native.get_native_id(), threading.current_thread().name, native.current_thread().name))
            thread = native.Thread(target=work, name="of the system")
            thread.start()
            thread.join()
            (ident, name, native_name), = seen
            assert ident != native.get_native_id()
            print(name, "/", native_name, "/", len(threading._active), len(native._active))
            """,
            prints="of the system / of the system / 1 1\n",
        )

    def test_os_has_one_environment(self):
        self.check(
            """
            import os
            import eventlet
            eventlet.monkey_patch()
            os.environ["GREENLOOM_TEST"] = "1"
            print(eventlet.patcher.original("os").environ["GREENLOOM_TEST"])
            """,
            prints="1\n",
        )


class ImportPatched(Scenario):
    def test_sys_modules_is_as_before_submodules_included(self):
        self.check(
            """
            import email.message, http.client, http.server, urllib.request, xml.etree.ElementTree, json.decoder
            import eventlet.green.socket, eventlet.green.subprocess
            before = {name: id(module) for name, module in sys.modules.items()}
            attributes = {name: id(getattr(http, name)) for name in ("client", "server")}
            from eventlet import import_patched
            for name in ("http", "urllib", "json", "xml.etree", "email"):
                assert import_patched(name) is not sys.modules[name]
            import eventlet.green.http.client, eventlet.green.http.server, eventlet.green.urllib.request
            assert before == {name: id(sys.modules[name]) for name in before}
            assert attributes == {name: id(getattr(http, name)) for name in attributes}
            """
        )

    def test_what_was_not_imported_is_not_imported_afterwards(self):
        self.check(
            """
            import eventlet
            assert "wsgiref" not in sys.modules
            copy = eventlet.import_patched("wsgiref.simple_server")
            assert "wsgiref.simple_server" not in sys.modules
            import wsgiref
            assert not hasattr(wsgiref, "simple_server")
            import wsgiref.simple_server
            assert wsgiref.simple_server is not copy
            assert copy is eventlet.import_patched("wsgiref.simple_server")
            """
        )

    def test_a_copy_uses_green_modules(self):
        self.check(
            """
            import eventlet
            from eventlet.green import socket, select, threading, time
            copy = eventlet.import_patched("socketserver")
            assert copy.socket is socket and copy.threading is threading
            import socketserver
            assert socketserver.socket is not socket
            """
        )

    def test_patch_function_changes_what_is_imported_within(self):
        self.check(
            """
            import eventlet.green.time
            from eventlet.patcher import patch_function

            def which():
                '''what it does'''
                import time
                return time

            assert patch_function(which, ("time", eventlet.green.time))() is eventlet.green.time
            assert which() is time and patch_function(which).__doc__ == "what it does"
            """
        )


class MadeBefore(Scenario):
    def test_rlocks_wherever_they_are(self):
        self.check(
            """
            import collections, threading
            class Holder:
                __slots__ = ("lock", "__weakref__")
                shared = threading.RLock()
            class Plain:
                def __init__(self):
                    self.lock = threading.RLock()
            in_global, slots, plain = threading.RLock(), Holder(), Plain()
            slots.lock = threading.RLock()
            in_dict, in_list, in_tuple = {1: threading.RLock()}, [threading.RLock()], (1, threading.RLock())
            in_deque = collections.deque([threading.RLock()])
            def default(lock=threading.RLock()):
                return lock
            def closure():
                lock = threading.RLock()
                return lambda: lock
            in_closure = closure()
            def generator():
                lock = threading.RLock()
                yield lock
                yield lock
            in_frame = generator()
            next(in_frame)

            import eventlet
            eventlet.monkey_patch()
            for get in (lambda: in_global, lambda: Holder.shared, lambda: slots.lock, lambda: plain.lock,
                        lambda: in_dict[1], lambda: in_list[0], lambda: in_deque[0], lambda: in_tuple[1], default,
                        in_closure):
                assert isinstance(get(), threading._PyRLock), get
                exclusion(get)
            left = next(in_frame)
            exclusion(lambda: left)
            with left:
                assert left.acquire() and left.release() is None
            """
        )

    def test_rlocks_and_locks_that_a_function_holds_while_it_patches(self):
        self.check(
            """
            import threading
            def patch():
                rlock, lock = threading.RLock(), threading.Lock()
                with rlock, lock:
                    import eventlet
                    eventlet.monkey_patch()
                    got = []
                    def take(lock):
                        with lock:
                            got.append(1)
                    threads = [eventlet.spawn(take, lock), eventlet.spawn(take, rlock)]
                    eventlet.sleep(0.05)
                    assert got == [] and rlock.acquire(blocking=False)
                    rlock.release()
                for thread in threads:
                    thread.wait()
                assert got == [1, 1]
            patch()
            """
        )

    def test_a_held_rlock_stays_held_by_who_holds_it(self):
        self.check(
            """
            import threading
            lock = threading.RLock()
            lock.acquire(), lock.acquire()
            import eventlet
            eventlet.monkey_patch()
            assert not eventlet.spawn(lock.acquire, False).wait()
            lock.release()
            assert not eventlet.spawn(lock.acquire, False).wait()
            lock.release()
            assert eventlet.spawn(lock.acquire, False).wait()
            try:
                lock.release()
            except RuntimeError as error:
                print(error)
            """,
            prints="cannot release un-acquired lock\n",
        )

    def test_plain_locks(self):
        self.check(
            """
            import threading
            def make():
                lock = threading.Lock()
                return lambda: lock
            get, in_tuple = make(), (threading.Lock(),)
            import eventlet
            eventlet.monkey_patch()
            exclusion(get), exclusion(lambda: in_tuple[0])
            count = ticks()
            lock = get()
            lock.acquire()
            begin = monotonic()
            assert not lock.acquire(timeout=0.2) and 0.2 <= monotonic() - begin < 4 and count[0] > 10, count
            assert not lock.acquire(False) and lock.locked()
            eventlet.spawn_after(0.05, lock.release)
            assert lock.acquire(timeout=5)
            for wrong in ((False, 1), (True, -2)):
                try:
                    lock.acquire(*wrong)
                except ValueError:
                    print("ValueError")
            """,
            prints="ValueError\nValueError\n",
        )

    def test_waiters_for_a_lock_take_turns_with_who_comes_back_at_once(self):
        self.check(
            """
            import threading
            get = (lambda lock: lambda: lock)(threading.Lock())
            import eventlet
            eventlet.monkey_patch()
            order = []
            def work(name):
                for _ in range(3):
                    with get():
                        order.append(name)
                        eventlet.sleep(0)
            threads = [eventlet.spawn(work, name) for name in "abc"]
            for thread in threads:
                thread.wait()
            print("".join(order))
            """,
            prints="abcabcabc\n",
        )

    def test_a_killed_waiter_leaves_no_trace(self):
        self.check(
            """
            import threading
            get = (lambda *locks: lambda: locks)(threading.Lock(), threading.RLock())
            import eventlet
            eventlet.monkey_patch()
            from eventlet.support import native_locks
            for lock in get():
                lock.acquire()
                first, second = eventlet.spawn(lock.acquire), eventlet.spawn(lock.acquire)
                eventlet.sleep(0)
                first.kill()
                lock.release()
                assert second.wait()
            assert native_locks._waiting == {}
            """
        )

    def test_conditions_and_queues(self):
        self.check(
            """
            import queue, threading
            def make():
                return (threading.Condition(), threading.Condition(threading.Lock()), threading.Event(), queue.Queue(1),
                        queue.SimpleQueue(), threading.Semaphore(0), threading.Barrier(2))
            condition, with_lock, happened, bounded, simple, semaphore, barrier = made = make()
            import eventlet
            eventlet.monkey_patch()
            count = ticks()
            for each in (condition, with_lock):
                ready = []
                def waiter():
                    each.acquire()
                    while not ready:
                        each.wait()
                    each.release()
                thread = eventlet.spawn(waiter)
                eventlet.sleep(0.01)
                with each:
                    ready.append(1)
                    each.notify()
                thread.wait()
            thread = eventlet.spawn(happened.wait)
            eventlet.sleep(0.01)
            happened.set()
            assert thread.wait()
            thread = eventlet.spawn(lambda: [bounded.get() for _ in range(3)])
            for i in range(3):
                bounded.put(i)
            assert thread.wait() == [0, 1, 2]
            thread = eventlet.spawn(lambda: [simple.get() for _ in range(3)])
            for i in range(3):
                simple.put(i)
                eventlet.sleep(0)
            assert thread.wait() == [0, 1, 2]
            try:
                simple.get(timeout=0.1)
            except queue.Empty:
                print("empty")
            eventlet.spawn_after(0.01, semaphore.release)
            semaphore.acquire()
            thread = eventlet.spawn(barrier.wait)
            assert {barrier.wait(), thread.wait()} == {0, 1}
            assert count[0] > 8, count
            """,
            prints="empty\n",
        )

    def test_logging(self):
        self.check(
            """
            import logging, threading
            class Slow(logging.Handler):
                busy = 0
                def emit(self, record):
                    assert Slow.busy == 0
                    Slow.busy += 1
                    eventlet.sleep(0.01)
                    Slow.busy -= 1
            log = logging.getLogger("here")
            log.addHandler(Slow())
            import eventlet
            eventlet.monkey_patch()
            native = eventlet.patcher.original("threading")
            assert isinstance(logging._lock, threading._PyRLock)
            assert all(isinstance(handler.lock, threading._PyRLock) for handler in log.handlers)
            threads = [eventlet.spawn(log.warning, "green %s", i) for i in range(5)]
            threads.append(native.Thread(target=log.warning, args=("of the system",)))
            threads[-1].start()
            for thread in threads[:-1]:
                thread.wait()
            threads[-1].join()
            """
        )

    def test_locks_shared_with_os_threads(self):
        self.check(
            """
            import threading, _thread
            start = _thread.start_new_thread
            def make():
                locks = threading.Lock(), threading.RLock()
                return lambda: locks
            get = make()
            import eventlet
            eventlet.monkey_patch()
            locks = (*get(), threading.Lock(), threading.RLock())
            count = ticks()
            for lock in locks:
                inside, ended, most = [], [], []
                def work(pause):
                    for _ in range(20):
                        with lock:
                            inside.append(1)
                            most.append(len(inside))
                            pause(0.001)
                            inside.pop()
                    ended.append(1)
                for _ in range(2):
                    start(work, (real_sleep,))
                    eventlet.spawn(work, eventlet.sleep)
                while len(ended) < 4:
                    eventlet.sleep(0.01)
                assert max(most) == 1, (lock, max(most))
            assert count[0] > 20, count
            """
        )

    def test_a_crowd_of_green_and_os_threads_at_one_lock(self):
        self.check(
            """
            import threading
            find = (lambda *locks: lambda: locks)(threading.Lock(), threading.RLock())
            in_list = [threading.RLock()]
            import eventlet
            eventlet.monkey_patch()
            native = eventlet.patcher.original("threading")
            sys.setswitchinterval(0.0001)
            for lock in (*find(), *in_list, threading.Lock(), threading.RLock()):
                busy, total = [], [0]
                def work(rounds, pause):
                    for i in range(rounds):
                        with lock:
                            assert not busy
                            busy.append(1)
                            if i % 7 == 0:
                                pause(0)
                            total[0] += 1
                            busy.pop()
                        if i % 11 == 0:
                            pause(0)
                def crowd():
                    for thread in [eventlet.spawn(work, 100, eventlet.sleep) for _ in range(5)]:
                        thread.wait()
                threads = [native.Thread(target=crowd) for _ in range(3)]
                threads += [native.Thread(target=work, args=(500, real_sleep)) for _ in range(2)]
                for thread in threads:
                    thread.start()
                crowd()
                for thread in threads:
                    thread.join()
                assert total == [3000], (lock, total)
            """
        )

    def test_an_rlock_that_another_os_thread_gives_back_has_its_waiter_for_owner(self):
        self.check(
            """
            import threading
            import eventlet
            eventlet.monkey_patch()
            native = eventlet.patcher.original("threading")
            taken, lock = native.Event(), threading.RLock()
            def hold():
                with lock, lock:
                    taken.set()
                    while not lock._waiters:
                        real_sleep(0.001)
                assert not lock._is_owned() and not lock.acquire(False)
                checked.set()
            checked = native.Event()
            thread = native.Thread(target=hold)
            thread.start()
            assert taken.wait(10)
            with lock:
                assert lock._is_owned() and lock._recursion_count() == 1
                assert checked.wait(10)
            thread.join()
            assert not lock.locked() and lock.acquire(False)
            """
        )

    def test_a_simple_queue_between_green_and_os_threads(self):
        self.check(
            """
            import queue, _thread
            start = _thread.start_new_thread
            there, back = (lambda: (queue.SimpleQueue(), queue.SimpleQueue()))()
            def echo():
                while True:
                    back.put(there.get())
            start(echo, ())
            import eventlet
            eventlet.monkey_patch()
            count = ticks()
            for i in range(50):
                there.put(i)
                assert back.get(timeout=5) == i
            eventlet.sleep(0.1)
            assert count[0] > 5
            """
        )

    def test_os_threads_that_ran_before_are_joined_without_blocking(self):
        self.check(
            """
            import threading
            def work():
                while not begun:
                    real_sleep(0.01)
                real_sleep(0.3)
                assert threading.current_thread() is thread
            begun = []
            thread = threading.Thread(target=work, name="early")
            thread.start()
            import eventlet
            eventlet.monkey_patch()
            count = ticks()
            begun.append(1)
            assert thread in threading.enumerate() and thread.is_alive()
            thread.join(0.05)
            assert thread.is_alive()
            thread.join()
            assert not thread.is_alive() and thread not in threading.enumerate() and count[0] > 10, count
            """
        )


class Interrupted(Scenario):
    def test_finalizers_that_log_while_a_record_is_being_logged(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import gc, io, logging
            logging.basicConfig(stream=io.StringIO(), level="INFO")
            log = logging.getLogger("here")
            class Cyclic:
                def __init__(self):
                    self.me = self
                def __del__(self):
                    log.info("one goes")
            gc.set_threshold(1)
            def work():
                for _ in range(200):
                    Cyclic()
                    log.info("one comes")
                    eventlet.sleep(0)
            for thread in [eventlet.spawn(work) for _ in range(4)]:
                thread.wait()
            print("done")
            """,
            prints="done\n",
        )

    def test_signal_handlers_that_take_what_they_interrupt(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import io, logging, queue, signal, threading
            logging.basicConfig(stream=io.StringIO(), level="INFO")
            lock, simple, taken = threading.RLock(), queue.SimpleQueue(), [0]
            def handler(*_):
                with lock:
                    taken[0] += 1
                logging.info("interrupted")
                simple.put(1)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            end = monotonic() + 1.5
            while monotonic() < end:
                with lock:
                    pass
                logging.info("on the way")
                simple.put(0)
                simple.get()
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert taken[0] > 100, taken
            assert simple.qsize() == taken[0], (simple.qsize(), taken)
            """
        )


if __name__ == "__main__":
    unittest.main()
