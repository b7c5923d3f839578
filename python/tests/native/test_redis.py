"""Redis: redis-py, which waits in Python's sockets and has hiredis only to parse, and the C client hiredis by ctypes.

Needs the Redis of servers.sh.
"""

import ctypes
import ctypes.util
import os
import random
import unittest

import eventlet
import greenlet

from libraries import WAIT, Hooked, give_up, under_load, wait_at_once
from support import run_script

SERVERS = os.environ.get("GREENLOOM_SERVERS")
SOCKET = f"{SERVERS}/redis/socket"
HIREDIS = ctypes.util.find_library("hiredis")

REDIS_PY = """
import sys, unittest
import eventlet
eventlet.monkey_patch(native=True)
import hiredis, redis
from libraries import WAIT, wait_at_once

class Test(unittest.TestCase):
    def test(self):
        def work(number):
            client.blpop(f"nothing {number}", WAIT)
            return int(client.echo(str(number)))
        client = redis.Redis(unix_socket_path=sys.argv[1], max_connections=60)
        self.assertIn("Hiredis", type(client.connection_pool.make_connection()._parser).__name__)
        wait_at_once(self, work)

unittest.main(argv=sys.argv[:1])
"""


@unittest.skipUnless(SERVERS, "needs servers.sh")
class RedisPy(unittest.TestCase):
    def test_it_is_green_by_monkey_patch_alone(self):
        try:
            import hiredis
            import redis
        except ImportError:
            self.skipTest("needs redis and hiredis")
        del hiredis, redis
        code, output = run_script(REDIS_PY, argv=[SOCKET], timeout=60)
        print(output)
        self.assertEqual(code, 0, output)


class ReplyHead(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("integer", ctypes.c_longlong)]


class Error(Exception):
    pass


class Hiredis:
    """A connection by the C library, as a program that uses ctypes has it."""

    # hiredis.h: since 1.0 an answer has a number with a point before the text, and a connection a pointer before the
    # error and its text.
    _is_old = HIREDIS is not None and ".so.0." in HIREDIS
    _text_at = ctypes.sizeof(ReplyHead) + (0 if _is_old else ctypes.sizeof(ctypes.c_double))
    _error_at = 0 if _is_old else ctypes.sizeof(ctypes.c_void_p)
    STRING, NIL, FAILED = 1, 4, 6

    def __init__(self, path):
        self.library = ctypes.CDLL(HIREDIS)
        for name in ("redisConnectUnix", "redisCommandArgv"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.context = self.library.redisConnectUnix(path.encode())
        if ctypes.c_int.from_address(self.context + self._error_at).value:
            self.close()
            raise Error("cannot connect")

    def command(self, *words):
        words = [str(word).encode() for word in words]
        argv = (ctypes.c_char_p * len(words))(*words)
        lengths = (ctypes.c_size_t * len(words))(*map(len, words))
        context = ctypes.c_void_p(self.context)
        reply = self.library.redisCommandArgv(context, len(words), argv, lengths)
        if reply is None:
            raise Error(ctypes.string_at(self.context + self._error_at + ctypes.sizeof(ctypes.c_int)).decode())
        try:
            kind = ReplyHead.from_address(reply).type
            length = ctypes.c_size_t.from_address(reply + self._text_at).value
            text = ctypes.c_void_p.from_address(reply + self._text_at + ctypes.sizeof(ctypes.c_size_t)).value
            answer = ctypes.string_at(text, length).decode() if text else None
        finally:
            self.library.freeReplyObject(ctypes.c_void_p(reply))
        if kind == self.FAILED:
            raise Error(answer)
        return answer

    def close(self):
        context, self.context = self.context, None
        if context:
            self.library.redisFree(ctypes.c_void_p(context))


def ask(connection, word, seconds):
    # One round trip that waits, and one that answers: a former answer to either would be seen.
    if connection.command("blpop", "nothing", seconds) is not None:
        raise AssertionError("an answer to something else")
    return connection.command("echo", word)


@unittest.skipUnless(SERVERS and HIREDIS, "needs libhiredis, and servers.sh")
class HiredisByCtypes(Hooked, unittest.TestCase):
    hooked = [HIREDIS]

    def setUp(self):
        Hiredis(SOCKET).close()  # only what is loaded is hooked by its soname
        super().setUp()

    def connect(self):
        connection = Hiredis(SOCKET)
        self.addCleanup(connection.close)
        return connection

    def test_commands_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: int(ask(connections[number], number, WAIT)))

    def test_large_answers_come_whole(self):
        words = [str(number) * 3_000_000 for number in range(4)]
        answers = [eventlet.spawn(self.connect().command, "echo", word) for word in words]
        self.assertEqual([answer.wait() for answer in answers], words)

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(Error):
            eventlet.spawn(connection.command, "nonsense").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "word", 0.01).wait(), "word")

    def test_after_a_wait_that_was_given_up_the_next_command_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, "former", 0.2))
            with self.assertRaises(Error):
                connection.command("echo", "next")

    def test_a_server_that_ends_the_connection_in_a_command_is_an_error(self):
        connection, other = self.connect(), self.connect()
        number = ask(connection, "word", 0.01) and connection.command("client", "setname", "victim")
        waiting = eventlet.spawn(ask, connection, "word", 5)
        eventlet.sleep(0.05)
        self.assertEqual(number, "OK")
        [victim] = [line for line in other.command("client", "list").splitlines() if "name=victim" in line]
        other.command("client", "kill", "id", victim.split()[0].removeprefix("id="))
        with self.assertRaises(Error):
            waiting.wait()

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        control = self.connect()

        def lose_one():
            clients = [line.split()[0].removeprefix("id=") for line in control.command("client", "list").splitlines()]
            # Its own is left out, as `skipme` says.
            control.command("client", "kill", "id", random.choice(clients), "skipme", "yes")

        def answer(connection, word, seconds):
            return ask(connection, word, max(seconds, 0.001))

        under_load(self, lambda: Hiredis(SOCKET), answer, lambda one: one.close(), Error, lose_one)


if __name__ == "__main__":
    unittest.main()
