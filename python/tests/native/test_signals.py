"""Signals that come while C code is parked."""

import itertools

from module import ModuleTests

HUBS = ("epolls", "poll", "selects", "asyncio")


class Signals(ModuleTests):
    def test_a_signal_handler_that_raises_reaches_whoever_runs(self):
        self.check("""
            import signal
            def handler(number, frame):
                raise KeyError("signal")
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
            try:
                waiting.wait()
            except KeyError as error:
                print(error)
            theirs.send(b"x")
            print(waiting.wait())
        """, "'signal'\n1\n")

    def test_a_signal_ends_a_call_of_the_main_greenlet_as_it_ends_the_real_one(self):
        for hub, begin in itertools.product(HUBS, ("", "hooks.uninstall()")):
            with self.subTest(hub=hub, begin=begin):
                self.check(f"""
                    import signal
                    {begin}
                    handled = []
                    signal.signal(signal.SIGALRM, lambda number, frame: handled.append(number))
                    signal.setitimer(signal.ITIMER_REAL, 0.05)
                    assert blocking.poll(fd, DEADLINE) == -errno.EINTR
                    signal.setitimer(signal.ITIMER_REAL, 0.05)
                    assert 15 < blocking.rest_of_sleep(20) < 20
                    # What is started anew after a signal goes on.
                    signal.siginterrupt(signal.SIGALRM, False)
                    signal.setitimer(signal.ITIMER_REAL, 0.05)
                    def answer():
                        while signal.getitimer(signal.ITIMER_REAL)[0]:
                            time.sleep(0.001)
                        theirs.send(b"x")
                    answerer = threading.Thread(target=answer)
                    answerer.start()
                    assert blocking.recv(fd) == b"x"
                    answerer.join()
                    assert blocking.poll(fd, 10) == 0 and blocking.rest_of_sleep(0.01) == 0
                """, env={"EVENTLET_HUB": hub})

    def test_a_signal_ends_no_call_of_another_green_thread(self):
        for hub in HUBS:
            with self.subTest(hub):
                self.check("""
                    import signal
                    handled = []
                    signal.signal(signal.SIGALRM, lambda number, frame: handled.append(number))
                    waiting = spawn_and_reach(blocking.poll, fd, DEADLINE)
                    for _ in range(3):
                        signal.setitimer(signal.ITIMER_REAL, 0.02)
                        assert blocking.rest_of_sleep(20) > 0
                    signal.setitimer(signal.ITIMER_REAL, 0.02)
                    while len(handled) < 4:
                        eventlet.sleep(0.01)
                    assert not waiting.dead
                    theirs.send(b"x")
                    assert waiting.wait() == 1
                """, env={"EVENTLET_HUB": hub})

    def test_a_handler_that_raises_reaches_the_main_greenlet_in_its_call(self):
        self.check("""
            import signal
            def handler(number, frame):
                raise KeyError("signal")
            signal.signal(signal.SIGALRM, handler)
            other = spawn_and_reach(blocking.poll, fd, DEADLINE)
            mine, _ = socket.socketpair()
            for call in (lambda: blocking.poll(mine.fileno(), DEADLINE), lambda: blocking.rest_of_sleep(20)):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                began = time.monotonic()
                try:
                    call()
                    eventlet.sleep(0)
                except KeyError as error:
                    print(error, time.monotonic() - began < 10)
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            mine, _ = socket.socketpair()
            try:
                blocking.poll(mine.fileno(), DEADLINE)
                eventlet.sleep(0)
            except KeyboardInterrupt:
                print("interrupted")
            assert not other.dead
            theirs.send(b"x")
            assert other.wait() == 1
        """, "'signal' True\n'signal' True\ninterrupted\n")

    def test_a_program_that_a_signal_ends_in_a_call_ends_by_that_and_not_by_the_librarys_error(self):
        program = """
            import signal
            def handler(number, frame):
                sys.exit(7)
            signal.signal(signal.SIGALRM, handler)
            {begin}
            blocking.recv(fd)
        """
        interrupt = "threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()"
        code, output = self.run_program(program.format(begin=interrupt))
        self.assertEqual(code, 130, output)
        self.assertIn("During handling of the above exception, another exception occurred", output)
        self.assertEqual(output.splitlines()[-1], "KeyboardInterrupt")
        ended = self.run_program(program.format(begin="signal.setitimer(signal.ITIMER_REAL, 0.05)"))
        self.assertEqual(ended, (7, ""))
