from collections.abc import Callable
from queue import Queue
from typing import Any, Literal, overload

from .abstract_channel import AbstractChannel
from .basic_message import Message
from .connection import Connection
from .protocol import queue_declare_ok_t

__all__ = ("Channel",)

REJECTED_MESSAGE_WITHOUT_CALLBACK: str

class VDeprecationWarning(DeprecationWarning): ...

class Channel(AbstractChannel):
    is_open: bool
    active: bool
    returned_messages: Queue[Any]
    callbacks: dict[str, Callable[[Message], object] | None]
    cancel_callbacks: dict[str, Callable[[str], object]]
    events: dict[str, set[Callable[..., object]]]
    no_ack_consumers: set[str]
    def __init__(
        self,
        connection: Connection,
        channel_id: int | None = None,
        auto_decode: bool = True,
        on_open: Callable[..., object] | None = None,
    ) -> None: ...
    def open(self) -> Any: ...
    def close(
        self, reply_code: int = 0, reply_text: str = "", method_sig: tuple[int, int] = (0, 0), argsig: str = "BsBB"
    ) -> Any: ...
    def collect(self) -> None: ...
    def flow(self, active: bool) -> Any: ...
    def exchange_declare(
        self,
        exchange: str,
        type: str,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BssbbbbbF",
    ) -> None: ...
    def exchange_delete(
        self, exchange: str, if_unused: bool = False, nowait: bool = False, argsig: str = "Bsbb"
    ) -> Any: ...
    def exchange_bind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsssbF",
    ) -> Any: ...
    def exchange_unbind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsssbF",
    ) -> Any: ...
    def queue_bind(
        self,
        queue: str,
        exchange: str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsssbF",
    ) -> Any: ...
    def queue_unbind(
        self,
        queue: str,
        exchange: str,
        routing_key: str = "",
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsssF",
    ) -> Any: ...
    # Nothing, or a promise, with nowait.
    @overload
    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: Literal[False] = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsbbbbbF",
    ) -> queue_declare_ok_t: ...
    @overload
    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsbbbbbF",
    ) -> queue_declare_ok_t | None: ...
    @overload
    def queue_delete(
        self,
        queue: str = "",
        if_unused: bool = False,
        if_empty: bool = False,
        nowait: Literal[False] = False,
        argsig: str = "Bsbbb",
    ) -> int: ...
    @overload
    def queue_delete(
        self,
        queue: str = "",
        if_unused: bool = False,
        if_empty: bool = False,
        nowait: bool = False,
        argsig: str = "Bsbbb",
    ) -> Any: ...
    @overload
    def queue_purge(self, queue: str = "", nowait: Literal[False] = False, argsig: str = "Bsb") -> int: ...
    @overload
    def queue_purge(self, queue: str = "", nowait: bool = False, argsig: str = "Bsb") -> Any: ...
    def basic_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool, argsig: str = "lBb") -> Any: ...
    def basic_consume(
        self,
        queue: str = "",
        consumer_tag: str = "",
        no_local: bool = False,
        no_ack: bool = False,
        exclusive: bool = False,
        nowait: bool = False,
        callback: Callable[[Message], object] | None = None,
        arguments: dict[str, Any] | None = None,
        on_cancel: Callable[[str], object] | None = None,
        argsig: str = "BssbbbbF",
    ) -> str: ...
    def basic_cancel(self, consumer_tag: str, nowait: bool = False, argsig: str = "sb") -> Any: ...
    def basic_get(self, queue: str = "", no_ack: bool = False, argsig: str = "Bsb") -> Message | None: ...
    def basic_ack(self, delivery_tag: int, multiple: bool = False, argsig: str = "Lb") -> Any: ...
    def basic_reject(self, delivery_tag: int, requeue: bool, argsig: str = "Lb") -> Any: ...
    def basic_recover(self, requeue: bool = False) -> Any: ...
    def basic_recover_async(self, requeue: bool = False) -> Any: ...
    def basic_publish(
        self,
        msg: Message,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        argsig: str = "Bssbb",
    ) -> Any: ...
    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any: ...
    def confirm_select(self, nowait: bool = False) -> Any: ...
    def tx_select(self) -> Any: ...
    def tx_commit(self) -> Any: ...
    def tx_rollback(self) -> Any: ...
