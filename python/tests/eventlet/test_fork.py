"""fork after the patch: of the threads only the one that forks lives on in the child; green threads of eventlet.spawn()
live on, if they are of its OS thread."""

import unittest

from scenario import Scenario

PATCHED = """
import eventlet
eventlet.monkey_patch()
import os, threading
native = eventlet.patcher.original("threading")

def in_child(work):
    # Whether work() in a child process ended well.
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0
"""


class Fork(Scenario):
    def check(self, program, *options, **settings):
        import textwrap

        super().check(PATCHED + textwrap.dedent(program), *options, **settings)

    def test_green_threads_live_on_in_both(self):
        self.check(
            """
            done, go, over = [], threading.Event(), native.Event()
            def work(name):
                go.wait()
                done.append(name)
            threads = [eventlet.spawn(work, i) for i in range(3)]
            other = native.Thread(target=over.wait)
            other.start()
            def check():
                go.set()
                assert threading.current_thread() is threading.main_thread()
                for thread in threads:
                    thread.wait()
                assert sorted(done) == [0, 1, 2]
                late = threading.Thread(target=done.append, args=(3,))
                late.start()
                late.join()
                assert done[-1] == 3
            def child():
                assert not other.is_alive()
                assert threading.enumerate() == [threading.main_thread()]
                check()
            assert in_child(child)
            check()
            over.set()
            other.join()
            """
        )

    def test_threads_do_not_go_on_in_the_child(self):
        self.check(
            """
            import _thread, queue
            lock, items, log = threading.Lock(), queue.Queue(), []
            rlock, early = threading.RLock(), threading.Lock()
            event, server = threading.Event(), eventlet.listen(("127.0.0.1", 0))
            threads = []
            def timed():
                with eventlet.Timeout(0.05):
                    time.sleep(10)
            def thread(work):
                def run():
                    try:
                        work()
                    except BaseException:
                        log.append("interrupted")
                    finally:
                        log.append("unwound")
                threads.append(threading.Thread(target=run, daemon=True))
                threads[-1].start()
            lock.acquire(), rlock.acquire()
            for work in (
                lambda: time.sleep(0.05), lock.acquire, items.get, server.accept, lambda: time.sleep(0), event.wait,
                rlock.acquire, timed, lambda: os.read(pipe[0], 1), lambda: hubs.trampoline(server, read=True),
            ):
                pipe = os.pipe()
                thread(work)
            from eventlet import hubs
            time.sleep(0.01)
            log.clear()
            # It is woken and has not gone on; it has not begun.
            event.set()
            _thread.start_new_thread(log.append, ("begun",))
            def child():
                assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
                assert threading.active_count() == 1 and _thread._count() == 0
                assert not any(thread.is_alive() for thread in threads)
                for thread in threads:
                    thread.join()
                # What they waited for is for those who live.
                lock.release(), rlock.release()
                assert lock.acquire(timeout=5)
                got = []
                def take():
                    with rlock:
                        got.append(items.get())
                taker = threading.Thread(target=take)
                taker.start()
                items.put(1)
                taker.join(5)
                assert got == [1], got
                os.write(pipe[1], b"x")
                assert os.read(pipe[0], 1) == b"x"
                eventlet.spawn(eventlet.connect, server.getsockname())
                server.accept()
                time.sleep(0.1)
                import gc
                threads.clear()
                gc.collect()
                time.sleep(0)
                assert not log, log
            assert in_child(child)
            lock.release(), rlock.release(), items.put(2), os.write(pipe[1], b"x")
            eventlet.connect(server.getsockname())
            time.sleep(0.1)
            assert "begun" in log and log.count("unwound") >= 6, log
            """
        )

    def test_a_lock_that_a_thread_held_stays_held_in_the_child(self):
        self.check(
            """
            import logging
            lock, rlock, go = threading.Lock(), threading.RLock(), threading.Event()
            handler = logging.StreamHandler()
            def hold():
                with lock, rlock, handler.lock:
                    go.wait()
            thread = threading.Thread(target=hold)
            thread.start()
            def child():
                go.set()
                assert lock.locked() and not lock.acquire(timeout=0.01)
                assert not rlock.acquire(timeout=0.01)
                # logging makes its locks anew.
                assert handler.lock.acquire(timeout=5)
            assert in_child(child)
            go.set()
            thread.join()
            """
        )

    def test_a_thread_that_forks_is_the_childs_main_thread(self):
        self.check(
            """
            after = []
            def work():
                pid = os.fork()
                if pid:
                    after.append(os.waitpid(pid, 0)[1])
                    return
                me = threading.current_thread()
                assert threading.main_thread() is me and threading.enumerate() == [me]
                other = threading.Thread(target=lambda: (time.sleep(0.05), print("other", flush=True)))
                other.start()
                print(me.name, flush=True)
                # The child ends with its last thread: nobody goes on where the parent's main thread was.
            thread = threading.Thread(target=work, name="forker")
            thread.start()
            try:
                with eventlet.Timeout(20):
                    thread.join()
            finally:
                print("main", after)
            """,
            prints="forker\nother\nmain [0]\n",
        )

    def test_a_timeout_of_the_parents_main_thread_does_not_fire_in_the_child(self):
        self.check(
            """
            r, w = os.pipe()
            def work():
                pid = os.fork()
                if pid == 0:
                    time.sleep(0.1)
                    os.write(w, b"child ")
                    return
                os.waitpid(pid, 0)
            thread = threading.Thread(target=work)
            thread.start()
            with eventlet.Timeout(0.05, False):
                thread.join()
            os.write(w, b"main ")
            thread.join()
            os.close(w)
            print(os.read(r, 100))
            """,
            prints="b'main child '\n",
        )

    def test_fork_within_a_thread(self):
        self.check(
            """
            results = []
            def work():
                me = threading.current_thread()
                def child():
                    assert threading.current_thread() is me and me in threading.enumerate()
                    assert threading.main_thread() is me
                    time.sleep(0.01)
                results.append(in_child(child))
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            eventlet.spawn(lambda: results.append(in_child(lambda: time.sleep(0.01)))).wait()
            print(results)
            """,
            prints="[True, True]\n",
        )

    def test_fork_in_an_os_thread(self):
        self.check(
            """
            results = []
            green = threading.Thread(target=time.sleep, args=(0.5,))
            green.start()
            def work():
                def child():
                    assert not green.is_alive() and threading.main_thread() is threading.current_thread()
                    assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
                    thread = threading.Thread(target=time.sleep, args=(0.01,))
                    thread.start()
                    thread.join()
                results.append(in_child(child))
            thread = native.Thread(target=work)
            thread.start()
            thread.join()
            print(results)
            """,
            prints="[True]\n",
        )

    def test_a_lock_held_by_a_green_thread_stays_held_by_it(self):
        self.check(
            """
            import logging
            class Slow(logging.Handler):
                def emit(self, record):
                    assert not busy
                    busy.append(record.msg)
                    eventlet.sleep(0.05)
                    busy.pop()
                    seen.append(record.msg)
            busy, seen = [], []
            logging.raiseExceptions = True
            log = logging.getLogger("here")
            log.addHandler(Slow())
            green = eventlet.spawn(log.warning, "green")
            waiting = eventlet.spawn(log.warning, "waiting")
            eventlet.sleep(0.01)
            def child():
                log.warning("child")
                green.wait(), waiting.wait()
                assert seen == ["green", "waiting", "child"], seen
            assert in_child(child)
            green.wait(), waiting.wait()
            assert seen == ["green", "waiting"], seen
            """
        )

    def test_a_lock_held_by_an_os_thread_is_free_in_the_child(self):
        self.check(
            """
            import logging
            log = logging.getLogger("here")
            log.addHandler(logging.NullHandler())
            handler = logging.StreamHandler()
            log.addHandler(handler)
            held = []
            def hold():
                with handler.lock:
                    held.append(1)
                    while held:
                        real_sleep(0.001)
            thread = native.Thread(target=hold)
            thread.start()
            while not held:
                time.sleep(0.001)
            def child():
                with eventlet.Timeout(5):
                    with handler.lock:
                        pass
            assert in_child(child)
            held.clear()
            thread.join()
            """
        )

    def test_the_end_of_the_child_does_not_wait_for_the_parents_threads(self):
        self.check(
            """
            ended = []
            def work():
                while not ended:
                    time.sleep(0.01)
            thread = threading.Thread(target=work)
            thread.start()
            pid = os.fork()
            if pid == 0:
                own = threading.Thread(target=lambda: (time.sleep(0.05), print("own", flush=True)))
                own.start()
                sys.exit(3)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            ended.append(1)
            """,
            prints="own\n3\n",
            seconds=10,
        )

    def test_a_fork_waits_for_an_import(self):
        self.check(
            """
            import _imp
            held = threading.Event()
            def importer():
                _imp.acquire_lock()
                sys.modules["partial"] = "partial"
                held.set()
                time.sleep(0.01)
                sys.modules["partial"] = "whole"
                _imp.release_lock()
            thread = threading.Thread(target=importer)
            thread.start()
            held.wait()
            def child():
                import partial
                assert partial == "whole", partial
                import calendar
            assert in_child(child)
            thread.join()
            assert not _imp.lock_held()
            try:
                _imp.release_lock()
            except RuntimeError:
                pass
            """
        )

    def test_multiprocessing(self):
        self.check(
            """
            import multiprocessing
            context = multiprocessing.get_context("fork")
            def work(queue, i):
                time.sleep(0.05)
                queue.put(i * i)
            queue = context.SimpleQueue()
            forever = threading.Thread(target=lambda: [time.sleep(0.05) for _ in range(40)], daemon=True)
            forever.start()
            processes = [context.Process(target=work, args=(queue, i)) for i in range(3)]
            for process in processes:
                process.start()
            for process in processes:
                process.join(10)
                assert process.exitcode == 0
            print(sorted(queue.get() for _ in processes))
            """,
            prints="[0, 1, 4]\n",
        )

    def test_what_was_made_before_the_patch(self):
        super().check(
            """
            import threading
            lock = (lambda lock: lambda: lock)(threading.RLock())
            def work():
                while not ended:
                    real_sleep(0.01)
            ended = []
            early = threading.Thread(target=work)
            early.start()
            """
            + PATCHED.replace("\n", "\n            ")
            + """
            def child():
                assert not early.is_alive() and threading.enumerate() == [threading.main_thread()]
                with lock(), lock():
                    eventlet.sleep(0)
            assert in_child(child)
            assert early.is_alive()
            ended.append(1)
            early.join()
            """
        )


if __name__ == "__main__":
    unittest.main()
