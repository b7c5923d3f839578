"""The timeline of a program: what ran, what waited for what, who woke whom; and the errors of writing it."""

import base64
import errno
import functools
import json
import os
import re
import struct
import tempfile
import threading
import time
import unittest

import eventlet
import greenlet
import greenloom.inspect
from eventlet import event, queue, semaphore

from support import run_script

READY, RUNNING, WAITING, ENDED = range(4)
THREAD, TIMER, IO, ELSEWHERE = range(4)


class Track:
    """A greenlet of a page: its name, and its states with their texts, oldest first."""

    def __init__(self, name, changes):
        self.name, self.changes, self.woken_by = name, changes, []

    def waits(self):
        return [text for _, state, text in self.changes if state == WAITING]

    def states(self):
        return [state for _, state, _ in self.changes]


def read(path):
    """The tracks of a page by name, and its notes as (kind, microseconds)."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    shape = json.loads(re.search(r'id="shape">(.*?)</script>', page, re.S)[1])
    columns = base64.b64decode(re.search(r'id="columns">(.*?)</script>', page, re.S)[1])
    at = 0

    def column(kind, length):
        nonlocal at
        values = struct.unpack_from(f"<{length}{kind}", columns, at)
        at += struct.calcsize(f"<{length}{kind}")
        return values

    count, changes, arrows, notes = (shape[name] for name in ("tracks", "changes", "arrows", "notes"))
    times, _, _ = column("d", changes), column("d", arrows), column("d", notes)
    _, names, _, _, counts = (column("I", count) for _ in range(5))
    what, froms, tos = column("I", changes), column("I", arrows), column("I", arrows)
    _, kinds, values = (column("I", notes) for _ in range(3))
    texts, tracks, first = shape["texts"], [], 0
    for name, length in zip(names, counts):
        part = slice(first, first + length)
        tracks.append(Track(texts[name], [(at, w & 3, texts[w >> 2]) for at, w in zip(times[part], what[part])]))
        first += length
    for source, target in zip(froms, tos):
        by = tracks[source].name if target & 3 == THREAD else target & 3
        tracks[target >> 2].woken_by.append(by)
    return {track.name: track for track in tracks}, list(zip(kinds, values))


class TraceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "out.html")

    def trace(self, program):
        with greenloom.inspect.trace(self.path) as recording:
            program()
        self.assertEqual(recording.dropped, 0)
        self.assertGreater(recording.recorded, 0)
        return read(self.path)

    def test_a_life_is_told_with_what_it_waited_for_and_who_woke_it(self):
        def program():
            items = queue.Queue()

            def taker():
                items.get()

            def giver():
                eventlet.sleep(0.005)
                items.put(1)

            threads = [eventlet.spawn(taker), eventlet.spawn(giver)]
            for thread in threads:
                thread.wait()

        tracks, _ = self.trace(program)
        taker = next(track for name, track in tracks.items() if name.endswith("taker"))
        giver = next(track for name, track in tracks.items() if name.endswith("giver"))
        self.assertEqual(taker.states(), [READY, RUNNING, WAITING, READY, RUNNING, ENDED])
        self.assertEqual(taker.waits(), ["queue: an item"])
        self.assertEqual(taker.woken_by, [giver.name])
        self.assertEqual((giver.waits(), giver.woken_by), (["sleep"], [TIMER]))
        slept = next(since for since, state, _ in giver.changes if state == WAITING)
        woken = next(at for at, state, _ in giver.changes if state == READY and at > slept)
        self.assertTrue(0.004e9 < woken - slept < 1e9, woken - slept)

    def test_each_kind_of_wait_has_its_name(self):
        def program():
            told, one, full = event.Event(), semaphore.Semaphore(0), queue.Queue(1)
            full.put(0)
            one_end, other_end = eventlet.green.socket.socketpair()
            pool = eventlet.GreenPool()
            pool.spawn(eventlet.sleep, 0.002)

            def waits_for_event():
                told.wait()

            def waits_for_semaphore():
                one.acquire()

            def waits_for_room():
                full.put(1)

            def waits_for_socket():
                one_end.recv(1)

            def waits_for_pool():
                pool.waitall()

            def waits_for_thread(other):
                other.wait()

            functions = (waits_for_event, waits_for_semaphore, waits_for_room, waits_for_socket, waits_for_pool)
            threads = [eventlet.spawn(function) for function in functions]
            threads.append(eventlet.spawn(waits_for_thread, threads[0]))
            eventlet.sleep(0.001)
            told.send()
            one.release()
            full.get()
            other_end.send(b"x")
            for thread in threads:
                thread.wait()
            one_end.close()
            other_end.close()

        import eventlet.green.socket

        tracks, _ = self.trace(program)
        waits = {name.rpartition("waits_for_")[2]: track.waits() for name, track in tracks.items()
                 if "waits_for" in name}
        self.assertEqual(waits, {
            "event": ["event"], "semaphore": ["semaphore"], "room": ["queue: room"], "socket": ["I/O"],
            "pool": ["pool: all done"], "thread": ["green thread"],
        })
        self.assertEqual([track.woken_by for name, track in tracks.items() if name.endswith("socket")], [[IO]])

    def test_one_that_gives_way_is_ready_and_waits_for_nothing(self):
        def busy():
            for _ in range(3):
                eventlet.sleep(0)

        tracks, _ = self.trace(lambda: eventlet.spawn(busy).wait())
        track = next(track for name, track in tracks.items() if name.endswith("busy"))
        self.assertEqual(track.waits(), [])
        self.assertEqual(track.states()[-1], ENDED)

    def test_what_ran_for_long_is_told_with_its_frames(self):
        def computes():
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass

        def handler():
            computes()
            eventlet.sleep(0)

        def outer():
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            handler()

        tracks, _ = self.trace(lambda: eventlet.spawn(outer).wait())
        track = next(track for name, track in tracks.items() if name.endswith("outer"))
        stacks = [text.split(";") for _, state, text in track.changes if state == RUNNING and text]
        self.assertEqual(len(stacks), 1)
        self.assertRegex(" ".join(stacks[0]), r"outer \(test_trace.py\) .*handler \(test_trace.py\)$")

    def test_a_late_timer_and_a_wait_for_the_lock_are_measured(self):
        def program():
            late = eventlet.spawn(eventlet.sleep, 0.001)
            eventlet.sleep(0)
            time.sleep(0.02)
            late.wait()

        _, notes = self.trace(program)
        self.assertTrue(any(kind == 0 and value >= 15_000 for kind, value in notes), notes)

    def test_a_wake_by_another_thread_says_so(self):
        def program():
            told = event.Event()
            thread = eventlet.spawn(told.wait)
            eventlet.sleep(0)
            waker = threading.Thread(target=told.send)
            waker.start()
            thread.wait()
            waker.join()

        tracks, _ = self.trace(program)
        self.assertEqual([track.woken_by for name, track in tracks.items() if name == "Event.wait"], [[ELSEWHERE]])

    def test_greenlets_that_are_switched_by_hand_are_there_too(self):
        def program():
            def by_hand():
                greenlet.getcurrent().parent.switch()

            child = greenlet.greenlet(by_hand)
            child.switch()
            child.switch()

        tracks, _ = self.trace(program)
        track = next(track for name, track in tracks.items() if name.endswith("by_hand"))
        self.assertEqual(track.waits(), ["switch by hand"])

    def test_who_was_there_before_has_its_name(self):
        def early():
            eventlet.sleep(99)

        thread = eventlet.spawn(early)
        eventlet.sleep(0)
        self.addCleanup(thread.kill)
        tracks, _ = self.trace(lambda: eventlet.sleep(0.001))
        self.assertTrue(any(name.endswith("early") for name in tracks), list(tracks))

    def test_names_are_those_of_functions_and_partials_of_what_they_call(self):
        class Callable:
            def __call__(self):
                pass

        def plain():
            pass

        def program():
            for function in (functools.partial(plain), Callable(), [].append):
                args = (1,) if function.__class__.__name__ == "builtin_function_or_method" else ()
                eventlet.spawn(function, *args).wait()

        tracks, _ = self.trace(program)
        ends = {name.rpartition(".")[2] for name in tracks}
        self.assertLessEqual({"plain", "Callable", "append"}, ends)

    def test_what_is_lost_is_counted_and_the_newest_stay(self):
        with greenloom.inspect.trace(self.path, events=64) as recording:
            for _ in range(200):
                eventlet.sleep(0)
            eventlet.spawn(lambda: None).wait()
        self.assertGreater(recording.dropped, 100)
        self.assertLessEqual(recording.recorded, 64)
        tracks, _ = read(self.path)
        self.assertTrue(any(name.endswith("<lambda>") for name in tracks))

    def test_a_second_recording_is_refused(self):
        with greenloom.inspect.trace(self.path):
            with self.assertRaisesRegex(RuntimeError, "finish that one first"):
                with greenloom.inspect.trace(self.path + "2"):
                    pass
        self.trace(lambda: eventlet.sleep(0))

    def test_where_it_cannot_be_written_is_said_before_it_begins(self):
        missing = os.path.join(self.path, "missing", "out.html")
        with self.assertRaisesRegex(FileNotFoundError, "make its folder first"):
            with greenloom.inspect.trace(missing):
                self.fail("it began")
        with self.assertRaises(OSError) as raised:
            with greenloom.inspect.trace("/dev/full"):
                eventlet.sleep(0)
        self.assertEqual(raised.exception.errno, errno.ENOSPC)
        self.assertIn("the disk is full", str(raised.exception))
        # And neither keeps the next one from being recorded.
        self.trace(lambda: eventlet.sleep(0))

    def test_an_exception_of_one_s_own_goes_on_where_it_cannot_be_written(self):
        status, output = run_script("""
