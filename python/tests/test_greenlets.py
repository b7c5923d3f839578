"""What greenlets do: arguments, ends, parents, threads, finalizers, shutdown, fork.

Over 500 lines: by a few, one class a subject.
"""

import contextvars
import gc
import os
import sys
import threading
import unittest
import weakref

import greenlet
from greenlet import GreenletExit, getcurrent

from support import run_script


def parent_switch(*args, **kwargs):
    return getcurrent().parent.switch(*args, **kwargs)


class Arguments(unittest.TestCase):
    def echo(self, *args, **kwargs):
        echo = greenlet.greenlet(lambda: parent_switch(parent_switch()))
        echo.switch()
        return echo.switch(*args, **kwargs)

    def test_a_suspended_greenlet_gets_the_arguments_as_one_object(self):
        self.assertEqual(self.echo(), ())
        self.assertEqual(self.echo(1), 1)
        self.assertEqual(self.echo((1,)), (1,))
        self.assertEqual(self.echo(()), ())
        self.assertEqual(self.echo(1, 2), (1, 2))
        self.assertEqual(self.echo(a=1), {"a": 1})
        self.assertEqual(self.echo(1, a=2), ((1,), {"a": 2}))

    def test_a_new_one_is_called_with_them(self):
        g = greenlet.greenlet(lambda *args, **kwargs: (args, kwargs))
        self.assertEqual(g.switch(1, b=2), ((1,), {"b": 2}))

    def test_a_result_is_handed_over_as_it_is(self):
        for value in ((), (1,), ((),), None, {}):
            self.assertEqual(greenlet.greenlet(lambda: value).switch(), value)


class Ends(unittest.TestCase):
    def test_an_exit_is_a_value_and_all_else_goes_to_the_parent(self):
        def end(exception):
            raise exception

        value = GreenletExit("x")
        self.assertIs(greenlet.greenlet(end).switch(value), value)
        for kind in (ValueError, SystemExit, KeyboardInterrupt):
            with self.assertRaises(kind):
                greenlet.greenlet(end).switch(kind())

    def test_a_dead_one_hands_on_to_its_parent(self):
        g = greenlet.greenlet(lambda: None)
        g.switch()
        self.assertEqual(g.switch(7), 7)
        self.assertIsInstance(g.throw(), GreenletExit)
        with self.assertRaises(ValueError):
            g.throw(ValueError)

    def test_an_unstarted_parent_begins_with_the_result(self):
        parent = greenlet.greenlet(lambda value: ("parent", value))
        self.assertEqual(greenlet.greenlet(lambda: 5, parent).switch(), ("parent", 5))

    def test_run_may_begin_the_greenlet_while_it_is_looked_up(self):
        class Late(greenlet.greenlet):
            @property
            def run(self):
                if not self.tried:
                    self.tried = True
                    self.switch("first")
                return lambda value: parent_switch(value)

            tried = False

        late = Late()
        # The look-up's own switch got "first"; ours resumes the greenlet with "second", which ends it.
        self.assertEqual(late.switch("second"), "second")
        self.assertTrue(late.dead)

    def test_throwing_into_an_unstarted_one_ends_it(self):
        ran = []
        g = greenlet.greenlet(lambda: ran.append(1))
        with self.assertRaises(ZeroDivisionError):
            g.throw(ZeroDivisionError)
        self.assertTrue(g.dead and not ran)

    def test_nothing_leaks_in_many_switches(self):
        marker = object()
        before = sys.getrefcount(marker)
        g = greenlet.greenlet(lambda value: [parent_switch(value) for _ in range(10_000)])
        for _ in range(9_000):
            self.assertIs(g.switch(marker), marker)
        self.assertGreaterEqual(sys.getrefcount(marker) - before, 8_999)
        del g
        self.assertEqual(sys.getrefcount(marker), before)


