"""Clients and servers in few lines."""

import sys
import warnings

from eventlet import greenpool, greenthread, support
from eventlet.green import socket
from eventlet.support import greenlets as greenlet


def connect(addr, family=socket.AF_INET, bind=None):
    """Connects and returns the green socket.

    :param addr: the address; a pair of host and port for the internet
    :param family: of the address
    :param bind: an own address to connect from
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if bind is not None:
            sock.bind(bind)
        sock.connect(addr)
    except BaseException:
        sock.close()
        raise
    return sock


class ReuseRandomPortWarning(Warning):
    """A port that the system chose is shared: others might be given the same one."""


class ReusePortUnavailableWarning(Warning):
    """The system knows SO_REUSEPORT and does not support it."""


#: What systems answer that do not support SO_REUSEPORT.
_REUSE_PORT_ERRORS = (22, 92)


def listen(addr, family=socket.AF_INET, backlog=50, reuse_addr=True, reuse_port=None):
    """Returns a green socket that listens, for :func:`serve` or a loop of one's own.

    :param addr: the address; a pair of host and port for the internet, port 0 for one that is free
    :param family: of the address
    :param backlog: how many connections may wait to be accepted
    :param reuse_addr: allow the address of a server that has just ended
    :param reuse_port: let several sockets listen there, among which the system divides connections; None allows it for
        a port that was named
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    if reuse_addr and sys.platform[:3] != "win":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family in (socket.AF_INET, socket.AF_INET6) and addr[1] == 0:
        if reuse_port:
            warnings.warn(
                "listen on random port (0) with SO_REUSEPORT: another program may be given the same port",
                ReuseRandomPortWarning,
                stacklevel=3,
            )
    elif reuse_port is None and family in (socket.AF_INET, socket.AF_INET6):
        reuse_port = True
    if reuse_port and hasattr(socket, "SO_REUSEPORT"):
        _share_port(sock)
    sock.bind(addr)
    sock.listen(backlog)
    return sock


def _share_port(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        if support.get_errno(error) in _REUSE_PORT_ERRORS:
            warnings.warn(
                "socket.SO_REUSEPORT is defined but not supported here", ReusePortUnavailableWarning, stacklevel=4
            )


class StopServe(Exception):
    """Raised in a handler, it ends :func:`serve`."""


def _stop_checker(t, server_gt, conn):
    """Linked to each handler: closes its connection, and hands its error to the server."""
    try:
        try:
            t.wait()
        finally:
            conn.close()
    except greenlet.GreenletExit:
        pass
    except Exception:
        greenthread.kill(server_gt, *sys.exc_info())


def serve(sock, handle, concurrency=1000):
    """Accepts connections for ever, and calls ``handle(socket, address)`` in a green thread for each.

    The connection is closed when the handler returns.

    It returns when a handler raises :class:`StopServe`; it raises whatever else a handler raises.

    :param sock: a socket that listens
    :param concurrency: how many handlers may run at a time; connections wait while as many do
    """
    pool = greenpool.GreenPool(concurrency)
    server_gt = greenthread.getcurrent()

    while True:
        try:
            conn, addr = sock.accept()
            gt = pool.spawn(handle, conn, addr)
            gt.link(_stop_checker, server_gt, conn)
            conn, addr, gt = None, None, None
        except StopServe:
            return


def wrap_ssl(sock, *a, **kw):
    """Makes a green TLS socket of a green socket; arguments are those of ``eventlet.green.ssl.wrap_socket``.

    Wrap a connection where it is made, ``wrap_ssl(connect(address))``, so that nobody has the socket without TLS in
    hand.
    """
    return wrap_ssl_impl(sock, *a, **kw)


try:
    from eventlet.green import ssl

    wrap_ssl_impl = ssl.wrap_socket
except ImportError:

    def wrap_ssl_impl(*a, **kw):
        raise ImportError("this Python has no ssl module")
