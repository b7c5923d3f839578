"""select, poll, epoll and selectors, which are all there after the patch and wait in the hub."""

import os
import unittest

from scenario import Scenario

PATCHED = """
import eventlet
eventlet.monkey_patch()
import os, select, selectors, socket
original = eventlet.patcher.original("select")

def pairs(n):
    return [socket.socketpair() for _ in range(n)]

def later(seconds, call, *args):
    eventlet.spawn_after(seconds, call, *args)
"""


class Green(Scenario):
    def check(self, program, *options, **settings):
        import textwrap

        super().check(PATCHED + textwrap.dedent(program), *options, **settings)


class Select(Green):
    def test_it_returns_all_that_is_ready(self):
        self.check(
            """
            (a, a2), (b, b2), (c, c2) = pairs(3)
            a2.send(b"1"), c2.send(b"1")
            assert select.select([a, b, c], [a, b], [], 1) == ([a, c], [a, b], [])
            # What becomes ready in one go is returned in one go.
            assert a.recv(1) == b"1" and c.recv(1) == b"1"
            later(0.02, lambda: (b2.send(b"1"), a2.send(b"2")))
            assert select.select([c, b, a], [], []) == ([b, a], [], [])
            """
        )

    def test_others_run_while_it_waits(self):
        self.check(
            """
            (a, a2), = pairs(1)
            count = ticks()
            begin = monotonic()
            assert select.select([a], [], [], 0.3) == ([], [], [])
            assert 0.3 <= monotonic() - begin < 5 and count[0] > 20, count
            later(0.1, a2.close)
            assert select.select([a], [], []) == ([a], [], [])
            """
        )

    def test_asking_again_and_again_lets_others_run(self):
        self.check(
            """
            (a, a2), = pairs(1)
            later(0.05, a2.send, b"x")
            asked = 0
            while select.select([a], [], [], 0) == ([], [], []):
                asked += 1
            assert asked > 1
            """
        )

    def test_a_look_asks_the_system_once(self):
        self.check(
            """
            from eventlet.green import select as green

            class Poll:
                asked = 0

                def __init__(self):
                    self.real = original.poll()
                    self.register = self.real.register

                def poll(self, timeout):
                    Poll.asked += 1
                    return self.real.poll(timeout)

            class Module:
                poll, POLLNVAL, POLLHUP, POLLERR = Poll, original.POLLNVAL, original.POLLHUP, original.POLLERR

            green._select = Module
            (a, a2), = pairs(1)
            assert select.select([a], [], [], 0) == ([], [], []) and Poll.asked == 1, Poll.asked
            assert select.select([], [a], [], 0) == ([], [a], []) and Poll.asked == 2, Poll.asked
            """
        )

    def test_several_green_threads_wait_for_the_same(self):
        self.check(
            """
            (a, a2), = pairs(1)
            reader = eventlet.spawn(a.recv, 1)
            eventlet.sleep(0)
            waiting = [eventlet.spawn(select.select, [a], [], [], 5) for _ in range(3)]
            eventlet.sleep(0)
            a2.send(b"xy")
            assert [each.wait() for each in waiting] == [([a], [], [])] * 3 and reader.wait() == b"x"
            """
        )

    def test_file_descriptors_beyond_the_systems_limit_for_select(self):
        self.check(
            """
            import resource
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
            (a, a2), = pairs(1)
            high = os.dup(a.fileno())
            while high < 1100:
                high = os.dup(high)
            later(0.02, a2.send, b"x")
            assert select.select([high], [], []) == ([high], [], [])
            """
        )

    def test_priority_data(self):
        self.check(
            """
            server = socket.socket()
            server.bind(("127.0.0.1", 0))
            server.listen()
            client = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
            assert select.select([], [], [peer], 0.05) == ([], [], [])
            later(0.05, client.send, b"!", socket.MSG_OOB)
            begin = monotonic()
            assert select.select([], [], [peer], 5) == ([], [], [peer]) and monotonic() - begin < 4
            """
        )

    def test_wrong_use_is_told(self):
        self.check(
            """
            (a, a2), = pairs(1)
            dead = a.fileno()
            os.close(dead)
            for wrong in (([dead], [], []), (["x"], [], []), ([], [], [], "x"), ([], [], [], -1)):
                try:
                    select.select(*wrong)
                except (OSError, TypeError, ValueError) as error:
                    print(type(error).__name__)
            a.detach()
            """,
            prints="OSError\nTypeError\nTypeError\nValueError\n",
        )

    def test_it_ends_when_a_file_is_closed_meanwhile(self):
        self.check(
            """
            from eventlet import hubs
            (a, a2), = pairs(1)
            def wait():
                try:
                    select.select([a], [], [])
                except hubs.IOClosed:
                    print("IOClosed")
            waiting = eventlet.spawn(wait)
            eventlet.sleep(0.01)
            a.close()
            waiting.wait()
            """,
            prints="IOClosed\n",
        )


