"""Green TLS: handshakes, reading, writing, timeouts, what ends a wait, contexts, the standard library's clients."""

import errno
import gc
import os
import pathlib
import socket as plain
import ssl as plain_ssl
import unittest
import warnings

import eventlet
from eventlet import greenio, hubs
from eventlet.green import socket, ssl

from io_support import LOCALHOST, OnHub
from scenario import Scenario

CERTIFICATE = str(pathlib.Path(__file__).with_name("server.pem"))


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context():
    return ssl.create_default_context(cafile=CERTIFICATE)


class TlsCase(OnHub):
    def listen(self, **options):
        listener = server_context().wrap_socket(eventlet.listen(LOCALHOST), server_side=True, **options)
        self.addCleanup(listener.close)
        return listener

    def tls_pair(self):
        """A client and a server that have made their handshake."""
        listener = self.listen()
        accepted = eventlet.spawn(listener.accept)
        raw = eventlet.connect(listener.getsockname())
        hello = eventlet.spawn(lambda: accepted.wait()[0].sendall(b"!"))
        client = client_context().wrap_socket(raw, server_hostname="localhost")
        self.assertEqual(client.recv(1), b"!")
        hello.wait()
        server = accepted.wait()[0]
        self.addCleanup(client.close)
        self.addCleanup(server.close)
        return client, server


