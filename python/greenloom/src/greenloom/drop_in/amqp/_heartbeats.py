"""Heartbeats of a connection: sending them, and noticing that none come."""

import logging
from time import monotonic

from .exceptions import ConnectionForced

AMQP_HEARTBEAT_LOGGER = logging.getLogger("amqp.connection.Connection.heartbeat_tick")


class Heartbeats:
    """What a connection keeps and does about heartbeats. It has a ``frame_writer``."""

    #: Seconds between heartbeats as agreed, as we asked for, and as the broker did.
    heartbeat = None
    client_heartbeat = None
    server_heartbeat = None

    #: When a heartbeat, or anything, was sent and received last, by the monotonic clock.
    last_heartbeat_sent = 0
    last_heartbeat_received = 0

    #: How often the socket was written to and read from, now and at the last :meth:`heartbeat_tick`.
    bytes_sent = 0
    bytes_recv = 0
    prev_sent = None
    prev_recv = None

    def send_heartbeat(self):
        """Sends one."""
        self.frame_writer(8, 0, None, None, None)

    def heartbeat_tick(self, rate=2):
        """Sends a heartbeat if one is due: *rate* of them in the time that was agreed. To be called about once a
        second.

        :raises ConnectionForced: when nothing came in for twice that time.
        """
        AMQP_HEARTBEAT_LOGGER.debug("heartbeat_tick : for connection %s", self._connection_id)
        if not self.heartbeat:
            return
        if rate <= 0:
            rate = 2
        # Anything that is sent or received says as much as a heartbeat.
        now = monotonic()
        if self.prev_sent is None or self.prev_sent != self.bytes_sent:
            self.last_heartbeat_sent = now
        if self.prev_recv is None or self.prev_recv != self.bytes_recv:
            self.last_heartbeat_received = now
        AMQP_HEARTBEAT_LOGGER.debug(
            "heartbeat_tick : Prev sent/recv: %s/%s, now - %s/%s, monotonic - %s, last_heartbeat_sent - %s, "
            "heartbeat int. - %s for connection %s",
            self.prev_sent,
            self.prev_recv,
            self.bytes_sent,
            self.bytes_recv,
            now,
            self.last_heartbeat_sent,
            self.heartbeat,
            self._connection_id,
        )
        self.prev_sent, self.prev_recv = self.bytes_sent, self.bytes_recv
        if now > self.last_heartbeat_sent + self.heartbeat / rate:
            AMQP_HEARTBEAT_LOGGER.debug("heartbeat_tick: sending heartbeat for connection %s", self._connection_id)
            self.send_heartbeat()
            self.last_heartbeat_sent = monotonic()
        if self.last_heartbeat_received and self.last_heartbeat_received + 2 * self.heartbeat < monotonic():
            raise ConnectionForced("Too many heartbeats missed")
