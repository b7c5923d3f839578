"""The Python frame below the hub's wait and at the base of each green thread: what looks at frames works as in an OS
thread, also in a function that was spawned directly.
"""

import contextlib
import cProfile
import faulthandler
import functools
import inspect
import io
import pstats
import signal
import sys
import tempfile
import threading
import traceback
import unittest
import warnings

import guarded
from support import run_script

import eventlet
from eventlet import event, greenthread, hubs

#: Ways to have a function called, each of which returns the function's result.
WAYS = {}


def way(function):
    WAYS[function.__name__] = function
    return function


@way
def spawn(function, *args, **kwargs):
    return eventlet.spawn(function, *args, **kwargs).wait()


@way
def spawn_after(function, *args, **kwargs):
    return eventlet.spawn_after(0.001, function, *args, **kwargs).wait()


@way
def spawn_after_local(function, *args, **kwargs):
    return greenthread.spawn_after_local(0.001, function, *args, **kwargs).wait()


@way
def pool_spawn(function, *args, **kwargs):
    return eventlet.GreenPool().spawn(function, *args, **kwargs).wait()


class BaseOfAGreenThread(guarded.Guarded):
    def each(self):
        for name, call in WAYS.items():
            with self.subTest(name):
                yield call

    def test_functions_that_use_their_callers_frame_can_be_spawned(self):
        for call in self.each():
            self.assertEqual(call(eval, "1 + 1"), 2)
            self.assertIsNone(call(exec, "x = 1"))
            self.assertEqual(call(functools.partial(eval, "2 + 2")), 4)
            self.assertIn("function", call(locals))
            self.assertIn("function", call(dir))
            self.assertIn("function", call(vars))
            self.assertEqual(call(globals)["__name__"], "eventlet.greenthread")
            self.assertEqual(call(eval, "a", {"a": 5}), 5)
            self.assertEqual(call(eval, "b", {}, {"b": 6}), 6)

    def test_any_number_of_arguments_arrives(self):
        def echo(*args, **kwargs):
            return args, kwargs

        for call in self.each():
            for count in range(7):
                args = tuple(range(count))
                self.assertEqual(call(echo, *args), (args, {}))
                self.assertEqual(call(echo, *args, name=count), (args, {"name": count}))

    def test_it_is_main_of_greenthread(self):
        def look():
            base = sys._getframe()
            while base.f_back is not None:
                base = base.f_back
            return base.f_code.co_name, base.f_code.co_filename, inspect.stack()[1].function

        for call in self.each():
            self.assertEqual(call(look), ("main", greenthread.__file__, "main"))

    def test_spawn_n_and_its_kin_have_one_too(self):
        hub, pool, found = hubs.get_hub(), eventlet.GreenPool(), []

        def look(done):
            found.append(sys._getframe().f_back.f_code.co_name)
            done.send()

        starts = [eventlet.spawn_n, pool.spawn_n, functools.partial(hub.schedule_call_global, 0)]
        for start in starts:
            done = event.Event()
            start(look, done)
            done.wait()
            start(exec, "1 + 1")
            start(globals)
            start(locals)
        eventlet.sleep(0.001)
        self.assertEqual(found, ["main", "main", "run"])

    def test_errors_of_functions_without_frames_are_printed_by_nobody(self):
        code, printed = run_script(
            """
            import eventlet
            pool = eventlet.GreenPool()
            for start in (eventlet.spawn_n, pool.spawn_n, lambda *args: eventlet.get_hub().schedule_call_global(0,
            *args)):
                start(eval, "1 + 1")
                start(globals)
                start(vars)
            eventlet.sleep(0.01)
            print("pass")
            """.replace("eventlet.get_hub", "eventlet.hubs.get_hub")
        )
        self.assertEqual((code, printed), (0, "pass\n"))

    def test_a_link_has_a_frame_below_it(self):
        thread, found = eventlet.spawn(int), []
        thread.link(lambda _: found.append(sys._getframe(1).f_code.co_name))
        thread.wait()
        self.assertEqual(found, ["main"])

    def test_a_warning_names_the_caller(self):
        def warn():
            warnings.warn("two levels up", stacklevel=2)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            eventlet.spawn(warn).wait()
        self.assertEqual(caught[0].filename, greenthread.__file__)

    def test_a_traceback_begins_with_it(self):
        def fail():
            raise ValueError

        with contextlib.redirect_stderr(io.StringIO()) as printed:
            try:
                eventlet.spawn(fail).wait()
            except ValueError as error:
                names = [each.name for each in traceback.extract_tb(error.__traceback__)]
        self.assertEqual(names[-2:], ["main", "fail"])
        self.assertIn('greenthread.py", line', printed.getvalue())


