"""C code that blocks, on green threads: `greenloom.hooks` with an extension module that is made for it."""

import signal
import sys
import unittest

from module import ModuleTests


class Calls(ModuleTests):
    def test_a_call_that_waits_lets_other_green_threads_run(self):
        calls = {
            "without the interpreter's lock": "blocking.poll, fd, DEADLINE",
            "with it": "blocking.poll, fd, DEADLINE, True",
            "in a library that the module was linked with": "blocking.brought_poll, fd, DEADLINE",
            "in one that it opens": "blocking.opened_poll, FOLDER + '/libopened.so', fd, DEADLINE",
        }
        for which, call in calls.items():
            with self.subTest(which):
                self.check(f"""
                    waiting = spawn_and_reach({call})
                    theirs.send(b"x")
                    assert waiting.wait() == 1
                """)

    def test_a_library_that_was_opened_is_hooked_with_the_module_and_again_after_an_uninstall(self):
        self.check("""
            path = FOLDER + "/libopened.so"
            for _ in range(2):
                assert blocking.opened_poll(path, fd, 0) == 0
                found = {library.path: library.refused for library in hooks.report()}
                assert found[path] is None
                hooks.uninstall()
                hooks.install(["blocking"])
            assert path in [library.path for library in hooks.report()]
            hooks.uninstall()
            assert hooks.report() == []
        """)

    def test_a_library_that_is_closed_while_a_call_of_it_waits_is_there_until_the_uninstall(self):
        self.check("""
            import _ctypes
            def is_loaded():
                with open("/proc/self/maps") as maps:
                    return "libopened.so" in maps.read()
            for _ in range(3):
                library = ctypes.CDLL(FOLDER + "/libopened.so")
                hooks.install(["libopened.so"])
                waiting = spawn_and_reach(library.brought_poll, fd, DEADLINE)
                _ctypes.dlclose(library._handle)
                assert is_loaded()
                theirs.send(b"x")
                assert waiting.wait() == 1 and ours.recv(1) == b"x"
                hooks.uninstall()
                assert not is_loaded()
        """)

    def test_a_library_that_ctypes_has_loaded_is_hooked_by_its_name(self):
        for name in ("FOLDER + '/libopened.so'", "'libopened.so'"):
            self.check(f"""
                library = ctypes.CDLL(FOLDER + "/libopened.so")
                hooks.install([{name}])
                waiting = spawn_and_reach(library.brought_poll, fd, DEADLINE)
                theirs.send(b"x")
                assert waiting.wait() == 1
            """)

    def test_a_module_that_was_imported_before_is_hooked_as_well_and_twice_is_as_once(self):
        self.check("""
            hooks.uninstall()
            hooks.install()
            hooks.install(["blocking"])
            waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
            hooks.uninstall()
            theirs.send(b"x")
            assert waiting.wait() == 1
        """)

    def test_a_name_that_no_module_has_is_warned_of(self):
        self.check("""
            import warnings
            caught = []
            warnings.showwarning = lambda message, kind, filename, *rest: caught.append((kind, str(message), filename))
            hooks.install(["blocking", "sqlite3", "libopened.so"])
            assert caught == []
            hooks.install(["no_such_name"])
            (kind, message, filename), = caught
            assert kind is UserWarning and "no module 'no_such_name' to hook" in message
            assert filename == "<string>", caught
        """)

    def test_without_hooks_the_real_call_is_made(self):
        self.check("""
            hooks.uninstall()
            began = eventlet.spawn(blocking.poll, fd, 50)
            eventlet.sleep(0)
            assert began.dead and began.wait() == 0
            assert hooks.report() == []
        """)

    def test_the_report_says_what_is_hooked_and_what_is_refused_and_why(self):
        self.check("""
            found = {library.path.rpartition("/")[2]: library for library in hooks.report()}
            print(found["blocking.so"].refused, "poll" in found["blocking.so"].calls)
            print(found["libc.so.6"].refused, found["libc.so.6"].calls)
        """, "None True\nthe C library, which the hooks call ()\n")

    def test_monkey_patch_installs_them(self):
        self.check("""
            hooks.uninstall()
            eventlet.monkey_patch(native=["blocking"])
            waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
            theirs.send(b"x")
            assert waiting.wait() == 1
            assert eventlet.patcher.is_monkey_patched("socket")
        """)

    def test_limits_and_errors_are_the_calls_own(self):
        self.check("""
            began = time.monotonic()
            assert eventlet.spawn(blocking.poll, fd, 100).wait() == 0
            assert 0.1 <= time.monotonic() - began < 1
            theirs.close()
            assert eventlet.spawn(blocking.recv, fd).wait() == b""
        """)

    def test_a_connection_that_is_reset_is_the_calls_own_error(self):
        self.check("""
            import struct
            listener = socket.create_server(("127.0.0.1", 0))
            client = socket.create_connection(listener.getsockname())
            server = listener.accept()[0]
            waiting = spawn_and_reach(blocking.recv, client.fileno())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.close()
            try:
                waiting.wait()
            except OSError as error:
                print(error.errno == errno.ECONNRESET)
        """, "True\n")

    def test_time_that_is_slept_away_in_c_is_everybodys(self):
        self.check("""
            began = time.monotonic()
            for sleeper in [eventlet.spawn(blocking.sleep, 0.2) for _ in range(20)]:
                sleeper.wait()
            assert 0.2 <= time.monotonic() - began < 1
        """)

    def test_an_os_thread_without_a_hub_and_the_hub_itself_block(self):
        self.check("""
            got = []
            eventlet.hubs.get_hub().schedule_call_global(0, lambda: got.append(blocking.poll(fd, 10)))
            eventlet.sleep(0.05)
            thread = threading.Thread(target=lambda: got.append(blocking.poll(fd, 10)))
            thread.start()
            thread.join()
            assert got == [0, 0]
        """)

    def test_green_threads_of_another_os_thread_park_there(self):
        self.check("""
            def other():
                waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
                theirs.send(b"x")
                got.append(waiting.wait())
            got = []
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            assert got == [1]
        """)

    def test_a_thread_of_the_librarys_own_may_write_to_a_stack_that_waits(self):
        self.check("""
            for waiting in [eventlet.spawn(blocking.filled) for _ in range(20)]:
                assert waiting.wait() == 42
        """)

    def test_python_that_is_called_beneath_a_call_may_wait_too(self):
        self.check("""
            def back():
                eventlet.sleep(0.02)
                return blocking.poll(fd, 20)
            both = [eventlet.spawn(blocking.call_back, back, fd, 30) for _ in range(5)]
            assert [one.wait() for one in both] == [0] * 5
        """)

    def test_what_is_thrown_in_is_raised_when_the_error_of_the_call_has_been_handled(self):
        self.check("""
            def wait():
                try:
                    blocking.recv(fd)
                except OSError as error:
                    seen.append(error.errno == errno.ECANCELED)
                    seen.append(sum(str(number).isdigit() for number in range(2)))
                sum(str(number).isdigit() for number in range(2))
                seen.append("not reached")
            seen = []
            waiting = spawn_and_reach(wait)
            waiting.kill()
            print(end_of(waiting), seen)
            theirs.settimeout(1)
            print(theirs.recv(1))
        """, "GreenletExit [True, 2]\nb''\n")

    def test_what_lets_go_of_a_lock_while_the_error_of_the_call_is_on_its_way_is_not_cut_short(self):
        self.check("""
            class Lock:
                def __enter__(self):
                    self.is_held = True
                def __exit__(self, *error):
                    len(self.__dict__)
                    self.is_held = False
            def wait():
                with locks[0]:
                    try:
                        try:
                            with locks[1]:
                                blocking.recv(fd)
                        finally:
                            with locks[2]:
                                pass
                            seen.append("finally")
                    except OSError as error:
                        with locks[3]:
                            raise LookupError from error
            locks = [Lock() for _ in range(4)]
            seen = []
            waiting = spawn_and_reach(wait)
            waiting.kill()
            print(end_of(waiting), seen, [lock.is_held for lock in locks])
        """, "GreenletExit ['finally'] [False, False, False, False]\n")

    def test_what_tries_again_and_again_ends_by_it(self):
        self.check("""
            def wait():
                while True:
                    try:
                        blocking.recv(theirs.fileno())
                    except OSError:
                        tries.append(1)
            tries = []
            waiting = spawn_and_reach(wait)
            waiting.kill()
            print(end_of(waiting), 0 < len(tries) < 20)
        """, "GreenletExit True\n")

    def test_it_is_raised_at_the_next_wait_at_the_latest_and_in_nobody_else(self):
        self.check("""
            def wait():
                try:
                    blocking.recv(fd)
                except OSError:
                    eventlet.sleep(10)
            def other():
                for turn in range(200):
                    eventlet.sleep(0)
                    sum(range(10))
                return "well"
            others = [eventlet.spawn(other) for _ in range(3)]
            waiting = spawn_and_reach(wait)
            try:
                waiting.kill(KeyError("thrown"))
                waiting.wait()
            except KeyError as error:
                print(error)
            print([one.wait() for one in others])
        """, "'thrown'\n['well', 'well', 'well']\n")

    def test_a_function_of_c_that_is_a_green_thread_by_itself_ends_by_it(self):
        self.check("""
            waiting = spawn_and_reach(blocking.recv, fd)
            waiting.kill()
            print(end_of(waiting))
            ours, theirs = socket.socketpair()
            plain = greenlet.greenlet(blocking.recv)
            eventlet.spawn_n(plain.switch, ours.fileno())
            eventlet.sleep(0)
            eventlet.spawn_n(plain.throw, KeyError("thrown"))
            eventlet.sleep(0.02)
            print(plain.dead)
        """, "GreenletExit\nTrue\n")

    @unittest.skipIf(sys.version_info < (3, 11), "CPython 3.10 raises it before the block's end is told")
    def test_timeouts_are_raised_or_kept_quiet_about_as_elsewhere(self):
        self.check("""
            def timed(*args):
                ours, theirs = socket.socketpair()
                with eventlet.Timeout(0.02, *args) as timeout:
                    blocking.recv(ours.fileno())
                return "quiet"
            def loud(*args):
                try:
                    return timed(*args)
                except (eventlet.Timeout, KeyError) as error:
                    return type(error).__name__
            print([eventlet.spawn(loud, *args).wait() for args in [(), (False,), (KeyError,)]])
            def told_by_a_number(*args):
                other, _ = socket.socketpair()
                with eventlet.Timeout(0.02, *args):
                    assert blocking.poll(other.fileno(), DEADLINE) == -errno.ECANCELED
                return "quiet"
            def loud_or_quiet(*args):
                try:
                    return told_by_a_number(*args)
                except eventlet.Timeout:
                    return "loud"
            print([eventlet.spawn(loud_or_quiet, *args).wait() for args in [(), (False,)]])
            print(eventlet.with_timeout(0.02, blocking.recv, fd, timeout_value="value"))
            eventlet.sleep(0.01)
            print(blocking.poll(fd, 0))
        """, "['Timeout', 'quiet', 'KeyError']\n['loud', 'quiet']\nvalue\n1\n")

    def test_a_lookup_is_not_left_while_it_writes_to_the_stack(self):
        self.check("""
            began = time.monotonic()
            looking = eventlet.spawn(blocking.lookup, "localhost")
            eventlet.sleep(0)
            looking.kill()
            print(end_of(looking))
            assert eventlet.spawn(blocking.lookup, "localhost").wait() == 0
        """, "GreenletExit\n")

    def test_a_child_goes_on_while_the_parents_call_waits(self):
        self.check("""
            waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
            child = os.fork()
            if child == 0:
                own, other = socket.socketpair()
                mine = spawn_and_reach(blocking.poll, own.fileno(), DEADLINE)
                other.send(b"x")
                os._exit(mine.wait())
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 1
            theirs.send(b"x")
            assert waiting.wait() == 1
        """)

    def test_a_child_ends_as_a_program_does_while_the_parents_calls_wait(self):
        self.check("""
            waiting = [spawn_and_reach(blocking.poll, fd, DEADLINE), spawn_and_reach(blocking.sem_wait)]
            child = os.fork()
            if child == 0:
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            theirs.send(b"x")
            blocking.post()
            assert [one.wait() for one in waiting] == [1, 0]
        """)

    def test_a_child_that_gives_up_a_call_of_the_parents_leaves_the_connection_alone(self):
        self.check("""
            waiting = spawn_and_reach(blocking.recv, fd)
            child = os.fork()
            if child == 0:
                waiting.kill()
                os._exit(end_of(waiting) == "GreenletExit")
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
            theirs.send(b"x")
            assert waiting.wait() == b"x"
        """)

    def test_in_a_child_that_c_code_has_forked_the_real_call_is_made(self):
        self.check("""
            waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
            own, other = socket.socketpair()
            reader, writer = os.pipe()
            def runs():
                # Not in the child.
                while True:
                    os.write(writer, b"%d " % os.getpid())
                    eventlet.sleep(0.002)
            spawn_and_reach(runs)
            assert eventlet.spawn(blocking.forked_poll, own.fileno(), 20).wait() == 0
            other.send(b"x")
            assert eventlet.spawn(blocking.forked_poll, own.fileno(), DEADLINE).wait() == 1
            assert set(os.read(reader, 10000).split()) == {b"%d" % os.getpid()}
            theirs.send(b"x")
            assert waiting.wait() == 1
        """)

    def test_a_program_ends_while_calls_wait(self):
        self.check("""
            waiting = [spawn_and_reach(blocking.poll, fd, DEADLINE), spawn_and_reach(blocking.recv, theirs.fileno())]
            waiting += [spawn_and_reach(blocking.sem_wait), spawn_and_reach(blocking.wait_for, 7, -1)]
            waiting += [spawn_and_reach(blocking.locked_poll, 0, 1, fd, DEADLINE) for _ in range(2)]
            waiting += [spawn_and_reach(blocking.sleep, 20), spawn_and_reach(blocking.call_back, len, fd, DEADLINE)]
            threading.Thread(target=lambda: spawn_and_reach(blocking.poll, fd, DEADLINE)).start()
            threading.Thread(target=blocking.sem_wait, daemon=True).start()
            print("ends")
        """, "ends\n")

    def test_a_library_that_needs_more_stack_than_there_is_ends_by_a_message_that_says_how_to_raise_it(self):
        program = "print(eventlet.spawn(blocking.deep, 200_000, fd, 0).wait(), flush=True)"
        self.check(program, "0\n", env={"GREENLOOM_STACK_SIZE": "512K"})
        code, output = self.run_program(program, env={"GREENLOOM_STACK_SIZE": "64K"})
        self.assertEqual(code, -signal.SIGSEGV, output)
        self.assertRegex(output, "stack overflow in greenlet(.|\n)*GREENLOOM_STACK_SIZE")

    def test_a_socket_that_is_closed_by_another_green_thread_ends_the_wait(self):
        self.check("""
            waiting = spawn_and_reach(blocking.recv, fd)
            blocking.close(ours.detach())
            # Another file has the number now, and something to read.
            others = socket.socketpair()
            assert fd in [other.fileno() for other in others]
            for other in others:
                other.send(b"x")
            try:
                waiting.wait()
            except OSError as error:
                print(error.errno == errno.EBADF)
        """, "True\n")

    def test_calls_that_never_have_to_wait_let_others_run(self):
        self.check("""
            theirs.send(b"x")
            turns = []
            def busy():
                # Of its own time: a busy machine gives it less.
                end = time.thread_time() + 0.2
                while time.thread_time() < end:
                    blocking.poll(fd, 0)
            working = eventlet.spawn(busy)
            while not working.dead:
                eventlet.sleep(0)
                turns.append(1)
            assert len(turns) > 20, len(turns)
        """)


if __name__ == "__main__":
    unittest.main()
