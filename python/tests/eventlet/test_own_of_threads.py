"""What each thread of `threading` has of its own, as an OS thread has, and that it is let go of in that thread."""

import unittest

from scenario import Scenario

PATCHED = """
import eventlet
eventlet.monkey_patch()
import threading, _thread

def together(*functions):
    # What they return, called in threads that run at the same time.
    results = [None] * len(functions)
    begin = threading.Event()
    def work(index, function):
        begin.wait()
        results[index] = function()
    threads = [threading.Thread(target=work, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join()
    return results
"""


class Green(Scenario):
    def check(self, program, *options, before="", **settings):
        import textwrap

        super().check(before + PATCHED + textwrap.dedent(program), *options, **settings)


class Own(Green):
    def test_values_of_a_local_from_before_the_patch(self):
        self.check(
            """
            def work(name):
                found = getattr(plain, "name", None), inherited.names
                plain.name = name
                inherited.names.append(name)
                time.sleep(0)
                return found[0], plain.name, found[1]
            plain.name = "main"
            print(together(lambda: work(1), lambda: work(2)), plain.name, inherited.names)
            print(eventlet.spawn(lambda: plain.name).wait())
            """,
            before="import threading\nplain = threading.local()\n"
            "class Inherited(threading.local):\n    def __init__(self):\n        self.names = []\n"
            "inherited = Inherited()\n",
            prints="[(None, 1, [1]), (None, 2, [2])] main []\nmain\n",
        )

    def test_the_repr_of_a_container_is_whole_while_another_shows_it(self):
        self.check(
            """
            import collections, dataclasses
            class Slow:
                def __repr__(self):
                    time.sleep(0)
                    return "slow"
            @dataclasses.dataclass
            class Data:
                value: object
            slow = Slow()
            itself = [slow]
            itself.append(itself)
            for each in [slow], {1: slow}, collections.deque([slow]), collections.UserList([slow]), Data(slow), itself:
                alone = repr(each)
                for shown in together(*[lambda: repr(each)] * 3):
                    assert shown == alone, shown
            """
        )

    def test_errno_of_ctypes(self):
        self.check(
            """
            import ctypes
            def work(number):
                ctypes.set_errno(number)
                time.sleep(0)
                return ctypes.get_errno()
            print(together(lambda: work(1), lambda: work(2)), ctypes.get_errno())
            """,
            prints="[1, 2] 0\n",
        )

    def test_the_choice_of_a_hub_is_for_the_os_thread(self):
        self.check(
            """
            from eventlet import hubs
            def work():
                # Not with what it waits in at the moment.
                set_hub, hubs._set_hub = hubs._set_hub, lambda hub: None
                hubs.use_hub("poll")
                hubs._set_hub = set_hub
            together(work)
            print(hubs._threadlocal.Hub.__module__)
            """,
            prints="eventlet.hubs.poll\n",
        )

    def test_it_switches_to_others_and_back_with_what_is_theirs(self):
        self.check(
            """
            import greenlet
            def work():
                plain.name = "thread"
                inner = greenlet.greenlet(lambda: getattr(plain, "name", None))
                of_greenlet = inner.switch()
                time.sleep(0)
                return of_greenlet, plain.name
            plain.name = "main"
            print(together(work, work), plain.name)
            """,
            before="import threading\nplain = threading.local()\n",
            prints="[('main', 'thread'), ('main', 'thread')] main\n",
        )


class LetGo(Green):
    VALUE = """
            class Value:
                def __init__(self, name):
                    self.name, self.ident = name, threading.get_ident()
                def __del__(self):
                    time.sleep(0.001)
                    with lock:
                        gone.append((self.name, self.ident == threading.get_ident()))
            lock, gone = threading.Lock(), []
    """

    def test_values_are_finalized_in_the_thread_which_may_wait(self):
        self.check(
            self.VALUE
            + """
            import contextvars
            local, variable = threading.local(), contextvars.ContextVar("variable")
            class Inherited(threading.local):
                pass
            inherited = Inherited()
            def work():
                local.value = Value("local")
                inherited.value = Value("inherited")
                before.value = Value("before")
                variable.set(Value("variable"))
            for start in (lambda: threading.Thread(target=work).start(), lambda: _thread.start_new_thread(work, ())):
                with lock:
                    start()
                    time.sleep(0.02)
                    assert not gone
                while len(gone) < 4:
                    time.sleep(0.001)
                print(sorted(gone) == [(name, True) for name in ("before", "inherited", "local", "variable")])
                gone.clear()
            """,
            before="import threading\nbefore = threading.local()\n",
            prints="True\nTrue\n",
        )

    def test_a_join_returns_when_they_are_gone(self):
        self.check(
            self.VALUE
            + """
            local = threading.local()
            def work():
                local.value = Value("local")
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            print(gone, hasattr(local, "value"))
            """,
            prints="[('local', True)] False\n",
        )

    def test_a_local_and_its_thread_may_go_in_any_order(self):
        self.check(
            self.VALUE
            + """
            import gc, weakref
            def work(local):
                local.value = Value("value")
                local.itself = local
                seen.append(weakref.ref(local))
                del local
                time.sleep(0)
            seen = []
            for _ in range(3):
                thread = threading.Thread(target=work, args=(threading.local(),))
                thread.start()
                thread.join()
            del thread
            gc.collect()
            print(len(gone), [ref() for ref in seen])
            """,
            prints="3 [None, None, None]\n",
        )

    def test_a_finalizer_that_makes_new_values(self):
        self.check(
            """
            import gc
            class Again:
                def __del__(self):
                    before.name = local.name = "again"
                    time.sleep(0)
                    gone.append((before.name, local.name))
            local, gone = threading.local(), []
            def work():
                before.value = Again()
            together(work, work)
            print(gone, hasattr(before, "name"), hasattr(local, "name"))
            """,
            before="import threading\nbefore = threading.local()\n",
            prints="[('again', 'again'), ('again', 'again')] False False\n",
        )