class BelowTheHubsWait(guarded.Guarded):
    def test_a_signals_handler_gets_the_frame(self):
        frames = []
        former = signal.signal(signal.SIGUSR1, lambda number, frame: frames.append(frame))
        self.addCleanup(signal.signal, signal.SIGUSR1, former)
        main = threading.main_thread().ident
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1))
        timer.start()
        eventlet.sleep(0.2)
        timer.join()
        self.assertEqual(len(frames), 1)
        names = set()
        frame = frames[0]
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        # Of the loop's wait, or of the green thread that calls the handlers.
        self.assertTrue(names & {"run", "main"}, names)

    def test_other_threads_see_where_it_waits(self):
        found = []
        main = threading.main_thread().ident
        timer = threading.Timer(0.05, lambda: found.append(sys._current_frames()[main]))
        timer.start()
        eventlet.sleep(0.2)
        timer.join()
        frame, names = found[0], set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        self.assertIn("run", names)

    def test_a_handler_that_raises_eintr_ends_the_wait_only(self):
        def interrupt(number, frame):
            eventlet.spawn(woken.send)
            raise OSError(4, "Interrupted")

        woken = event.Event()
        former = signal.signal(signal.SIGUSR1, interrupt)
        self.addCleanup(signal.signal, signal.SIGUSR1, former)
        main = threading.main_thread().ident
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1))
        timer.start()
        woken.wait()
        timer.join()

    def test_the_loop_is_native_still(self):
        # What BaseHub defines is no override: such a hub would be served through its Python methods.
        hub = hubs.get_hub()
        eventlet.spawn_n(int)
        self.assertIsInstance(hub.timers[0][1], eventlet.greenlet.greenlet)
        eventlet.sleep(0)


class Instruments(guarded.Guarded):
    def test_settrace_sees_a_green_thread_from_its_base(self):
        called = []

        def trace(frame, what, argument):
            if what == "call":
                called.append(frame.f_code.co_name)

        def traced():
            eventlet.sleep(0)

        sys.settrace(trace)
        try:
            eventlet.spawn(traced).wait()
        finally:
            sys.settrace(None)
        self.assertEqual([name for name in called if name in ("main", "traced")], ["main", "traced"])

    def test_setprofile_sees_balanced_calls(self):
        depth, seen = {}, []

        def profile(frame, what, argument):
            current = eventlet.getcurrent()
            if what in ("call", "return"):
                depth[current] = depth.get(current, 0) + (1 if what == "call" else -1)
                seen.append((what, frame.f_code.co_name))

        def profiled():
            eventlet.sleep(0)

        sys.setprofile(profile)
        try:
            thread = eventlet.spawn(profiled)
            thread.wait()
        finally:
            sys.setprofile(None)
        self.assertEqual(depth[thread], 0)
        self.assertIn(("call", "main"), seen)
        self.assertIn(("return", "main"), seen)

    def test_cprofile_counts_the_calls_of_green_threads(self):
        def counted():
            eventlet.sleep(0)

        profile = cProfile.Profile()
        profile.enable()
        for thread in [eventlet.spawn(counted) for _ in range(10)]:
            thread.wait()
        profile.disable()
        calls = {name: count[1] for (_, _, name), count in pstats.Stats(profile).stats.items()}
        self.assertEqual(calls["counted"], 10)

    def test_faulthandler_prints_the_stack_of_a_waiting_hub(self):
        with tempfile.TemporaryFile("w+") as file:
            timer = threading.Timer(0.05, faulthandler.dump_traceback, (file, True))
            timer.start()
            eventlet.sleep(0.2)
            timer.join()
            file.seek(0)
            printed = file.read()
        self.assertIn(" in run\n", printed)

    def test_faulthandler_prints_a_green_threads_stack_down_to_its_base(self):
        with tempfile.TemporaryFile("w+") as file:
            eventlet.spawn(faulthandler.dump_traceback, file, False).wait()
            file.seek(0)
            self.assertIn(" in main\n", file.read())

    def test_coverage_of_a_green_thread_is_that_of_a_plain_call(self):
        lines = []

        def trace(frame, what, argument):
            if frame.f_code.co_name != "covered":
                return None
            if what == "line":
                lines.append(frame.f_lineno - frame.f_code.co_firstlineno)
            return trace

        def covered():
            one = 1
            eventlet.sleep(0)
            return one

        sys.settrace(trace)
        try:
            eventlet.spawn(covered).wait()
        finally:
            sys.settrace(None)
        self.assertEqual(lines, [1, 2, 3])


if __name__ == "__main__":
    unittest.main()
