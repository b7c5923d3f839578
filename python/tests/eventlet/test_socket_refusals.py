"""What CPython's socket refuses, ours refuses with the same exception, and what it takes, ours takes."""

import unittest

import eventlet
from eventlet import patcher
from eventlet.green import socket as green

plain = patcher.original("socket")

# `a` and `b` are connected; `tcp` and `udp` are fresh. No name here is one that a nameserver could know.
CALLS = [
    # Buffers.
    *(f"{call}({buffer})"
      for call in ("a.recv_into", "a.recvfrom_into")
      for buffer in ("b''", "b'abc'", "memoryview(b'abc')", "3", "'abc'", "None", "memoryview(bytearray(10))[::2]",
                     "", "bytearray(3), 5", "bytearray(3), -5", "bytearray(3), 1.0", "bytearray(3), 1, 'a'",
                     "bytearray(3), 3, 0, 0", "bytearray(3), 2")),
    *(f"{call}({data})"
      for call in ("a.send", "a.sendall")
      for data in ("'abc'", "3", "None", "memoryview(bytearray(10))[::2]", "", "b'a', 'b'", "b'a', 0, 0",
                   "bytearray(2)", "memoryview(bytearray(4)).cast('I')")),
    "a.recvmsg_into([b'a'])", "a.recvmsg_into([3])", "a.recvmsg_into(3)", "a.recvmsg_into(bytearray(3))",
    "a.recvmsg_into([memoryview(bytearray(10))[::2]])",
    "a.recv(-1)", "a.recv('a')", "a.recv(1.0)", "a.recv(1 << 70)", "a.recv()", "a.recv(1, 'a')", "a.recv(1, 1 << 40)",
    "a.recvfrom(-1)", "a.recvfrom('a')", "a.recvmsg(-1)", "a.recvmsg(1, -1)", "a.recvmsg('a')",
    "a.sendmsg(b'abc')", "a.sendmsg(['a'])", "a.sendmsg(3)", "a.sendmsg([b'a'], 3)", "a.sendmsg([b'a'], [], 'a')",
    "a.sendmsg([b'a'], None)", "a.sendmsg(buffers=[b'a'])", "a.recvmsg(bufsize=1)", "a.recvmsg(1, flags=0)",
    "a.recvmsg_into(buffers=[bytearray(1)])",
    "udp.sendto('a', ('127.0.0.1', 9))", "udp.sendto(b'a')", "udp.sendto(b'a', 'a', ('127.0.0.1', 9))",
    "udp.sendto(b'a', ('127.0.0.1', -1))", "udp.sendto(b'a', ('127.0.0.1', 1 << 20))", "udp.sendto(b'a', 3)",
    # Addresses.
    *(f"{call}({address})"
      for call in ("tcp.bind", "tcp.connect", "tcp.connect_ex", "a.bind")
      for address in (r"('a\0b', 0)", r"(b'a\0b', 0)", r"(bytearray(b'a\0b'), 0)", "('::1', 0)", "('127.0.0.1',)", "()",
                      "('127.0.0.1', 'a')", "('127.0.0.1', -1)", "('127.0.0.1', 1 << 20)", "(3, 0)",
                      "(None, 0)", "('1.2.3.4.5', 0)",
                      "('127.0.0.1', 0, 0)", "['127.0.0.1', 0]", "('127.0.0.1', 1.0)", "('a' * 70 + '.b', 0)",
                      "(b'a' * 70 + b'.b', 0)", "('a..b', 0)", "(b'a..b', 0)", "('.', 0)", "('\u00e4' * 70, 0)",
                      "('', 0)", "(b'', 0)", "(b'<broadcast>', 0)", "('x' * 300, 0)")),
    r"udp.sendto(b'', ('a\0b', 9))", "udp.sendto(b'', ('::1', 9))", r"udp.sendmsg([b''], [], 0, ('a\0b', 9))",
    *(f"socket.create_connection({address}, 1)" for address in (r"('a\0b', 1)", "('127.0.0.1',)", "3", "(3, 1)")),
    "udp.sendto(b'', ('a..b', 9))", "udp.sendto(b'', (b'', 9))",
    # Names.
    *(f"socket.{call}({host})"
      for call in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr")
      for host in (r"'a\0b'", r"b'a\0b'", "'::1'", "b'::1'", "'fe80::1%lo'", "3", "None", "b'127.0.0.1'",
                   "bytearray(b'127.0.0.1')", "'1.2'", "'0x7f000001'", "'127.0.0.1%lo'",
                   "'1.2.3.4.5'", "'256.1.1.1'", "", "''", "b''", "'<broadcast>'", "b'<broadcast>'", "'a' * 70 + '.b'",
                   "b'a' * 70", "'a..b'", "b'a..b'", "'.'", "'\u00e4' * 70", "'x' * 300")
      # What a resolver of the machine knows of these is its own affair.
      if not (call == "gethostbyaddr" and host in ("'::1'", "b'::1'", "'fe80::1%lo'", "'1.2'"))),
    *(f"socket.getaddrinfo({arguments})"
      for arguments in (r"'a\0b', 0", r"b'a\0b', 0", "3, 0", "'', 80", "None, None", "'127.0.0.1', 'none'",
                        "'127.0.0.1', 80, 99", "'127.0.0.1', 80, socket.AF_INET6", "'::1', 80, socket.AF_INET",
                        "'127.0.0.1', 80, 0, 99", "'127.0.0.1', -1", "'127.0.0.1', 1.0", "'127.0.0.1'",
                        "'a' * 70 + '.invalid', 80", "b'a' * 70, 80", "'a..b', 80", "b'a..b', 80",
                        "bytearray(b'127.0.0.1'), 80", "b'127.0.0.1', 80", "'127.0.0.1', b'80'", "'127.1', 80",
                        "'a.invalid', 80, 0, 0, 0, socket.AI_NUMERICHOST", "'127.0.0.1', 1 << 70")),
    *(f"socket.getnameinfo({arguments})"
      for arguments in (r"('a\0b', 0), 0", "3, 0", "(), 0", "('127.0.0.1',), 0", "('127.0.0.1', 80), 'a'",
                        "('127.0.0.1', 80), 3", "('127.0.0.1', -1), 3", "('127.0.0.1', 80)", "['127.0.0.1', 80], 3",
                        "('::1', 80), 3", "('::1', 80, 0, 0), 3", "('127.0.0.1', 80, 0, 0, 0), 3")),
    # The rest.
    "socket.socket(99)", "socket.socket('a')", "socket.socket(1.0)", "socket.socket(())",
    "socket.socket(socket.AF_INET, 99)", "socket.socketpair(99)",
    "socket.socketpair(socket.AF_INET)", "a.settimeout(-1)", "a.settimeout('a')", "a.settimeout(float('nan'))",
    "a.settimeout(1e300)", "a.setblocking()", "a.getsockopt(1)", "a.getsockopt('a', 'b')", "a.setsockopt(1, 2)",
    "a.listen('a')", "tcp.listen(-1)", "tcp.accept()", "a.shutdown(99)", "a.shutdown('a')", "tcp.getpeername()",
    "a.getpeername(1)", "tcp.shutdown(2)", "a.makefile('x')", "a.makefile('r', 0)", "a.sendfile(3)",
    "socket.fromfd(-1, 1, 1)", "socket.create_server(('127.0.0.1', -1))", "socket.create_server(3)",
]  # fmt: skip


