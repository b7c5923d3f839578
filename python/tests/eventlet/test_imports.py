"""Imports in green threads, which take turns as those of OS threads do."""

import textwrap
import unittest

from scenario import Scenario

_PROLOGUE = """
import eventlet
eventlet.monkey_patch()
import os, sys, tempfile, threading, time
folder = tempfile.TemporaryDirectory()
sys.path.insert(0, folder.name)
def module(name, text):
    with open(os.path.join(folder.name, name + ".py"), "w") as file:
        file.write(text)
def at_once(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
# It goes on when the program says so.
gate = sys.gate = threading.Event()
slow = "import sys\\nsys.gate.wait()\\nvalue = 1\\n"
"""


class Imports(Scenario):
    def check_imports(self, program, **settings):
        self.check(_PROLOGUE + textwrap.dedent(program), **settings)

    def test_a_module_that_another_green_thread_imports_is_waited_for(self):
        self.check_imports(
            """
            module("slow", slow)
            seen = []
            def use():
                import slow
                seen.append(slow.value)
            eventlet.spawn_after(0.02, gate.set)
            at_once(use, use, use)
            assert seen == [1, 1, 1], seen
            """
        )

    def test_circular_imports_of_two_green_threads_come_to_an_end(self):
        self.check_imports(
            """
            module("one", "import time\\ntime.sleep(0.02)\\nimport other\\nvalue = 1\\n")
            module("other", "import time\\ntime.sleep(0.02)\\nimport one\\nvalue = 1\\n")
            at_once(lambda: __import__("one"), lambda: __import__("other"))
            import one, other
            assert one.value == other.value == one.other.value == other.one.value
            """
        )

    def test_one_that_fails_leaves_the_next_to_try(self):
        self.check_imports(
            """
            module("broken", "import sys\\nsys.gate.wait()\\n1 / 0\\n")
            def use():
                try:
                    import broken
                except ZeroDivisionError:
                    print("raised")
            eventlet.spawn_after(0.01, gate.set)
            at_once(use)
            at_once(use)
            """,
            prints="raised\nraised\n",
        )

    def test_a_killed_waiter_does_not_hold_up_the_next(self):
        self.check_imports(
            """
            module("slow", slow)
            threads = [eventlet.spawn(__import__, "slow") for _ in range(3)]
            eventlet.sleep(0.01)
            threads[1].kill()
            gate.set()
            assert threads[2].wait().value == threads[0].wait().value == 1
            """
        )

    def test_os_threads_wait_too(self):
        self.check_imports(
            """
            module("slow", slow)
            seen = []
            def use():
                import slow
                seen.append(slow.value)
            thread = eventlet.spawn(use)
            eventlet.sleep(0.01)
            native = eventlet.patcher.original("threading").Thread(target=use)
            native.start()
            eventlet.spawn_after(0.02, gate.set)
            thread.wait()
            native.join()
            assert seen == [1, 1], seen
            """
        )

    def test_an_os_thread_without_a_hub_makes_none_to_wait_for_the_lock_for_all_imports(self):
        # With EVENTLET_HUB set, making one imports.
        self.check_imports(
            """
            import _imp
            eventlet.sleep(0)
            made = []
            def use():
                import colorsys
                made.append(getattr(eventlet.hubs._threadlocal, "hub", None))
            native = eventlet.patcher.original("threading").Thread(target=use)
            _imp.acquire_lock()
            native.start()
            real_sleep(0.05)
            assert not made
            _imp.release_lock()
            native.join()
            assert made == [None], made
            """,
            EVENTLET_HUB="epolls",
        )

    def test_the_hub_takes_the_module_as_it_is(self):
        # It can't wait for anybody: each other green thread needs it.
        self.check_imports(
            """
            module("slow", slow)
            thread = eventlet.spawn(__import__, "slow")
            eventlet.sleep(0.01)
            seen = []
            def look():
                import slow
                seen.append(hasattr(slow, "value"))
            eventlet.hubs.get_hub().schedule_call_global(0, look)
            eventlet.sleep(0.01)
            gate.set()
            assert thread.wait().value == 1 and seen == [False], seen
            """
        )

    def test_a_greenlet_does_not_wait_for_its_parent(self):
        self.check_imports(
            """
            module("parent", '''
            import greenlet
            def look():
                import parent
                return hasattr(parent, "value")
            seen = greenlet.greenlet(look).switch()
            value = 1
            '''.replace("\\n" + " " * 12, "\\n"))
            assert eventlet.spawn(__import__, "parent").wait().seen is False
            """
        )

    def test_what_is_imported_by_the_way_has_the_modules_of_all(self):
        self.check(
            """
            import types
            import eventlet
            from eventlet.green import socket
            for name, module in list(sys.modules.items()):
                if name.split(".")[0] in ("eventlet", "greenloom", "dns") or name.startswith("__"):
                    continue
                for attribute, value in vars(module).items():
                    green = isinstance(value, types.ModuleType) and value.__name__.startswith("eventlet.green.")
                    assert not green, (name, attribute, value)
            import os, tempfile
            assert tempfile._os is os
            """
        )

    def test_a_module_that_patches_may_be_imported_by_a_green_thread(self):
        self.check(
            """
            import eventlet, os, sys, tempfile
            folder = tempfile.TemporaryDirectory()
            sys.path.insert(0, folder.name)
            with open(os.path.join(folder.name, "patches.py"), "w") as file:
                file.write("import eventlet\\neventlet.monkey_patch()\\nimport time\\ntime.sleep(0)\\nvalue = 1\\n")
            assert eventlet.spawn(__import__, "patches").wait().value == 1
            """
        )


if __name__ == "__main__":
    unittest.main()
