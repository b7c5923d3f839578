"""A greenlet whose memory another one had before has nothing of it."""

import gc
import threading
import unittest
import weakref

import eventlet
import greenlet
from eventlet.greenthread import GreenThread

TYPES = (greenlet.greenlet, GreenThread)

# More than are kept, so that some are not.
MANY = 300


def make(kind):
    return kind(greenlet.getcurrent()) if issubclass(kind, GreenThread) else kind(int)


class MemoryReuse(unittest.TestCase):
    def test_attributes_and_weak_references_are_not_handed_on(self):
        for kind in TYPES:
            with self.subTest(kind):
                gone = []
                first = make(kind)
                first.mine = "left over"
                reference = weakref.ref(first, gone.append)
                place = id(first)
                del first
                # A green thread that was not made by spawn() has itself as the owner of its method.
                gc.collect()
                self.assertEqual(gone, [reference])
                second = make(kind)
                self.assertEqual(id(second), place)
                self.assertNotIn("mine", second.__dict__)
                self.assertEqual(weakref.getweakrefcount(second), 0)
                self.assertIsNone(reference())
                self.assertFalse(second.dead)

    def test_the_garbage_collector_sees_each_new_one(self):
        for kind in TYPES:
            with self.subTest(kind):
                del [make(kind) for _ in range(MANY)][:]
                owners = []
                for _ in range(MANY):
                    one = make(kind)
                    self.assertTrue(gc.is_tracked(one))
                    one.myself = one
                    owners.append(weakref.ref(one))
                del one
                gc.collect()
                self.assertEqual([owner for owner in owners if owner() is not None], [])

    def test_objects_of_a_subclass_are_not_mixed_with_those_of_the_type(self):
        class Greenlet(greenlet.greenlet):
            __slots__ = ("more", "and_more")

        class Thread(GreenThread):
            pass

        for kind in (Greenlet, Thread, *TYPES) * 2:
            with self.subTest(kind):
                many = [make(kind) for _ in range(MANY)]
                self.assertEqual({type(one) for one in many}, {kind})
                self.assertEqual(len({id(one) for one in many}), MANY)

    def test_they_are_made_in_one_thread_and_let_go_of_in_another(self):
        kept = []

        def work():
            for number in range(MANY):
                kept.append(make(greenlet.greenlet))
                self.assertEqual(eventlet.spawn(int, number).wait(), number)

        for _ in range(5):
            threads = [threading.Thread(target=work) for _ in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            self.assertEqual(len(kept), 4 * MANY)
            kept.clear()


if __name__ == "__main__":
    unittest.main()
