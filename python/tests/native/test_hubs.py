"""Hooked calls with each hub."""

from module import ModuleTests


class Hubs(ModuleTests):
    def test_all_hubs_park_them(self):
        for hub in ("poll", "selects", "asyncio"):
            with self.subTest(hub):
                self.check("""
                    assert type(eventlet.hubs.get_hub()).__module__ == "eventlet.hubs." + os.environ["EVENTLET_HUB"]
                    # Beside it, one waits by a listener.
                    mine, peer = socket.socketpair()
                    hooked = spawn_and_reach(blocking.poll, fd, DEADLINE)
                    listener = spawn_and_reach(eventlet.hubs.trampoline, mine, True)
                    theirs.send(b"x")
                    assert hooked.wait() == 1 and ours.recv(1) == b"x" and not listener.dead
                    peer.send(b"y")
                    listener.wait()
                    assert blocking.poll(fd, 10) == 0
                    sleeping = spawn_and_reach(blocking.sleep, 0.01)
                    sleeping.wait()
                    with eventlet.Timeout(0.01, False):
                        blocking.sleep(20)
                    killed = spawn_and_reach(blocking.poll, fd, DEADLINE)
                    killed.kill()
                    assert killed.dead and theirs.recv(1) == b""
                    # In the child of a fork, too.
                    ours, theirs = socket.socketpair()
                    if not (child := os.fork()):
                        hooked = spawn_and_reach(blocking.poll, ours.fileno(), DEADLINE)
                        theirs.send(b"x")
                        os._exit(42 if hooked.wait() == 1 else 1)
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
                """, env={"EVENTLET_HUB": hub})

    def test_a_hub_with_which_calls_block_is_warned_of_once(self):
        self.check("""
            import warnings
            from eventlet import hubs
            from eventlet.hubs import poll
            caught = []
            warnings.showwarning = lambda message, kind, filename, *rest: caught.append((kind, str(message), filename))
            warnings.simplefilter("always")

            class Own(poll.Hub):
                def wait(self, seconds=None):
                    super().wait(seconds)

            class Parks(poll.Hub):
                def wait(self, seconds=None):
                    super().wait(seconds)
                wait._looks_at_poller = True

            for _ in range(2):
                hubs.use_hub(Own)
                hubs.get_hub()
            assert blocking.poll(fd, 1) == 0
            (kind, message, _), = caught
            assert kind is RuntimeWarning, kind
            assert "__main__" in message and "Own" in message and "EVENTLET_HUB=epolls" in message, message
            for hub in ("epolls", "poll", "selects", "asyncio", Parks):
                hubs.use_hub(hub)
                hubs.get_hub()
            assert len(caught) == 1
            # The other way round.
            hooks.uninstall()
            hubs.use_hub(type("Another", (Own,), {}))
            hubs.get_hub()
            assert len(caught) == 1
            hooks.install(["blocking"])
            hooks.install(["blocking"])
            assert len(caught) == 2 and "Another" in caught[1][1] and caught[1][2] == "<string>", caught
        """)
