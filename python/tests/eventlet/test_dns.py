"""greendns: the hosts file, resolv.conf, and nameservers that answer, err and keep silent. Nothing leaves this host.

Over 500 lines: all of it stands on one scripted nameserver, which is part of the file.
"""

import gc
import os
import socket
import struct
import tempfile
import time
import unittest
from unittest import mock

import eventlet
from eventlet import hubs
from eventlet.green import socket as green_socket
from eventlet.green import ssl
from eventlet.support import address_order, greendns
from scenario import Scenario

dns = greendns.dns


class Nameserver:
    """A nameserver on a port of its own. *records* maps (name, type) to texts, or a name to an error's number.

    A name that is not in it does not exist; the value None is never answered.
    """

    def __init__(self, records):
        self.records = records
        self.asked = []
        self.udp, self.tcp = self.listen()
        self.port = self.udp.getsockname()[1]
        self.threads = [eventlet.spawn(self.serve_udp), eventlet.spawn(self.serve_tcp)]
        self.truncates = False
        #: A SOA record for what does not exist.
        self.zone = None

    def listen(self):
        while True:
            tcp = eventlet.listen(("127.0.0.1", 0))
            udp = green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                # Somebody else has that one.
                tcp.close()
                udp.close()
            else:
                return udp, tcp

    def close(self):
        for thread in self.threads:
            thread.kill()
        self.udp.close()
        self.tcp.close()

    def serve_udp(self):
        while True:
            wire, sender = self.udp.recvfrom(65535)
            answer = self.answer(wire, self.truncates)
            if answer is not None:
                self.udp.sendto(answer, sender)

    def serve_tcp(self):
        while True:
            connection, _ = self.tcp.accept()
            (length,) = struct.unpack("!H", connection.recv(2))
            answer = self.answer(connection.recv(length), False)
            # In pieces, as it may come.
            for piece in (struct.pack("!H", len(answer)), answer[:5], answer[5:]):
                connection.sendall(piece)
                eventlet.sleep(0.001)
            connection.close()

    def answer(self, wire, truncated):
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype)))
        response = dns.message.make_response(query)
        if truncated:
            response.flags |= dns.flags.TC
            return response.to_wire()
        known = self.records.get(name, ())
        if known is None:
            return None
        if isinstance(known, int):
            response.set_rcode(known)
            return response.to_wire()
        texts = self.records.get(self.asked[-1], ())
        if texts:
            kind = dns.rdatatype.to_text(question.rdtype)
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))
        elif not any(each[0] == name for each in self.records if isinstance(each, tuple)):
            response.set_rcode(dns.rcode.NXDOMAIN)
            if self.zone is not None:
                response.authority.append(dns.rrset.from_text(*self.zone.split(None, 4)))
        return response.to_wire()


class Case(unittest.TestCase):
    def setUp(self):
        timeout = eventlet.Timeout(30)
        self.addCleanup(timeout.cancel)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def use(self, records, hosts="", search=(), patience=10):
        """Makes greendns use a nameserver with these records, and a hosts file with this text."""
        server = Nameserver(records)
        self.addCleanup(server.close)
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = server.port
        resolver.timeout = resolver.lifetime = patience
        resolver.search = [dns.name.from_text(each) for each in search]
        proxy = greendns.ResolverProxy(greendns.HostsResolver(self.write("hosts", hosts)))
        proxy._resolver = resolver
        patch = mock.patch.object(greendns, "resolver", proxy)
        patch.start()
        self.addCleanup(patch.stop)
        return server

    def addresses(self, host, family=0, **kwargs):
        return [each[4][0] for each in greendns.getaddrinfo(host, 80, family, socket.SOCK_STREAM, **kwargs)]

    def fails(self, function, *args):
        with self.assertRaises(socket.gaierror) as caught:
            function(*args)
        return caught.exception.errno


