"""The driver: oslo.messaging's interface on one side, the bus on the other."""

import atexit
import itertools
import json
import logging
import os
import queue
import threading
import time
import weakref
from urllib.parse import quote

import oslo_messaging
from oslo_config import cfg
from oslo_messaging._drivers import amqp as rpc_amqp
from oslo_messaging._drivers import base
from oslo_messaging._drivers import common
from oslo_messaging._drivers import impl_rabbit

from greenloom.oslo import _bus
from greenloom.oslo._json import dumps, unique
from greenloom.oslo._listeners import Listener

LOG = logging.getLogger(__name__)

# The options that the bus knows, too. The others of `rabbit://` are about what is not here: pools of connections,
# kombu's ways to connect again, OpenSSL.
_OPTIONS = (
    "amqp_durable_queues",
    "amqp_auto_delete",
    "rabbit_quorum_queue",
    "rabbit_transient_quorum_queue",
    "rabbit_quorum_delivery_limit",
    "rabbit_quorum_max_memory_length",
    "rabbit_quorum_max_memory_bytes",
    "rabbit_transient_queues_ttl",
    "heartbeat_timeout_threshold",
)
# What cannot be done here, and would be missed.
_UNSUPPORTED = ("rabbit_stream_fanout", "use_queue_manager", "kombu_compression", "ssl_cert_file", "ssl_key_file")

# How many messages a listener has at hand where the configuration sets no limit. A broker that is never stopped would
# fill the memory of a server that is slower than its callers.
_PREFETCH = 1000

_numbers = itertools.count(1)
_drivers = weakref.WeakSet()


class Driver(base.BaseDriver):
    """The driver behind `greenloom://`."""

    def __init__(self, conf, url, default_exchange=None, allowed_remote_exmods=None):
        group = cfg.OptGroup(name="oslo_messaging_rabbit", title="RabbitMQ driver options")
        conf.register_group(group)
        conf.register_opts(impl_rabbit.rabbit_opts, group=group)
        conf.register_opts(rpc_amqp.amqp_opts, group=group)
        conf = common.ConfigOptsProxy(conf, url, group.name)
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        options = conf.oslo_messaging_rabbit
        self.prefetch_size = options.rabbit_qos_prefetch_count
        self._patience = options.kombu_missing_consumer_retry_timeout
        self._bus_url = _bus_url(url, options)
        self._session = next(_numbers)
        self._opening = threading.Lock()
        self._client = None
        self._places = {}
        _drivers.add(self)

    def require_features(self, requeue=False):
        """Notifications can be given back."""

    def log(self, level, body):
        """What the bus has to say."""
        LOG.log(level, "%s", str(body, "utf-8", "replace"))

    def _open(self, **what):
        return {"session": self._session, "url": self._bus_url, **what}

    def _bus(self):
        client = self._client
        if client is None:
            with self._opening:
                if self._client is None:
                    self._client = _bus.Client(self._open(), self.log)
                client = self._client
        return client

    def _place(self, target):
        key = target.exchange, target.topic, target.server, target.fanout
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = json.dumps(self._place_of(target)).encode()
        return place

    def _place_of(self, target, **more):
        if target.fanout:
            return {"fanout": target.topic}
        place = {"exchange": target.exchange or self._default_exchange, "topic": target.topic, **more}
        if target.server and not more:
            place["server"] = target.server
        return place

    def send(
        self,
        target,
        ctxt,
        message,
        wait_for_reply=None,
        timeout=None,
        call_monitor_timeout=None,
        retry=None,
        transport_options=None,
    ):
        flags = _bus.ENVELOPE
        if transport_options and transport_options.at_least_once:
            flags |= _bus.MANDATORY
        place = self._place(target)
        bus = self._bus()
        if not wait_for_reply:
            self._deliver(bus, place, target, _packed(message, ctxt), flags, timeout, retry)
            return None
        began = time.monotonic()
        msg_id = unique()
        try:
            reply_q = bus.answers()
        except _bus.Failed as error:
            raise _undelivered(error, target) from error
        about = {"_msg_id": msg_id, "_reply_q": reply_q, "_timeout": call_monitor_timeout}
        answers = bus.expect(msg_id)
        why = _bus.ENDED
        try:
            self._deliver(bus, place, target, _packed({**message, **about}, ctxt), flags, timeout, retry, msg_id)
            return self._answer(answers, msg_id, began, timeout, call_monitor_timeout)
        except oslo_messaging.MessagingTimeout:
            why = _bus.LATE
            raise
        except (oslo_messaging.MessageDeliveryFailure, oslo_messaging.MessageUndeliverable):
            why = _bus.UNDELIVERED
            raise
        finally:
            bus.forget(msg_id, why)

    def send_notification(self, target, ctxt, message, version, retry=None):
        flags = _bus.DECLARE | (_bus.ENVELOPE if version == 2.0 else 0)
        place = json.dumps({"exchange": target.exchange or self._default_exchange, "topic": target.topic}).encode()
        self._deliver(self._bus(), place, target, _packed(message, ctxt), flags, None, retry)

    def _deliver(self, bus, place, target, data, flags, timeout, retry, call=""):
        """Sends, and again while that may help: without a limit if `retry` is none or negative."""
        left = retry if retry is not None and retry >= 0 else None
        began = time.monotonic()
        within = timeout or 0.0
        while True:
            try:
                return bus.send_message(place, data, flags, timeout or 0.0, within, call)
            except _bus.Failed as error:
                if error.kind == _bus.UNROUTABLE:
                    exchange = target.exchange or self._default_exchange
                    raise oslo_messaging.MessageUndeliverable(error, exchange, target.topic, data) from error
                passed = time.monotonic() - began
                if timeout and passed >= timeout:
                    raise oslo_messaging.MessagingTimeout(
                        f"Timed out sending to {target.topic} after {timeout} seconds: {error}"
                    ) from error
                if error.kind not in (_bus.DISCONNECTED, _bus.TIMED_OUT) or left == 0:
                    raise _undelivered(error, target) from error
                LOG.warning("a message to %s could not be sent, trying again: %s", target.topic, error)
                flags |= _bus.RESENT
                if left is not None:
                    left -= 1
                if timeout:
                    within = timeout - passed

    def _answer(self, answers, msg_id, began, timeout, monitor):
        """Waits for the answer to a call, with signs of life where there is a monitor."""
        heard = time.monotonic()
        result = None
        while True:
            now = time.monotonic()
            left = [limit - (now - since) for limit, since in ((timeout, began), (monitor, heard)) if limit]
            try:
                bits, data = answers.get(timeout=max(min(left), 0) if left else None)
            except queue.Empty:
                raise oslo_messaging.MessagingTimeout(
                    f"Timed out waiting for a reply to message ID {msg_id}"
                ) from None
            ending, failure = bits & 1, bits & 2
            if failure:
                raise common.deserialize_remote_exception(str(data, "utf-8"), self._allowed_remote_exmods)
            # Older peers send the result first, and that it was the end after it.
            answer = json.loads(data)
            result = answer if answer is not None else result
            if ending:
                return result
            heard = time.monotonic()

    def reply(self, reply_q, data):
        try:
            self._bus().reply(reply_q, data, self._patience)
        except _bus.Failed as error:
            LOG.error("an answer could not be sent to %s: %s", reply_q, error)

    def listen(self, target, batch_size, batch_timeout):
        topic = {"exchange": target.exchange or self._default_exchange, "topic": target.topic}
        places = [topic, {**topic, "server": target.server}, {"fanout": target.topic}]
        return self._listener(places, True, batch_size, batch_timeout)

    def listen_for_notifications(self, targets_and_priorities, pool, batch_size, batch_timeout):
        places = []
        for target, priority in targets_and_priorities:
            topic = {
                "exchange": target.exchange or self._default_exchange,
                "topic": f"{target.topic}.{priority}",
            }
            places.append({**topic, "pool": pool} if pool else topic)
        return self._listener(places, False, batch_size, batch_timeout)

    def _listener(self, places, once, batch_size, batch_timeout):
        prefetch = self.prefetch_size or max(_PREFETCH, 2 * batch_size)
        intake = {"from": places, "prefetch": min(prefetch, 0xFFFF), "once": once}
        try:
            return Listener(
                self, self._open(intake=intake), once, batch_size, batch_timeout, self.prefetch_size or -1
            )
        except _bus.Failed as error:
            raise base.TransportDriverError(f"cannot listen: {error}") from error

    def cleanup(self):
        client, self._client = self._client, None
        if client is not None:
            self._flush(client)
            client.close()

    def _flush(self, client):
        try:
            client.flush(5)
        except _bus.Failed as error:
            LOG.warning("answers may not have been sent: %s", error)

    def forget(self):
        """In the child of a fork: what the parent has is not for it."""
        self._client = None
        self._opening = threading.Lock()
        self._session = next(_numbers)


