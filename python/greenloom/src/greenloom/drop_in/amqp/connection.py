"""Connections."""

import logging
import socket
import uuid
import warnings
from array import array

from greenloom import _native
from vine import ensure_promise

from . import __version__, sasl, spec
from ._heartbeats import AMQP_HEARTBEAT_LOGGER, Heartbeats  # noqa: F401 (py-amqp has the logger here)
from .abstract_channel import AbstractChannel
from .basic_message import Message
from .channel import Channel
from .exceptions import (
    AMQPDeprecationWarning,
    ChannelError,
    ConnectionError,
    MessageNacked,
    RecoverableChannelError,
    RecoverableConnectionError,
    ResourceError,
    UnexpectedFrame,
    error_for_code,
)
from .method_framing import LIMIT, frame_handler, frame_writer
from .transport import SSLTransport, TCPTransport, Transport

try:
    from ssl import SSLError
except ImportError:

    class SSLError(OSError):
        """Stands in where Python was built without TLS."""


__all__ = ("Connection",)

W_FORCE_CONNECT = """
The connection's .{attr} was asked for before the connection was there. That makes one for now, and will not in a later
version: call Connection.connect() first.
"""

START_DEBUG_FMT = "Start from server, version: %d.%d, properties: %s, mechanisms: %s, locales: %s"

AMQP_LOGGER = logging.getLogger("amqp")

#: What :attr:`Connection.library_properties` is unless it is changed.
LIBRARY_PROPERTIES = {"product": "py-amqp", "product_version": __version__}

