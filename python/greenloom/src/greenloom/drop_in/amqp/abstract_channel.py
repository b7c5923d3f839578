"""What a connection and its channels have in common: sending methods, waiting for answers, telling who listens."""

import logging
from types import FunctionType

from vine import Thenable, promise

from .exceptions import AMQPNotImplementedError, RecoverableConnectionError
from .serialization import dumps, loads

__all__ = ("AbstractChannel",)

AMQP_LOGGER = logging.getLogger("amqp")

IGNORED_METHOD_DURING_CHANNEL_CLOSE = """\
Received method %s during closing channel %s. This method will be ignored\
"""


class _Sent(promise):
    """That a method was sent: a promise that is kept already. There is one for all, so it keeps no callbacks."""

    __slots__ = ()

    def then(self, callback, on_error=None):
        kept = promise()
        kept()
        return kept.then(callback, on_error)


_SENT = _Sent()
_SENT()


class _Arrival:
    """What a wait is for: as a promise, without what a promise costs."""

    __slots__ = ("callback", "ready", "value")

    def __init__(self, callback):
        self.callback, self.ready, self.value = callback, False, None

    def __call__(self, *args):
        # As a promise, which has its function's result in their place, and is not ready if that raises.
        self.value = (args if self.callback is None else (self.callback(*args),), {})
        self.ready = True


def ensure_promise(callback):
    """What is kept when a method arrives, which calls *callback* unless that is None."""
    # A plain function is none of vine's, and to ask that of an abstract class costs more than the rest of the wait.
    plain = callback is None or type(callback) is FunctionType
    return _Arrival(callback) if plain or not isinstance(callback, Thenable) else callback


class AbstractChannel:
    """Base of :class:`~amqp.Connection`, which is channel 0, and :class:`~amqp.Channel`."""

    __slots__ = (
        "is_closing",
        "connection",
        "channel_id",
        "method_queue",
        "auto_decode",
        "_pending",
        "_callbacks",
        "__dict__",
        "__weakref__",
    )

    #: What may come in, by numbers; a subclass says.
    _METHODS = {}

    def __init__(self, connection, channel_id):
        self.is_closing = False
        self.connection = connection
        self.channel_id = channel_id
        connection.channels[channel_id] = self
        self.method_queue = []
        self.auto_decode = False
        #: Who waits for a method, and who is told of each, by numbers.
        self._pending = {}
        self._callbacks = {}
        self._setup_listeners()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def then(self, on_success, on_error=None):
        """What happens when it is open; see ``vine.promise.then``."""
        return self.on_open.then(on_success, on_error)

    def close(self):
        """Closes it."""
        raise NotImplementedError("a subclass must define it")

    def send_method(self, sig, format=None, args=None, content=None, wait=None, callback=None, returns_tuple=False):
        """Sends a method. With *wait*, the numbers of the answer or a list of them, it waits for one and returns what
        that carries: the first argument, or all of them; without, a promise, which is kept.
        """
        connection = self.connection
        if connection is None:
            raise RecoverableConnectionError("connection already closed")
        args = dumps(format, args) if format else ""
        try:
            connection.frame_writer(1, self.channel_id, sig, args, content)
        except StopIteration:
            raise RecoverableConnectionError("connection already closed") from None
        sent = _SENT
        if callback:
            sent = promise()
            sent.then(callback)
            sent()
        if wait:
            return self.wait(wait, returns_tuple=returns_tuple)
        return sent

    def wait(self, method, callback=None, timeout=None, returns_tuple=False):
        """Waits for a method, or the first of a list of them; *timeout* is in seconds, for each step of the wait.
        Returns what it carries, as :meth:`send_method`.
        """
        arrived = ensure_promise(callback)
        methods = method if isinstance(method, list) else [method]
        pending = self._pending
        former = [pending.get(one) for one in methods]
        for one in methods:
            pending[one] = arrived
        try:
            while not arrived.ready:
                connection = self.connection
                if connection is None:
                    raise RecoverableConnectionError("connection already closed")
                connection.drain_events(timeout=timeout)
            if arrived.value:
                # The first argument is the method.
                args = arrived.value[0][1:]
                return args if returns_tuple else args and args[0]
        finally:
            for one, before in zip(methods, former):
                if before is None:
                    pending.pop(one, None)
                else:
                    pending[one] = before

    def dispatch_method(self, method_sig, payload, content):
        """Tells those who listen, and whoever waits, of a method that came in."""
        if self.is_closing and method_sig not in self._ALLOWED_METHODS_WHEN_CLOSING:
            AMQP_LOGGER.warning(IGNORED_METHOD_DURING_CHANNEL_CLOSE, method_sig, self.channel_id)
            return
        if content and self.auto_decode and content._encoded:
            try:
                content.body = content.body.decode(content.properties["content_encoding"])
            except Exception:
                # The body stays as it came.
                pass
        try:
            method = self._METHODS[method_sig]
        except KeyError:
            raise AMQPNotImplementedError(f"Unknown AMQP method {method_sig!r}") from None
        try:
            listener = self._callbacks[method_sig]
        except KeyError:
            listener = None
        waiter = self._pending.pop(method_sig, None)
        if listener is None and waiter is None:
            return
        args = loads(method.args, payload, 4)[0] if method.args else []
        if method.content:
            args.append(content)
        if listener is not None:
            listener(*args)
        if waiter is not None:
            waiter(method_sig, *args)
