"""debug, backdoor, zipkin's hooks and green zmq."""

import base64
import io
import re
import struct
import sys
import time
import unittest
from contextlib import redirect_stderr, redirect_stdout

import eventlet
from eventlet import backdoor, debug, hubs, tpool
from eventlet.green import socket
from eventlet.green.http import client as http_client
from scenario import Scenario

try:
    from eventlet.green import zmq
except ImportError:
    zmq = None


class Case(unittest.TestCase):
    def setUp(self):
        timeout = eventlet.Timeout(20)
        self.addCleanup(timeout.cancel)


class Debug(Case):
    def test_listeners_and_timers_are_listed(self):
        hub = hubs.get_hub()
        one, two = socket.socketpair()
        debug.hub_listener_stacks(True)
        debug.hub_timer_stacks(True)
        try:
            listener = hub.add(hub.READ, one.fileno(), lambda fd: None, lambda error: None, None)
            timer = hub.schedule_call_global(60, print, "later")
            listeners, timers = debug.format_hub_listeners(), debug.format_hub_timers()
        finally:
            debug.hub_listener_stacks(False)
            debug.hub_timer_stacks(False)
            hub.remove(listener)
            timer.cancel()
            one.close()
            two.close()
        self.assertRegex(listeners, r"(?s)READERS:.*test_listeners_and_timers_are_listed.*WRITERS:")
        self.assertRegex(timers, r"(?s)TIMERS:.*print.*test_listeners_and_timers_are_listed")

    def test_errors_of_green_threads_are_printed_or_not(self):
        for state in (False, True):
            debug.hub_exceptions(state)
            with redirect_stderr(io.StringIO()) as printed:
                eventlet.spawn_n(lambda: 1 / 0)
                eventlet.sleep(0)
            self.assertEqual("ZeroDivisionError" in printed.getvalue(), state)

    def test_errors_of_tpool_are_printed_or_not(self):
        self.addCleanup(tpool.killall)
        for state in (True, False):
            debug.tpool_exceptions(state)
            with redirect_stderr(io.StringIO()) as printed, self.assertRaises(ZeroDivisionError):
                tpool.execute(lambda: 1 / 0)
            self.assertEqual("ZeroDivisionError" in printed.getvalue(), state)

    def test_threads_are_listed(self):
        self.assertIn("MainThread", debug.format_threads_info())

    def test_spew_prints_lines_and_values(self):
        def work():
            answer = 6 * 7
            return answer

        with redirect_stdout(io.StringIO()) as printed:
            former = sys.gettrace()
            debug.spew(show_values=True)
            try:
                work()
            finally:
                sys.settrace(former)
        self.assertRegex(printed.getvalue(), r"test_debug|__main__")
        self.assertIn("return answer\n\tanswer=42", printed.getvalue())


class Blocking(Scenario):
    def test_what_blocks_the_hub_is_found(self):
        for hub in ("epolls", "poll", "selects", "asyncio"):
            with self.subTest(hub):
                printed = self.run_program(
                    """
                    import eventlet
                    from eventlet import debug
                    debug.hub_exceptions(False)
                    debug.hub_blocking_detection(True, 0.5)
                    def block():
                        real_sleep(5)
                    def work():
                        for _ in range(5):
                            eventlet.sleep(0.05)
                    def receive(end):
                        end.recv(1)
                        real_sleep(5)
                    from eventlet.green import socket
                    one, two = socket.socketpair()
                    threads = [eventlet.spawn(block), eventlet.spawn(work), eventlet.spawn(receive, one)]
                    eventlet.spawn_after(0.3, two.send, b"x")
                    for thread in threads:
                        try:
                            thread.wait()
                            print("fine")
                        except RuntimeError as error:
                            print("found", "string" in str(error))
                    eventlet.sleep(0.3)
                    debug.hub_blocking_detection(False)
                    real_sleep(0.8)
                    """,
                    EVENTLET_HUB=hub,
                )
                # What a listener raises is printed as well.
                lines = [line for line in printed.splitlines() if line.startswith(("found", "fine"))]
                self.assertEqual(lines, ["found True", "fine", "found True"])