class Finalizers(unittest.TestCase):
    def test_letting_go_of_a_suspended_greenlet_ends_it(self):
        seen = []

        def run():
            try:
                parent_switch()
            except GreenletExit:
                seen.append(getcurrent().parent)
                raise

        g = greenlet.greenlet(run)
        g.switch()
        del g
        self.assertEqual(seen, [getcurrent()])

    def test_a_greenlet_may_save_itself_from_being_let_go_of(self):
        saved = []

        def run():
            try:
                parent_switch()
            except GreenletExit:
                saved.append(getcurrent())
            parent_switch("saved")
            return "done"

        g = greenlet.greenlet(run)
        g.switch()
        del g
        self.assertEqual(len(saved), 1)
        self.assertFalse(saved[0].dead)
        self.assertEqual(saved[0].switch(), "done")

    def test_a_finalizer_may_switch(self):
        order = []

        class Finalizer:
            def __del__(self):
                other = greenlet.greenlet(lambda: order.append("other"))
                other.switch()
                order.append("del")

        def run():
            local = Finalizer()
            parent_switch()

        g = greenlet.greenlet(run)
        g.switch()
        del g
        self.assertEqual(order, ["other", "del"])

    def test_cycles_of_ended_and_of_new_greenlets_are_collected(self):
        for started in (False, True):
            g = greenlet.greenlet(lambda: None)
            if started:
                g.switch()
            g.cycle = g
            alive = weakref.ref(g)
            del g
            gc.collect()
            self.assertIsNone(alive())

    def test_collecting_in_a_greenlet_spares_what_suspended_ones_hold(self):
        class Held:
            pass

        refs = []

        def run():
            held = Held()
            held.me = held
            refs.append(weakref.ref(held))
            parent_switch()
            return held

        greenlets = [greenlet.greenlet(run) for _ in range(50)]
        for g in greenlets:
            g.switch()
        greenlet.greenlet(gc.collect).switch()
        self.assertTrue(all(ref() is not None for ref in refs))
        for g, ref in zip(greenlets, refs):
            self.assertIs(g.switch(), ref())

    def test_pickling_is_refused(self):
        import copy

        with self.assertRaisesRegex(TypeError, "greenlet"):
            copy.copy(greenlet.greenlet())


class ThreadState(unittest.TestCase):
    def test_handled_exceptions_are_each_greenlets_own(self):
        def run():
            self.assertEqual(sys.exc_info(), (None, None, None))
            try:
                raise KeyError("inner")
            except KeyError:
                parent_switch()
                return sys.exc_info()[0]

        g = greenlet.greenlet(run)
        try:
            raise ValueError("outer")
        except ValueError:
            g.switch()
            self.assertIs(sys.exc_info()[0], ValueError)
            self.assertIs(g.switch(), KeyError)
            self.assertIs(sys.exc_info()[0], ValueError)

    def test_a_new_greenlet_has_an_empty_context(self):
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("main")
        g = greenlet.greenlet(lambda: (variable.get(), variable.set("g"), parent_switch(), variable.get()))
        self.assertIsNone(g.gr_context)
        g.switch()
        self.assertEqual(variable.get(), "main")
        self.assertEqual(g.gr_context[variable], "g")
        result = g.switch()
        self.assertEqual((result[0], result[3]), ("unset", "g"))
        self.assertEqual(g.gr_context[variable], "g")

    def test_generators_are_left_and_resumed_in_the_middle(self):
        def numbers():
            for number in range(3):
                parent_switch(number)
                yield number

        g = greenlet.greenlet(lambda: list(numbers()))
        self.assertEqual([g.switch() for _ in range(4)], [0, 1, 2, [0, 1, 2]])

    def test_profiling_goes_along(self):
        calls = []

        def work():
            parent_switch()

        g = greenlet.greenlet(work)
        sys.setprofile(lambda frame, event, _: calls.append((event, frame.f_code.co_name)))
        try:
            g.switch()
            g.switch()
        finally:
            sys.setprofile(None)
        self.assertIn(("call", "work"), calls)
        self.assertIn(("return", "work"), calls)

    def test_frames_of_suspended_greenlets_are_reachable(self):
        def inner():
            parent_switch()

        def outer():
            inner()

        g = greenlet.greenlet(outer)
        g.switch()
        names = []
        frame = g.gr_frame
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        self.assertEqual(names, ["parent_switch", "inner", "outer"])
        self.assertIn(g, __import__("greenloom").greenlets())
        g.switch()
        self.assertIsNone(g.gr_frame)
        self.assertNotIn(g, __import__("greenloom").greenlets())

    def test_rounding_is_each_greenlets_own(self):
        import ctypes

        libm = ctypes.CDLL("libm.so.6")
        upward = {"x86_64": 0x800, "aarch64": 0x400000}.get(os.uname().machine)  # FE_UPWARD
        if upward is None:
            self.skipTest("the constant of this processor is not known here")

        def run():
            libm.fesetround(upward)
            parent_switch(libm.fegetround())
            return libm.fegetround()

        g = greenlet.greenlet(run)
        self.assertEqual(g.switch(), upward)
        self.assertEqual(libm.fegetround(), 0)
        self.assertEqual(g.switch(), upward)
        # It has ended with its own.
        self.assertTrue(g.dead)
        self.assertEqual(libm.fegetround(), 0)
        libm.fesetround(0)

    @unittest.skipIf(sys.version_info >= (3, 12), "None is immortal there")
    def test_a_greenlet_that_handled_an_exception_keeps_no_reference_to_none(self):
        def handle():
            try:
                raise KeyError
            except KeyError:
                pass

        before = sys.getrefcount(None)
        for _ in range(1000):
            greenlet.greenlet(handle).switch()
        self.assertLess(sys.getrefcount(None) - before, 500)