class Connections(TlsCase):
    def test_both_ways(self):
        client, server = self.tls_pair()
        for one, other in ((client, server), (server, client)):
            self.assertIsInstance(one, plain_ssl.SSLSocket)
            reader = self.blocked(one.recv, 100)
            other.sendall(b"hello")
            self.assertEqual(reader.wait(), b"hello")
            room = bytearray(10)
            reader = self.blocked(one.recv_into, room)
            other.sendall(b"into")
            self.assertEqual(room[: reader.wait()], b"into")
            reader = self.blocked(one.makefile("rb").readline)
            other.sendall(b"line\n")
            self.assertEqual(reader.wait(), b"line\n")

    def test_much_at_once_in_both_directions(self):
        client, server = self.tls_pair()
        data = os.urandom(1 << 20) * 2

        def read(sock):
            received = bytearray()
            while len(received) < len(data):
                received += sock.recv(1 << 16)
            return bytes(received)

        threads = [eventlet.spawn(read, client), eventlet.spawn(read, server)]
        writers = [eventlet.spawn(client.sendall, data), eventlet.spawn(server.sendall, data)]
        for thread in threads:
            self.assertTrue(thread.wait() == data, "other bytes have arrived")
        for writer in writers:
            writer.wait()

    def test_what_is_decrypted_already_is_read_without_waiting(self):
        client, server = self.tls_pair()
        server.sendall(b"abc")
        self.assertEqual(client.recv(1), b"a")
        self.assertEqual(client.pending(), 2)
        client.settimeout(1)
        self.assertEqual([client.recv(1), client.recv(1)], [b"b", b"c"])

    def test_sockets_wrapped_before_they_connect(self):
        for connect in ("connect", "connect_ex"):
            listener = self.listen()
            server = eventlet.spawn(lambda: listener.accept()[0].sendall(b"hello"))
            client = client_context().wrap_socket(socket.socket(), server_hostname="localhost")
            self.assertFalse(getattr(client, connect)(listener.getsockname()))
            self.assertEqual(client.recv(10), b"hello")
            server.wait()
            self.assertRaises(ValueError, client.connect, listener.getsockname())

    def test_a_refused_connection(self):
        listener = eventlet.listen(LOCALHOST)
        address = listener.getsockname()
        listener.close()
        client = client_context().wrap_socket(socket.socket(), server_hostname="localhost")
        self.assert_errno(errno.ECONNREFUSED, client.connect, address)
        client = client_context().wrap_socket(socket.socket(), server_hostname="localhost")
        self.assertEqual(client.connect_ex(address), errno.ECONNREFUSED)

    def test_a_non_blocking_connect_and_then_the_handshake(self):
        listener = self.listen()
        served = eventlet.spawn(lambda: listener.accept()[0].sendall(b"!"))
        client = client_context().wrap_socket(
            socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
        )
        self.addCleanup(client.close)
        client.setblocking(False)
        self.assertIn(client.connect_ex(listener.getsockname()), (0, errno.EINPROGRESS))
        client.setblocking(True)
        hubs.trampoline(client, write=True)
        client.do_handshake()
        self.assertEqual(client.recv(1), b"!")
        served.wait()

    def test_a_name_that_cannot_be_closes_the_socket(self):
        gc.collect()  # what tests before have left
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            raw = socket.socket()
            self.assertRaises(UnicodeError, client_context().wrap_socket, raw, server_hostname=".x")
            gc.collect()
        self.assertEqual([each for each in seen if each.category is ResourceWarning], [])

    def test_what_unwrap_returns_may_be_dropped(self):
        client, server = self.tls_pair()
        unwrapping = eventlet.spawn(server.unwrap)
        client.unwrap()
        unwrapping.wait()
        self.assertNotEqual(client.fileno(), -1)

    def test_the_old_function_asks_for_a_certificate(self):
        for options in ({"server_side": True}, {"keyfile": CERTIFICATE}):
            with self.assertRaisesRegex(ValueError, "certfile must be specified"), socket.socket() as raw:
                ssl.wrap_socket(raw, **options)

    def test_the_old_function(self):
        listener = ssl.wrap_socket(eventlet.listen(LOCALHOST), CERTIFICATE, CERTIFICATE, server_side=True)
        server = eventlet.spawn(lambda: listener.accept()[0].sendall(b"hello"))
        client = ssl.wrap_socket(
            eventlet.connect(listener.getsockname()), cert_reqs=ssl.CERT_REQUIRED, ca_certs=CERTIFICATE
        )
        self.assertEqual(client.recv(10), b"hello")
        self.assertEqual(client.context.verify_mode, ssl.CERT_REQUIRED)
        server.wait()

    def test_the_old_function_verifies_if_asked_to(self):
        listener = self.listen()
        eventlet.spawn(lambda: listener.accept()[0].recv(1))
        with self.assertRaises(ssl.SSLCertVerificationError):
            ssl.wrap_socket(eventlet.connect(listener.getsockname()), cert_reqs=ssl.CERT_REQUIRED)

    def test_the_hosts_name_reaches_the_server_and_is_verified(self):
        names = []
        context = server_context()
        context.sni_callback = lambda sock, name, context: names.append(name)
        listener = context.wrap_socket(eventlet.listen(LOCALHOST), server_side=True)

        def serve():
            while True:
                sock, _ = listener.accept()
                eventlet.spawn(sock.recv, 1)

        server = eventlet.spawn(serve)
        client_context().wrap_socket(eventlet.connect(listener.getsockname()), server_hostname="localhost")
        self.assertEqual(names, ["localhost"])
        with self.assertRaises(ssl.SSLCertVerificationError):
            client_context().wrap_socket(eventlet.connect(listener.getsockname()), server_hostname="other")
        self.assertRaises(ValueError, client_context().wrap_socket, eventlet.connect(listener.getsockname()))
        server.kill()

    def test_tls_ends_and_the_connection_goes_on(self):
        client, server = self.tls_pair()
        unwrapping = eventlet.spawn(server.unwrap)
        bare_client = client.unwrap()
        bare_server = unwrapping.wait()
        self.assertIsInstance(bare_client, greenio.GreenSocket)
        reader = self.blocked(bare_server.recv, 10)
        bare_client.sendall(b"in clear")
        self.assertEqual(reader.wait(), b"in clear")

    def test_the_end_of_the_connection(self):
        client, server = self.tls_pair()
        reader = self.blocked(client.recv, 10)
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        self.assertEqual(reader.wait(), b"")
        self.assertEqual(client.recv(10), b"")

    def test_who_waits_while_another_shuts_down_goes_on_in_tls(self):
        client, server = self.tls_pair()
        reader = self.blocked(client.recv, 10)
        client.shutdown(socket.SHUT_RD)
        self.assertEqual(reader.wait(), b"")
        client, server = self.tls_pair()
        data = os.urandom(1 << 20) * 16
        writer = self.blocked(client.sendall, data)
        client.shutdown(socket.SHUT_RD)
        received = bytearray()
        while len(received) < len(data):
            received += server.recv(1 << 16)
        self.assertTrue(received == data, "other bytes have arrived")
        writer.wait()
        for connected in self.pairs():
            client = client_context().wrap_socket(connected, do_handshake_on_connect=False, server_hostname="localhost")
            handshake = self.blocked(client.do_handshake)
            client.shutdown(socket.SHUT_RD)
            self.assertRaises(plain_ssl.SSLEOFError, handshake.wait)
            client.close()
            self.assert_errno(errno.EBADF, client.do_handshake)

    def pairs(self):
        for make in (socket.socketpair, lambda: self.connected()):
            one, other = make()
            self.addCleanup(other.close)
            yield one

    def connected(self):
        listener = eventlet.listen(LOCALHOST)
        self.addCleanup(listener.close)
        one = eventlet.connect(listener.getsockname())
        return one, listener.accept()[0]

    def test_what_is_sent_after_the_end_is_not_lost_in_silence(self):
        client, server = self.tls_pair()
        client.shutdown(socket.SHUT_WR)
        self.assert_errno(errno.EPIPE, client.sendall, b"x" * 3000)

    def test_text_from_before_tls_is_refused(self):
        listener = eventlet.listen(LOCALHOST)
        raw = eventlet.connect(listener.getsockname())
        peer, _ = listener.accept()
        peer.sendall(b"not protected")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        eventlet.sleep(0.01)
        peer.close()
        eventlet.sleep(0.01)
        with self.assertRaises(OSError):
            client_context().wrap_socket(raw, server_hostname="localhost").recv(10)

    def test_duplicates_and_datagrams_are_refused(self):
        client, _ = self.tls_pair()
        self.assertRaises(NotImplementedError, client.dup)
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self.assertRaises(NotImplementedError, client_context().wrap_socket, datagrams, server_hostname="localhost")
        self.assertRaises(ValueError, client.recvfrom, 10)