class Seen(Green):
    def test_current_frames_have_each_thread(self):
        self.check(
            """
            import traceback
            def functions(frame):
                return [each.name for each in traceback.extract_stack(frame)]
            def waits():
                event.wait()
            def looks():
                time.sleep(0)
                frames = sys._current_frames()
                main, first, me = [functions(frames[each.ident]) for each in threading.enumerate()]
                print([main[:2], "waits" in first, me[-1], len(frames)])
            event = threading.Event()
            waiting, thread = threading.Thread(target=waits), threading.Thread(target=looks)
            waiting.start()
            thread.start()
            thread.join()
            assert sys._current_frames()[threading.get_ident()] is sys._getframe()
            event.set()
            waiting.join()
            print(len(sys._current_frames()))
            """,
            prints="[['<module>', 'join'], True, 'looks', 3]\n1\n",
        )

    def test_in_the_child_of_a_fork_there_is_the_thread_that_forked(self):
        self.check(
            """
            import os
            def work():
                pid = os.fork()
                if pid == 0:
                    os._exit(list(sys._current_frames()) == [threading.get_ident()])
                return os.waitpid(pid, 0)[1] >> 8
            others = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(3)]
            for each in others:
                each.start()
            print(work(), together(work))
            """,
            prints="1 [1]\n",
        )

    def test_audit_hooks_are_told(self):
        self.check(
            """
            import socket
            events = []
            def hook(event, args):
                names = "time.sleep", "socket.gethostbyname", "socket.gethostbyaddr"
                if event in names or event.startswith("_thread"):
                    events.append(event)
                    if args[:1] == (0.25,):
                        raise PermissionError
            sys.addaudithook(hook)
            time.sleep(0)
            try:
                time.sleep(0.25)
            except PermissionError:
                events.append("refused")
            socket.gethostbyname("127.0.0.1")
            socket.gethostbyname("localhost")
            socket.gethostbyaddr("127.0.0.1")
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            slept = ["time.sleep", "time.sleep", "refused"] if sys.version_info >= (3, 11) else []
            kind = "joinable" if sys.version_info >= (3, 13) else "new"
            asked = ["socket.gethostbyname"] * 2 + ["socket.gethostbyaddr"]
            print(events == slept + asked + [f"_thread.start_{kind}_thread"] or events)
            """,
            prints="True\n",
        )


class Settings(Green):
    def test_a_larger_stack_that_was_asked_for_is_there(self):
        self.check(
            """
            import greenloom
            sys.setrecursionlimit(20000)
            def deep(n):
                return 0 if n == 0 else max(map(deep, (n - 1,))) + 1
            usual = greenloom.stack_size()
            threading.stack_size(128 << 20)
            print(together(lambda: deep(2500)), greenloom.stack_size() == 128 << 20)
            threading.stack_size(64 << 10)
            print(greenloom.stack_size() == usual)
            """,
            prints="[2500] True\nTrue\n",
        )

    def test_signal_handlers_are_for_the_main_thread(self):
        self.check(
            """
            import signal, asyncio
            def refused(call):
                try:
                    call()
                except (ValueError, RuntimeError) as error:
                    return "main thread" in str(error)
            calls = [lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN), lambda: signal.set_wakeup_fd(-1)]
            for call in calls:
                print(together(lambda: refused(call)), refused(call), eventlet.spawn(refused, call).wait())
            async def in_a_loop():
                return refused(lambda: asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, int))
            print(together(lambda: asyncio.run(in_a_loop())))
            """,
            EVENTLET_HUB="epolls",  # there threads have loops of their own
            prints="[True] None None\n" * 2 + "[True]\n",
        )

    def test_in_the_child_of_a_fork_they_are_for_the_thread_that_forked(self):
        self.check(
            """
            import os, signal
            def work():
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
                    os._exit(3)
                return os.waitpid(pid, 0)[1] >> 8
            print(together(work))
            """,
            prints="[3]\n",
        )


if __name__ == "__main__":
    unittest.main()
