"""Garbage that suspended greenlets are part of: from CPython 3.15 on the garbage collector finds it."""

import gc
import sys
import threading
import unittest
import weakref

import greenlet

from support import run_script


class Thing:
    """Something that can be referred to weakly."""


@unittest.skipUnless(sys.version_info >= (3, 15), "the garbage collector looks into frames from 3.15 on")
class Garbage(unittest.TestCase):
    def setUp(self):
        self.ended_in = []

    def suspend(self, *args):
        """A suspended greenlet that was begun with the arguments."""

        def run(*args):
            try:
                greenlet.getcurrent().parent.switch()
            finally:
                ended_in.append(threading.get_ident())

        ended_in = self.ended_in
        suspended = greenlet.greenlet(run)
        suspended.switch(*args)
        return suspended

    def in_a_cycle(self, begin):
        thing = Thing()
        thing.greenlet = begin(thing)
        return weakref.ref(thing)

    def assertCollected(self, reference):
        gc.collect()
        self.assertEqual(self.ended_in, [threading.get_ident()])
        gc.collect()
        self.assertIsNone(reference())

    def test_one_that_its_own_argument_refers_to_ends(self):
        self.assertCollected(self.in_a_cycle(lambda thing: self.suspend(thing)))

    def test_one_that_its_own_function_refers_to_ends(self):
        class Owner(Thing):
            def run(self):
                try:
                    greenlet.getcurrent().parent.switch()
                finally:
                    ended_in.append(threading.get_ident())

        ended_in = self.ended_in
        owner = Owner()
        owner.greenlet = greenlet.greenlet(owner.run)
        owner.greenlet.switch()
        reference = weakref.ref(owner)
        del owner
        self.assertCollected(reference)

    def test_one_that_a_value_in_a_deep_frame_refers_to_ends(self):
        def dive(thing, left):
            if left:
                return dive(thing, left - 1)
            thing = [thing]
            try:
                greenlet.getcurrent().parent.switch()
            finally:
                self.ended_in.append(threading.get_ident())

        def begin(thing):
            suspended = greenlet.greenlet(dive)
            suspended.switch(thing, 50)
            return suspended

        self.assertCollected(self.in_a_cycle(begin))

    def test_one_that_is_in_use_does_not(self):
        thing = Thing()
        thing.greenlet = self.suspend(thing)
        gc.collect()
        self.assertEqual(self.ended_in, [])
        self.assertFalse(thing.greenlet.dead)
        thing.greenlet.throw()
        self.assertTrue(thing.greenlet.dead)

    def test_one_of_a_generator_that_is_suspended_in_it_ends(self):
        def generate(thing):
            greenlet.getcurrent().parent.switch()
            yield thing

        def run(thing):
            try:
                for _ in generate(thing):
                    pass
            finally:
                self.ended_in.append(threading.get_ident())

        def begin(thing):
            suspended = greenlet.greenlet(run)
            suspended.switch(thing)
            return suspended

        self.assertCollected(self.in_a_cycle(begin))

    def test_one_that_another_thread_finds_ends_in_its_own(self):
        begun, found = threading.Event(), threading.Event()

        def own():
            self.reference = self.in_a_cycle(lambda thing: self.suspend(thing))
            begun.set()
            found.wait()
            # What other threads left to this one is seen to when a greenlet is asked for.
            greenlet.getcurrent()

        thread = threading.Thread(target=own)
        gc.disable()
        try:
            thread.start()
            begun.wait()
            gc.collect()
            self.assertEqual(self.ended_in, [])
            number = thread.ident
            found.set()
            thread.join()
        finally:
            gc.enable()
        self.assertEqual(self.ended_in, [number])
        gc.collect()
        self.assertIsNone(self.reference())

    def test_what_the_frames_of_an_ended_thread_held_is_let_go_of(self):
        kept = []

        def own():
            thing = Thing()
            kept.append(weakref.ref(thing))
            self.suspended = self.suspend(thing)

        thread = threading.Thread(target=own)
        thread.start()
        thread.join()
        self.assertIsNotNone(kept[0]())
        del self.suspended
        gc.collect()
        self.assertIsNone(kept[0]())
        self.assertEqual(self.ended_in, [])

    def test_garbage_of_an_ended_thread_is_let_go_of(self):
        def own():
            self.reference = self.in_a_cycle(lambda thing: self.suspend(thing))

        gc.disable()
        try:
            thread = threading.Thread(target=own)
            thread.start()
            thread.join()
        finally:
            gc.enable()
        # The thread's end is heard of at the next pending call.
        for _ in range(3):
            greenlet.getcurrent()
            gc.collect()
        self.assertIsNone(self.reference())
        self.assertEqual(self.ended_in, [])

    def test_one_that_refuses_to_end_is_reported(self):
        status, output = run_script(
            """
            import gc, greenlet
            class Thing: pass
            def run(thing):
                while True:
                    try:
                        greenlet.getcurrent().parent.switch()
                    except greenlet.GreenletExit:
                        print("refused")
            thing = Thing()
            thing.greenlet = greenlet.greenlet(run)
            thing.greenlet.switch(thing)
            del thing
            for _ in range(3):
                gc.collect()
            print("done")
            """
        )
        self.assertEqual(status, 0, output)
        self.assertTrue(output.startswith("refused\n") and output.endswith("it is leaked\ndone\n"), output)

    def test_a_subclass_with_a_finalizer_goes(self):
        finalized = []

        class Finalized(greenlet.greenlet):
            def __del__(self):
                finalized.append(self.dead)

        def run(thing):
            greenlet.getcurrent().parent.switch()

        thing = Thing()
        thing.greenlet = Finalized(run)
        thing.greenlet.switch(thing)
        reference = weakref.ref(thing)
        del thing
        gc.collect()
        gc.collect()
        self.assertEqual(finalized, [False])
        self.assertIsNone(reference())


if __name__ == "__main__":
    unittest.main()
