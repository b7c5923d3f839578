"""Stacks: their size, the pool, what a suspended greenlet costs."""

import sys
import unittest

import greenlet
import greenloom

from support import run_script


class Size(unittest.TestCase):
    def test_it_can_be_set_from_inside(self):
        before = greenloom.stack_size()
        try:
            greenloom.set_stack_size(512 * 1024)
            g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch())
            g.switch()
            self.assertTrue(480 * 1024 < g._stack_size <= 512 * 1024, g._stack_size)
            g.switch()
            self.assertIsNone(g._stack_size)
            for wrong in (0, -1, 1000, 1 << 40):
                with self.assertRaisesRegex(ValueError, "stack"):
                    greenloom.set_stack_size(wrong)
        finally:
            greenloom.set_stack_size(before)

    def test_it_can_be_set_by_the_environment(self):
        for value, size in (("2M", 2 << 20), ("300k", 300 << 10), ("131072", 131072)):
            status, output = run_script(
                "import greenloom; print(greenloom.stack_size())", env={"GREENLOOM_STACK_SIZE": value}
            )
            self.assertEqual((status, output.strip()), (0, str(size)))
        for value in ("", "many", "1"):
            status, output = run_script("import greenloom", env={"GREENLOOM_STACK_SIZE": value})
            self.assertEqual(status, 1, output)
            self.assertIn("GREENLOOM_STACK_SIZE", output)


    CROWD = """
        import sys, greenlet
        def suspend():
            g = greenlet.greenlet(greenlet.getcurrent().switch)
            g.switch()
            return g
        if len(sys.argv) > 1:
            import greenloom
            greenloom.set_stack_size(int(sys.argv[1]))
        kept = [suspend() for _ in range(50_200)]
        sizes = [kept[0]._stack_size, kept[49_000]._stack_size, kept[-1]._stack_size]
        for g in kept[1000:]:
            g.switch()
        del kept[1000:], g
        # What this thread keeps for the next is used up first.
        later = [suspend() for _ in range(1000)]
        print(*[round(size / 2**10) for size in (*sizes, later[-1]._stack_size)])
    """

    @unittest.skipIf(sys.version_info < (3, 12), "a smaller stack may overflow there before a RecursionError")
    def test_those_of_a_crowd_are_smaller(self):
        status, output = run_script(self.CROWD)
        self.assertEqual(status, 0, output)
        first, last_of_few, crowded, later = map(int, output.split())
        self.assertTrue(1000 < first == last_of_few == later <= 1024, output)
        self.assertTrue(680 < crowded <= 704, output)

    def test_those_of_a_crowd_have_the_size_that_was_set(self):
        status, output = run_script(self.CROWD, argv=["262144"])
        self.assertEqual(status, 0, output)
        first, *others = map(int, output.split())
        self.assertTrue(first <= 256 and set(others) == {first}, output)


class Memory(unittest.TestCase):
    def test_a_shallow_suspended_greenlet_costs_about_a_page(self):
        status, output = run_script(
            """
            import greenlet
            def resident():
                with open("/proc/self/smaps_rollup") as file:
                    return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) * 1024
            main = greenlet.getcurrent()
            run = lambda: main.switch()
            kept = []
            for _ in range(200): kept.append(greenlet.greenlet(run)); kept[-1].switch()
            before = resident()
            for _ in range(20000): kept.append(greenlet.greenlet(run)); kept[-1].switch()
            print((resident() - before) // 20000)
            """
        )
        self.assertEqual(status, 0, output)
        self.assertLess(int(output), 5600)

    def test_a_green_thread_that_waits_for_a_socket_costs_few_pages(self):
        # The sockets are there before; what is counted is the stack and what the hub keeps of the wait.
        status, output = run_script(
            """
            import resource
            import eventlet
            from eventlet.green import socket
            def resident():
                with open("/proc/self/smaps_rollup") as file:
                    return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) * 1024
            def serve(connection):
                while request := connection.recv(2048):
                    connection.sendall(request)
            def begin(pairs):
                for near, far in pairs:
                    eventlet.spawn_n(serve, near)
                    far.sendall(b"x")
                for near, far in pairs:
                    assert far.recv(1) == b"x"
                eventlet.sleep(0)
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            count = 2000 if most == resource.RLIM_INFINITY else min(2000, most // 3)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            pairs = [socket.socketpair() for _ in range(count)]
            begin(pairs[:100])
            before = resident()
            begin(pairs[100:])
            print((resident() - before) // (count - 100))
            """
        )
        self.assertEqual(status, 0, output)
        # From CPython 3.14 on a call of the interpreter's takes more of the C stack: there it is a second page.
        self.assertLess(int(output), 6000 if sys.version_info < (3, 14) else 9300)

    def test_stacks_are_used_again(self):
        def nest():
            greenlet.getcurrent().parent.switch()

        for _ in range(3):
            kept = [greenlet.greenlet(nest) for _ in range(500)]
            for g in kept:
                g.switch()
            stacks = greenloom.stack_pool()["stacks"]
            for g in kept:
                g.switch()
        self.assertLess(stacks, 1500)


if __name__ == "__main__":
    unittest.main()
