"""The exceptions, a class for each reply code, and which of them one may recover from."""

import re

from . import spec

__all__ = (
    "AMQPError",
    "ConnectionError",
    "ChannelError",
    "RecoverableConnectionError",
    "IrrecoverableConnectionError",
    "RecoverableChannelError",
    "IrrecoverableChannelError",
    "ConsumerCancelled",
    "ContentTooLarge",
    "NoConsumers",
    "ConnectionForced",
    "InvalidPath",
    "AccessRefused",
    "NotFound",
    "ResourceLocked",
    "PreconditionFailed",
    "FrameError",
    "FrameSyntaxError",
    "InvalidCommand",
    "ChannelNotOpen",
    "UnexpectedFrame",
    "ResourceError",
    "NotAllowed",
    "AMQPNotImplementedError",
    "InternalError",
    "MessageNacked",
    "AMQPDeprecationWarning",
)


class AMQPDeprecationWarning(UserWarning):
    """Something will go in a later version."""


class MessageNacked(Exception):
    """The broker would not take a message that was to be confirmed."""


class AMQPError(Exception):
    """Base of all that the broker or the protocol objects to."""

    code = 0

    def __init__(self, reply_text=None, method_sig=None, method_name=None, reply_code=None):
        self.message = self.reply_text = reply_text
        self.reply_code = reply_code or self.code
        self.method_sig = method_sig
        self.method_name = method_name or (method_sig and METHOD_NAME_MAP.get(method_sig)) or ""
        super().__init__(reply_code, reply_text, method_sig, self.method_name)

    def __str__(self):
        if self.method:
            return f"{self.method}: ({self.reply_code}) {self.reply_text}"
        return self.reply_text or f"<{type(self).__name__}: unknown error>"

    @property
    def method(self):
        """The method that was objected to: its name, or its numbers."""
        return self.method_name or self.method_sig


class ConnectionError(AMQPError):
    """The connection is lost."""


class ChannelError(AMQPError):
    """The channel is lost."""


class RecoverableChannelError(ChannelError):
    """The channel is lost; the same on a new one may work."""


class IrrecoverableChannelError(ChannelError):
    """The channel is lost, and the same on a new one would fail again."""


class RecoverableConnectionError(ConnectionError):
    """The connection is lost; the same on a new one may work."""


class IrrecoverableConnectionError(ConnectionError):
    """The connection is lost, and the same on a new one would fail again."""


class Blocked(RecoverableConnectionError):
    """The broker has blocked the connection."""


class ConsumerCancelled(RecoverableConnectionError):
    """The broker has cancelled a consumer."""


class ContentTooLarge(RecoverableChannelError):
    """The message is larger than the broker takes."""

    code = 311


class NoConsumers(RecoverableChannelError):
    """Nobody is there to take the message at once."""

    code = 313


class ConnectionForced(RecoverableConnectionError):
    """An operator has closed the connection, or heartbeats were missed."""

    code = 320


class InvalidPath(IrrecoverableConnectionError):
    """There is no such virtual host."""

    code = 402


class AccessRefused(IrrecoverableChannelError):
    """The user may not do that."""

    code = 403


class NotFound(IrrecoverableChannelError):
    """There is no such exchange or queue."""

    code = 404


class ResourceLocked(RecoverableChannelError):
    """Another connection has it for itself."""

    code = 405


class PreconditionFailed(IrrecoverableChannelError):
    """It is there with other properties, or is in a state that forbids this."""

    code = 406


class FrameError(IrrecoverableConnectionError):
    """A frame could not be read."""

    code = 501


class FrameSyntaxError(IrrecoverableConnectionError):
    """What is in a frame could not be read or written."""

    code = 502


class InvalidCommand(IrrecoverableConnectionError):
    """A method came where it must not."""

    code = 503


class ChannelNotOpen(IrrecoverableConnectionError):
    """A method came for a channel that is not open."""

    code = 504


class UnexpectedFrame(IrrecoverableConnectionError):
    """A frame came out of order, or what came is no frame."""

    code = 505


class ResourceError(RecoverableConnectionError):
    """Something has run out."""

    code = 506


class NotAllowed(IrrecoverableConnectionError):
    """The broker's rules forbid it."""

    code = 530


class AMQPNotImplementedError(IrrecoverableConnectionError):
    """One side does not know how to do that."""

    code = 540


class InternalError(IrrecoverableConnectionError):
    """The broker has failed."""

    code = 541


ERROR_MAP = {
    error.code: error
    for error in (
        ContentTooLarge, NoConsumers, ConnectionForced, InvalidPath, AccessRefused, NotFound, ResourceLocked,
        PreconditionFailed, FrameError, FrameSyntaxError, InvalidCommand, ChannelNotOpen, UnexpectedFrame,
        ResourceError, NotAllowed, AMQPNotImplementedError, InternalError,
    )
}  # fmt: skip


def error_for_code(code, text, method, default):
    """The exception for a reply code: one of its own class, else of *default*."""
    return ERROR_MAP.get(code, default)(text, method, reply_code=code)


def _method_names():
    """Names of methods by their numbers, as a pair and as one."""
    # A class that brokers no longer have.
    names = {(30, 10): "Access.request", (30, 11): "Access.request_ok"}
    for kind in (spec.Connection, spec.Channel, spec.Exchange, spec.Queue, spec.Basic, spec.Tx, spec.Confirm):
        for name, numbers in vars(kind).items():
            if isinstance(numbers, tuple):
                words = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
                names[numbers] = f"{kind.__name__}.{words}"
    return names | {(first << 16) + second: name for (first, second), name in names.items()}


METHOD_NAME_MAP = _method_names()
