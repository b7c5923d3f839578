"""`urllib` with modules that use green sockets."""

from eventlet.green import ftplib, httplib, socket, time  # noqa: F401