def _packed(message, ctxt):
    """A message with its context and an id, in JSON."""
    packed = {**message, "_unique_id": unique()}
    context = ctxt if isinstance(ctxt, dict) else ctxt.to_dict()
    packed.update((f"_context_{name}", value) for name, value in context.items())
    return dumps(packed)


def _undelivered(error, target):
    return oslo_messaging.MessageDeliveryFailure(f"Unable to send to {target.topic}: {error}")


def _bus_url(url, options):
    """The URL of the bus: the hosts are those of the transport's, the options those of the configuration."""
    for name in _UNSUPPORTED:
        if getattr(options, name):
            raise RuntimeError(f"Configuration Error: {name} is not supported by greenloom://, only by rabbit://")
    hosts = []
    for host in url.hosts:
        name = host.hostname or "localhost"
        if ":" in name:
            name = f"[{name}]"
        user = quote(host.username or "guest", safe="")
        password = quote(host.password or "guest", safe="")
        hosts.append(f"{user}:{password}@{name}" + (f":{host.port}" if host.port else ""))
    query = []
    for name in _OPTIONS:
        value = getattr(options, name)
        query.append(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
    if options.ssl and options.ssl_ca_file:
        query.append("ssl_ca_file=" + quote(options.ssl_ca_file, safe=""))
    scheme = "amqps" if options.ssl else "amqp"
    virtual_host = quote(url.virtual_host or "", safe="")
    return f"{scheme}://{','.join(hosts) or 'localhost'}/{virtual_host}?{'&'.join(query)}"


def _flush_all():
    for driver in list(_drivers):
        if driver._client is not None:
            driver._flush(driver._client)


def _after_fork():
    for driver in list(_drivers):
        driver.forget()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_flush_all)
