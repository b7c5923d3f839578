"""A driver for oslo.messaging: `greenloom://` in the place of `rabbit://`, on the same broker and with the same peers.

Connections, heartbeats, envelopes, reply queues and confirms are served by an OS thread of Greenloom's own, in Rust,
which never holds the interpreter's lock. Python sees one socket for what it sends and one for each listener, and waits
for them as the program waits: on OS threads, or on green ones where they are patched.

It needs oslo.messaging, and neither greenlet nor eventlet. Its options are those of `rabbit://`, from the same section
of the configuration or from the URL; see docs/oslo.md.
"""

from greenloom.oslo._driver import Driver

__all__ = ["Driver"]
