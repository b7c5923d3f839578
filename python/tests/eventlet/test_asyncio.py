"""asyncio beside green threads: the asyncio hub, and event loops in green threads of any hub."""

from scenario import Scenario


class AsyncioHub(Scenario):
    """Programs on the asyncio hub."""

    def run_program(self, program, *options, **settings):
        settings.setdefault("EVENTLET_HUB", "asyncio")
        return super().run_program("import eventlet, asyncio\n" + program, *options, **settings)

    def check(self, program, *options, **settings):
        # What is above is not indented.
        from textwrap import dedent

        super().check(dedent(program), *options, **settings)

    def test_coroutines_and_green_threads_take_turns(self):
        self.check(
            """
            from eventlet.asyncio import spawn_for_awaitable
            order = []
            async def coroutine():
                for n in range(3):
                    order.append(f"coroutine {n}")
                    await asyncio.sleep(0.02)
                return "result"
            def green():
                for n in range(3):
                    order.append(f"green {n}")
                    eventlet.sleep(0.02)
            thread = eventlet.spawn(green)
            assert spawn_for_awaitable(coroutine()).wait() == "result"
            thread.wait()
            assert sorted(order[:2]) == ["coroutine 0", "green 0"], order
            assert sorted(order[-2:]) == ["coroutine 2", "green 2"], order
            """
        )

    def test_green_sockets_and_streams_talk_to_each_other(self):
        self.check(
            """
            from eventlet.asyncio import spawn_for_awaitable
            listener = eventlet.listen(("127.0.0.1", 0))
            def serve():
                connection, _ = listener.accept()
                while data := connection.recv(100):
                    connection.sendall(data.upper())
            eventlet.spawn(serve)
            async def talk():
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                for n in range(50):
                    writer.write(b"x" * 100)
                    assert await reader.readexactly(100) == b"X" * 100
                writer.close()
                return "done"
            assert spawn_for_awaitable(talk()).wait() == "done"
            """
        )

    def test_a_green_thread_killed_before_it_began_cancels_its_future(self):
        # Stock leaves the future running.
        self.check(
            """
            from eventlet.asyncio import spawn_for_awaitable
            eventlet.sleep(0)
            future = asyncio.ensure_future(asyncio.sleep(5))
            spawn_for_awaitable(future).kill()
            eventlet.sleep(0.01)
            assert future.cancelled()
            """
        )

    def test_a_timeout_cancels_the_coroutine(self):
        self.check(
            """
            from eventlet.asyncio import spawn_for_awaitable
            seen = []
            async def coroutine():
                try:
                    await asyncio.sleep(5)
                except asyncio.CancelledError:
                    seen.append("cancelled")
                    raise
            thread = spawn_for_awaitable(coroutine())
            try:
                with eventlet.Timeout(0.02):
                    thread.wait()
            except eventlet.Timeout:
                thread.kill()
            eventlet.sleep(0.01)
            assert seen == ["cancelled"], seen
            """
        )

    def test_other_os_threads_wake_it(self):
        for arm in (
            "threading.Timer(0.1, event.send).start()",
            "threading.Timer(0.1, lambda: hub.loop.call_soon_threadsafe(event.send)).start()",
        ):
            self.check(
                f"""
                threading = eventlet.patcher.original("threading")
                hub = eventlet.hubs.get_hub()
                event = eventlet.Event()
                {arm}
                started = monotonic()
                event.wait()
                assert 0.05 < monotonic() - started < 2, monotonic() - started
                """
            )

    def test_every_os_thread_has_a_loop(self):
        # 994
        self.check(
            """
            eventlet.monkey_patch()
            threading = eventlet.patcher.original("threading")
            from eventlet.asyncio import spawn_for_awaitable
            loops = []
            async def remember():
                await asyncio.sleep(0.01)
                loops.append(asyncio.get_running_loop())
            def run():
                spawn_for_awaitable(remember()).wait()
            threads = [threading.Thread(target=run) for _ in range(3)]
            for thread in threads: thread.start()
            run()
            while any(thread.is_alive() for thread in threads): eventlet.sleep(0.01)
            assert len(set(loops)) == 4, loops
            """
        )

    def test_it_does_not_matter_when_asyncio_was_imported(self):
        # 929, 1006
        for before, after in (("import asyncio, selectors", ""), ("", "import asyncio, concurrent.futures.thread")):
            self.check(
                f"""
                {before}
                eventlet.monkey_patch()
                {after}
                from eventlet.asyncio import spawn_for_awaitable
                count = ticks()
                async def main():
                    await asyncio.to_thread(real_sleep, 0.1)
                    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
                    return 5
                assert spawn_for_awaitable(main()).wait() == 5
                assert count[0] > 4, count
                """
            )

    def test_asyncio_run_in_a_green_thread_runs_in_the_hubs_loop(self):
        # Stock raises RuntimeError.
        self.check(
            """
            count = ticks()
            async def main(n):
                await asyncio.sleep(0.1)
                return asyncio.get_running_loop() is eventlet.hubs.get_hub().loop, n
            threads = [eventlet.spawn(asyncio.run, main(n)) for n in range(3)]
            assert [thread.wait() for thread in threads] == [(True, n) for n in range(3)]
            assert asyncio.run(main(3)) == (True, 3)
            assert count[0] > 8, count
            """
        )

    def test_a_forked_child_is_independent(self):
        # Stock's shares the epoll object and the waking socket with its parent.
        self.check(
            """
            import os
            from eventlet.asyncio import spawn_for_awaitable
            count = ticks()
            async def work():
                await asyncio.to_thread(real_sleep, 0.01)
                await asyncio.sleep(0.01)
                return 7
            spawn_for_awaitable(work()).wait()
            pid = os.fork()
            result = 1
            with eventlet.Timeout(10):
                for _ in range(20):
                    assert spawn_for_awaitable(work()).wait() == 7
                result = 0
            if pid == 0:
                os._exit(result)
            while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
                eventlet.sleep(0.01)
            assert done == (pid, 0), done
            """,
            "-W", "ignore",
        )

    def test_a_loop_whose_descriptors_were_closed_gets_new_ones_and_closes_nobody_elses(self):
        self.check(
            """
            import os, signal
            from eventlet.asyncio import spawn_for_awaitable
            loop, woken = eventlet.hubs.get_hub().loop, eventlet.Event()
            threading = eventlet.patcher.original("threading")
            signalled = []
            async def work():
                loop.add_signal_handler(signal.SIGUSR1, signalled.append, 1)
                await asyncio.sleep(0.01)
            spawn_for_awaitable(work()).wait()
            for round in range(3):
                os.closerange(3, 256)
                files = [os.open(os.devnull, os.O_RDWR) for _ in range(12)]
                with eventlet.Timeout(10):
                    spawn_for_awaitable(work()).wait()
                    # It sleeps for a minute otherwise, and is woken through its own pipe.
                    woken.reset() if woken.ready() else None
                    threading.Timer(0.1, loop.call_soon_threadsafe, (eventlet.spawn, woken.send)).start()
                    woken.wait()
                    os.kill(os.getpid(), signal.SIGUSR1)
                    while len(signalled) <= round:
                        eventlet.sleep(0.01)
                [os.fstat(number) for number in files]
            """
        )

    def test_signals_are_handled_at_once(self):
        self.check(
            """
            import os, signal
            woken = eventlet.Event()
            signal.signal(signal.SIGUSR1, lambda *_: eventlet.spawn(woken.send))
            threading = eventlet.patcher.original("threading")
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            started = monotonic()
            with eventlet.Timeout(5):
                woken.wait()
            assert monotonic() - started < 1, monotonic() - started
            """
        )

    def test_an_interrupt_ends_the_wait_and_leaves_the_hub_usable(self):
        self.check(
            """
            import os, signal
            threading = eventlet.patcher.original("threading")
            for _ in range(2):
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
                try:
                    eventlet.sleep(5)
                except KeyboardInterrupt:
                    pass
                else:
                    raise AssertionError
            eventlet.sleep(0.01)
            """
        )

    def test_an_idle_hub_is_idle(self):
        self.check(
            """
            import time
            threading = eventlet.patcher.original("threading")
            event = eventlet.Event()
            threading.Thread(target=event.send).start()
            event.wait()
            before = time.process_time()
            eventlet.sleep(0.5)
            assert time.process_time() - before < 0.1, time.process_time() - before
            """
        )

    def test_bad_file_descriptors_are_refused(self):
        self.check(
            """
            import os
            hub = eventlet.hubs.get_hub()
            for number in (-1, 1000):
                try:
                    hub.add(hub.READ, number, None, None, None)
                except ValueError:
                    pass
                else:
                    raise AssertionError
            assert not hub.get_readers()
            """
        )