def outcome(socket, call):
    a, b = socket.socketpair()
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    b.send(b"data")
    try:
        result = eval(call, {"socket": socket, "a": a, "b": b, "tcp": tcp, "udp": udp})
    except Exception as error:
        return type(error).__name__, error.errno if isinstance(error, OSError) else None
    finally:
        for each in (a, b, tcp, udp):
            each.close()
    if hasattr(result, "close"):
        result.close()
        result = "opened"
    return "returned", result


class Refusals(unittest.TestCase):
    def test_each_call_ends_as_on_the_plain_socket(self):
        with eventlet.Timeout(60):
            for call in CALLS:
                with self.subTest(call):
                    self.assertEqual(outcome(green, call), outcome(plain, call))

    def test_a_reset_is_the_end_to_the_methods_of_stock_and_an_error_to_the_others(self):
        for call, outcome in (
            (lambda sock: sock.recv(9), b""),
            (lambda sock: sock.recv_into(bytearray(9)), 0),
            (lambda sock: sock.recvfrom(9), (b"", None)),
            (lambda sock: sock.recvfrom_into(bytearray(9)), (0, None)),
            (lambda sock: sock.recvmsg(9), ConnectionResetError),
            (lambda sock: sock.recvmsg_into([bytearray(9)]), ConnectionResetError),
        ):
            sock, peer = green.socketpair()
            with sock:
                sock.sendall(b"unread")
                peer.close()
                if outcome is ConnectionResetError:
                    self.assertRaises(outcome, call, sock)
                else:
                    self.assertEqual(call(sock), outcome)


if __name__ == "__main__":
    unittest.main()