class Lookups(Case):
    def test_both_families_and_others_meanwhile(self):
        self.use({("a.test", "A"): ["10.1.2.3", "10.1.2.4"], ("a.test", "AAAA"): ["fd00::1"]})
        self.assertEqual(sorted(self.addresses("a.test")), ["10.1.2.3", "10.1.2.4", "fd00::1"])
        self.assertEqual(self.addresses("a.test", socket.AF_INET6), ["fd00::1"])
        self.assertIn(greendns.gethostbyname("a.test"), ("10.1.2.3", "10.1.2.4"))
        name, aliases, addresses = greendns.gethostbyname_ex("a.test")
        self.assertEqual((name, aliases, sorted(addresses)), ("a.test", [], ["10.1.2.3", "10.1.2.4"]))

    def test_one_family_is_enough(self):
        self.use({("four.test", "A"): ["10.0.0.1"], ("six.test", "AAAA"): ["fd00::2"]})
        self.assertEqual(self.addresses("four.test"), ["10.0.0.1"])
        self.assertEqual(self.addresses("six.test"), ["fd00::2"])
        flags = socket.AI_V4MAPPED
        self.assertEqual(self.addresses("four.test", socket.AF_INET6, flags=flags), ["::ffff:10.0.0.1"])

    def test_a_truncated_answer_is_asked_for_by_tcp(self):
        server = self.use({("a.test", "A"): ["10.0.0.1"]})
        server.truncates = True
        self.assertEqual(self.addresses("a.test", socket.AF_INET), ["10.0.0.1"])
        self.assertEqual(server.asked, [("a.test", "A")] * 2)

    def test_search_domains(self):
        server = self.use({("db.corp.test", "A"): ["10.0.0.9"], ("db", "A"): ["10.0.0.1"]}, search=["corp.test"])
        # Stock asks for both, and mixes the addresses.
        self.assertEqual(self.addresses("db", socket.AF_INET), ["10.0.0.9"])
        self.assertNotIn(("db", "A"), server.asked)

    def test_a_name_without_dots_is_asked_for_as_it_stands_at_last(self):
        self.use({("db", "A"): ["10.0.0.1"]}, search=["corp.test"])
        self.assertEqual(self.addresses("db", socket.AF_INET), ["10.0.0.1"])

    def test_the_search_goes_on_after_no_data_and_after_a_server_that_cannot_tell(self):
        search = ["none.test", "broken.test", "last.test"]
        server = self.use({
            ("db.none.test", "TXT"): ["there is no address"], "db.broken.test": dns.rcode.SERVFAIL,
            ("db.last.test", "A"): ["10.0.0.3"],
        }, search=search)
        self.assertEqual(self.addresses("db", socket.AF_INET), ["10.0.0.3"])
        self.assertEqual([name for name, _ in server.asked][::len(server.asked) - 1], ["db.none.test", "db.last.test"])
        # What is told at last: that there is such a name, else that somebody could not tell.
        self.use({"db.broken.test": dns.rcode.SERVFAIL}, search=search)
        self.assertEqual(self.fails(self.addresses, "db", socket.AF_INET), socket.EAI_AGAIN)
        self.use({("db.none.test", "TXT"): ["x"], "db.broken.test": dns.rcode.SERVFAIL}, search=search)
        self.assertEqual(self.fails(self.addresses, "db", socket.AF_INET), socket.EAI_NONAME)

    def test_ndots_says_which_names_are_searched_for_first(self):
        records = {("a.b.corp.test", "A"): ["10.0.0.9"], ("a.b", "A"): ["10.0.0.1"]}
        server = self.use(records, search=["corp.test"])
        self.assertEqual(self.addresses("a.b", socket.AF_INET), ["10.0.0.1"])
        greendns.resolver._resolver.ndots = 2
        self.assertEqual(self.addresses("a.b", socket.AF_INET), ["10.0.0.9"])
        self.assertEqual(self.addresses("a.b.", socket.AF_INET), ["10.0.0.1"])
        self.assertEqual(len(server.asked), 3)

    def test_a_name_that_appears_later_is_found(self):
        server = self.use({})
        greendns.resolver._resolver.cache = greendns.Cache()
        self.assertEqual(self.fails(self.addresses, "late.test", socket.AF_INET), socket.EAI_NONAME)
        server.records[("late.test", "A")] = ["10.0.0.7"]
        self.assertEqual(self.addresses("late.test", socket.AF_INET), ["10.0.0.7"])
        # That is kept, and so is what does not exist for as long as its zone says.
        server.records.clear()
        self.assertEqual(self.addresses("late.test", socket.AF_INET), ["10.0.0.7"])
        server.zone = "never.test. 60 IN SOA ns.never.test. admin.never.test. 1 60 60 60 60"
        for _ in range(2):
            self.assertEqual(self.fails(self.addresses, "never.test", socket.AF_INET), socket.EAI_NONAME)
        self.assertEqual([name for name, _ in server.asked].count("never.test"), 1)
        self.assertIsInstance(greendns.ResolverProxy(None, self.write("r", "nameserver ::1\n"))._resolver.cache,
                              greendns.Cache)

    def test_errors_are_the_systems(self):
        self.use({"broken.test": dns.rcode.SERVFAIL, ("four.test", "A"): ["10.0.0.1"]})
        self.assertEqual(self.fails(self.addresses, "missing.test"), socket.EAI_NONAME)
        # Stock says of this, too, that there is no such name.
        self.assertEqual(self.fails(self.addresses, "broken.test"), socket.EAI_AGAIN)
        self.assertEqual(self.fails(greendns.gethostbyname, "broken.test"), socket.EAI_AGAIN)
        self.assertEqual(self.fails(greendns.gethostbyname, "missing.test"), socket.EAI_NONAME)
        self.assertEqual(self.fails(self.addresses, "four.test", socket.AF_INET6), socket.EAI_NONAME)
        self.assertEqual(self.fails(self.addresses, ""), socket.EAI_NONAME)

    def test_no_configuration_is_temporary(self):
        proxy = greendns.ResolverProxy(None, os.path.join(self.folder, "no-resolv.conf"))
        with mock.patch.object(greendns, "resolver", proxy):
            self.assertEqual(self.fails(self.addresses, "a.test"), socket.EAI_AGAIN)

    def test_what_the_system_takes_for_an_address_is_not_looked_up(self):
        server = self.use({})
        self.assertEqual(self.addresses("127.1"), ["127.0.0.1"])
        self.assertEqual(self.addresses("0x7f000001"), ["127.0.0.1"])
        self.assertEqual(self.addresses("::1"), ["::1"])
        local = socket.getaddrinfo(None, 80, 0, socket.SOCK_STREAM)
        self.assertEqual(self.addresses(None), [each[4][0] for each in local])
        self.assertEqual(greendns.gethostbyname(""), "0.0.0.0")
        self.assertEqual(greendns.gethostbyname("<broadcast>"), "255.255.255.255")
        self.assertEqual(server.asked, [])

    def test_canonical_names_follow_aliases(self):
        self.use({
            ("alias.test", "A"): ["10.0.0.1"], ("alias.test", "CNAME"): ["middle.test."],
            ("middle.test", "CNAME"): ["real.test."], ("real.test", "A"): ["10.0.0.1"],
        })
        found = greendns.getaddrinfo("alias.test", 80, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
        self.assertEqual(found[0][3], "real.test")

    def test_errors_leave_no_garbage_behind(self):
        # 810: the exceptions were kept, and with them the frames that they passed through.
        self.use({"silent.test": None}, patience=0.2)
        self.assertEqual(self.fails(self.addresses, "silent.test"), socket.EAI_AGAIN)
        gc.collect()
        for error in (greendns.EAI_EAGAIN_ERROR, greendns.EAI_NONAME_ERROR, greendns.EAI_NODATA_ERROR):
            self.assertIsNone(error.__traceback__)

    def test_the_hub_goes_on(self):
        self.use({"silent.test": None}, patience=0.2)
        count = [0]

        def tick():
            while True:
                count[0] += 1
                eventlet.sleep(0.01)

        ticker = eventlet.spawn(tick)
        self.fails(self.addresses, "silent.test", socket.AF_INET)
        ticker.kill()
        self.assertGreater(count[0], 10)


class NamesOfAddresses(Case):
    def test_ipv4_and_ipv6(self):
        self.use({
            ("3.2.1.10.in-addr.arpa", "PTR"): ["a.test."],
            ("1." + "0." * 29 + "d.f.ip6.arpa", "PTR"): ["six.test."],
        })
        self.assertEqual(greendns.getnameinfo(("10.1.2.3", 80), 0), ("a.test", "http"))
        # Stock says of all IPv6 addresses that they have no name.
        self.assertEqual(greendns.getnameinfo(("fd00::1", 80, 0, 0), socket.NI_NUMERICSERV), ("six.test", "80"))
        self.assertEqual(greendns.getnameinfo(("10.1.2.3", 80), socket.NI_NUMERICHOST), ("10.1.2.3", "http"))

    def test_without_a_name_it_is_the_address(self):
        self.use({})
        self.assertEqual(greendns.getnameinfo(("10.9.9.9", 1), socket.NI_NUMERICSERV), ("10.9.9.9", "1"))
        self.assertEqual(self.fails(greendns.getnameinfo, ("10.9.9.9", 1), socket.NI_NAMEREQD), socket.EAI_NONAME)
        with self.assertRaises(TypeError):
            greendns.getnameinfo("10.9.9.9", 0)

    def test_the_hosts_file_knows_names_too(self):
        self.use({}, hosts="10.5.5.5 full.test short\n")
        self.assertEqual(greendns.getnameinfo(("10.5.5.5", 80), 0), ("full.test", "http"))


    def test_gethostbyaddr(self):
        self.use({("3.2.1.10.in-addr.arpa", "PTR"): ["a.test."]}, hosts="10.5.5.5 full.test short\n")
        self.assertEqual(green_socket.gethostbyaddr("10.1.2.3"), ("a.test", [], ["10.1.2.3"]))
        for host in ("10.5.5.5", "short"):
            self.assertEqual(green_socket.gethostbyaddr(host), ("full.test", ["short"], ["10.5.5.5"]))
        with self.assertRaises(socket.herror):
            green_socket.gethostbyaddr("10.9.9.9")
        self.assertEqual(self.fails(green_socket.gethostbyaddr, "missing.test"), socket.EAI_NONAME)


class Order(unittest.TestCase):
    """RFC 6724, section 10.2, with the own addresses that its examples have."""

    def in_order(self, sources, *addresses):
        def source(family, address):
            found = sources.get(address[0])
            return found and address_order._as_ipv6(found)

        found = [(socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, 80)) for each in addresses]
        with mock.patch.object(address_order, "_source", source):
            return [each[4][0] for each in address_order.in_order(found)]

    def test_what_cannot_be_reached_is_last(self):
        order = self.in_order({"10.0.0.9": "10.0.0.1"}, "2001:db8::5", "10.0.0.9")
        self.assertEqual(order, ["10.0.0.9", "2001:db8::5"])

    def test_the_scope_matches(self):
        one = {"2001:db8:1::1": "2001:db8:1::2", "198.51.100.121": "169.254.13.78"}
        self.assertEqual(self.in_order(one, "198.51.100.121", "2001:db8:1::1"), ["2001:db8:1::1", "198.51.100.121"])
        other = {"2001:db8:1::1": "fe80::1", "198.51.100.121": "198.51.100.117"}
        self.assertEqual(self.in_order(other, "2001:db8:1::1", "198.51.100.121"), ["198.51.100.121", "2001:db8:1::1"])

    def test_the_label_matches(self):
        own = {"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2002:c633:6401::2"}
        order = self.in_order(own, "2001:db8:1::1", "2002:c633:6401::1")
        self.assertEqual(order, ["2002:c633:6401::1", "2001:db8:1::1"])

    def test_precedence_then_scope_then_prefix(self):
        own = {"2001:db8:1::1": "2001:db8:1::2", "10.1.2.3": "10.1.2.4"}
        self.assertEqual(self.in_order(own, "10.1.2.3", "2001:db8:1::1"), ["2001:db8:1::1", "10.1.2.3"])
        own = {"2001:db8:1::1": "2001:db8:1::2", "fe80::1": "fe80::2"}
        self.assertEqual(self.in_order(own, "2001:db8:1::1", "fe80::1"), ["fe80::1", "2001:db8:1::1"])
        own = {"2001:db8:1::1": "2001:db8:1::2", "2001:db8:3ffe::1": "2001:db8:3f44::2"}
        self.assertEqual(self.in_order(own, "2001:db8:3ffe::1", "2001:db8:1::1"), ["2001:db8:1::1", "2001:db8:3ffe::1"])

    def test_else_it_is_as_it_was(self):
        same = {f"10.0.0.{number}": "10.0.0.9" for number in (3, 1, 2)}
        self.assertEqual(self.in_order(same, *same), list(same))

    def test_the_system_is_asked_for_the_own_address(self):
        self.assertEqual(str(address_order._source(socket.AF_INET, ("127.0.0.1", 0)).ipv4_mapped), "127.0.0.1")
        self.assertIsNone(address_order._source(socket.AF_INET6, ("::ffff:0:0%nowhere", 0)))


