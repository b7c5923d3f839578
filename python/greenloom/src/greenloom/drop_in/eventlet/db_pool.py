"""Pools of database connections, for any module that follows DB-API 2."""

from collections import deque
from contextlib import contextmanager, suppress
import functools
import sys
import time

from eventlet import greenthread, hubs, timeout, tpool
from eventlet.pools import Pool

__all__ = [
    "BaseConnectionPool", "ConnectTimeout", "ConnectionPool", "DatabaseConnector", "GenericConnectionWrapper",
    "PooledConnectionWrapper", "RawConnectionPool", "TpooledConnectionPool", "cleanup_rollback",
]

_MISSING = object()
# What a wrapper has itself; all else is the connection's.
_OWN = ("_base", "_pool", "_db_pool_created_at")
# A timer that fires a little late finds that what it came for has expired.
_LATE = 0.001


class ConnectTimeout(Exception):
    """Raised by `get` when a connection could not be made within *connect_timeout* seconds."""


def cleanup_rollback(conn):
    """The usual cleanup of a returned connection: ends a transaction left open."""
    conn.rollback()


class BaseConnectionPool(Pool):
    """Lends connections of *db_module*, made with `connect(*args, **kwargs)`; a subclass says how they are made.

    A free connection is closed *max_idle* seconds after its last use and *max_age* seconds after it was made; if
    either is 0 all are closed when they are returned, and the pool only limits how many there are. *cleanup* is called
    with each returned connection, in the green thread that returns it; if it raises, the connection is given up.
    """

    def __init__(self, db_module, min_size=0, max_size=4, max_idle=10, max_age=30, connect_timeout=5,
                 cleanup=cleanup_rollback, *args, **kwargs):
        assert db_module
        self._db_module = db_module
        self._args = args
        self._kwargs = kwargs
        self._expiration_timer = None
        self.max_idle = max_idle
        self.max_age = max_age
        self.connect_timeout = connect_timeout
        self.cleanup = cleanup
        super().__init__(min_size=min_size, max_size=max_size, order_as_stack=True)

    def create(self):
        now = time.time()
        conn = self.connect(self._db_module, self.connect_timeout, *self._args, **self._kwargs)
        return now, now, conn

    @classmethod
    def connect(cls, db_module, connect_timeout, *args, **kw):
        """Makes one connection. Parks for at most *connect_timeout* seconds, then raises ConnectTimeout."""
        raise NotImplementedError("override connect")

    def get(self):
        """Returns a connection, wrapped: its `close` gives it back. Parks as `Pool.get` does."""
        item = super().get()
        created_at, conn = item[1:] if isinstance(item, tuple) else (time.time(), item)
        wrapper = PooledConnectionWrapper(conn, self)
        wrapper._db_pool_created_at = created_at
        return wrapper

    def put(self, conn, cleanup=_MISSING):
        """Returns a connection, or None for one that is lost. Parks while it is cleaned up.

        *cleanup* is used in place of the pool's; with None nothing is cleaned up.
        """
        if isinstance(conn, PooledConnectionWrapper) and conn._pool is None:
            return  # It was returned before, and its slot with it.
        now = time.time()
        created_at = getattr(conn, "_db_pool_created_at", 0)
        conn = self._unwrap_connection(conn)
        kept = False
        try:
            if conn is not None:
                kept = self._make_ready(conn, now, created_at, self.cleanup if cleanup is _MISSING else cleanup)
        finally:
            if kept:
                super().put((now, created_at, conn))
            else:
                self._vacate()
        self._schedule_expiration()

    @contextmanager
    def item(self, cleanup=_MISSING):
        """Lends a connection for a `with` statement; *cleanup* as for `put`."""
        conn = self.get()
        try:
            yield conn
        finally:
            self.put(conn, cleanup=cleanup)

    def clear(self):
        """Closes all free connections. Those lent stay lent."""
        if self._expiration_timer is not None:
            self._expiration_timer.cancel()
            self._expiration_timer = None
        self._forget_free(self._safe_close)

    def __del__(self):
        # Whoever collects garbage must not park here, as a close in another thread would.
        self._forget_free(lambda conn, quiet: self._safe_close(getattr(conn, "_obj", conn), quiet))

    def _forget_free(self, close):
        items, self.free_items = getattr(self, "free_items", ()), deque()
        for item in items:
            self.current_size -= 1
            close(item[2] if isinstance(item, tuple) else item, quiet=True)

    def _make_ready(self, conn, now, created_at, cleanup):
        """Makes a returned connection fit for the next user. Returns False if it is to be given up."""
        if self._is_expired(now, now, created_at):
            self._safe_close(conn)
            return False
        if cleanup is None:
            return True
        try:
            cleanup(conn)
        except Exception as error:
            print(f"WARNING: cleanup {cleanup} raised: {error}")
            self._safe_close(conn, quiet=True)
            return False
        except BaseException:
            # Killed or timed out: who knows what state it is in.
            self._safe_close(conn, quiet=True)
            raise
        return True

    def _is_expired(self, now, last_used, created_at):
        return (
            self.max_idle <= 0 or self.max_age <= 0
            or now - last_used > self.max_idle or now - created_at > self.max_age
        )

    def _schedule_expiration(self):
        """Closes what has expired, and arranges to be called when the next one does."""
        if self.max_idle <= 0 or self.max_age <= 0:
            return
        if self._expiration_timer is not None and not self._expiration_timer.called:
            return
        now = time.time()
        self._expire_old_connections(now)
        ends = [min(item[0] + self.max_idle, item[1] + self.max_age) for item in self.free_items
                if isinstance(item, tuple)]
        if not ends:
            self._expiration_timer = None
            return
        # Closing may park, which a timer must not.
        self._expiration_timer = hubs.get_hub().schedule_call_global(
            max(0, min(ends) - now) + _LATE, greenthread.spawn_n, self._schedule_expiration
        )

    def _expire_old_connections(self, now):
        expired = []
        kept = deque()
        for item in self.free_items:
            gone = isinstance(item, tuple) and self._is_expired(now, item[0], item[1])
            (expired if gone else kept).append(item)
        self.free_items = kept
        self.current_size -= len(expired)
        for _, _, conn in expired:
            self._safe_close(conn, quiet=True)

    def _unwrap_connection(self, conn):
        """Returns the connection under a wrapper and disables the wrapper; None if there is none."""
        base = None
        try:
            if conn:
                base = conn._base
                conn._destroy()
        except AttributeError:
            pass
        return base

    def _safe_close(self, conn, quiet=False):
        """Closes a connection, or what is taken for one. An error is printed, or passed over if *quiet*."""
        try:
            conn.close()
        except AttributeError:
            pass
        except Exception as error:
            if not quiet:
                print(f"Connection.close raised: {error}", file=sys.stdout)