class Awaiting(Scenario):
    """`await` of a green thread."""

    PROGRAM = """
    import eventlet, asyncio
    from eventlet import debug
    eventlet.monkey_patch()
    debug.hub_exceptions(False)
    def double(n):
        eventlet.sleep(0.02)
        if n < 0: raise ValueError(n)
        if n == 0: raise StopIteration
        return n * 2
    async def main():
        assert await asyncio.gather(eventlet.spawn(double, 1), eventlet.spawn(double, 2)) == [2, 4]
        for n, kind in ((-1, ValueError), (0, RuntimeError)):
            try:
                await eventlet.spawn(double, n)
            except kind:
                pass
            else:
                raise AssertionError
        slow = eventlet.spawn(eventlet.sleep, 5)
        try:
            await asyncio.wait_for(slow, 0.02)
        except asyncio.TimeoutError:
            pass
        await asyncio.sleep(0.01)
        assert slow.dead
        killed = eventlet.spawn(eventlet.sleep, 5)
        eventlet.spawn_after(0.01, killed.kill)
        try:
            await killed
        except asyncio.CancelledError:
            return "done"
    assert asyncio.run(main()) == "done"
    """

    def test_on_the_asyncio_hub(self):
        self.check(self.PROGRAM, EVENTLET_HUB="asyncio")

    def test_in_a_loop_of_a_green_thread(self):
        # Stock refuses.
        for hub in ("epolls", "poll", "selects"):
            with self.subTest(hub):
                self.check(self.PROGRAM, EVENTLET_HUB=hub)