class Tracing(unittest.TestCase):
    def test_the_tracer_runs_in_the_target_and_its_exception_is_thrown(self):
        events = []
        g = greenlet.greenlet(lambda: None)
        greenlet.settrace(lambda event, args: events.append((event, *args, getcurrent())))
        try:
            g.switch()
            getcurrent().switch()
        finally:
            greenlet.settrace(None)
        main = getcurrent()
        self.assertEqual(
            events, [("switch", main, g, g), ("switch", g, main, main), ("switch", main, main, main)]
        )

        def fail(*_):
            raise ZeroDivisionError

        greenlet.settrace(fail)
        with self.assertRaises(ZeroDivisionError):
            greenlet.greenlet(lambda: None).switch()
        self.assertIsNone(greenlet.gettrace())


class Threads(unittest.TestCase):
    def in_thread(self, function):
        result = []
        thread = threading.Thread(target=lambda: result.append(function()))
        thread.start()
        thread.join(10)
        return result[0]

    def test_a_greenlet_of_another_thread_cannot_be_switched_to(self):
        g = greenlet.greenlet(parent_switch)
        g.switch()

        def use():
            try:
                g.switch()
            except greenlet.error as error:
                return str(error)

        message = self.in_thread(use)
        self.assertRegex(message, r"(?s)Cannot switch to a different thread.*Current: .*Expected: ")

    def test_a_greenlet_of_a_dead_thread_is_dead(self):
        def make():
            g = greenlet.greenlet(parent_switch)
            g.switch()
            return g

        g = self.in_thread(make)
        for _ in range(1000):
            if g.dead:
                break
            threading.Event().wait(0.001)
        self.assertTrue(g.dead and not g)
        with self.assertRaisesRegex(greenlet.error, "which happens to have exited"):
            g.switch()

    def test_letting_go_in_another_thread_ends_it_in_its_own(self):
        ended_in = []

        def run():
            try:
                parent_switch()
            finally:
                ended_in.append(threading.get_ident())

        ready, let_go, box = threading.Event(), threading.Event(), []

        def owner():
            g = greenlet.greenlet(run)
            g.switch()
            box.append(g)
            del g
            ready.set()
            let_go.wait(10)
            getcurrent()

        thread = threading.Thread(target=owner)
        thread.start()
        ready.wait(10)
        ident = thread.ident
        box.clear()
        self.assertEqual(ended_in, [])
        let_go.set()
        thread.join(10)
        self.assertEqual(ended_in, [ident])

    def test_frames_and_tracebacks_outlive_an_abandoned_greenlet(self):
        def make():
            greenlets = [greenlet.greenlet(parent_switch) for _ in range(600)]
            for g in greenlets:
                g.switch()
            return greenlets

        greenlets = self.in_thread(make)
        frames = [g.gr_frame for g in greenlets[::100]]
        lines = [frame.f_lineno for frame in frames]
        # More than the pool keeps as they are: the memory of the others is given back to the system.
        greenlets.clear()
        gc.collect()
        self.assertEqual([frame.f_code.co_name for frame in frames], ["parent_switch"] * 6)
        self.assertEqual([frame.f_lineno for frame in frames], lines)