class TpooledConnectionPool(BaseConnectionPool):
    """A pool for modules that block: every call of a connection and its cursors runs in `eventlet.tpool`."""

    @classmethod
    def connect(cls, db_module, connect_timeout, *args, **kw):
        made, is_given_up = [], False

        def connect():
            conn = db_module.connect(*args, **kw)
            made.append(conn)
            if is_given_up:
                close_made()
            return conn

        def close_made():
            # Here or there, but once.
            with suppress(IndexError):
                made.pop().close()

        try:
            with timeout.Timeout(connect_timeout, ConnectTimeout()):
                return tpool.Proxy(tpool.execute(connect), autowrap_names=("cursor",))
        except BaseException:
            # The OS thread goes on, and nobody else would close what it makes.
            is_given_up = True
            if made:
                greenthread.spawn_n(tpool.execute, close_made)
            raise


class RawConnectionPool(BaseConnectionPool):
    """A pool for modules that park by themselves: written in Python, or patched."""

    @classmethod
    def connect(cls, db_module, connect_timeout, *args, **kw):
        with timeout.Timeout(connect_timeout, ConnectTimeout()):
            return db_module.connect(*args, **kw)


ConnectionPool = TpooledConnectionPool


class GenericConnectionWrapper:
    """Stands for the connection `_base` and passes everything on to it, attributes that are set as well."""

    def __init__(self, baseconn):
        self._base = baseconn

    def __getattr__(self, name):
        if name in _OWN:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = getattr(self._base, name)
        if getattr(value, "__self__", None) is not self._base:
            return value

        # A method is looked up again when it is called, so that one kept from before a `close` fails after it.
        def method(*args, **kwargs):
            return getattr(self._base, name)(*args, **kwargs)

        return functools.update_wrapper(method, value, updated=())

    def __setattr__(self, name, value):
        if name in _OWN or hasattr(type(self), name):
            super().__setattr__(name, value)
            return
        base = self._base
        try:
            setattr(base, name, value)
        except AttributeError:
            if hasattr(base, name):
                raise
            super().__setattr__(name, value)  # The connection takes no attributes; the wrapper keeps it.

    def __delattr__(self, name):
        if name in self.__dict__ or hasattr(type(self), name):
            super().__delattr__(name)
        else:
            delattr(self._base, name)

    def __enter__(self):
        return self._base.__enter__()

    def __exit__(self, exc, value, tb):
        return self._base.__exit__(exc, value, tb)

    def __repr__(self):
        if "_base" not in self.__dict__:
            return f"<{type(self).__name__} of a connection that was given back>"
        return repr(self._base)


class PooledConnectionWrapper(GenericConnectionWrapper):
    """A lent connection. `close` gives it back; after that it is false, and using it an AttributeError."""

    def __init__(self, baseconn, pool):
        super().__init__(baseconn)
        self._pool = pool

    def __bool__(self):
        return bool(self.__dict__.get("_base"))

    def close(self):
        """Returns the connection to its pool. A second call does nothing."""
        if self and self._pool:
            self._pool.put(self)
        self._destroy()

    def _destroy(self):
        self._pool = None
        self.__dict__.pop("_base", None)


class DatabaseConnector:
    """Keeps one pool for each host and database.

    *credentials* maps a host, or "default", to the arguments of `connect` that are special to it; the other arguments
    go to each pool. *conn_pool* is the class of the pools.
    """

    def __init__(self, module, credentials, conn_pool=None, *args, **kwargs):
        assert module
        self._module = module
        self._credentials = credentials
        self._conn_pool_class = conn_pool or ConnectionPool
        self._args = args
        self._kwargs = kwargs
        self._databases = {}

    def credentials_for(self, host):
        """Returns the arguments special to *host*, or the default ones; None if there are neither."""
        if host in self._credentials:
            return self._credentials[host]
        return self._credentials.get("default")

    def get(self, host, dbname):
        """Returns the pool of connections to the database *dbname* on *host*."""
        key = host, dbname
        if key not in self._databases:
            options = {**self._kwargs, "db": dbname, "host": host, **(self.credentials_for(host) or {})}
            self._databases[key] = self._conn_pool_class(self._module, *self._args, **options)
        return self._databases[key]
