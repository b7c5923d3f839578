"""What `greenloom.hooks` hooks, what it reports, and that it can be taken back."""

import unittest

from programs import Programs


class Hooking(Programs):
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


if __name__ == "__main__":
    unittest.main()
