"""Sockets, listeners and pipes, and what watches them.

Over 500 lines: what is watched has the same operations, and each kind is one table of them.
"""

import array
import os
import select
import selectors
import signal
import socket
import tempfile

from kinds import LONG, NAN, SHORT, Thing, kind, operation

#: More than any buffer of the kernel's holds.
LARGE = 6_000_000
ENDS = (0, 1)
WATCHERS = ("select", "poll", "epoll", "selector", "select selector")


def ready(watcher, file, direction, timeout):
    """Whether `file` is found ready, by each of the means there are."""
    fd = file if isinstance(file, int) else file.fileno()
    if watcher == "select":
        files = [[file], [], []] if direction == "r" else [[], [file], []]
        return [len(found) for found in select.select(*files, timeout)]
    if watcher in ("selector", "select selector"):
        with (selectors.DefaultSelector if watcher == "selector" else selectors.SelectSelector)() as selector:
            selector.register(file, selectors.EVENT_READ if direction == "r" else selectors.EVENT_WRITE, "data")
            return [(key.data, events) for key, events in selector.select(timeout)]
    poll = select.poll() if watcher == "poll" else select.epoll()
    reads, writes = (select.POLLIN, select.POLLOUT) if watcher == "poll" else (select.EPOLLIN, select.EPOLLOUT)
    poll.register(file, reads if direction == "r" else writes)
    if timeout is not None and watcher == "poll":
        timeout *= 1000
    events = poll.poll(timeout)
    return [(found == fd, event) for found, event in events]


def in_child(body):
    """Forks; the child's exit status, which is what `body` returns. It may not wait for what only a thread does."""
    child = os.fork()
    if child == 0:
        status = 99
        signal.alarm(3)
        try:
            status = body()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Watched(Thing):
    """`file(end)` is what is watched."""

    @operation(WATCHERS, ENDS, ("r", "w"), (None, LONG, SHORT, 0), line="watch {1} {2}", weight=4)
    def ready(self, watcher, end, direction, timeout):
        return ready(watcher, self.file(end), direction, timeout)

    @operation(("select", "poll", "epoll", "selector"), (NAN, -1, "x", 1e100), line="watch 0 r")
    def ready_badly(self, watcher, timeout):
        return bool(ready(watcher, self.file(0), "r", timeout))

    @operation()
    def stop(self):
        self.stopped = True

    stopped = False

    @operation(("select", "poll", "epoll"), line="spin")
    def spin_writable(self, watcher):
        while not self.stopped:
            ready(watcher, self.file(1), "w", 1)


