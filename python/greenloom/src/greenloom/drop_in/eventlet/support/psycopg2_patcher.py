"""Lets psycopg2 wait in the hub."""

import psycopg2
from psycopg2 import extensions

from eventlet.hubs import trampoline


def make_psycopg_green():
    """Registers our wait callback with psycopg2, for all its connections. ImportError if it is too old to have one."""
    if not hasattr(extensions, "set_wait_callback"):
        raise ImportError(f"psycopg2 {psycopg2.__version__} has no wait callback")
    extensions.set_wait_callback(eventlet_wait_callback)


def eventlet_wait_callback(conn, timeout=-1):
    """Waits until what the connection does is done; `timeout` is not used, as psycopg2 never gives one."""
    while True:
        state = conn.poll()
        if state == extensions.POLL_OK:
            return
        if state == extensions.POLL_READ:
            trampoline(conn.fileno(), read=True)
        elif state == extensions.POLL_WRITE:
            trampoline(conn.fileno(), write=True)
        else:
            raise psycopg2.OperationalError(f"unexpected state of a connection: {state!r}")
