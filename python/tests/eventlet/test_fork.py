"""fork after the patch: green threads of the OS thread that forks live on in the child, others do not; in a process of
multiprocessing's only the one that forked."""

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
            threads = [threading.Thread(target=work, args=(i,), name=str(i)) for i in range(3)]
            for thread in threads:
                thread.start()
            other = native.Thread(target=over.wait)
            other.start()
            def check():
                go.set()
                assert threading.current_thread() is threading.main_thread()
                for thread in threads:
                    thread.join()
                    assert not thread.is_alive()
                assert sorted(done) == [0, 1, 2]
                late = threading.Thread(target=done.append, args=(3,))
                late.start()
                late.join()
                assert done[-1] == 3
            def child():
                assert not other.is_alive()
                assert set(threading.enumerate()) == {threading.main_thread(), *threads}
                check()
            assert in_child(child)
            check()
            over.set()
            other.join()
            """
        )

    def test_fork_within_a_thread(self):
        self.check(
            """
            results = []
            def work():
                me = threading.current_thread()
                def child():
                    assert threading.current_thread() is me and me in threading.enumerate()
                    assert me.native_id == os.getpid()
                    check()
                results.append(in_child(child))
                assert threading.main_thread() is not me
            def check():
                # As with OS threads, the one that has forked is the main one of the child.
                assert threading.main_thread() is threading.current_thread()
                before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread()))
                seen = []
                os.kill(os.getpid(), signal.SIGUSR1)
                assert seen == [threading.main_thread()], seen
                _thread.interrupt_main(signal.SIGUSR1)
                time.sleep(0.01)
                assert len(seen) == 2, seen
                thread = threading.Thread(target=time.sleep, args=(0.01,))
                thread.start()
                thread.join()
                threading._shutdown()
            import _thread, signal
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            eventlet.spawn(lambda: results.append(in_child(check))).wait()
            results.append(in_child(check))
            print(results)
            """,
            prints="[True, True, True]\n",
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

    def test_a_process_of_multiprocessing_has_only_the_thread_that_forked(self):
        self.check(
            """
            import logging, multiprocessing, socket
            class Slow(logging.Handler):
                def emit(self, record):
                    if os.getpid() == parent:
                        go.wait()
            parent, go, ran = os.getpid(), threading.Event(), []
            log = logging.getLogger("here")
            log.addHandler(Slow())
            def work():
                while True:
                    ran.append(os.getpid())
                    time.sleep(0.001)
            threads = [threading.Thread(target=work, daemon=True), threading.Thread(target=log.warning, args=("held",))]
            for thread in threads:
                thread.start()
            green = eventlet.spawn(work)
            context = multiprocessing.get_context("fork")
            def child(connection):
                # Locks of theirs are free, and what waits is not disturbed.
                log.warning("child")
                time.sleep(0.05)
                one, other = socket.socketpair()
                threading.Thread(target=lambda: (time.sleep(0.01), other.send(b"x"))).start()
                alive = [thread.is_alive() for thread in threads]
                connection.send((one.recv(1), set(ran), alive, threading.active_count() <= 2))
            def ask(results):
                here, there = context.Pipe()
                process = context.Process(target=child, args=(there,))
                process.start()
                with eventlet.Timeout(10):
                    results.append(here.recv() == (b"x", {parent}, [False, False], True))
                process.join()
                results.append(process.exitcode)
            results = []
            ask(results)
            thread = threading.Thread(target=ask, args=(results,))
            thread.start()
            thread.join()
            eventlet.spawn(ask, results).wait()
            go.set()
            print(results)
            """,
            prints="[True, 0, True, 0, True, 0]\n",
        )

    def test_locks_that_others_wait_for_are_not_given_to_them_in_a_process_of_multiprocessing(self):
        self.check(
            """
            import multiprocessing
            native = eventlet.patcher.original("_thread").allocate_lock
            locks = [threading.Lock(), threading.RLock(), threading.Semaphore(), threading.Condition(), native()]
            held, called = threading.Lock(), threading.Lock()
            context = multiprocessing.get_context("fork")
            def child():
                for lock in locks:
                    lock.release()
                # As what is registered with os.register_at_fork does.
                for lock in held, called:
                    lock._at_fork_reinit()
                for lock in (*locks, held, called):
                    if not lock.acquire(timeout=2):
                        print("not free:", lock, flush=True)
                print("done", flush=True)
            for lock in (*locks, held, called):
                lock.acquire()
            def use(lock):
                with lock:
                    pass
            threads = [threading.Thread(target=use, args=(lock,)) for lock in (*locks, held, called)]
            for thread in threads:
                thread.start()
            time.sleep(0.01)
            called.release()
            process = context.Process(target=child)
            process.start()
            for lock in (*locks, held):
                lock.release()
            process.join()
            for thread in threads:
                thread.join()
            print(process.exitcode)
            """,
            prints="done\n0\n",
        )

    def test_a_pool_that_replaces_its_workers_runs_the_program_once(self):
        self.check(
            """
            import multiprocessing
            def pid(number):
                time.sleep(0.01)
                return os.getpid()
            with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
                for _ in range(2):
                    print(len(set(pool.map(pid, range(6), 1))), flush=True)
            print("end", flush=True)
            """,
            prints="6\n6\nend\n",
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

    def test_what_a_child_closes_is_still_watched_for_the_parent(self):
        self.check(
            """
            server = eventlet.listen(("127.0.0.1", 0))
            import socket
            one, other = socket.socketpair()
            accepting, reading = eventlet.spawn(server.accept), eventlet.spawn(one.recv, 10)
            eventlet.sleep(0)
            assert in_child(lambda: (server.close(), one.close()))
            other.send(b"x")
            with eventlet.Timeout(10):
                print(reading.wait())
            client = eventlet.connect(server.getsockname())
            with eventlet.Timeout(10):
                print(accepting.wait()[1] == client.getsockname())
            """,
            prints="b'x'\nTrue\n",
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

    def test_multiprocessing_from_a_thread_that_another_waits_for(self):
        # The child says that its main thread has ended, which is this one, and then waits for its own threads.
        self.check(
            """
            import multiprocessing
            def work(queue):
                queue.put(os.getpid())
                time.sleep(0.1)
            def start():
                context = multiprocessing.get_context("fork")
                queue = context.Queue()
                process = context.Process(target=work, args=(queue,))
                process.start()
                assert queue.get(timeout=10) == process.pid
                process.join(10)
                assert process.exitcode == 0, process.exitcode
            import sys, time
            parent = os.getpid()
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()
            if os.getpid() != parent:
                print("the child's main greenlet has gone on", file=sys.stderr, flush=True)
                os._exit(7)
            """
        )

    def test_whoever_waits_for_the_thread_that_forked_goes_on_when_it_has_ended(self):
        self.check(
            """
            import time
            ended = []
            def fork():
                global pid
                time.sleep(0.05)  # until it is waited for
                pid = os.fork()
                threading._shutdown() if pid == 0 else None
                time.sleep(0.05)
                ended.append(pid)
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()
            assert ended == [pid], ended
            if pid == 0:
                os._exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
            """
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

    def test_an_rlock_is_free_unless_a_green_thread_holds_it_that_lives_on(self):
        self.check(
            """
            mine, another, elsewhere = threading.RLock(), threading.RLock(), threading.RLock()
            held, over = native.Event(), native.Event()
            def os_thread():
                with elsewhere:
                    eventlet.spawn(another.acquire)
                    eventlet.sleep(0.01)
                    held.set()
                    over.wait()
            go = eventlet.event.Event()
            green = eventlet.spawn(lambda: (another.acquire(), go.wait(), another.release()))
            eventlet.sleep(0)
            other = native.Thread(target=os_thread)
            other.start()
            held.wait()
            mine.acquire(), mine.acquire()
            def child():
                for lock in (mine, another, elsewhere):
                    lock._at_fork_reinit()
                assert not mine.locked() and not elsewhere.locked() and another.locked()
                assert another._waiters == [], another._waiters
                go.send()
                green.wait()
                assert not another.locked() and another.acquire(timeout=0)
            try:
                assert in_child(child)
                assert mine._is_owned() and len(another._waiters) == 1
            finally:
                over.set()
            other.join()
            """
        )


if __name__ == "__main__":
    unittest.main()