class FirstUse(Green):
    def test_a_closed_descriptor_is_refused_and_not_taken_for_the_hubs(self):
        super(Green, self).check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, select
            descriptor = os.open("/", os.O_RDONLY)
            os.close(descriptor)
            try:
                select.select([descriptor], [], [], 0)
            except OSError as error:
                print(error.strerror)
            """,
            prints="Bad file descriptor\n",
        )


class Poll(Green):
    def test_it_waits_in_the_hub(self):
        self.check(
            """
            (a, a2), (b, b2) = pairs(2)
            poll = select.poll()
            poll.register(a, select.POLLIN)
            poll.register(b.fileno(), select.POLLIN | select.POLLPRI)
            count = ticks()
            begin = monotonic()
            assert poll.poll(200) == [] and 0.2 <= monotonic() - begin < 4 and count[0] > 10, count
            for peer, mine in ((a2, a), (b2, b)):
                later(0.02, peer.send, b"x")
                assert poll.poll() == [(mine.fileno(), select.POLLIN)]
                mine.recv(1)
            poll.modify(a, select.POLLIN | select.POLLOUT)
            assert poll.poll(-1) == [(a.fileno(), select.POLLOUT)]
            poll.unregister(a)
            assert poll.poll(0) == []
            for misuse in (lambda: poll.unregister(a), lambda: poll.modify(a, 1)):
                try:
                    misuse()
                except (KeyError, OSError) as error:
                    print(type(error).__name__)
            """,
            prints="KeyError\nFileNotFoundError\n",
        )

    def test_hang_ups_and_closed_files(self):
        self.check(
            """
            (a, a2), (b, b2) = pairs(2)
            poll = select.poll()
            poll.register(a, 0)
            later(0.02, a2.close)
            assert poll.poll(5000) == [(a.fileno(), select.POLLHUP)]
            poll = select.poll()
            poll.register(b, select.POLLIN)
            number = b.fileno()
            later(0.02, b.close)
            assert poll.poll(5000) == [(number, select.POLLNVAL)]
            """
        )

    def test_two_at_once_is_an_error(self):
        self.check(
            """
            poll = select.poll()
            eventlet.spawn(poll.poll, 50)
            eventlet.sleep(0)
            try:
                poll.poll(50)
            except RuntimeError as error:
                print(error)
            """,
            prints="concurrent poll() invocation\n",
        )

    def test_its_type_makes_none_and_its_maker_may_be_in_a_class(self):
        self.check(
            """
            class Holder:
                make = select.poll
            try:
                type(Holder().make())()
            except TypeError as error:
                print(error)
            """,
            prints="cannot create 'select.poll' instances\n",
        )


class Epoll(Green):
    def test_it_waits_in_the_hub(self):
        self.check(
            """
            (a, a2), (b, b2) = pairs(2)
            with select.epoll() as epoll:
                epoll.register(a, select.EPOLLIN)
                epoll.register(b.fileno(), select.EPOLLIN | select.EPOLLET)
                count = ticks()
                begin = monotonic()
                assert epoll.poll(0.2) == [] and 0.2 <= monotonic() - begin < 4 and count[0] > 10, count
                for i in range(5):
                    later(0.01, lambda: (a2.send(b"x"), b2.send(b"x")))
                    assert sorted(epoll.poll()) == sorted([(a.fileno(), select.EPOLLIN), (b.fileno(), select.EPOLLIN)])
                    # Edge-triggered: told once.
                    assert epoll.poll(0.01, 1) == [(a.fileno(), select.EPOLLIN)]
                    a.recv(1)
                    assert epoll.poll(0.01) == []
                epoll.modify(a, select.EPOLLOUT)
                assert epoll.poll(-1) == [(a.fileno(), select.EPOLLOUT)]
                epoll.unregister(a)
                assert epoll.poll(0) == [] and not epoll.closed
                same = select.epoll.fromfd(os.dup(epoll.fileno()))
                later(0.02, b2.send, b"x")
                assert same.poll(5) == [(b.fileno(), select.EPOLLIN)]
                same.close()
            assert epoll.closed
            for misuse in (epoll.fileno, epoll.__enter__, lambda: epoll.poll(0)):
                try:
                    misuse()
                except ValueError:
                    print("ValueError")
            """,
            prints="ValueError\n" * 3,
        )

    def test_several_green_threads_wait_on_one(self):
        self.check(
            """
            (a, a2), = pairs(1)
            epoll = select.epoll()
            epoll.register(a, select.EPOLLIN)
            waiting = [eventlet.spawn(epoll.poll, 5) for _ in range(3)]
            eventlet.sleep(0.01)
            a2.send(b"x")
            assert [each.wait() for each in waiting] == [[(a.fileno(), select.EPOLLIN)]] * 3
            """
        )


class Selectors(Green):
    def test_all_are_there_and_green(self):
        self.check(
            """
            assert selectors.DefaultSelector is selectors.EpollSelector
            for cls in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
                (a, a2), = pairs(1)
                with cls() as selector:
                    assert isinstance(selector, selectors.BaseSelector)
                    key = selector.register(a, selectors.EVENT_READ, "data")
                    count = ticks()
                    assert selector.select(0.1) == [] and count[0] > 5, (cls, count)
                    later(0.02, a2.send, b"x")
                    assert selector.select() == [(key, selectors.EVENT_READ)]
                    selector.modify(a, selectors.EVENT_READ | selectors.EVENT_WRITE)
                    assert selector.select(0)[0][1] == selectors.EVENT_READ | selectors.EVENT_WRITE
            """
        )

    def test_who_imported_a_class_before_has_a_green_one(self):
        super(Green, self).check(
            """
            from selectors import DefaultSelector, PollSelector
            import socketserver
            import eventlet
            eventlet.monkey_patch(select=True)
            for cls in (DefaultSelector, PollSelector, socketserver._ServerSelector):
                selector = cls()
                count = ticks()
                selector.select(0.1)
                assert count[0] > 5, (cls, count)
            """
        )

    def test_the_green_copies_without_a_patch(self):
        super(Green, self).check(
            """
            import select, selectors
            from eventlet.green import select as green_select, selectors as green_selectors
            assert green_select.poll is not select.poll and green_selectors.EpollSelector is not selectors.EpollSelector
            count = ticks()
            for cls in (green_selectors.DefaultSelector, green_selectors.SelectSelector, green_selectors.PollSelector):
                cls().select(0.1)
            assert count[0] > 20, count
            assert selectors.PollSelector._selector_cls is select.poll
            """
        )

    def test_a_server_of_the_standard_library(self):
        self.check(
            """
            import http.server, threading, urllib.request
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    eventlet.sleep(0.5)
                    self.send_response(200)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                def log_message(self, *args):
                    pass
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            url = "http://127.0.0.1:%d/" % server.server_port
            begin = monotonic()
            fetches = [eventlet.spawn(lambda: urllib.request.urlopen(url).read()) for _ in range(4)]
            assert [fetch.wait() for fetch in fetches] == [b"ok"] * 4 and monotonic() - begin < 1.8
            server.shutdown()
            server.server_close()
            thread.join()
            """
        )

    def test_an_asyncio_loop_in_a_green_thread(self):
        self.check(
            """
            import asyncio
            async def main():
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"ping")
                await writer.drain()
                answer = await reader.read(4)
                # Ends only if the green thread there runs while the loop waits.
                answer += await reader.read(4)
                await asyncio.sleep(0.01)
                writer.close()
                return answer
            listener = eventlet.listen(("127.0.0.1", 0))
            address = listener.getsockname()
            def serve():
                connection, _ = listener.accept()
                connection.sendall(connection.recv(4).replace(b"i", b"o"))
                for _ in range(5):
                    eventlet.sleep(0.01)
                connection.sendall(b"over")
            eventlet.spawn(serve)
            assert eventlet.spawn(asyncio.run, main()).wait() == b"pongover"
            """
        )


if __name__ == "__main__":
    unittest.main()