class LoopsInGreenThreads(Scenario):
    def test_each_has_a_running_loop_of_its_own(self):
        # Stock: the second one finds the first one's running.
        for hub in ("epolls", "poll", "selects"):
            with self.subTest(hub):
                self.check(
                    """
                    import eventlet, asyncio
                    eventlet.monkey_patch()
                    count = ticks()
                    async def numbers(n):
                        for each in range(n):
                            yield each
                    async def main(n):
                        loop = asyncio.get_running_loop()
                        found = []
                        for _ in range(10):
                            await asyncio.sleep(0.01)
                            assert asyncio.get_running_loop() is loop
                        async for each in numbers(3):
                            await asyncio.sleep(0)
                            found.append(each)
                        assert await loop.run_in_executor(None, lambda: n) == n
                        return loop
                    threads = [eventlet.spawn(asyncio.run, main(n)) for n in range(4)]
                    eventlet.sleep(0.02)
                    assert asyncio._get_running_loop() is None
                    assert sys.get_asyncgen_hooks().firstiter is None
                    assert len({thread.wait() for thread in threads}) == 4
                    assert count[0] > 5, count
                    """,
                    EVENTLET_HUB=hub,
                )

    def test_asyncio_may_be_missing_from_the_loaded_modules(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import asyncio
            async def main():
                sys.modules["asyncio"] = None
                await asyncio.sleep(0.01)
                return 7
            assert eventlet.spawn(asyncio.run, main()).wait() == 7
            """
        )

    def test_a_busy_loop_lets_others_run(self):
        self.check(
            """
            import eventlet, asyncio
            eventlet.monkey_patch()
            count = ticks()
            async def main():
                end = monotonic() + 0.2
                while monotonic() < end:
                    await asyncio.sleep(0)
            asyncio.run(main())
            assert count[0] > 5, count
            """
        )

    def test_servers_and_subprocesses(self):
        self.check(
            """
            import eventlet, asyncio
            eventlet.monkey_patch()
            count = ticks()
            async def main():
                async def serve(reader, writer):
                    writer.write((await reader.readline()).upper())
                    await writer.drain()
                    writer.close()
                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"hello\\n")
                assert await reader.read() == b"HELLO\\n"
                writer.close()
                server.close()
                child = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.1; echo hi", stdout=-1)
                assert (await child.communicate())[0] == b"hi\\n"
            asyncio.run(main())
            assert count[0] > 5, count
            """
        )


if __name__ == "__main__":
    import unittest

    unittest.main()