@kind("sockets")
class Sockets(Watched):
    """Two that are connected."""

    made_with = (("tcp", "tcp", "unix", "udp", "datagram", "packets"),)

    def __init__(self, what):
        if what == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.ends = [socket.create_connection(listener.getsockname()), listener.accept()[0]]
        elif what == "udp":
            self.ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ENDS]
            for end in self.ends:
                end.bind(("127.0.0.1", 0))
            for end in ENDS:
                self.ends[end].connect(self.ends[1 - end].getsockname())
        else:
            types = {"unix": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM, "packets": socket.SOCK_SEQPACKET}
            self.ends = list(socket.socketpair(socket.AF_UNIX, types[what]))
        self.stream = what in ("tcp", "unix")
        self.timeouts = [None, None]

    def file(self, end):
        return self.ends[end]

    def is_brief(self, name, arguments):
        if name in ("ready", "ready_badly", "spin_writable"):
            return super().is_brief(name, arguments)
        return self.timeouts[arguments[0]] in (SHORT, 0)

    def amount(self, count):
        return count if self.stream else min(count, 3000)

    @operation(ENDS, (0, 1, 100), line="write {0}", weight=3)
    def send(self, end, count):
        return self.ends[end].send(self.payload(count))

    @operation(ENDS, (0, 1, 100, LARGE), line="write {0}", weight=4)
    def sendall(self, end, count):
        return self.ends[end].sendall(self.payload(self.amount(count)))

    @operation(ENDS, line="write {0}")
    def send_more_than_fits(self, end):
        return self.ends[end].send(self.payload(self.amount(LARGE)))

    @operation(ENDS, (0, 1, 50, 4096), line="read {0}", weight=5)
    def recv(self, end, count):
        return self.ends[end].recv(count)

    @operation(ENDS, (1, 150, 5000), line="read {0}", weight=2)
    def recv_exactly(self, end, count):
        parts = b""
        while len(parts) < count:
            part = self.ends[end].recv(count - len(parts))
            if not part:
                return parts, "and the end"
            parts += part
        return parts

    @operation(ENDS, (0, 50, 4096), line="read {0}")
    def recv_into(self, end, count):
        buffer = bytearray(max(count, 60))
        return self.ends[end].recv_into(buffer, count), buffer

    @operation(ENDS, (0, 50), line="read {0}")
    def recvfrom(self, end, count):
        data, address = self.ends[end].recvfrom(count)
        return data, type(address).__name__

    @operation(ENDS, (50, 4096), line="read {0}")
    def recvmsg(self, end, count):
        return self.ends[end].recvmsg(count)[:3]

    @operation(ENDS, (20, 30), line="read {0}")
    def recvmsg_into(self, end, count):
        buffers = [bytearray(count), bytearray(count)]
        got = self.ends[end].recvmsg_into(buffers)
        return got[:3], buffers

    @operation(ENDS, (1, 100), line="write {0}")
    def sendmsg(self, end, count):
        return self.ends[end].sendmsg([self.payload(count), b"", memoryview(self.payload(count))])

    @operation(ENDS, ("MSG_PEEK", "MSG_WAITALL", "MSG_TRUNC"), line="read {0}", weight=2)
    def recv_with(self, end, flag):
        data = self.ends[end].recv(50, getattr(socket, flag))
        # With MSG_TRUNC it is as long as the datagram, and what did not fit is whatever the memory had; TCP throws all
        # of it away.
        return len(data), data[: 0 if self.stream and flag == "MSG_TRUNC" else 50]

    @operation(ENDS, ("sendmsg", "send_fds"), line="write {0}", weight=2)
    def send_a_descriptor(self, end, how):
        with tempfile.TemporaryFile() as file:
            os.write(file.fileno(), self.payload(10))
            if how == "send_fds":
                return socket.send_fds(self.ends[end], [self.payload(5)], [file.fileno()])
            rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()] * 2)
            return self.ends[end].sendmsg([self.payload(5)], [rights])

    @operation(ENDS, ("recvmsg", "recv_fds", "recvmsg_into"), line="read {0}", weight=2)
    def recv_descriptors(self, end, how):
        space = socket.CMSG_SPACE(2 * array.array("i").itemsize)
        if how == "recv_fds":
            data, fds, flags, _ = socket.recv_fds(self.ends[end], 50, 2)
            return data, [in_file(fd) for fd in fds], flags
        if how == "recvmsg":
            data, ancillary, flags, _ = self.ends[end].recvmsg(50, space)
        else:
            data = bytearray(50)
            _, ancillary, flags, _ = self.ends[end].recvmsg_into([data], space)
        return data, [in_file(fd) for *_, fds in ancillary for fd in array.array("i", fds)], flags

    @operation(ENDS, (1, 100), line="write {0}")
    def sendto(self, end, count):
        return self.ends[end].sendto(self.payload(count), self.ends[1 - end].getsockname())

    @operation(ENDS, (20, 50), line="read {0}")
    def recvfrom_into(self, end, count):
        buffer = bytearray(60)
        return self.ends[end].recvfrom_into(buffer, count)[0], buffer

    @operation(ENDS)
    def recv_dontwait(self, end):
        return self.ends[end].recv(50, socket.MSG_DONTWAIT)

    @operation(ENDS, line="write {0}")
    def send_dontwait(self, end):
        return self.ends[end].send(self.payload(40), socket.MSG_DONTWAIT)

    @operation(ENDS, (-1, "x", 1 << 70), line="read {0}")
    def recv_badly(self, end, count):
        return self.ends[end].recv(count)

    @operation(ENDS, ("text", None, 5), line="write {0}")
    def send_badly(self, end, what):
        return self.ends[end].sendall(what)

    @operation(ENDS, line="write {0}")
    def send_other_buffers(self, end):
        return self.ends[end].send(memoryview(array.array("i", [1, 2, 3])))

    @operation(ENDS, (1, 50, 4096), line="read {0}", weight=2)
    def os_read(self, end, count):
        return os.read(self.ends[end].fileno(), count)

    @operation(ENDS, (1, 100), line="write {0}", weight=2)
    def os_write(self, end, count):
        return os.write(self.ends[end].fileno(), self.payload(count))

    @operation(ENDS, (1, 100), line="write {0}")
    def write_a_line(self, end, count):
        with self.ends[end].makefile("wb") as file:
            return file.write(self.payload(count) + b"\n")

    @operation(ENDS, line="read {0}")
    def read_a_line(self, end):
        with self.ends[end].makefile("rb", buffering=0) as file:
            return file.readline(200)

    @operation(ENDS, line="write {0}")
    def sendfile(self, end):
        with tempfile.TemporaryFile() as file:
            file.write(self.payload(300))
            file.seek(10)
            return self.ends[end].sendfile(file, 20, 100), file.tell()

    @operation(ENDS, (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR))
    def shutdown(self, end, how):
        return self.ends[end].shutdown(int(how))

    @operation(ENDS, alone=True)
    def close(self, end):
        return self.ends[end].close(), self.ends[end].fileno()

    @operation(ENDS)
    def close_under(self, end):
        return self.ends[end].close()

    @operation(ENDS, (None, SHORT, LONG, 0), alone=True, weight=2)
    def settimeout(self, end, timeout):
        self.ends[end].settimeout(timeout)
        self.timeouts[end] = timeout
        return self.ends[end].gettimeout(), self.ends[end].getblocking(), self.ends[end].timeout

    @operation(ENDS, (NAN, -1, "x", 1e100))
    def settimeout_badly(self, end, timeout):
        return self.ends[end].settimeout(timeout)

    @operation(ENDS, (False, True), alone=True)
    def setblocking(self, end, blocking):
        self.timeouts[end] = None if blocking else 0
        return self.ends[end].setblocking(blocking), self.ends[end].gettimeout()

    @operation(ENDS)
    def descriptor_blocks(self, end):
        return os.get_blocking(self.ends[end].fileno()), os.get_inheritable(self.ends[end].fileno())

    @operation(ENDS, line="read {0}", alone=True)
    def detach(self, end):
        fd = self.ends[end].detach()
        blocking = os.get_blocking(fd)
        self.ends[end] = socket.socket(fileno=fd)
        self.ends[end].settimeout(self.timeouts[end])
        return blocking, self.ends[end].family.name, self.ends[end].type.name

    @operation(ENDS)
    def use_after_detach(self, end):
        copy = self.ends[end].dup()
        fd = copy.detach()
        os.close(fd)
        return copy.fileno(), described_error(copy.recv, 1), described_error(copy.send, b""), copy.close()

    @operation(ENDS, ("dup", "fromfd"), alone=True)
    def duplicate(self, end, how):
        one = self.ends[end]
        two = one.dup() if how == "dup" else socket.fromfd(one.fileno(), one.family, one.type)
        one.close()
        timeout = two.gettimeout()
        two.settimeout(self.timeouts[end])
        self.ends[end] = two
        return timeout, two.family.name, two.type.name, two.get_inheritable()

    @operation(ENDS, ("connect", "listen", "accept", "getpeername", "bind"))
    def wrongly(self, end, call):
        one = self.ends[end]
        arguments = {"connect": [("127.0.0.1", 1)], "bind": [("127.0.0.1", 0)]}.get(call, [])
        return described_error(getattr(one, call), *arguments)

    @operation(ENDS, (1, 50))
    def child_writes(self, end, count):
        data = self.payload(count)
        return in_child(lambda: self.ends[end].send(data, socket.MSG_DONTWAIT))

    @operation(ENDS, line="write {0}")
    def child_writes_with_os(self, end):
        data = self.payload(7)
        return in_child(lambda: os.write(self.ends[end].fileno(), data))

    @operation(ENDS, alone=True)
    def child_reads(self, end):
        return in_child(lambda: len(self.ends[end].recv(50)))

    @operation(ENDS)
    def child_closes(self, end):
        return in_child(lambda: self.ends[end].close() or 3)

    def state(self):
        return [(end.fileno() >= 0, end.gettimeout()) for end in self.ends]


