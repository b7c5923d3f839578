"""An interactive console of the running program, for anyone who connects to a socket.

There is no authentication: anyone who can connect can do anything. Listen on 127.0.0.1 or on a Unix socket.
"""

import code
import sys

import eventlet
from eventlet import hubs
from eventlet.support import greenlets

__all__ = ["backdoor", "backdoor_server", "FileProxy", "SocketConsole"]


class FileProxy:
    """A socket's text file as standard input and output: each write is sent at once, to no one if the peer is gone."""

    def __init__(self, f):
        self.f = f

    def isatty(self):
        """True: the other end is somebody at a console."""
        return True

    def flush(self):
        """Does nothing: each write is flushed."""

    def write(self, data, *a, **kw):
        """Writes text; waits for room. Nothing happens if the client is gone."""
        try:
            self.f.write(data, *a, **kw)
            self.f.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass
        return len(data)

    def readline(self, *a):
        """Waits for a line; an empty one at the end, also of a client that hung up."""
        try:
            return self.f.readline(*a).replace("\r\n", "\n")
        except ConnectionResetError:
            return ""

    def __getattr__(self, attr):
        return getattr(self.f, attr)


class _Stream:
    """Stands for a stream of `sys` while consoles are open: the socket in a console's greenlet, else the original."""

    consoles = {}

    def __init__(self, name):
        self._name = name
        self._original = getattr(sys, name)

    def __getattr__(self, attr):
        return getattr(self.consoles.get(greenlets.getcurrent(), self._original), attr)

    @classmethod
    def enter(cls, file):
        if not cls.consoles:
            for name in ("stdin", "stdout", "stderr"):
                setattr(sys, name, cls(name))
        cls.consoles[greenlets.getcurrent()] = file

    @classmethod
    def leave(cls):
        cls.consoles.pop(greenlets.getcurrent(), None)
        if cls.consoles:
            return
        for name in ("stdin", "stdout", "stderr"):
            stream = getattr(sys, name)
            # Somebody else may have replaced it in the meantime.
            if isinstance(stream, cls):
                setattr(sys, name, stream._original)


class _InteractiveConsole(code.InteractiveConsole):
    def __init__(self, file, namespace):
        super().__init__(namespace)
        self._file = file

    def raw_input(self, prompt=""):
        self.write(prompt)
        line = self._file.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def write(self, data):
        self._file.write(data)


class SocketConsole(greenlets.greenlet):
    """The greenlet of one console, on a text file of the connection *desc* with the peer *hostport*.

    *locals* are the names it starts with. What the console runs prints to the connection; what other green threads
    print in the meantime goes where it went before.
    """

    def __init__(self, desc, hostport, locals):
        super().__init__()
        self.hostport = hostport
        self.locals = locals
        self.desc = FileProxy(desc)

    def run(self):
        _Stream.enter(self.desc)
        try:
            _InteractiveConsole(self.desc, self.locals).interact()
        except SystemExit:
            pass  # exit() leaves the console, not the program.
        finally:
            _Stream.leave()
            self.finalize()

    def finalize(self):
        """Closes the connection."""
        file, self.desc = self.desc, None
        try:
            file.close()
        except OSError:
            pass
        print(f"backdoor closed{_to(self.hostport)}")


def backdoor_server(sock, locals=None):
    """Accepts connections on the listening socket *sock* and opens a console for each; parks until it is killed.

    *locals* are names that each console starts with.
    """
    print(f"backdoor server listening on {_address(sock.getsockname())}")
    try:
        while True:
            try:
                connection = sock.accept()
            except (BrokenPipeError, ConnectionAbortedError):
                continue  # The peer has given up already.
            try:
                backdoor(connection, locals)
            finally:
                # The console has a file of its own.
                connection[0].close()
    finally:
        sock.close()


def backdoor(conn_info, locals=None):
    """Opens a console on *conn_info*, the socket and address that `accept` gave. Does not park."""
    conn, address = conn_info
    print(f"backdoor{_to(address) or ' opened'}")
    console = SocketConsole(conn.makefile("rw", encoding="utf-8", errors="replace"), address, locals)
    hubs.get_hub().schedule_call_global(0, console.switch)


def _to(address):
    return f" to {_address(address)}" if isinstance(address, tuple) else ""


def _address(address):
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else address


if __name__ == "__main__":
    backdoor_server(eventlet.listen(("127.0.0.1", 9000)), {})
