"""Channels: declaring, publishing, consuming."""

import logging
import socket
from collections import defaultdict
from queue import Queue

from vine import ensure_promise

from . import spec
from .abstract_channel import AbstractChannel
from .exceptions import ChannelError, ConsumerCancelled, MessageNacked, RecoverableConnectionError, error_for_code
from .protocol import queue_declare_ok_t

__all__ = ("Channel",)

AMQP_LOGGER = logging.getLogger("amqp")

REJECTED_MESSAGE_WITHOUT_CALLBACK = """\
Rejecting message with delivery tag %r for reason of having no callbacks.
consumer_tag=%r exchange=%r routing_key=%r.\
"""


class VDeprecationWarning(DeprecationWarning):
    """Something will go in a later version."""


class Channel(AbstractChannel):
    """A channel of a connection, with a free number or the one that is given. It is open after :meth:`open`; the
    promise *on_open* is kept then. With *auto_decode* the body of a message that tells its encoding becomes a string,
    if that works.

    A method that the broker answers waits for the answer, unless *nowait* says otherwise. What is wrong with a call
    closes the channel: it raises what the broker's code says, and the channel has been opened anew by then.
    """

    _METHODS = {
        one.method_sig: one
        for one in (
            spec.method(spec.Channel.Close, "BsBB"),
            spec.method(spec.Channel.CloseOk),
            spec.method(spec.Channel.Flow, "b"),
            spec.method(spec.Channel.FlowOk, "b"),
            spec.method(spec.Channel.OpenOk),
            spec.method(spec.Exchange.DeclareOk),
            spec.method(spec.Exchange.DeleteOk),
            spec.method(spec.Exchange.BindOk),
            spec.method(spec.Exchange.UnbindOk),
            spec.method(spec.Queue.BindOk),
            spec.method(spec.Queue.UnbindOk),
            spec.method(spec.Queue.DeclareOk, "sll"),
            spec.method(spec.Queue.DeleteOk, "l"),
            spec.method(spec.Queue.PurgeOk, "l"),
            spec.method(spec.Basic.Cancel, "s"),
            spec.method(spec.Basic.CancelOk, "s"),
            spec.method(spec.Basic.ConsumeOk, "s"),
            spec.method(spec.Basic.Deliver, "sLbss", content=True),
            spec.method(spec.Basic.GetEmpty, "s"),
            spec.method(spec.Basic.GetOk, "Lbssl", content=True),
            spec.method(spec.Basic.QosOk),
            spec.method(spec.Basic.RecoverOk),
            spec.method(spec.Basic.Return, "Bsss", content=True),
            spec.method(spec.Basic.Ack, "Lb"),
            spec.method(spec.Basic.Nack, "Lb"),
            spec.method(spec.Tx.CommitOk),
            spec.method(spec.Tx.RollbackOk),
            spec.method(spec.Tx.SelectOk),
            spec.method(spec.Confirm.SelectOk),
        )
    }

    _ALLOWED_METHODS_WHEN_CLOSING = (spec.Channel.Close, spec.Channel.CloseOk)

    def __init__(self, connection, channel_id=None, auto_decode=True, on_open=None):
        if channel_id:
            connection._claim_channel_id(channel_id)
        else:
            channel_id = connection._get_free_channel_id()
        AMQP_LOGGER.debug("using channel_id: %s", channel_id)
        super().__init__(connection, channel_id)
        self.is_open = False
        #: Whether the broker lets us publish.
        self.active = True
        self.returned_messages = Queue()
        #: By consumer tag.
        self.callbacks = {}
        self.cancel_callbacks = {}
        self.auto_decode = auto_decode
        #: Who is told of ``basic_return``, ``basic_ack``, ``basic_nack``.
        self.events = defaultdict(set)
        self.no_ack_consumers = set()
        self.on_open = ensure_promise(on_open)
        self._confirm_selected = False
        if self.connection.confirm_publish:
            self.basic_publish = self.basic_publish_confirm

    def _setup_listeners(self):
        self._callbacks.update(
            {
                spec.Channel.Close: self._on_close,
                spec.Channel.CloseOk: self._on_close_ok,
                spec.Channel.Flow: self._on_flow,
                spec.Channel.OpenOk: self._on_open_ok,
                spec.Basic.Cancel: self._on_basic_cancel,
                spec.Basic.CancelOk: self._on_basic_cancel_ok,
                spec.Basic.Deliver: self._on_basic_deliver,
                spec.Basic.Return: self._on_basic_return,
                spec.Basic.Ack: self._on_basic_ack,
                spec.Basic.Nack: self._on_basic_nack,
            }
        )

    # Opening and closing.

    def open(self):
        """Opens it, unless it is open."""
        if not self.is_open:
            return self.send_method(spec.Channel.Open, "s", ("",), wait=spec.Channel.OpenOk)

    def _on_open_ok(self):
        self.is_open = True
        self.on_open(self)
        AMQP_LOGGER.debug("Channel open")

    def close(self, reply_code=0, reply_text="", method_sig=(0, 0), argsig="BsBB"):
        """Closes it, with the reason if there is one, and waits until the broker knows."""
        try:
            if self.connection is None or self.connection.channels is None or not self.is_open:
                return None
            self.is_closing = True
            reason = (reply_code, reply_text, *method_sig)
            return self.send_method(spec.Channel.Close, argsig, reason, wait=spec.Channel.CloseOk)
        finally:
            self.is_closing = False
            self.connection = None

    def _on_close(self, reply_code, reply_text, class_id, method_id):
        self.send_method(spec.Channel.CloseOk)
        if not self.connection.is_closing and not self.is_closing:
            self._do_revive()
            raise error_for_code(reply_code, reply_text, (class_id, method_id), ChannelError)

    def _do_revive(self):
        self.is_open = False
        self._confirm_selected = False
        self.open()

    def _on_close_ok(self):
        self.collect()

    def collect(self):
        """Lets go of everything, the connection included; nothing is sent."""
        AMQP_LOGGER.debug("Closed channel #%s", self.channel_id)
        self.is_open = False
        channel_id, self.channel_id = self.channel_id, None
        connection, self.connection = self.connection, None
        if connection:
            connection.channels.pop(channel_id, None)
            try:
                connection._used_channel_ids.remove(channel_id)
            except ValueError:
                pass
        self.callbacks.clear()
        self.cancel_callbacks.clear()
        self.events.clear()
        self.no_ack_consumers.clear()

    def flow(self, active):
        """Asks the broker to stop deliveries, or to go on."""
        return self.send_method(spec.Channel.Flow, "b", (active,), wait=spec.Channel.FlowOk)

    def _on_flow(self, active):
        self.active = active
        self._x_flow_ok(active)

    def _x_flow_ok(self, active):
        return self.send_method(spec.Channel.FlowOk, "b", (active,))

    # Exchanges and queues.

    def exchange_declare(
        self,
        exchange,
        type,
        passive=False,
        durable=False,
        auto_delete=True,
        nowait=False,
        arguments=None,
        argsig="BssbbbbbF",
    ):
        """Declares an exchange of a *type*: direct, fanout, topic, headers. With *passive* it must be there already."""
        self.send_method(
            spec.Exchange.Declare,
            argsig,
            (0, exchange, type, passive, durable, auto_delete, False, nowait, arguments),
            wait=None if nowait else spec.Exchange.DeclareOk,
        )

    def exchange_delete(self, exchange, if_unused=False, nowait=False, argsig="Bsbb"):
        """Deletes an exchange; with *if_unused* only if nothing is bound to it."""
        wait = None if nowait else spec.Exchange.DeleteOk
        return self.send_method(spec.Exchange.Delete, argsig, (0, exchange, if_unused, nowait), wait=wait)

    def exchange_bind(self, destination, source="", routing_key="", nowait=False, arguments=None, argsig="BsssbF"):
        """Binds the exchange *destination* to the exchange *source*."""
        return self.send_method(
            spec.Exchange.Bind,
            argsig,
            (0, destination, source, routing_key, nowait, arguments),
            wait=None if nowait else spec.Exchange.BindOk,
        )

    def exchange_unbind(self, destination, source="", routing_key="", nowait=False, arguments=None, argsig="BsssbF"):
        """Takes back :meth:`exchange_bind`."""
        return self.send_method(
            spec.Exchange.Unbind,
            argsig,
            (0, destination, source, routing_key, nowait, arguments),
            wait=None if nowait else spec.Exchange.UnbindOk,
        )

    def queue_bind(self, queue, exchange="", routing_key="", nowait=False, arguments=None, argsig="BsssbF"):
        """Binds a queue to an exchange."""
        return self.send_method(
            spec.Queue.Bind,
            argsig,
            (0, queue, exchange, routing_key, nowait, arguments),
            wait=None if nowait else spec.Queue.BindOk,
        )

    def queue_unbind(self, queue, exchange, routing_key="", nowait=False, arguments=None, argsig="BsssF"):
        """Takes back :meth:`queue_bind`. The method has no *nowait* of its own, so this waits unless it is set."""
        return self.send_method(
            spec.Queue.Unbind,
            argsig,
            (0, queue, exchange, routing_key, arguments),
            wait=None if nowait else spec.Queue.UnbindOk,
        )

    def queue_declare(
        self,
        queue="",
        passive=False,
        durable=False,
        exclusive=False,
        auto_delete=True,
        nowait=False,
        arguments=None,
        argsig="BsbbbbbF",
    ):
        """Declares a queue, with a name of the broker's if it has none. Returns the name, the number of messages and
        that of consumers, unless *nowait*.
        """
        self.send_method(
            spec.Queue.Declare, argsig, (0, queue, passive, durable, exclusive, auto_delete, nowait, arguments)
        )
        if not nowait:
            return queue_declare_ok_t(*self.wait(spec.Queue.DeclareOk, returns_tuple=True))

    def queue_delete(self, queue="", if_unused=False, if_empty=False, nowait=False, argsig="Bsbbb"):
        """Deletes a queue. Returns how many messages were in it, unless *nowait*."""
        return self.send_method(
            spec.Queue.Delete,
            argsig,
            (0, queue, if_unused, if_empty, nowait),
            wait=None if nowait else spec.Queue.DeleteOk,
        )

    def queue_purge(self, queue="", nowait=False, argsig="Bsb"):
        """Throws away what is in a queue. Returns how many messages that were, unless *nowait*."""
        wait = None if nowait else spec.Queue.PurgeOk
        return self.send_method(spec.Queue.Purge, argsig, (0, queue, nowait), wait=wait)

    # Consuming.

    def basic_qos(self, prefetch_size, prefetch_count, a_global, argsig="lBb"):
        """How much the broker may deliver before it is acknowledged, in bytes and in messages; 0 is no limit."""
        limits = (prefetch_size, prefetch_count, a_global)
        return self.send_method(spec.Basic.Qos, argsig, limits, wait=spec.Basic.QosOk)

    def basic_consume(
        self,
        queue="",
        consumer_tag="",
        no_local=False,
        no_ack=False,
        exclusive=False,
        nowait=False,
        callback=None,
        arguments=None,
        on_cancel=None,
        argsig="BssbbbbF",
    ):
        """Has a queue's messages delivered to *callback*, from ``drain_events``. With *no_ack* they are not to be
        acknowledged. *on_cancel* is called with the tag if the broker ends it. Returns the tag.
        """
        if nowait and not consumer_tag:
            raise ValueError("Consumer tag must be specified when nowait is True")
        answer = self.send_method(
            spec.Basic.Consume,
            argsig,
            (0, queue, consumer_tag, no_local, no_ack, exclusive, nowait, arguments),
            wait=None if nowait else spec.Basic.ConsumeOk,
            returns_tuple=True,
        )
        if not nowait:
            consumer_tag = answer[0]
        self.callbacks[consumer_tag] = callback
        if on_cancel:
            self.cancel_callbacks[consumer_tag] = on_cancel
        if no_ack:
            self.no_ack_consumers.add(consumer_tag)
        return consumer_tag

    def _on_basic_deliver(self, consumer_tag, delivery_tag, redelivered, exchange, routing_key, msg):
        msg.channel = self
        msg.delivery_info = {
            "consumer_tag": consumer_tag,
            "delivery_tag": delivery_tag,
            "redelivered": redelivered,
            "exchange": exchange,
            "routing_key": routing_key,
        }
        try:
            callback = self.callbacks[consumer_tag]
        except KeyError:
            AMQP_LOGGER.warning(REJECTED_MESSAGE_WITHOUT_CALLBACK, delivery_tag, consumer_tag, exchange, routing_key)
            self.basic_reject(delivery_tag, requeue=True)
        else:
            callback(msg)

    def basic_cancel(self, consumer_tag, nowait=False, argsig="sb"):
        """Ends a consumer. What was delivered before may still come until the answer does."""
        if self.connection is not None:
            self.no_ack_consumers.discard(consumer_tag)
            return self.send_method(
                spec.Basic.Cancel, argsig, (consumer_tag, nowait), wait=None if nowait else spec.Basic.CancelOk
            )

    def _on_basic_cancel(self, consumer_tag):
        callback = self._remove_tag(consumer_tag)
        if not callback:
            raise ConsumerCancelled(consumer_tag, spec.Basic.Cancel)
        callback(consumer_tag)

    def _on_basic_cancel_ok(self, consumer_tag):
        self._remove_tag(consumer_tag)

    def _remove_tag(self, consumer_tag):
        self.no_ack_consumers.discard(consumer_tag)
        self.callbacks.pop(consumer_tag, None)
        return self.cancel_callbacks.pop(consumer_tag, None)

    def basic_get(self, queue="", no_ack=False, argsig="Bsb"):
        """A message of a queue; None if it is empty."""
        answer = self.send_method(
            spec.Basic.Get,
            argsig,
            (0, queue, no_ack),
            wait=[spec.Basic.GetOk, spec.Basic.GetEmpty],
            returns_tuple=True,
        )
        if not answer or len(answer) < 2:
            return self._on_get_empty(*answer)
        return self._on_get_ok(*answer)

    def _on_get_empty(self, cluster_id=None):
        return None

    def _on_get_ok(self, delivery_tag, redelivered, exchange, routing_key, message_count, msg):
        msg.channel = self
        msg.delivery_info = {
            "delivery_tag": delivery_tag,
            "redelivered": redelivered,
            "exchange": exchange,
            "routing_key": routing_key,
            "message_count": message_count,
        }
        return msg

    def basic_ack(self, delivery_tag, multiple=False, argsig="Lb"):
        """Acknowledges a delivery; with *multiple* all up to it."""
        return self.send_method(spec.Basic.Ack, argsig, (delivery_tag, multiple))

    def basic_reject(self, delivery_tag, requeue, argsig="Lb"):
        """Gives a delivery back: to the queue, or else to where its dead letters go."""
        return self.send_method(spec.Basic.Reject, argsig, (delivery_tag, requeue))

    def basic_recover(self, requeue=False):
        """Has all that is not acknowledged delivered again."""
        return self.send_method(spec.Basic.Recover, "b", (requeue,))

    def basic_recover_async(self, requeue=False):
        """As :meth:`basic_recover`; the broker does not answer."""
        return self.send_method(spec.Basic.RecoverAsync, "b", (requeue,))

    # Publishing.

    def _basic_publish(
        self,
        msg,
        exchange="",
        routing_key="",
        mandatory=False,
        immediate=False,
        timeout=None,
        confirm_timeout=None,
        argsig="Bssbb",
    ):
        """Publishes a message. With *mandatory* the broker gives it back if it reaches no queue: see ``basic_return``
        of ``events``. *timeout* bounds the writing, in seconds; when it has passed, part of the message may have been
        written, so that the connection is of no use any more: RecoverableConnectionError.

        On a connection with ``confirm_publish`` it waits until the broker has the message, for *confirm_timeout* or
        else *timeout* seconds; MessageNacked if the broker refuses it.
        """
        connection = self.connection
        if not connection:
            raise RecoverableConnectionError("basic_publish: connection closed")
        capabilities = connection.client_properties.get("capabilities", {})
        if capabilities.get("connection.blocked", False):
            # The broker may have said that it is blocked, or that something is wrong.
            stream = connection._stream
            if stream is None or connection._transport.is_idle(stream) is not True:
                try:
                    connection.drain_events(timeout=0)
                except socket.timeout:
                    pass
        args = (0, exchange, routing_key, mandatory, immediate)
        try:
            if timeout is None:
                return self.send_method(spec.Basic.Publish, argsig, args, msg)
            with connection.transport.having_timeout(timeout):
                return self.send_method(spec.Basic.Publish, argsig, args, msg)
        except socket.timeout:
            raise RecoverableConnectionError("basic_publish: timed out") from None

    basic_publish = _basic_publish

    def basic_publish_confirm(self, *args, **kwargs):
        confirm_timeout = kwargs.pop("confirm_timeout", None)

        def settled(method, *args):
            if method == spec.Basic.Nack:
                raise MessageNacked()

        if not self._confirm_selected:
            self._confirm_selected = True
            self.confirm_select()
        sent = self._basic_publish(*args, **kwargs)
        timeout = confirm_timeout or kwargs.get("timeout")
        self.wait([spec.Basic.Ack, spec.Basic.Nack], callback=settled, timeout=timeout)
        return sent

    basic_publish_confirm.__doc__ = _basic_publish.__doc__

    def _on_basic_return(self, reply_code, reply_text, exchange, routing_key, message):
        error = error_for_code(reply_code, reply_text, spec.Basic.Return, ChannelError)
        callbacks = self.events.get("basic_return")
        if not callbacks:
            raise error
        for callback in callbacks:
            callback(error, exchange, routing_key, message)

    def confirm_select(self, nowait=False):
        """Has the broker confirm what is published here, to ``basic_ack`` and ``basic_nack`` of ``events``."""
        return self.send_method(spec.Confirm.Select, "b", (nowait,), wait=None if nowait else spec.Confirm.SelectOk)

    def _on_basic_ack(self, delivery_tag, multiple):
        for callback in self.events["basic_ack"]:
            callback(delivery_tag, multiple)

    def _on_basic_nack(self, delivery_tag, multiple):
        for callback in self.events["basic_nack"]:
            callback(delivery_tag, multiple)

    # Transactions.

    def tx_select(self):
        """From now on, what is published and acknowledged here takes effect at the next :meth:`tx_commit`."""
        return self.send_method(spec.Tx.Select, wait=spec.Tx.SelectOk)

    def tx_commit(self):
        """What was published and acknowledged since the last time takes effect."""
        return self.send_method(spec.Tx.Commit, wait=spec.Tx.CommitOk)

    def tx_rollback(self):
        """Takes back what was published and acknowledged since the last time."""
        return self.send_method(spec.Tx.Rollback, wait=spec.Tx.RollbackOk)
