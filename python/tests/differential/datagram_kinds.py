"""Sockets of datagrams that are not connected."""

import os
import socket

from io_kinds import WATCHERS, Watched, ready
from kinds import LONG, SHORT, kind, operation

SIDES = (0, 1, 2)


@kind("datagrams")
class Datagrams(Watched):
    """Three of them. The queue of a Unix one is short, and who sends to it waits when it is full."""

    made_with = (("udp", "unix"),)

    def __init__(self, what):
        self.unix = what == "unix"
        self.sides = [socket.socket(socket.AF_UNIX if self.unix else socket.AF_INET, socket.SOCK_DGRAM) for _ in SIDES]
        for side, sock in enumerate(self.sides):
            sock.bind(b"\0differential-%d-%d-%d" % (os.getpid(), id(self), side) if self.unix else ("127.0.0.1", 0))
        self.addresses = [sock.getsockname() for sock in self.sides]
        self.timeouts = [None] * 3

    def file(self, end):
        return self.sides[end]

    def is_brief(self, name, arguments):
        if name in ("ready", "ready_badly", "spin_writable"):
            return super().is_brief(name, arguments)
        return self.timeouts[arguments[0]] in (SHORT, 0)

    def sender(self, address):
        return self.addresses.index(address) if address in self.addresses else type(address).__name__

    @operation(WATCHERS, SIDES, ("r", "w"), (None, LONG, SHORT, 0), line="watch {1} {2}", weight=4)
    def ready(self, watcher, side, direction, timeout):
        return ready(watcher, self.sides[side], direction, timeout)

    # Of several that wait for room in one queue nobody can say which has it.
    @operation(SIDES, SIDES, (0, 1, 100), line="write to {1}", weight=5)
    def sendto(self, side, to, count):
        return self.sides[side].sendto(self.payload(count), self.addresses[to])

    @operation(SIDES, SIDES, line="write to {1}", weight=2)
    def sendmsg_to(self, side, to):
        return self.sides[side].sendmsg([self.payload(5), self.payload(3)], [], 0, self.addresses[to])

    # Who reads meanwhile makes room for more, or not.
    @operation(SIDES, SIDES, alone=True, weight=3)
    def fill(self, side, to):
        if self.timeouts[side]:
            return "waits in spite of the flag"
        sent = 0
        try:
            while sent < (1000 if self.unix else 3):
                self.sides[side].sendto(self.payload(20), socket.MSG_DONTWAIT, self.addresses[to])
                sent += 1
        except BlockingIOError:
            pass
        return sent

    @operation(SIDES, (0, 10, 200), line="read {0}", weight=6)
    def recvfrom(self, side, count):
        data, address = self.sides[side].recvfrom(count)
        return data, self.sender(address)

    @operation(SIDES, (0, 10, 200), line="read {0}", weight=2)
    def recv(self, side, count):
        return self.sides[side].recv(count)

    @operation(SIDES, (10, 200), line="read {0}")
    def recvmsg(self, side, count):
        data, ancillary, flags, address = self.sides[side].recvmsg(count)
        return data, ancillary, flags, self.sender(address)

    @operation(SIDES, line="read {0}")
    def recvfrom_into(self, side):
        buffer = bytearray(50)
        count, address = self.sides[side].recvfrom_into(buffer)
        return count, buffer, self.sender(address)

    @operation(SIDES, alone=True)
    def drain(self, side):
        if self.timeouts[side]:
            return "waits in spite of the flag"
        found = 0
        try:
            while found < 2000:
                self.sides[side].recv(200, socket.MSG_DONTWAIT)
                found += 1
        except BlockingIOError:
            pass
        return found

    @operation(SIDES, SIDES, alone=True, weight=2)
    def connect(self, side, to):
        return self.sides[side].connect(self.addresses[to])

    @operation(SIDES, (0, 1, 100), line="send {0}", weight=2)
    def send(self, side, count):
        return self.sides[side].send(self.payload(count))

    @operation(SIDES)
    def peer(self, side):
        return self.sender(self.sides[side].getpeername())

    @operation(SIDES)
    def send_to_nobody(self, side):
        return self.sides[side].sendto(b"x", b"\0differential-nobody" if self.unix else ("127.0.0.1", 0))

    @operation(SIDES, (None, SHORT, LONG, 0), alone=True, weight=2)
    def settimeout(self, side, timeout):
        if self.sides[side].fileno() < 0:
            return "closed"
        self.sides[side].settimeout(timeout)
        self.timeouts[side] = timeout
        return None

    @operation(SIDES, (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR))
    def shutdown(self, side, how):
        return self.sides[side].shutdown(int(how))

    @operation(SIDES, alone=True)
    def close(self, side):
        return self.sides[side].close()

    @operation(SIDES)
    def close_under(self, side):
        return self.sides[side].close()
