"""TLS, over sockets and over memory."""

import pathlib
import socket
import ssl
import threading

from kinds import LONG, SHORT, Thing, kind, operation

ENDS = (0, 1)
CERTIFICATE = pathlib.Path(__file__).resolve().parent.parent / "eventlet" / "server.pem"


def context(server_side, version):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    if server_side:
        made.load_cert_chain(CERTIFICATE)
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = ssl.TLSVersion[version]
    return made


class OverMemory:
    """What an SSLSocket does, by an SSLObject that knows no socket."""

    def __init__(self, made, raw, server_side):
        self.raw = raw
        self.incoming, self.outgoing, self.sending = ssl.MemoryBIO(), ssl.MemoryBIO(), threading.Lock()
        self.tls = made.wrap_bio(self.incoming, self.outgoing, server_side)
        self.settimeout, self.close, self.shutdown = raw.settimeout, raw.close, raw.shutdown
        self.version, self.pending, self.fileno = self.tls.version, self.tls.pending, raw.fileno

    def call(self, method, *arguments):
        while True:
            try:
                result, is_done = method(*arguments), True
            except ssl.SSLWantReadError:
                result, is_done = None, False
            if self.outgoing.pending:
                with self.sending:
                    self.raw.sendall(self.outgoing.read())
            if is_done:
                return result
            data = self.raw.recv(1 << 16)
            self.incoming.write(data) if data else self.incoming.write_eof()

    def do_handshake(self):
        return self.call(self.tls.do_handshake)

    def recv(self, count):
        return self.call(self.tls.read, count)

    def recv_into(self, buffer):
        return self.call(self.tls.read, len(buffer), buffer)

    def sendall(self, data):
        self.call(self.tls.write, data)

    def send(self, data):
        return self.call(self.tls.write, data)

    def unwrap(self):
        self.call(self.tls.unwrap)
        return self.raw


@kind("tls")
class Tls(Thing):
    """Two that are connected. The handshake is the program's.

    All have a timeout from the beginning: without one CPython's own socket holds its lock while it reads, and who wants
    to write waits. With one it asks first whether the socket can be written, and a Unix one cannot if a quarter of its
    room is taken.
    """

    made_with = (("socket", "memory"), ("unix", "tcp"), ("TLSv1_2", "TLSv1_3"))

    def __init__(self, what, transport, version):
        if transport == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                raw = [socket.create_connection(listener.getsockname()), listener.accept()[0]]
        else:
            raw = socket.socketpair()
        self.ends = []
        for end in ENDS:
            raw[end].settimeout(LONG)
            made = context(end == 0, version)
            if what == "memory":
                self.ends.append(OverMemory(made, raw[end], end == 0))
            else:
                self.ends.append(made.wrap_socket(raw[end], end == 0, do_handshake_on_connect=False))
        self.timeouts = [LONG, LONG]
        #: How many operations an end is in the middle of, and which ends change their state.
        self.busy, self.changing = [0, 0], [False, False]
        #: What came of an end's handshake.
        self.begun = [None, None]

    def is_brief(self, name, arguments):
        ends = arguments[:1] or ENDS
        return any(self.timeouts[end] in (SHORT, 0) for end in ends)

    def change(self, end, call):
        """Changes an end's state: nobody reads or writes meanwhile, which no thread may."""
        if self.busy[end] or self.changing[end]:
            return "in use"
        self.changing[end] = True
        try:
            return call()
        finally:
            self.changing[end] = False

    def use(self, end, call, *arguments):
        if self.begun[end] != "done" or self.changing[end]:
            return "not ready"
        self.busy[end] += 1
        try:
            return call(*arguments)
        finally:
            self.busy[end] -= 1

    @operation(ENDS, line="change {0}", weight=8)
    def do_handshake(self, end):
        if self.begun[end]:
            # What TLS has given up raises whatever error number the thread had last.
            return "tried before"
        if self.timeouts[end] == 0 and self.changing[1 - end]:
            return "a matter of time"
        return self.change(end, lambda: self.try_to_begin(end))

    def try_to_begin(self, end):
        self.begun[end] = "failed"
        try:
            self.ends[end].do_handshake()
        except (TimeoutError, ssl.SSLWantReadError):
            self.begun[end] = None
            raise
        self.begun[end] = "done"

    @operation(line="change both", alone=True, weight=4)
    def shake_hands(self):
        """Both at once."""
        other = threading.Thread(target=self.do_handshake, args=(1,))
        other.start()
        result = self.do_handshake(0)
        other.join()
        return result, self.ends[0].version(), self.ends[1].version()

    @operation(ENDS, line="change {0}", weight=2)
    def unwrap(self, end):
        return self.change(end, lambda: self.ends[end].unwrap().fileno() >= 0)

    @operation(ENDS, (0, 1, 50, 4096, 100_000), line="read {0}", weight=6)
    def recv(self, end, count):
        return self.use(end, self.ends[end].recv, count)

    @operation(ENDS, (1, 50), line="read {0}", weight=2)
    def recv_into(self, end, count):
        buffer = bytearray(count)
        return self.use(end, self.ends[end].recv_into, buffer), buffer

    @operation(ENDS, (9000,), line="read {0}", weight=2)
    def recv_much(self, end, count):
        """Until as much has come."""
        found = 0
        while found < count:
            part = self.use(end, self.ends[end].recv, count - found)
            if not isinstance(part, bytes) or not part:
                return found, part
            found += len(part)
        return found

    @operation(ENDS, (0, 1, 100), line="write {0}", weight=3)
    def send(self, end, count):
        return self.use(end, self.ends[end].send, self.payload(count))

    @operation(ENDS, (1, 100, 3000, 3_000_000), line="write {0}", weight=4)
    def sendall(self, end, count):
        return self.use(end, self.ends[end].sendall, self.payload(count))

    @operation(ENDS)
    def look(self, end):
        return self.ends[end].version(), self.ends[end].pending()

    @operation(ENDS, (SHORT, LONG, 0), alone=True, weight=2)
    def settimeout(self, end, timeout):
        if self.ends[end].fileno() < 0:
            return "closed"
        self.timeouts[end] = timeout
        return self.ends[end].settimeout(timeout)

    @operation(ENDS, (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR))
    def shutdown(self, end, how):
        return self.ends[end].shutdown(int(how))

    @operation(ENDS, alone=True)
    def close(self, end):
        return self.ends[end].close()

    @operation(ENDS)
    def close_under(self, end):
        return self.ends[end].close()
