"""`MySQLdb` whose connections work in OS threads of tpool."""

import types

import MySQLdb as _MySQLdb
import MySQLdb.connections as _connections
from MySQLdb import converters, cursors  # noqa: F401

from eventlet import patcher, tpool

__all__ = _MySQLdb.__all__
__patched__ = ["connect", "Connect", "Connection", "connections"]

patcher.slurp_properties(_MySQLdb, globals(), ignore=__patched__, srckeys=dir(_MySQLdb))

_Connection = _connections.Connection


def Connection(*args, **kw):
    """Connects as MySQLdb.connect does; each call of the connection and its cursors lets other green threads run."""
    return tpool.Proxy(tpool.execute(_Connection, *args, **kw), autowrap_names=("cursor",))


connect = Connect = Connection

connections = types.ModuleType(_connections.__name__, _connections.__doc__)
patcher.slurp_properties(_connections, connections.__dict__, srckeys=dir(_connections))
connections.Connection = Connection