class NamesGivenToSockets(Case):
    HOSTS = "127.0.0.1 here.test\n"

    def test_each_call_looks_them_up(self):
        self.use({}, hosts=self.HOSTS)
        listener = eventlet.listen(("here.test", 0))
        address = ("here.test", listener.getsockname()[1])
        for connect in (eventlet.connect, green_socket.create_connection):
            connect(address).close()
        with green_socket.socket() as sock:
            sock.bind(("here.test", 0))
            self.assertEqual(sock.getsockname()[0], "127.0.0.1")
            self.assertEqual(sock.connect_ex(address), 0)
        with green_socket.create_server(("here.test", 0)) as server:
            self.assertEqual(server.getsockname()[0], "127.0.0.1")
        listener.close()
        with green_socket.socket(type=socket.SOCK_DGRAM) as one, green_socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            there = ("here.test", other.getsockname()[1])
            one.sendto(b"1", there)
            one.sendto(b"2", 0, there)
            one.sendmsg([b"3"], [], 0, there)
            one.connect((b"here.test", there[1]))
            one.send(b"4")
            self.assertEqual([other.recv(9) for _ in range(4)], [b"1", b"2", b"3", b"4"])

    def test_tls_sockets_do_too(self):
        self.use({}, hosts=self.HOSTS)
        listener = eventlet.listen(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with context.wrap_socket(green_socket.socket(), server_hostname="here.test") as sock:
            sock.bind(("here.test", 0))
            self.assertEqual(sock.getsockname()[0], "127.0.0.1")
            connecting = eventlet.spawn(sock.connect, ("here.test", listener.getsockname()[1]))
            listener.accept()[0].close()
            self.assertRaises(ssl.SSLError, connecting.wait)
        listener.close()

    def test_what_is_no_name_is_left_to_the_system(self):
        server = self.use({})
        with green_socket.socket() as sock:
            sock.bind(("", 0))
            self.assertEqual(sock.getsockname()[0], "0.0.0.0")
        with green_socket.socket() as sock:
            sock.bind(("127.1", 0))
            self.assertEqual(sock.getsockname()[0], "127.0.0.1")
            self.assertRaises(TypeError, sock.connect, (None, 80))
            self.assertRaises(TypeError, sock.connect, "here.test")
        with green_socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.path.join(self.folder, "here.test"))
        self.assertEqual(server.asked, [])

    def test_one_that_is_unknown_is_the_systems_error(self):
        self.use({})
        for call in ("connect", "connect_ex", "bind"):
            with green_socket.socket() as sock:
                self.assertEqual(self.fails(getattr(sock, call), ("missing.test", 80)), socket.EAI_NONAME)

    def test_in_the_hub_the_system_looks_them_up(self):
        server = self.use({})
        ran = []

        def send():
            with green_socket.socket(type=socket.SOCK_DGRAM) as sock:
                ran.append(sock.sendto(b"1", ("localhost", 9)))

        hubs.get_hub().schedule_call_global(0, send)
        eventlet.sleep(0)
        self.assertEqual((ran, server.asked), ([1], []))

    def test_others_run_meanwhile(self):
        server = self.use({("slow.test", "A"): ["127.0.0.1"]})
        ran = []
        eventlet.spawn(ran.append, True)
        with green_socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("slow.test", 9))
        self.assertEqual((ran, server.asked), ([True], [("slow.test", "A")]))