import eventlet, greenloom.inspect
try:
    with greenloom.inspect.trace("/dev/full"):
        raise KeyError("mine")
except KeyError:
    print("it went on", flush=True)
""")
        self.assertEqual(status, 0, output)
        self.assertIn("it went on", output)
        self.assertIn("greenloom: cannot write the trace to /dev/full: No space left on device; the disk is", output)

    def test_a_folder_that_may_not_be_written_to_is_said(self):
        status, output = run_script("""
import os, greenloom.inspect
if os.geteuid() == 0:
    os.setuid(65534)
try:
    with greenloom.inspect.trace("/etc/out.html"):
        print("it began")
except PermissionError as error:
    print(error)
""")
        self.assertEqual(status, 0)
        self.assertRegex(output, "cannot write the trace to /etc/out.html: .*; choose a folder")

    def test_the_exception_of_the_program_goes_on_and_the_trace_is_written(self):
        with self.assertRaises(ZeroDivisionError):
            with greenloom.inspect.trace(self.path):
                eventlet.sleep(0.001)
                1 / 0
        read(self.path)

    def test_a_trace_function_is_told_beside_the_recording(self):
        told = []
        greenlet.settrace(lambda *event: told.append(event))
        try:
            with greenloom.inspect.trace(self.path):
                eventlet.sleep(0.001)
            count = len(told)
            self.assertGreater(count, 0)
            eventlet.sleep(0.001)
            self.assertGreater(len(told), count)
        finally:
            greenlet.settrace(None)

    def test_a_child_of_a_fork_may_record_nothing_and_goes_on(self):
        status, output = run_script("""
import os, eventlet, greenloom.inspect, tempfile
path = os.path.join(tempfile.mkdtemp(), "out.html")
with greenloom.inspect.trace(path):
    eventlet.sleep(0.001)
    child = os.fork()
    if child == 0:
        eventlet.sleep(0.001)
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
        self.assertEqual((status, output.strip()), (0, "7"))


if __name__ == "__main__":
    unittest.main()