class Backdoor(Case):
    def setUp(self):
        super().setUp()
        self.printed = io.StringIO()
        redirect = redirect_stdout(self.printed)
        redirect.__enter__()
        self.addCleanup(redirect.__exit__, None, None, None)
        self.listener = eventlet.listen(("127.0.0.1", 0))
        server = eventlet.spawn(backdoor.backdoor_server, self.listener, {"secret": 42})
        self.addCleanup(server.kill)

    def connect(self):
        connection = eventlet.connect(self.listener.getsockname())
        self.addCleanup(connection.close)
        file = connection.makefile("rw")
        self.until_prompt(file)
        return file

    def until_prompt(self, file):
        text = ""
        while not text.endswith((">>> ", "... ")):
            more = file.read(1)
            if not more:
                return text
            text += more
        return text[:-4]

    def ask(self, file, line):
        file.write(line + "\n")
        file.flush()
        return self.until_prompt(file)

    def test_names_errors_and_blocks(self):
        file = self.connect()
        self.assertEqual(self.ask(file, "secret"), "42\n")
        self.assertIn("ZeroDivisionError", self.ask(file, "1 / 0"))
        self.assertEqual(self.ask(file, "for n in range(2):"), "")
        self.assertEqual(self.ask(file, "    print(n)"), "")
        self.assertEqual(self.ask(file, ""), "0\n1\n")

    def test_what_others_print_goes_where_it_went(self):
        one, two = self.connect(), self.connect()
        self.assertEqual(self.ask(one, "import eventlet; eventlet.sleep(0.1); print('to one')"), "to one\n")
        thread = eventlet.spawn(self.ask, one, "eventlet.sleep(0.1); print('to one')")
        eventlet.sleep(0.02)
        print("to the program")
        self.assertEqual(self.ask(two, "print('to two')"), "to two\n")
        self.assertEqual(thread.wait(), "to one\n")
        self.assertIn("to the program", self.printed.getvalue())
        self.assertNotIn("to one", self.printed.getvalue())

    def test_exit_ends_the_console_only(self):
        # Stock's ends the program.
        file = self.connect()
        self.ask(file, "raise SystemExit")
        eventlet.sleep(0.02)
        self.assertIs(sys.stdout, self.printed)
        self.assertIn("backdoor closed", self.printed.getvalue())
        self.assertEqual(self.ask(self.connect(), "secret"), "42\n")

    def test_a_peer_that_goes_away_while_it_is_written_to(self):
        file = self.connect()
        file.write("import eventlet; eventlet.sleep(0.05); print('x' * 10**6)\n")
        file.flush()
        file.close()
        eventlet.sleep(0.2)
        self.assertEqual(self.ask(self.connect(), "secret"), "42\n")


class Collector:
    """Takes spans as Scribe does."""

    def __init__(self):
        self.listener = eventlet.listen(("127.0.0.1", 0))
        self.spans = []
        self.thread = eventlet.spawn(self.serve)

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            file = connection.makefile("rwb")
            while head := file.read(4):
                frame = file.read(struct.unpack("!i", head)[0])
                found = re.search(rb"\x0b\x00\x02....([A-Za-z0-9+/=]+)", frame, re.DOTALL)
                self.spans.append(base64.b64decode(found[1]))
                file.write(struct.pack("!i", 5) + b"reply")
                file.flush()


