"""What is left of a hub when its OS thread has ended: nothing."""

import gc
import os
import threading
import unittest

import eventlet
from eventlet import hubs
from eventlet.patcher import original

Thread = original("threading").Thread


def run_in_threads(function, number):
    for _ in range(number):
        thread = Thread(target=function)
        thread.start()
        thread.join()
    gc.collect()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class ThreadEnd(unittest.TestCase):
    def test_file_descriptors_and_memory_are_given_back(self):
        def work():
            eventlet.spawn(eventlet.sleep, 0.001).wait()

        run_in_threads(work, 20)
        files, memory = open_files(), resident()
        run_in_threads(work, 300)
        self.assertLess(open_files(), files + 10)
        self.assertLess(resident(), memory + 300 * 4000)

    def test_a_hub_that_never_ran_is_no_trouble(self):
        run_in_threads(hubs.get_hub, 20)

    def test_what_has_not_begun_by_then_never_does(self):
        ran = []

        def leave_work_behind():
            eventlet.sleep(0)
            eventlet.spawn_n(ran.append, "spawned")
            eventlet.spawn_after(0, ran.append, "spawned after")
            hubs.get_hub().schedule_call_global(0, ran.append, "called")

        run_in_threads(leave_work_behind, 5)
        self.assertEqual(ran, [])

    def test_a_thread_may_change_its_hub(self):
        results = []

        def change():
            eventlet.sleep(0)
            hubs.use_hub(hubs.get_default_hub())
            results.append(eventlet.spawn(lambda: 5).wait())

        run_in_threads(change, 5)
        self.assertEqual(results, [5] * 5)


if __name__ == "__main__":
    unittest.main()