def in_file(fd):
    """What is in a file that was handed over."""
    try:
        return os.pread(fd, 50, 0)
    finally:
        os.close(fd)


def described_error(call, *arguments):
    try:
        return call(*arguments) is not None
    except Exception as error:
        return f"{type(error).__name__} {getattr(error, 'errno', None)}"


@kind("listener")
class Listener(Watched):
    made_with = (("tcp", "unix", "packets"),)

    def __init__(self, what):
        self.type = socket.SOCK_SEQPACKET if what == "packets" else socket.SOCK_STREAM
        if what == "tcp":
            self.listener = socket.create_server(("127.0.0.1", 0))
        else:
            self.listener = socket.socket(socket.AF_UNIX, self.type)
            self.listener.bind(b"\0differential-%d-%d" % (os.getpid(), id(self)))
            self.listener.listen()
        self.address = self.listener.getsockname()
        self.family = self.listener.family
        self.timeout = None
        self.accepted = []

    def file(self, end):
        return self.listener

    def is_brief(self, name, arguments):
        if name.startswith(("accept", "serve")):
            return self.timeout in (SHORT, 0)
        return super().is_brief(name, arguments)

    @operation(line="accept", weight=4)
    def accept(self):
        connection, _ = self.listener.accept()
        self.accepted.append(connection)
        return type(connection) is socket.socket, connection.gettimeout(), os.get_inheritable(connection.fileno())

    @operation(line="accept", weight=2)
    def serve_one(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.setblocking(True)
            connection.sendall(connection.recv(10) * 2)

    @operation((None, LONG, SHORT), line="talk", weight=4)
    def talk(self, timeout):
        with socket.socket(self.family, self.type) as client:
            client.settimeout(timeout)
            client.connect(self.address)
            client.sendall(self.payload(5))
            return client.recv(100)

    @operation(weight=2)
    def connect_only(self):
        client = socket.socket(self.family, self.type)
        self.accepted.append(client)
        return client.connect_ex(self.address), client.gettimeout()

    @operation()
    def connect_again(self):
        with socket.socket(self.family, self.type) as client:
            client.connect(self.address)
            return described_error(client.connect, self.address), client.connect_ex(self.address)

    @operation((None, SHORT, LONG, 0), alone=True)
    def settimeout(self, timeout):
        self.timeout = timeout
        return self.listener.settimeout(timeout)

    @operation()
    def greet(self):
        for connection in self.accepted:
            connection.sendall(b"hello")
        return len(self.accepted)

    @operation(alone=True)
    def close(self):
        return self.listener.close()

    @operation()
    def close_under(self):
        return self.listener.close()

    @operation()
    def shutdown(self):
        return self.listener.shutdown(socket.SHUT_RDWR)

    @operation()
    def connect_nowhere(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = gone.getsockname()
        with socket.socket() as one:
            code = one.connect_ex(address)
        calls = socket.create_connection, socket.socket().connect
        return code, [described_error(call, address) for call in calls]

    def state(self):
        return len(self.accepted)


@kind("pipe")
class Pipe(Watched):
    made_with = (("pipe", "pipe", "tty"),)

    def __init__(self, what):
        self.ends = list(os.pipe() if what == "pipe" else reversed(os.openpty()))
        if what == "tty":
            import tty

            for end in self.ends:
                tty.setraw(end)
            self.ends.reverse()

    def file(self, end):
        return self.ends[end]

    @operation((1, 50, 4096), line="read", weight=5)
    def read(self, count):
        return os.read(self.ends[0], count)

    @operation((0, 1, 100), line="write", weight=5)
    def write(self, count):
        return os.write(self.ends[1], self.payload(count))

    @operation((LARGE // 10,), line="write", weight=2)
    def write_much(self, count):
        return os.write(self.ends[1], self.payload(count))

    @operation(line="write")
    def writev(self):
        return os.writev(self.ends[1], [self.payload(10), self.payload(5)])

    @operation(line="read")
    def readv(self):
        buffers = [bytearray(4), bytearray(30)]
        return os.readv(self.ends[0], buffers), buffers

    @operation(ENDS, alone=True)
    def close(self, end):
        fd, self.ends[end] = self.ends[end], -1
        return os.close(fd)

    @operation(ENDS)
    def close_under(self, end):
        fd, self.ends[end] = self.ends[end], -1
        return os.close(fd)

    @operation(ENDS, (False, True), alone=True)
    def set_blocking(self, end, blocking):
        return os.set_blocking(self.ends[end], blocking), os.get_blocking(self.ends[end])

    @operation(line="write")
    def write_a_line(self):
        with open(os.dup(self.ends[1]), "wb") as file:
            return file.write(self.payload(8) + b"\n")

    @operation(("rb", "r"), (0, -1), line="read")
    def read_a_line(self, mode, buffering):
        with os.fdopen(os.dup(self.ends[0]), mode, -1 if mode == "r" else buffering) as file:
            return file.readline()

    @operation(line="read")
    def read_all(self):
        with os.fdopen(os.dup(self.ends[0]), "rb") as file:
            return file.read()

    @operation((-1, "x", 1 << 70), line="read")
    def read_badly(self, count):
        return os.read(self.ends[0], count)

    @operation(("text", None), line="write")
    def write_badly(self, what):
        return os.write(self.ends[1], what)

    # On a terminal the second takes what the first gave, and who watches may see it or not.
    @operation(alone=True)
    def wrong_end(self):
        return described_error(os.write, self.ends[0], b"x"), described_error(os.read, self.ends[1], 1)

    @operation(line="write")
    def child_writes(self):
        data = self.payload(6)
        return in_child(lambda: os.write(self.ends[1], data))

    @operation(alone=True)
    def child_reads(self):
        return in_child(lambda: len(os.read(self.ends[0], 20)))

    @operation(ENDS)
    def child_closes(self, end):
        return in_child(lambda: os.close(self.ends[end]) or 4)