class HostsFile(Case):
    def test_a_change_is_seen_at_once(self):
        # Stock looks every ten seconds.
        self.use({}, hosts="10.0.0.1 a.test\n")
        self.assertEqual(self.addresses("a.test"), ["10.0.0.1"])
        self.write("hosts", "10.0.0.22 a.test\n")
        self.assertEqual(self.addresses("a.test"), ["10.0.0.22"])
        os.unlink(os.path.join(self.folder, "hosts"))
        self.assertEqual(self.fails(self.addresses, "a.test"), socket.EAI_NONAME)

    def test_it_comes_before_nameservers(self):
        server = self.use({("a.test", "A"): ["10.0.0.1"], ("a.test", "AAAA"): ["fd00::1"]}, hosts="10.0.0.2 A.test\n")
        self.assertEqual(self.addresses("a.TEST"), ["10.0.0.2"])
        self.assertEqual(server.asked, [])

    def test_the_canonical_name_is_the_first_of_the_line(self):
        # 764: stock asks a nameserver, and fails.
        server = self.use({}, hosts="10.0.0.1 compute-0.localdomain compute-0\n")
        found = greendns.getaddrinfo("compute-0", 80, 0, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
        self.assertEqual(found[0][3:], ("compute-0.localdomain", ("10.0.0.1", 80)))
        self.assertEqual(server.asked, [])

    def test_no_nameserver_is_asked_for_aliases(self):
        server = self.use({}, hosts="10.0.0.1 host.test host\n")
        for name in ("host", "HOST.test"):
            self.assertEqual(greendns.gethostbyname_ex(name), ("host.test", ["host"], ["10.0.0.1"]))
        self.assertEqual(server.asked, [])

    def test_a_name_on_several_lines_has_all_addresses(self):
        self.use({}, hosts="10.0.0.1 a.test\n10.0.0.2 b.test a.test\n10.0.0.1 a.test\nfd00::1 a.test\n")
        self.assertEqual(self.addresses("a.test", socket.AF_INET), ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(sorted(self.addresses("a.test")), ["10.0.0.1", "10.0.0.2", "fd00::1"])
        self.assertEqual(greendns.gethostbyname_ex("a.test")[2], ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(greendns.gethostbyname("a.test"), "10.0.0.1")
        self.assertEqual(greendns.getnameinfo(("10.0.0.2", 80), 0)[0], "b.test")

    def test_a_file_that_cannot_be_read_is_an_empty_one(self):
        for path in (os.path.join(self.folder, "missing"), self.folder):
            resolver = greendns.HostsResolver(path)
            with self.assertRaises(dns.resolver.NoAnswer):
                resolver.query("localhost")


class Configuration(Case):
    def test_a_change_of_resolv_conf_is_seen(self):
        path = self.write("resolv.conf", "nameserver 10.0.0.1\n")
        proxy = greendns.ResolverProxy(None, path)
        self.assertEqual(proxy._resolver.nameservers, ["10.0.0.1"])
        kept = proxy._resolver
        self.assertIs(proxy._resolver, kept)
        self.write("resolv.conf", "nameserver 10.0.0.1\nnameserver 10.0.0.2\n")
        self.assertEqual(proxy._resolver.nameservers, ["10.0.0.1", "10.0.0.2"])

    def test_a_search_list_with_leading_dots(self):
        # 424: stock can't resolve anything then.
        path = self.write("resolv.conf", "search .example.com other.test\nnameserver 10.0.0.1\n")
        search = greendns.ResolverProxy(None, path)._resolver.search
        self.assertEqual([str(each) for each in search], ["example.com.", "other.test."])


class OneNameserver(Case):
    def query(self, name="a.test"):
        return dns.message.make_query(name, "A")

    def test_a_given_socket_stays_open(self):
        server = self.use({("a.test", "A"): ["10.0.0.1"]})
        sock = green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(2):
            response = greendns.udp(self.query(), "127.0.0.1", port=server.port, sock=sock)
            self.assertEqual(str(response.answer[0][0]), "10.0.0.1")
        sock.close()

    def test_a_timeout_is_for_all_of_it(self):
        # Somebody who keeps sending nonsense must not keep us: each datagram is far from a timeout of its own.
        other = green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind(("127.0.0.1", 0))

        def babble():
            _, peer = other.recvfrom(1000)
            while True:
                other.sendto(b"nonsense", peer)
                eventlet.sleep(0.01)

        thread = eventlet.spawn(babble)
        started = time.monotonic()
        with self.assertRaises(dns.exception.Timeout):
            greendns.udp(self.query(), "127.0.0.1", 0.15, port=other.getsockname()[1], ignore_errors=True)
        thread.kill()
        other.close()
        self.assertLess(time.monotonic() - started, 1)


class Imports(Scenario):
    def test_dnspython_imported_before_stays_one(self):
        # Stock leaves modules of two copies in sys.modules, whose exceptions are different classes.
        self.check(
            """
            import dns.exception, dns.name
            Before = dns.exception.DNSException
            import eventlet.support.greendns as greendns
            import dns.resolver
            assert dns.exception.DNSException is Before
            assert issubclass(dns.resolver.NXDOMAIN, Before)
            assert not issubclass(greendns.dns.resolver.NXDOMAIN, Before)
            """
        )

    def test_no_warning(self):
        self.check(
            """
            import eventlet.support.greendns as greendns
            try:
                greendns.ResolverProxy(filename=None).query("a.test")
            except greendns.dns.exception.DNSException:
                pass
            """,
            "-W", "error",
        )

    def test_it_can_be_left_out(self):
        # 390
        self.check(
            """
            import eventlet
            from eventlet.green import socket
            assert "eventlet.support.greendns" not in sys.modules
            assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
            """,
            EVENTLET_NO_GREENDNS="yes",
        )


# Resolves a name only after a green thread has run meanwhile, and tells in which OS thread.
_BY_THE_SYSTEM = """
    import _thread, socket, threading
    gate, main, asked = threading.Event(), _thread.get_ident(), []

    def slow(result):
        def resolve(*args, **kwargs):
            asked.append(_thread.get_ident())
            assert gate.wait(20), "no other green thread has run"
            gate.clear()
            return result
        return resolve

    found = [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 80))]
    expected = {
        "getaddrinfo": found, "gethostbyname": "127.0.0.1", "gethostbyname_ex": ("a.test", [], ["127.0.0.1"]),
        "gethostbyaddr": ("a.test", [], ["127.0.0.1"]), "getnameinfo": ("a.test", "80"),
    }
    for name, result in expected.items():
        setattr(socket, name, slow(result))
    import eventlet
    open_gate = gate.set
    eventlet.monkey_patch()
    assert "eventlet.support.greendns" not in sys.modules

    def ask(function, *args):
        eventlet.spawn(open_gate)
        return function(*args)

    for name, result in expected.items():
        assert ask(getattr(socket, name), "a.test", 80) == result, name
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ask(udp.bind, ("a.test", 0))
    assert udp.getsockname()[0] == "127.0.0.1"
    assert len(asked) == 6 and main not in asked, (main, asked)
"""


class BySystem(Scenario):
    def test_names_are_resolved_in_os_threads_where_greendns_is_not_wanted(self):
        self.check(_BY_THE_SYSTEM, EVENTLET_NO_GREENDNS="yes")

    def test_names_are_resolved_in_os_threads_without_dnspython(self):
        self.check(
            """
    class NoDnspython:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "dns":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NoDnspython())
"""
            + _BY_THE_SYSTEM
        )


if __name__ == "__main__":
    unittest.main()
