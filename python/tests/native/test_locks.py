"""Locks of C code that are held over a wait, or waited for, on green threads: mutexes, conditions, semaphores."""

import shutil
import unittest

from module import SOURCES, ModuleTests, cc


class Locks(ModuleTests):
    def test_a_mutex_that_is_held_over_a_wait_keeps_other_green_threads_out_and_not_the_os_thread(self):
        self.check("""
            NORMAL, RECURSIVE, CHECKING = range(3)
            for kind, times in [(NORMAL, 1), (RECURSIVE, 3), (CHECKING, 1)]:
                began = time.monotonic()
                both = [eventlet.spawn(blocking.locked_poll, kind, times, fd, 50) for _ in range(3)]
                ticks = 0
                while not all(one.dead for one in both):
                    eventlet.sleep(0.005)
                    ticks += 1
                assert [one.wait() for one in both] == [0, 0, 0]
                assert time.monotonic() - began >= 0.15 and ticks > 10, (kind, ticks)
            assert eventlet.spawn(blocking.locked_poll, CHECKING, 2, fd, 0).wait() == errno.EDEADLK
            waiting = spawn_and_reach(blocking.locked_poll, NORMAL, 1, fd, 100)
            killed = spawn_and_reach(blocking.locked_poll, NORMAL, 1, fd, 100)
            killed.kill()
            assert waiting.wait() == 0 and end_of(killed) in (0, "GreenletExit")
            assert eventlet.spawn(blocking.locked_poll, NORMAL, 1, fd, 0).wait() == 0
        """)

    def test_whoever_waits_for_a_lock_of_the_library_goes_on_when_it_is_let_go_of(self):
        self.check("""
            def lock(milliseconds):
                blocking.locked_poll(kind, 1, fd, milliseconds)
                return time.monotonic()
            for kind in range(3):
                late = []
                for _ in range(10):
                    holds = spawn_and_reach(lock, 14)
                    waits = spawn_and_reach(lock, 0)
                    late.append(waits.wait() - holds.wait())
                assert min(late) < 0.001, late
            late = []
            for value in range(10, 20):
                waits = eventlet.spawn(lambda: (blocking.wait_for(value, -1), time.monotonic()))
                eventlet.sleep(0.014)
                began = time.monotonic()
                blocking.set(value)
                late.append(waits.wait()[1] - began)
            assert min(late) < 0.001, late
            late = []
            for _ in range(10):
                waits = eventlet.spawn(lambda: (blocking.sem_wait(), time.monotonic()))
                eventlet.sleep(0.014)
                began = time.monotonic()
                blocking.post()
                late.append(waits.wait()[1] - began)
            assert min(late) < 0.001, late
        """)

    def test_a_thread_of_the_librarys_own_may_use_a_lock_when_it_ends(self):
        self.check("""
            for _ in range(3):
                blocking.lock_at_thread_end()
                eventlet.spawn(blocking.lock_at_thread_end).wait()
        """)

    def test_readers_of_the_librarys_data_wait_for_its_writer_and_not_for_each_other(self):
        self.check("""
            began = time.monotonic()
            readers = [spawn_and_reach(blocking.read_locked_poll, False, fd, 50) for _ in range(3)]
            writer = spawn_and_reach(blocking.read_locked_poll, True, fd, 50)
            assert [one.wait() for one in readers] == [0, 0, 0] and not writer.dead
            readers = [spawn_and_reach(blocking.read_locked_poll, False, fd, 50) for _ in range(3)]
            assert [one.wait() for one in [writer, *readers]] == [0, 0, 0, 0]
            assert 0.15 <= time.monotonic() - began < 0.4
        """)

    def test_a_limit_ends_a_wait_and_what_is_let_go_of_before_it_is_taken(self):
        self.check("""
            holders = {
                "mutex": (blocking.locked_poll, 0, 1, fd, DEADLINE),
                "rwlock": (blocking.read_locked_poll, True, fd, DEADLINE),
            }
            def let_go(kind):
                if kind in holders:
                    theirs.send(b"x")
                else:
                    blocking.post() if kind == "sem" else blocking.set(99)
            for call in ["pthread_mutex_timedlock", "pthread_mutex_clocklock", "pthread_rwlock_timedrdlock",
                         "pthread_rwlock_clockrdlock", "pthread_rwlock_timedwrlock", "pthread_rwlock_clockwrlock",
                         "pthread_cond_timedwait", "pthread_cond_clockwait", "sem_timedwait", "sem_clockwait"]:
                kind = call.removeprefix("pthread_").partition("_")[0]
                holds = spawn_and_reach(*holders[kind]) if kind in holders else None
                began = time.monotonic()
                assert spawn_and_reach(blocking.limited, call, 20).wait() == errno.ETIMEDOUT, call
                assert time.monotonic() - began >= 0.019, call
                assert holds is None or not holds.dead, call
                waiting = spawn_and_reach(blocking.limited, call, DEADLINE)
                let_go(kind)
                assert waiting.wait() == 0, call
                if holds is not None:
                    assert holds.wait() == 0 and ours.recv(1) == b"x", call
                blocking.set(0)
        """)

    def test_conditions_and_semaphores_are_waited_for_by_green_threads(self):
        self.check("""
            waiting = spawn_and_reach(blocking.wait_for, 7, -1)
            limited = spawn_and_reach(blocking.wait_for, 8, 50)
            assert limited.wait() == errno.ETIMEDOUT
            blocking.set(7)
            assert waiting.wait() == 0
            waiting = spawn_and_reach(blocking.sem_wait)
            threading.Thread(target=blocking.post).start()
            assert waiting.wait() == 0
        """)

    @unittest.skipUnless(shutil.which("c++"), "needs a C++ compiler")
    def test_conditions_of_cpp_are_waited_for_by_green_threads(self):
        cc("-o", f"{self.folder}/libwaiting.so", SOURCES / "waiting.cpp", compiler="c++")
        self.check("""
            library = ctypes.CDLL(FOLDER + "/libwaiting.so")
            hooks.install([FOLDER + "/libwaiting.so"])
            waiting = [spawn_and_reach(library.waiting_for, 7, limit) for limit in (-1, DEADLINE)]
            assert spawn_and_reach(library.waiting_for, 8, 20).wait() == 1
            library.waiting_set(7)
            assert [one.wait() for one in waiting] == [0, 0]
            waiting = spawn_and_reach(library.waiting_for, 8, -1)
            threading.Thread(target=library.waiting_set, args=(8,)).start()
            assert waiting.wait() == 0
            for one in hooks.report():
                if "libstdc++" in one.path:
                    assert one.refused is None and all("pthread_cond_" in call for call in one.calls), one
        """)


if __name__ == "__main__":
    unittest.main()