#: What :attr:`Connection.negotiate_capabilities` is unless it is changed.
NEGOTIATE_CAPABILITIES = {
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


def _authentication(userid, password, login_method, login_response):
    if login_method is None:
        return (
            sasl.GSSAPI(userid, fail_soft=True),
            sasl.EXTERNAL(),
            sasl.AMQPLAIN(userid, password),
            sasl.PLAIN(userid, password),
        )
    if login_method == "GSSAPI":
        return (sasl.GSSAPI(userid),)
    if login_method == "EXTERNAL":
        return (sasl.EXTERNAL(),)
    if login_method in ("AMQPLAIN", "PLAIN"):
        if userid is None or password is None:
            raise ValueError("Must supply authentication or userid/password")
        return (getattr(sasl, login_method)(userid, password),)
    if login_response is not None:
        return (sasl.RAW(login_method, login_response),)
    raise ValueError("Invalid login method", login_method)


class Connection(Heartbeats, AbstractChannel):
    """A connection to the broker at *host*, ``name:port``; it is there after :meth:`connect`, or in a ``with``.

    *authentication* has one or more of :class:`amqp.sasl.SASL`; *login_method* names one instead; else it is the first
    that the broker knows. *ssl* is true, or a dict of options: see :class:`amqp.transport.SSLTransport`. *heartbeat* is
    in seconds; with it, :meth:`heartbeat_tick` must be called about once a second. *connect_timeout* bounds each step
    of connecting, in seconds; *read_timeout*, *write_timeout* and *socket_settings* are the socket's. With
    *confirm_publish* whatever is published is waited for until the broker has it.

    It belongs to one thread, OS thread or green, at a time.
    """

    Channel = Channel

    #: Extensions to have or not to have, if the broker knows them.
    negotiate_capabilities = NEGOTIATE_CAPABILITIES

    #: What the broker is told about this client.
    library_properties = LIBRARY_PROPERTIES

    _METHODS = {
        one.method_sig: one
        for one in (
            spec.method(spec.Connection.Start, "ooFSS"),
            spec.method(spec.Connection.OpenOk),
            spec.method(spec.Connection.Secure, "s"),
            spec.method(spec.Connection.Tune, "BlB"),
            spec.method(spec.Connection.Close, "BsBB"),
            spec.method(spec.Connection.Blocked),
            spec.method(spec.Connection.Unblocked),
            spec.method(spec.Connection.CloseOk),
        )
    }

    _ALLOWED_METHODS_WHEN_CLOSING = (spec.Connection.Close, spec.Connection.CloseOk)

    connection_errors = (ConnectionError, socket.error, IOError, OSError)
    channel_errors = (ChannelError,)
    recoverable_connection_errors = (RecoverableConnectionError, MessageNacked, socket.error, IOError, OSError)
    recoverable_channel_errors = (RecoverableChannelError,)

    #: What comes in, unless frames are read or handled by somebody else.
    _stream = None

    def __init__(
        self,
        host="localhost:5672",
        userid="guest",
        password="guest",
        login_method=None,
        login_response=None,
        authentication=(),
        virtual_host="/",
        locale="en_US",
        client_properties=None,
        ssl=False,
        connect_timeout=None,
        channel_max=None,
        frame_max=None,
        heartbeat=0,
        on_open=None,
        on_blocked=None,
        on_unblocked=None,
        confirm_publish=False,
        on_tune_ok=None,
        read_timeout=None,
        write_timeout=None,
        socket_settings=None,
        frame_handler=frame_handler,
        frame_writer=frame_writer,
        **kwargs,
    ):
        self._connection_id = uuid.uuid4().hex
        if not authentication:
            authentication = _authentication(userid, password, login_method, login_response)
        elif isinstance(authentication, sasl.SASL):
            authentication = (authentication,)
        self.authentication = authentication
        self.client_properties = dict(self.library_properties, **client_properties or {})
        self.locale = locale
        self.host = host
        self.virtual_host = virtual_host
        self.on_tune_ok = ensure_promise(on_tune_ok)
        self.frame_handler_cls = frame_handler
        self.frame_writer_cls = frame_writer
        self._handshake_complete = False
        self.channels = {}
        super().__init__(self, 0)
        self._frame_writer = None
        self._on_inbound_frame = None
        self._transport = None
        self.channel_max = channel_max or 65535
        self.frame_max = frame_max or 131072
        self.client_heartbeat = heartbeat
        self.confirm_publish = confirm_publish
        self.ssl = ssl
        self.read_timeout = read_timeout
        self.write_timeout = write_timeout
        self.socket_settings = socket_settings
        self.on_blocked = on_blocked
        self.on_unblocked = on_unblocked
        self.on_open = ensure_promise(on_open)
        self._used_channel_ids = array("H")
        self.version_major = 0
        self.version_minor = 0
        self.server_properties = {}
        self.mechanisms = []
        self.locales = []
        self.connect_timeout = connect_timeout

    def __repr__(self):
        state = f"using {self._transport}" if self._transport else "(disconnected)"
        return f"<AMQP Connection: {self.host}/{self.virtual_host} {state} at {id(self):#x}>"

    def __enter__(self):
        self.connect()
        return self

    def _setup_listeners(self):
        self._callbacks.update(
            {
                spec.Connection.Start: self._on_start,
                spec.Connection.OpenOk: self._on_open_ok,
                spec.Connection.Secure: self._on_secure,
                spec.Connection.Tune: self._on_tune,
                spec.Connection.Close: self._on_close,
                spec.Connection.Blocked: self._on_blocked,
                spec.Connection.Unblocked: self._on_unblocked,
                spec.Connection.CloseOk: self._on_close_ok,
            }
        )

    # Connecting.

    def connect(self, callback=None):
        """Connects, unless it is connected; then *callback* is called."""
        if self.connected:
            return callback() if callback else None
        try:
            self.transport = self.Transport(
                self.host,
                self.connect_timeout,
                self.ssl,
                self.read_timeout,
                self.write_timeout,
                socket_settings=self.socket_settings,
            )
            self.transport.connect()
            self.on_inbound_frame = self.frame_handler_cls(self, self.on_inbound_method)
            self.frame_writer = self.frame_writer_cls(self, self.transport)
            if self.frame_handler_cls is frame_handler and type(self._transport) in (TCPTransport, SSLTransport):
                self._stream = _native.AmqpStream(Message, max(self.frame_max, LIMIT))
            while not self._handshake_complete:
                self.drain_events(timeout=self.connect_timeout)
        except (OSError, SSLError):
            self.collect()
            raise

    def Transport(
        self,
        host,
        connect_timeout,
        ssl=False,
        read_timeout=None,
        write_timeout=None,
        socket_settings=None,
        **kwargs,
    ):
        """Makes :attr:`transport`: see :func:`amqp.transport.Transport`."""
        return Transport(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            socket_settings=socket_settings,
            **kwargs,
        )

    def _connected_first(self, name):
        value = getattr(self, "_" + name)
        if value is None:
            warnings.warn(AMQPDeprecationWarning(W_FORCE_CONNECT.format(attr=name)))
            self.connect()
            value = getattr(self, "_" + name)
        return value

    @property
    def transport(self):
        """What the bytes go through."""
        return self._transport or self._connected_first("transport")

    @transport.setter
    def transport(self, transport):
        self._transport, self._stream = transport, None

    @property
    def on_inbound_frame(self):
        """Takes frames that were read."""
        return self._on_inbound_frame or self._connected_first("on_inbound_frame")

    @on_inbound_frame.setter
    def on_inbound_frame(self, on_inbound_frame):
        self._on_inbound_frame, self._stream = on_inbound_frame, None

    @property
    def frame_writer(self):
        """Writes methods as frames."""
        return self._frame_writer or self._connected_first("frame_writer")

    @frame_writer.setter
    def frame_writer(self, frame_writer):
        self._frame_writer = frame_writer

    @property
    def sock(self):
        """The socket."""
        return self.transport.sock

    @property
    def server_capabilities(self):
        """The extensions that the broker knows."""
        return self.server_properties.get("capabilities") or {}

    @property
    def connected(self):
        """Whether it is; something false if not."""
        return self._transport and self._transport.connected

    def _on_start(self, version_major, version_minor, server_properties, mechanisms, locales, argsig="FsSs"):
        self.version_major = version_major
        self.version_minor = version_minor
        self.server_properties = server_properties
        if isinstance(mechanisms, str):
            mechanisms = mechanisms.encode("utf-8")
        self.mechanisms = mechanisms.split(b" ")
        self.locales = locales.split(" ")
        AMQP_LOGGER.debug(
            START_DEBUG_FMT, version_major, version_minor, server_properties, self.mechanisms, self.locales
        )
        properties = self.client_properties
        known = server_properties.get("capabilities") or {}
        capabilities = properties.setdefault("capabilities", {})
        capabilities.update((name, yes) for name, yes in self.negotiate_capabilities.items() if known.get(name))
        if not capabilities:
            # Some brokers take offence at an empty one.
            del properties["capabilities"]
        for authentication in self.authentication:
            if authentication.mechanism in self.mechanisms:
                response = authentication.start(self)
                if response is not NotImplemented:
                    break
        else:
            offered = b", ".join(one.mechanism for one in self.authentication if one.mechanism).decode()
            available = b", ".join(self.mechanisms).decode()
            raise ConnectionError(
                f"Couldn't find appropriate auth mechanism (can offer: {offered}; available: {available})"
            )
        self.send_method(
            spec.Connection.StartOk, argsig, (properties, authentication.mechanism, response, self.locale)
        )

    def _on_secure(self, challenge):
        """No mechanism here needs a second step."""

    def _on_tune(self, channel_max, frame_max, server_heartbeat, argsig="BlB"):
        self.channel_max = channel_max or self.channel_max
        self.frame_max = frame_max or self.frame_max
        if self._stream is not None:
            self._stream.set_limit(max(self.frame_max, LIMIT))
        ours, self.server_heartbeat = self.client_heartbeat or 0, server_heartbeat or 0
        # None if we want none; else the shorter of those that are wanted.
        self.heartbeat = min(ours, self.server_heartbeat or ours)
        self.send_method(
            spec.Connection.TuneOk,
            argsig,
            (self.channel_max, self.frame_max, self.heartbeat),
            callback=self._on_tune_sent,
        )

    def _on_tune_sent(self, argsig="ssb"):
        self.send_method(spec.Connection.Open, argsig, (self.virtual_host, "", False))

    def _on_open_ok(self):
        self._handshake_complete = True
        self.on_open(self)

    # Channels.

    def _get_free_channel_id(self):
        used = set(self._used_channel_ids)
        for channel_id in range(1, self.channel_max + 1):
            if channel_id not in used:
                self._used_channel_ids.append(channel_id)
                return channel_id
        raise ResourceError(
            f"No free channel ids, current={len(self.channels)}, channel_max={self.channel_max}", spec.Channel.Open
        )

    def _claim_channel_id(self, channel_id):
        if channel_id in self._used_channel_ids:
            raise ConnectionError(f"Channel {channel_id!r} already open")
        self._used_channel_ids.append(channel_id)
        return channel_id

    def channel(self, channel_id=None, callback=None):
        """The channel of that number, or a new one, which is open."""
        if self.channels is None:
            raise RecoverableConnectionError("Connection already closed.")
        try:
            return self.channels[channel_id]
        except KeyError:
            channel = self.Channel(self, channel_id, on_open=callback)
            channel.open()
            return channel

    # What comes in.

    def drain_events(self, timeout=None):
        """Waits until something comes in, and does what is to be done about it: one method, which may be a delivery.

        :param timeout: in seconds, for each read; 0 does not wait.
        :raises socket.timeout: when nothing came in that time.
        """
        while not self.blocking_read(timeout):
            pass

    def blocking_read(self, timeout=None):
        """As :meth:`drain_events`, for one frame at most; returns whether that completed a method."""
        stream = self._stream
        if stream is None:
            with self.transport.having_timeout(timeout):
                frame = self.transport.read_frame()
            return self.on_inbound_frame(frame)
        event = stream.next()
        if event is None:
            self._transport.fill(stream, timeout)
            self.bytes_recv += 1
            event = stream.next()
            if event is None:
                return False
        self.on_inbound_method(*event)
        return True

    def on_inbound_method(self, channel_id, method_sig, payload, content):
        """Hands a method to its channel."""
        channels = self.channels
        if channels is None:
            raise RecoverableConnectionError("Connection already closed")
        try:
            channel = channels[channel_id]
        except KeyError:
            problem = f"Received a method for channel {channel_id}, which is not open"
            raise UnexpectedFrame(problem, method_sig) from None
        return channel.dispatch_method(method_sig, payload, content)

    def is_alive(self):
        """Not to be had, as on py-amqp: NotImplementedError."""
        raise NotImplementedError("heartbeats tell whether a connection is alive")

    # Closing.

    def close(self, reply_code=0, reply_text="", method_sig=(0, 0), argsig="BsBB"):
        """Closes it, with the reason if there is one, and waits until the broker knows."""
        if self._transport is None:
            return None
        try:
            self.is_closing = True
            reason = (reply_code, reply_text, *method_sig)
            return self.send_method(spec.Connection.Close, argsig, reason, wait=spec.Connection.CloseOk)
        except OSError:
            self.collect()
            raise
        finally:
            self.is_closing = False

    def _on_close(self, reply_code, reply_text, class_id, method_id):
        try:
            self._x_close_ok()
        except OSError:
            # The broker did not wait for it. What it said is what counts.
            self.collect()
        raise error_for_code(reply_code, reply_text, (class_id, method_id), ConnectionError)

    def _x_close_ok(self):
        self.send_method(spec.Connection.CloseOk, callback=self._on_close_ok)

    def _on_close_ok(self):
        self.collect()

    def collect(self):
        """Lets go of the socket and all channels; nothing is sent."""
        if self._transport:
            self._transport.close()
        if self.channels:
            for channel in [one for one in self.channels.values() if one is not self]:
                channel.collect()
        self._transport = self._stream = self.connection = self.channels = None

    def _on_blocked(self):
        if self.on_blocked:
            return self.on_blocked("connection blocked, see broker logs")

    def _on_unblocked(self):
        if self.on_unblocked:
            return self.on_unblocked()
