"""An eventlet worker for gunicorn, which dropped its own in release 26::

    gunicorn -k greenloom.gunicorn.EventletWorker app:application

Each connection has a green thread, ``worker_connections`` of them at a time in each worker. Importing this module puts
Greenloom's eventlet first and patches the standard library, in the master too, so that an application which is loaded
there (``preload_app``) is green.
"""

import errno
import os
import ssl
import sys
import time

import greenloom

greenloom.install()

import eventlet  # noqa: E402
import eventlet.wsgi  # noqa: E402
from eventlet import hubs  # noqa: E402
from eventlet.greenio import GreenSocket  # noqa: E402
from greenlet import GreenletExit  # noqa: E402

# Before gunicorn's modules, some of which take functions out of modules by name.
eventlet.monkey_patch()

from gunicorn import sock, util  # noqa: E402
from gunicorn.workers.base_async import AsyncWorker  # noqa: E402

__all__ = ["EventletWorker"]

#: For how many seconds connections are left alone that cannot be accepted, as when there are too many open files.
REFUSED_PAUSE = 0.1


class _Name:
    """A listener's name, which requests ask for after the listener is closed."""

    def __init__(self, listener):
        self._name = listener.getsockname()

    def getsockname(self):
        return self._name


class EventletWorker(AsyncWorker):
    """Serves each connection in a green thread.

    At SIGTERM, at SIGHUP and after ``max_requests`` it takes the connections that wait in its listeners and no more,
    and ends when all that were asked are answered, after ``graceful_timeout`` seconds at most. One whose code keeps
    other green threads from running for ``timeout`` seconds is killed by the master.
    """

    def init_process(self):
        """Serves, in the worker's own process; returns when it is to end."""
        # The hub of the master, which was inherited, shares its poller with other workers.
        hubs.use_hub()
        self._stopping = eventlet.Event()
        self._places = eventlet.Semaphore(self.worker_connections)
        self._connections = set()
        # Those of them that have not asked for anything yet.
        self._new = set()
        self._tls = sock.ssl_context(self.cfg) if self.cfg.is_ssl else None
        super().init_process()

    def run(self):
        """Accepts connections until the worker is to end, and finishes them."""
        listeners = [GreenSocket(listener.sock) for listener in self.sockets]
        for listener in listeners:
            listener.setblocking(True)
        self._names = {listener: _Name(listener) for listener in listeners}
        acceptors = [eventlet.spawn(self._accept_all, listener) for listener in listeners]
        while self.alive:
            self.notify()
            self._stopping.wait(timeout=1)
        # They wait for a connection or for a place, and have no connection in their hands.
        for acceptor in acceptors:
            acceptor.kill()
        self._finish(listeners)

    def notify(self):
        """Tells the master that green threads run; ends the worker if its master is gone."""
        super().notify()
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            sys.exit(0)

    def _accept_all(self, listener):
        while True:
            self._accept(listener)
            # Other workers get their share, and this one begins with what it has.
            eventlet.sleep()

    def _accept(self, listener):
        """Waits for a place, then for a connection, and starts serving it. Returns whether there was one."""
        self._places.acquire()
        try:
            client, address = listener.accept()
            green_thread = eventlet.spawn(self._serve, self._names[listener], client, address)
        except BaseException as error:
            self._places.release()
            if not isinstance(error, OSError):
                raise
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                self.log.error("Error accepting a connection: %s", error)
                eventlet.sleep(REFUSED_PAUSE)
            return False
        self._connections.add(green_thread)
        self._new.add(green_thread)
        return True

    def _serve(self, listener, client, address):
        try:
            self.handle(listener, client, address)
        finally:
            self._connections.discard(eventlet.getcurrent())
            self._new.discard(eventlet.getcurrent())
            self._places.release()

    def _finish(self, listeners):
        ending = eventlet.spawn(self._end_listeners_and_connections, listeners)
        end = time.monotonic() + self.cfg.graceful_timeout
        while not ending.dead:
            self.notify()
            left = end - time.monotonic()
            if left <= 0:
                self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
                for green_thread in (ending, *self._connections):
                    green_thread.kill()
                return
            with eventlet.Timeout(min(left, 1), False):
                ending.wait()

    def _end_listeners_and_connections(self, listeners):
        for listener in listeners:
            # Whoever is in the queue has connected, and would be cut off by the close.
            listener.setblocking(False)
            for _ in range(self.cfg.backlog):
                if not self._accept(listener):
                    break
            listener.close()
        for _ in range(self.worker_connections):
            self._places.acquire()

    def handle(self, listener, client, addr):
        """Serves one connection to its end."""
        if self._tls is not None:
            try:
                client = self._secured(client)
            except OSError as error:
                self.log.debug("Error in a TLS handshake: %s", error)
                util.close(client)
                return
        super().handle(listener, client, addr)

    def _secured(self, client):
        secured = self._tls.wrap_socket(
            client,
            server_side=True,
            suppress_ragged_eofs=self.cfg.suppress_ragged_eofs,
            do_handshake_on_connect=False,
        )
        with eventlet.Timeout(self.cfg.timeout or None, ssl.SSLError("the handshake took too long")):
            secured.do_handshake()
        return secured

    def handle_request(self, listener_name, req, sock, addr):
        """Answers one request."""
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            if not self.alive:
                self._stop()

    def handle_error(self, req, client, addr, exc):
        """Answers a request that failed; nothing is said to one that ends because the worker does."""
        if not isinstance(exc, GreenletExit):
            super().handle_error(req, client, addr, exc)

    def timeout_ctx(self):
        """Limits the wait for the next request to ``keepalive`` seconds; a connection's first may take ``timeout``."""
        limit = self.cfg.keepalive
        if eventlet.getcurrent() in self._new:
            self._new.discard(eventlet.getcurrent())
            limit = self.cfg.timeout
        return eventlet.Timeout(limit or None, False)

    def is_already_handled(self, respiter):
        """Whether the application has answered by itself, as :class:`eventlet.websocket.WebSocketWSGI` does."""
        if getattr(eventlet.wsgi.WSGI_LOCAL, "already_handled", False):
            raise StopIteration
        return super().is_already_handled(respiter)

    def _stop(self):
        if not self._stopping.ready():
            self._stopping.send()

    def handle_exit(self, sig, frame):
        """SIGTERM: ends when all requests are answered."""
        super().handle_exit(sig, frame)
        self._stop()

    # A signal may be handled in the hub's own greenlet, where nothing can wait; these two may.

    def handle_quit(self, sig, frame):
        """SIGQUIT and SIGINT: ends at once."""
        eventlet.spawn(super().handle_quit, sig, frame)

    def handle_usr1(self, sig, frame):
        """SIGUSR1: opens the log files anew."""
        eventlet.spawn(super().handle_usr1, sig, frame)
