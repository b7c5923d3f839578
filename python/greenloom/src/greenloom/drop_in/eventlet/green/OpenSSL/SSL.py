"""``OpenSSL.SSL`` with green connections."""

from OpenSSL import SSL as orig_SSL
from OpenSSL.SSL import *  # noqa: F401, F403

from eventlet import greenio
from eventlet.support import get_errno


class GreenConnection(greenio.GreenSocket):
    """An ``SSL.Connection`` whose operations suspend the green thread.

    :param ctx: a context; or a connection to wrap
    :param sock: the connected socket
    """

    def __init__(self, ctx, sock=None):
        super().__init__(ctx if sock is None else orig_SSL.Connection(ctx, sock))

    def _retry(self, function, *args):
        while True:
            try:
                return function(*args)
            except orig_SSL.WantReadError:
                if self.act_non_blocking:
                    raise
                wait = self._read_trampoline
            except orig_SSL.WantWriteError:
                if self.act_non_blocking:
                    raise
                wait = self._write_trampoline
            wait()

    def do_handshake(self):
        """Makes the handshake; waits for the peer."""
        return self._retry(self.fd.do_handshake)

    def dup(self):
        """Not possible: two sockets cannot share the state of TLS."""
        raise NotImplementedError("Dup not supported on SSL sockets")

    def makefile(self, mode="r", bufsize=-1):
        """Not possible."""
        raise NotImplementedError("Makefile not supported on SSL sockets")

    def read(self, size, flags=None):
        """Reads up to *size* bytes; waits for the first. Empty at the end of the connection."""
        try:
            return self._retry(self.fd.read, size)
        except orig_SSL.SysCallError as error:
            code = get_errno(error)
            if self.act_non_blocking or code != -1 and code <= 0:
                raise
            return b""

    recv = read

    def write(self, data, flags=0):
        """Writes some of the data; returns how many bytes."""
        return self._retry(self.fd.write, data) if data else 0

    send = write

    def sendall(self, data, flags=0):
        """Writes all of the data."""
        sent = self.send(data)
        while sent < len(data):
            sent += self.send(data[sent:])

    def shutdown(self):
        """Tells the peer that nothing more comes; waits for room to do so."""
        return self._retry(self.fd.shutdown)


Connection = ConnectionType = GreenConnection