class Zipkin(Case):
    def test_a_request_and_those_it_makes_are_one_trace(self):
        from eventlet import wsgi
        from eventlet.zipkin import api, patcher

        collector = Collector()
        self.addCleanup(collector.thread.kill)
        patcher.enable_trace_patch(*collector.listener.getsockname())
        seen = []

        def app(environ, start_response):
            if environ["PATH_INFO"] == "/outer":
                api.put_key_value("user", "me")
                address = environ["SERVER_NAME"], int(environ["SERVER_PORT"])
                eventlet.spawn(self.fetch, address, "/inner").wait()
            seen.append((environ["PATH_INFO"], api.get_trace_data().trace_id, environ.get("HTTP_X_B3_PARENTSPANID")))
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]

        listener = eventlet.listen(("127.0.0.1", 0))
        server = eventlet.spawn(wsgi.server, listener, app, log_output=False)
        try:
            self.assertEqual(self.fetch(listener.getsockname(), "/outer"), b"ok")
            eventlet.sleep(0.05)
        finally:
            server.kill()
            patcher.disable_trace_patch()
        (inner, inner_trace, parent), (outer, outer_trace, _) = seen
        self.assertEqual((inner, outer, inner_trace), ("/inner", "/outer", outer_trace))
        self.assertIsNotNone(parent)
        # The server's of both, and the client's.
        self.assertEqual(len(collector.spans), 3)
        self.assertTrue(all(struct.pack("!q", outer_trace) in span for span in collector.spans))
        self.assertEqual(sum(b"user" in span for span in collector.spans), 1)
        self.assertEqual(sum(b"cs" in span and b"cr" in span for span in collector.spans), 1)

    def fetch(self, address, path):
        connection = http_client.HTTPConnection(*address)
        connection.request("GET", path)
        try:
            return connection.getresponse().read()
        finally:
            connection.close()

    def test_a_collector_that_is_not_there_is_a_warning(self):
        from eventlet.zipkin import api
        from eventlet.zipkin.client import ZipkinClient

        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        client = ZipkinClient(*closed.getsockname())
        closed.close()
        span = api.ZipkinDataBuilder.build_span("name", 1, 2, None, [], [])
        with self.assertWarnsRegex(UserWarning, "span was not sent"):
            client.send_to_collector(span)
            client.close()


@unittest.skipIf(zmq is None, "pyzmq is not installed")
class Zmq(Case):
    def pair(self, kind_one, kind_two):
        context = zmq.Context()
        one, two = context.socket(kind_one), context.socket(kind_two)
        two.connect(f"tcp://127.0.0.1:{one.bind_to_random_port('tcp://127.0.0.1')}")

        def close():
            one.close(0)
            two.close(0)
            context.destroy(0)

        self.addCleanup(close)
        return one, two

    def test_a_killed_waiter_does_not_block_the_next(self):
        # Stock's lock is never free again.
        lock = zmq._QueueLock()
        lock.acquire()
        threads = [eventlet.spawn(lock.acquire) for _ in range(3)]
        eventlet.sleep(0)
        threads[0].kill()
        lock.release()
        threads[1].kill()
        eventlet.sleep(0)
        self.assertTrue(threads[2].dead)

    def test_a_killed_receiver_does_not_take_a_message(self):
        one, two = self.pair(zmq.PAIR, zmq.PAIR)
        first = eventlet.spawn(one.recv)
        second = eventlet.spawn(one.recv)
        eventlet.sleep(0.01)
        first.kill()
        two.send(b"hello")
        self.assertEqual(second.wait(), b"hello")

    def test_sender_and_receiver_that_both_wait_do_not_spin(self):
        # Stock's wake each other again and again.
        one, two = self.pair(zmq.PAIR, zmq.PAIR)
        for end in (one, two):
            end.setsockopt(zmq.SNDHWM, 1)
            end.setsockopt(zmq.RCVHWM, 1)

        def flood():
            while True:
                one.send(b"x" * 100_000)

        threads = [eventlet.spawn(flood), eventlet.spawn(one.recv)]
        eventlet.sleep(0.2)
        before = time.process_time()
        eventlet.sleep(0.3)
        used = time.process_time() - before
        for thread in threads:
            thread.kill()
        self.assertLess(used, 0.1)

    def test_poll_parks(self):
        # Stock's blocks the hub.
        one, two = self.pair(zmq.PAIR, zmq.PAIR)
        self.assertEqual(one.poll(10), 0)
        eventlet.spawn_after(0.02, two.send, b"x")
        self.assertEqual(one.poll(), zmq.POLLIN)

    def test_send_timeouts(self):
        # Stock waits for ever.
        one, _ = self.pair(zmq.PUSH, zmq.PUSH)
        one.setsockopt(zmq.SNDTIMEO, 20)
        with self.assertRaises(zmq.ZMQError) as caught:
            one.send(b"to nobody")
        self.assertTrue(eventlet.is_timeout(caught.exception))

    def test_the_shared_context_is_a_green_one(self):
        import zmq as plain

        shared = plain.Context.instance()
        self.assertIsInstance(zmq.Context.instance().socket(zmq.PAIR), zmq.Socket)
        self.assertIsNot(zmq.Context.instance(), shared)


if __name__ == "__main__":
    unittest.main()