class EndOfTheProcess(unittest.TestCase):
    def check(self, script, expected, status=0, **options):
        code, output = run_script(script, **options)
        self.assertEqual(code, status, output)
        for text in expected:
            self.assertIn(text, output)

    def test_suspended_greenlets_do_not_disturb_shutdown(self):
        self.check(
            """
            import atexit, greenlet, threading
            main = greenlet.getcurrent()
            def run():
                try: main.switch()
                finally: print("finally")
            kept = [greenlet.greenlet(run) for _ in range(100)]
            for g in kept: g.switch()
            atexit.register(lambda: print("atexit", greenlet.greenlet(lambda: 1).switch()))
            """,
            ["atexit 1"],
        )

    def test_a_daemon_thread_in_a_greenlet_is_ended_quietly(self):
        self.check(
            """
            import greenlet, threading, time
            def run():
                started.set()
                while True: time.sleep(0.001)
            started = threading.Event()
            for _ in range(4):
                threading.Thread(target=lambda: greenlet.greenlet(run).switch(), daemon=True).start()
            started.wait()
            time.sleep(0.05)
            print("end")
            """,
            ["end"],
        )

    def test_suspended_greenlets_go_on_after_a_fork(self):
        self.check(
            """
            import greenlet, os, threading, warnings
            warnings.simplefilter("ignore")  # of a fork beside threads
            main = greenlet.getcurrent()
            g = greenlet.greenlet(lambda: [main.switch(i) for i in range(3)])
            assert g.switch() == 0
            hold = threading.Event()
            def other():
                h = greenlet.greenlet(lambda: main2.append(1))
                main2 = []
                greenlet.getcurrent()
                ready.set(); hold.wait()
            ready = threading.Event()
            thread = threading.Thread(target=other); thread.start(); ready.wait()
            child = os.fork()
            if child == 0:
                import greenloom
                assert g.switch() == 1 and g.switch() == 2
                assert len(greenloom.greenlets()) == 2, greenloom.greenlets()
                print("child", g.switch(), flush=True)
                os._exit(0)
            hold.set(); thread.join()
            assert os.waitpid(child, 0)[1] == 0
            assert g.switch() == 1
            print("parent")
            """,
            ["child [None, None, None]".replace("None", "()"), "parent"],
        )

    def test_greenlets_of_another_interpreter_are_not_listed(self):
        self.check(
            """
            import sys
            import greenlet, greenloom
            if sys.version_info >= (3, 13):
                import _interpreters as interpreters
                other = interpreters.create("legacy")
            else:
                import _xxsubinterpreters as interpreters
                other = interpreters.create(isolated=False)
            begin = "import greenlet; g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch()); g.switch()"
            exec(begin)
            interpreters.run_string(other, begin + "; import greenloom; assert len(greenloom.greenlets()) == 2")
            assert len(greenloom.greenlets()) == 2, greenloom.greenlets()
            interpreters.destroy(other)
            assert greenloom.greenlets()[1:] == [g], greenloom.greenlets()
            print("two")
            """,
            ["two"],
        )

    def test_an_interpreter_whose_thread_state_does_not_match_is_refused(self):
        from greenloom import _native

        # A field is made to disagree with what the layout says of it, as it would if it lay elsewhere.
        self.check(
            f"""
            import ctypes
            ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p
            state = ctypes.pythonapi.PyThreadState_Get()
            field = ctypes.c_void_p.from_address(state + {_native._layout()["exc_info"]})
            saved, elsewhere = field.value, (ctypes.c_void_p * 4)()
            field.value = ctypes.addressof(elsewhere)
            try:
                import greenloom
            except ImportError as error:
                message = str(error)
            finally:
                field.value = saved
            print(message)
            """,
            ["cannot run on", "the field exc_state of its thread state is not where it was"],
        )


if __name__ == "__main__":
    unittest.main()