class Waits(TlsCase):
    def test_a_peer_that_does_not_answer_times_the_handshake_out(self):
        listener = eventlet.listen(LOCALHOST)
        raw = eventlet.connect(listener.getsockname())
        raw.settimeout(0.05)
        self.assert_time(0.05, lambda: client_context().wrap_socket(raw, server_hostname="localhost"))
        client = client_context().wrap_socket(socket.socket(), server_hostname="localhost")
        client.settimeout(0.05)
        self.assert_time(0.05, client.connect, listener.getsockname())

    def test_a_client_that_does_not_answer_keeps_nobody_from_accepting(self):
        listener = self.listen()
        listener.settimeout(5)
        served = []

        def serve():
            for _ in range(2):
                sock, _ = listener.accept()
                self.assertIsNone(sock.gettimeout())
                served.append(eventlet.spawn(lambda sock=sock: sock.sendall(sock.recv(10))))

        server = eventlet.spawn(serve)
        silent = eventlet.connect(listener.getsockname())
        good = client_context().wrap_socket(eventlet.connect(listener.getsockname()), server_hostname="localhost")
        good.sendall(b"hello")
        self.assertEqual(good.recv(10), b"hello")
        server.wait()
        silent.close()

    def drip(self, sock, record):
        """Sends the head of a record of TLS, and then byte by byte."""
        sock.sendall(record)

        def drops():
            while True:
                eventlet.sleep(0.1)
                sock.send(b"x")

        self.addCleanup(eventlet.spawn(drops).kill)

    def test_a_timeout_is_one_for_all_that_an_operation_waits_for(self):
        one, other = self.pair()
        one.settimeout(0.3)
        self.drip(other, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0")
        with self.assertRaises(socket.timeout):
            client_context().wrap_socket(one, server_hostname="localhost")
        client, server = self.tls_pair()
        client.settimeout(0.3)
        self.drip(greenio.GreenSocket(plain.socket(fileno=os.dup(server.fileno()))), b"\x17\x03\x03\x10\x00")
        self.assertRaises(socket.timeout, client.recv, 10)

    def test_a_descriptor_that_is_given_away_is_blocking_without_a_timeout(self):
        for timeout, blocking in ((None, True), (5, False)):
            client, _ = self.tls_pair()
            client.settimeout(timeout)
            fd = client.detach()
            self.assertIs(os.get_blocking(fd), blocking)
            os.close(fd)

    def test_who_is_killed_in_the_handshake_leaves_no_descriptor(self):
        one, _ = self.pair()
        fd = one.fileno()
        killed = self.blocked(lambda: client_context().wrap_socket(one, server_hostname="localhost"))
        killed.kill()
        self.assertRaises(OSError, os.fstat, fd)

    def test_timeouts(self):
        client, _ = self.tls_pair()
        client.settimeout(0.05)
        self.assertEqual((client.gettimeout(), client.timeout, client.getblocking()), (0.05, 0.05, True))
        self.assert_time(0.05, client.recv, 10)
        self.assert_time(0.05, client.recv_into, bytearray(10))
        self.assert_time(0.05, client.sendall, b"x" * (16 << 20))
        listener = self.listen()
        listener.settimeout(0.05)
        self.assert_time(0.05, listener.accept)

    def test_close_wakes_who_waits(self):
        client, server = self.tls_pair()
        reader = self.blocked(client.recv, 10)
        client.close()
        self.assert_errno(errno.EBADF, reader.wait)
        writer = eventlet.spawn(server.sendall, b"x")
        eventlet.sleep(0.01)
        listener = self.listen()
        accepting = self.blocked(listener.accept)
        listener.close()
        self.assert_errno(errno.EBADF, accepting.wait)
        self.assertTrue(writer.dead)

    def test_who_waits_can_be_killed(self):
        client, server = self.tls_pair()
        self.blocked(client.recv, 10).kill()
        reader = self.blocked(client.recv, 10)
        server.sendall(b"still here")
        self.assertEqual(reader.wait(), b"still here")

    def test_non_blocking_mode_raises_at_once(self):
        client, _ = self.tls_pair()
        client.setblocking(False)
        self.assertFalse(client.getblocking())
        self.assertRaises(ssl.SSLWantReadError, client.recv, 10)
        client.settimeout(None)
        with self.assertRaises(eventlet.Timeout), eventlet.Timeout(0.02):
            client.recv(10)


class ConnectionsOnPoll(Connections):
    hub = "poll"


class WaitsOnPoll(Waits):
    hub = "poll"


class Contexts(unittest.TestCase):
    def test_settings_of_green_contexts(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_COMPRESSION
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        self.assertEqual(context.maximum_version, ssl.TLSVersion.TLSv1_3)
        self.assertTrue(context.verify_flags & ssl.VERIFY_X509_STRICT)
        self.assertIs(context.sslsocket_class, ssl.GreenSSLSocket)

    def test_default_contexts_are_green_and_verify(self):
        context = ssl.create_default_context()
        self.assertIsInstance(context, ssl.GreenSSLContext)
        self.assertEqual((context.verify_mode, context.check_hostname), (ssl.CERT_REQUIRED, True))


class PyOpenSSL(Scenario):
    def test_its_exceptions_are_there_and_it_is_imported_only_for_them(self):
        self.check(
            """
            import eventlet
            assert "OpenSSL" not in sys.modules
            from eventlet import greenio
            for name in ("WantReadError", "WantWriteError", "ZeroReturnError", "SysCallError"):
                assert issubclass(getattr(greenio.SSL, name), Exception)
            assert greenio.SSL is greenio.base.SSL
            """
        )


class Patched(Scenario):
    """After monkey_patch, which is for good."""

    def test_contexts_from_before_and_after_have_working_settings_and_green_sockets(self):
        self.check(
            f"""
            import ssl
            from ssl import SSLContext
            before = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            import eventlet
            eventlet.monkey_patch()
            late_class = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            import socket
            from eventlet.green.ssl import GreenSSLSocket
            for context in (before, late_class, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.create_default_context()):
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.maximum_version = ssl.TLSVersion.TLSv1_3
                context.options |= ssl.OP_NO_COMPRESSION
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.verify_flags = context.verify_flags
                context._msg_callback = None
                assert context.minimum_version == ssl.TLSVersion.TLSv1_2
                assert type(context.wrap_socket(socket.socket())) is GreenSSLSocket
            """
        )

    def test_clients_of_the_standard_library(self):
        self.check(
            f"""
            import eventlet
            eventlet.monkey_patch()
            import http.client, http.server, ssl, threading, urllib.request
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    eventlet.sleep(0.2)
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"hello " + self.path.encode())
                def log_message(self, *args):
                    pass
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain({CERTIFICATE!r})
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            trusting = ssl.create_default_context(cafile={CERTIFICATE!r})
            port = server.server_address[1]
            def fetch(number):
                if number % 2:
                    return urllib.request.urlopen(f"https://localhost:{{port}}/{{number}}", context=trusting).read()
                connection = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=5)
                connection.request("GET", f"/{{number}}")
                return connection.getresponse().read()
            begin = monotonic()
            with eventlet.Timeout(10):
                replies = list(eventlet.GreenPool().imap(fetch, range(10)))
            assert replies == [b"hello /%d" % number for number in range(10)], replies
            assert monotonic() - begin < 1.5, "one after the other"
            """
        )


if __name__ == "__main__":
    unittest.main()
