"""Locals: what they mean, and that nothing of a green thread stays behind in them."""

import gc
import threading
import unittest
import weakref

import eventlet
from eventlet import corolocal
from guarded import Guarded


class Boom(Exception):
    pass


class Locals(Guarded):
    def test_each_green_thread_has_its_own_attributes(self):
        local = corolocal.local()
        local.name = "main"

        def other():
            self.assertFalse(hasattr(local, "name"))
            local.name = "other"
            eventlet.sleep(0)
            return local.name, dict(local.__dict__)

        self.assertEqual(eventlet.spawn(other).wait(), ("other", {"name": "other"}))
        self.assertEqual(local.__dict__, {"name": "main"})
        del local.name
        self.assertRaises(AttributeError, lambda: local.name)

    def test_init_runs_once_in_each_green_thread(self):
        calls = []

        class Own(corolocal.local):
            kind = "own"

            def __init__(self, value, *, more=0):
                calls.append(eventlet.getcurrent())
                self.value = value + more

        own = Own(1, more=2)
        self.assertEqual((own.value, own.kind), (3, "own"))
        self.assertEqual(len(calls), 1)
        own.value = 9
        thread = eventlet.spawn(lambda: (own.value, own.value))
        self.assertEqual(thread.wait(), (3, 3))
        self.assertEqual(calls, [eventlet.getcurrent(), thread])
        self.assertEqual(own.value, 9)

    def test_an_init_that_fails_is_tried_again(self):
        fails = [False]

        class Own(corolocal.local):
            def __init__(self):
                if fails[0]:
                    raise Boom
                self.value = 1

        own = Own()

        def use():
            fails[0] = True
            with self.assertRaises(Boom):
                own.value
            fails[0] = False
            return own.value

        self.assertEqual(eventlet.spawn(use).wait(), 1)

    def test_the_dict_cannot_be_replaced(self):
        mine = corolocal.local()
        mine.x = 1
        with self.assertRaisesRegex(AttributeError, "'__dict__' is read-only"):
            mine.__dict__ = {}
        with self.assertRaisesRegex(AttributeError, "'__dict__' is read-only"):
            del mine.__dict__
        self.assertEqual(mine.__dict__, {"x": 1})

    def test_arguments_need_an_init(self):
        self.assertRaises(TypeError, corolocal.local, 1)
        self.assertRaises(TypeError, corolocal.local, a=1)

    def test_values_go_with_their_green_thread_and_with_the_local(self):
        class Value:
            pass

        local, values = corolocal.local(), weakref.WeakSet()

        def use():
            local.value = Value()
            values.add(local.value)

        [eventlet.spawn(use).wait() for _ in range(10)]
        local.value = None
        gc.collect()
        self.assertEqual(len(values), 0)
        use()
        del local
        gc.collect()
        self.assertEqual(len(values), 0)

    def test_cycles_through_a_local_are_collected(self):
        local = corolocal.local()
        local.itself = local
        reference = weakref.ref(local)
        del local
        gc.collect()
        self.assertIsNone(reference())

    def test_many_locals_of_one_green_thread_leave_nothing(self):
        references = []
        for _ in range(1000):
            local = corolocal.local()
            local.value = 1
            references.append(weakref.ref(local))
        del local
        self.assertEqual({reference() for reference in references}, {None})

    def test_os_threads_have_their_own_too(self):
        local, seen = corolocal.local(), []
        local.value = 1
        thread = threading.Thread(target=lambda: seen.append(hasattr(local, "value")))
        thread.start()
        thread.join()
        self.assertEqual(seen, [False])

    def test_get_ident_is_the_id_of_the_greenlet(self):
        self.assertEqual(corolocal.get_ident(), id(eventlet.getcurrent()))


if __name__ == "__main__":
    unittest.main()
