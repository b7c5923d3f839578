"""A load generator for HTTP keep-alive: ``wsgi_load.py HOST PORT CONNECTIONS SECONDS``.

Every connection has one request under way. Prints how many responses came, and in how many seconds. It is one epoll
loop over plain sockets, so that it needs nothing but Python and costs less than any server it loads.
"""

import select
import socket
import sys
import time

REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"


def load(host, port, connections, seconds):
    poll = select.epoll()
    socks = {}
    for _ in range(connections):
        sock = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock.fileno(), select.EPOLLIN)
        socks[sock.fileno()] = sock.recv, sock.send, sock
    for _, send, _ in socks.values():
        send(REQUEST)
    done, request, wait = 0, REQUEST, poll.poll
    begin = time.perf_counter()
    end = begin + seconds
    while time.perf_counter() < end:
        for descriptor, _ in wait():
            recv, send, _ = socks[descriptor]
            answer = recv(4096)
            if not answer.endswith(b"hello world"):
                raise SystemExit("not the whole response, and nothing else: %r" % answer)
            done += 1
            send(request)
    return done, time.perf_counter() - begin


if __name__ == "__main__":
    print(*load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
