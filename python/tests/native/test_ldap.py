"""python-ldap as it is: libldap waits in poll, with mutexes of its own. slapd is started here, and what it asks."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

import eventlet
import greenlet

from libraries import WAIT, Hooked, give_up, under_load, wait_at_once
from support import run_script

try:
    import ldap
except ImportError:
    ldap = None

SLAPD = shutil.which("slapd", path=os.environ["PATH"] + ":/usr/sbin")
CONFIGURATION = """
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_sock
threads 64
pidfile {folder}/pid
database sock
suffix dc=test
socketpath {folder}/back
"""


class Slapd:
    """In a folder of its own, with its back end as another process."""

    def __init__(self):
        # Short: the path of a Unix socket has 107 bytes at most.
        self.folder = tempfile.TemporaryDirectory(dir="/tmp")
        folder = pathlib.Path(self.folder.name)
        (folder / "slapd.conf").write_text(CONFIGURATION.format(folder=folder))
        self.url = "ldapi://" + urllib.parse.quote(f"{folder}/slapd", safe="")
        program = pathlib.Path(__file__).with_name("ldap_server.py")
        self.back = subprocess.Popen([sys.executable, program, folder / "back"], stdout=subprocess.PIPE)
        self.back.stdout.readline()
        self.start()

    def start(self):
        folder = pathlib.Path(self.folder.name)
        self.slapd = subprocess.Popen([SLAPD, "-h", self.url, "-f", folder / "slapd.conf", "-d", "0"])
        with socket.socket(socket.AF_UNIX) as probe:
            while probe.connect_ex(str(folder / "slapd")) != 0 and self.slapd.poll() is None:
                eventlet.sleep(0.02)

    def kill(self):
        self.slapd.kill()
        self.slapd.wait()

    def stop(self):
        self.kill()
        self.back.stdout.close()
        self.back.kill()
        self.back.wait()
        self.folder.cleanup()


def ask(connection, word, seconds, **options):
    [(_, entry)] = connection.search_ext_s(f"cn={word},ou={seconds},dc=test", ldap.SCOPE_BASE, **options)
    return entry["cn"][0].decode()


@unittest.skipUnless(ldap and SLAPD, "needs python-ldap, and slapd")
class Ldap(Hooked, unittest.TestCase):
    hooked = ["ldap"]

    @classmethod
    def setUpClass(cls):
        cls.server = Slapd()
        cls.addClassCleanup(cls.server.stop)

    def connect(self, url=None):
        connection = ldap.initialize(url or self.server.url)
        connection.simple_bind_s()
        return connection

    def test_searches_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: int(ask(connections[number], number, WAIT)))

    def test_green_threads_that_share_a_connection_wait_for_each_other(self):
        # python-ldap holds a lock of threading's over each call, so that this has to be patched.
        program = """
            import sys
            import eventlet
            eventlet.monkey_patch(native=["ldap"])
            import ldap

            connection = ldap.initialize(sys.argv[1])
            def ask(number):
                return connection.search_s(f"cn={number},ou=0.05,dc=test", ldap.SCOPE_BASE)[0][0]
            print([one.wait()[:4] for one in [eventlet.spawn(ask, number) for number in range(5)]])
        """
        done = run_script(program, argv=[self.server.url], timeout=20)
        self.assertEqual(done, (0, "['cn=0', 'cn=1', 'cn=2', 'cn=3', 'cn=4']\n"))

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(ldap.LDAPError):
            eventlet.spawn(connection.search_s, "dc=test", ldap.SCOPE_BASE).wait()
        self.assertEqual(eventlet.spawn(ask, connection, "word", 0).wait(), "word")

    def test_large_answers_come_whole(self):
        searches = [
            eventlet.spawn(self.connect().search_s, "cn=large,ou=0,dc=test", ldap.SCOPE_BASE) for _ in range(4)
        ]
        for search in searches:
            self.assertEqual(search.wait()[0][1]["description"], [b"x" * 200_000])

    def test_after_a_wait_that_was_given_up_the_next_search_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, "former", 0.2))
            with self.assertRaises(ldap.SERVER_DOWN):
                ask(connection, "next", 0)

    def test_limits_of_the_library_hold_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(ldap.TIMEOUT):
            eventlet.spawn(ask, connection, "former", 0.3, timeout=0.05).wait()
        self.assertEqual(eventlet.spawn(ask, connection, "next", 0).wait(), "next")

    def test_a_server_that_is_killed_in_a_search_is_an_error(self):
        server = Slapd()
        self.addCleanup(server.stop)
        waiting = [eventlet.spawn(ask, self.connect(server.url), "word", 0.5) for _ in range(10)]
        eventlet.sleep(0.1)
        server.kill()
        for one in waiting:
            with self.assertRaises(ldap.SERVER_DOWN):
                one.wait()

    def test_under_kills_timeouts_and_killed_servers_no_answer_is_anothers(self):
        server = Slapd()
        self.addCleanup(server.stop)

        def kill_it():
            server.kill()
            server.start()
            eventlet.sleep(0.3)

        under_load(self, lambda: self.connect(server.url), ask, lambda one: one.unbind_s(), ldap.LDAPError, kill_it)



if __name__ == "__main__":
    unittest.main()
