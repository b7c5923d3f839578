import socket
from collections.abc import Callable, Mapping, Sequence
from logging import Logger
from ssl import SSLError as SSLError
from typing import Any

from vine import promise

from . import sasl
from ._heartbeats import AMQP_HEARTBEAT_LOGGER as AMQP_HEARTBEAT_LOGGER, Heartbeats
from .abstract_channel import AbstractChannel
from .basic_message import Message
from .channel import Channel as _Channel
from .transport import _AbstractTransport

__all__ = ("Connection",)

W_FORCE_CONNECT: str
START_DEBUG_FMT: str
AMQP_LOGGER: Logger
LIBRARY_PROPERTIES: dict[str, Any]
NEGOTIATE_CAPABILITIES: dict[str, bool]

class Connection(Heartbeats, AbstractChannel):
    Channel: type[_Channel]
    negotiate_capabilities: dict[str, bool]
    library_properties: dict[str, Any]
    connection_errors: tuple[type[BaseException], ...]
    channel_errors: tuple[type[BaseException], ...]
    recoverable_connection_errors: tuple[type[BaseException], ...]
    recoverable_channel_errors: tuple[type[BaseException], ...]
    authentication: Sequence[sasl.SASL]
    client_properties: dict[str, Any]
    locale: str
    host: str
    virtual_host: str
    on_tune_ok: promise
    frame_handler_cls: Callable[..., Any]
    frame_writer_cls: Callable[..., Any]
    # None once it is closed, which programs rarely ask.
    channels: dict[int, AbstractChannel] | Any
    channel_max: int
    frame_max: int
    confirm_publish: bool
    ssl: bool | Mapping[str, Any]
    connect_timeout: float | None
    read_timeout: float | None
    write_timeout: float | None
    socket_settings: Mapping[int, int] | None
    on_blocked: Callable[[str], object] | None
    on_unblocked: Callable[[], object] | None
    version_major: int
    version_minor: int
    server_properties: dict[str, Any]
    mechanisms: list[bytes]
    locales: list[str]
    def __init__(
        self,
        host: str = "localhost:5672",
        userid: str | None = "guest",
        password: str | None = "guest",
        login_method: str | None = None,
        login_response: bytes | None = None,
        authentication: sasl.SASL | Sequence[sasl.SASL] = (),
        virtual_host: str = "/",
        locale: str = "en_US",
        client_properties: Mapping[str, Any] | None = None,
        ssl: bool | Mapping[str, Any] = False,
        connect_timeout: float | None = None,
        channel_max: int | None = None,
        frame_max: int | None = None,
        heartbeat: float | None = 0,
        on_open: Callable[..., object] | None = None,
        on_blocked: Callable[[str], object] | None = None,
        on_unblocked: Callable[[], object] | None = None,
        confirm_publish: bool = False,
        on_tune_ok: Callable[..., object] | None = None,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        socket_settings: Mapping[int, int] | None = None,
        frame_handler: Callable[..., Any] = ...,
        frame_writer: Callable[..., Any] = ...,
        **kwargs: Any,
    ) -> None: ...
    def connect(self, callback: Callable[[], object] | None = None) -> Any: ...
    def Transport(
        self,
        host: str,
        connect_timeout: float | None,
        ssl: bool | Mapping[str, Any] = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        socket_settings: Mapping[int, int] | None = None,
        **kwargs: Any,
    ) -> _AbstractTransport: ...
    @property
    def transport(self) -> _AbstractTransport: ...
    @transport.setter
    def transport(self, transport: _AbstractTransport) -> None: ...
    @property
    def on_inbound_frame(self) -> Callable[[tuple[int, int, bytes]], bool]: ...
    @on_inbound_frame.setter
    def on_inbound_frame(self, on_inbound_frame: Callable[[tuple[int, int, bytes]], bool]) -> None: ...
    @property
    def frame_writer(self) -> Callable[..., None]: ...
    @frame_writer.setter
    def frame_writer(self, frame_writer: Callable[..., None]) -> None: ...
    @property
    def sock(self) -> socket.socket: ...
    @property
    def server_capabilities(self) -> dict[str, Any]: ...
    @property
    def connected(self) -> bool | None: ...
    def channel(self, channel_id: int | None = None, callback: Callable[..., object] | None = None) -> _Channel: ...
    def drain_events(self, timeout: float | None = None) -> None: ...
    def blocking_read(self, timeout: float | None = None) -> bool: ...
    def on_inbound_method(
        self, channel_id: int, method_sig: tuple[int, int], payload: bytes, content: Message | None
    ) -> None: ...
    def is_alive(self) -> bool: ...
    def close(
        self, reply_code: int = 0, reply_text: str = "", method_sig: tuple[int, int] = (0, 0), argsig: str = "BsBB"
    ) -> Any: ...
    def collect(self) -> None: ...
