"""What comes in: requests and notifications, and who takes them."""

import collections
import json
import logging
import math
import struct
import threading
import time

import oslo_messaging
from oslo_messaging._drivers import base
from oslo_messaging._drivers import common

from greenloom.oslo import _bus
from greenloom.oslo._json import dumps, unique

LOG = logging.getLogger(__name__)

_NO_METHODS = (oslo_messaging.NoSuchMethod, oslo_messaging.UnsupportedVersion)
_WORKED = struct.Struct("<BdH")
# How many requests are told of at once that were worked on.
_TOGETHER = 50
_TIMEOUT = struct.Struct("<d")
_LENGTH = struct.Struct("<H")


class _Incoming(base.RpcIncomingMessage):
    """A message that has come in."""

    # Their class takes an id of its own where there is none; that of the message is there already.
    def __init__(self, listener, number, body):
        self._listener = listener
        self._number = number
        self._came = time.monotonic()
        (timeout,) = _TIMEOUT.unpack_from(body)
        names, at = [], 8
        for _ in range(3):
            (length,) = _LENGTH.unpack_from(body, at)
            names.append(str(body[at + 2 : at + 2 + length], "utf-8"))
            at += 2 + length
        self.unique_id, self.orig_msg_id, self.reply_q = names
        self.msg_id = self.orig_msg_id or self.unique_id
        self.ctxt, self.message = json.loads(body[at:])
        self.client_timeout = None if math.isnan(timeout) else int(timeout)
        self.ctxt["client_timeout"] = self.client_timeout

    def _answer(self, result, failure, ending):
        if failure:
            failure = common.serialize_remote_exception(failure)
        message = {"result": result, "failure": failure, "ending": ending}
        message.update(_msg_id=self.orig_msg_id, _unique_id=unique())
        self._listener.driver.reply(self.reply_q, dumps(message))

    def reply(self, reply=None, failure=None):
        # Nobody waits for the answer to a cast.
        if self.orig_msg_id:
            self._answer(reply, failure, ending=True)
        self._listener.count(self.message.get("method"), failure, time.monotonic() - self._came)

    def heartbeat(self):
        self._answer(None, None, ending=False)

    def acknowledge(self):
        """A request was acknowledged when it was taken in, as by `rabbit://`."""

    def requeue(self):
        """Only notifications can be given back."""


class _Notification(_Incoming):
    def acknowledge(self):
        self._listener.settle(_bus.DONE, self._number)

    def requeue(self):
        self._listener.settle(_bus.AGAIN, self._number)


class Listener(base.Listener):
    """Takes messages in, in a thread of its own, and hands them to the server.

    `once` says that they are acknowledged when they are taken in; otherwise each says itself what becomes of it.
    """

    def __init__(self, driver, opening, once, batch_size, batch_timeout, prefetch_size):
        super().__init__(batch_size, batch_timeout, prefetch_size)
        self.driver = driver
        self._once = once
        self._kind = _Incoming if once else _Notification
        self._thread = None
        # What was not told yet of the requests that were worked on; how many were taken, and how many told.
        self._worked = collections.deque()
        self._taken = self._told = 0
        self._telling = threading.Lock()
        self._socket = _bus.Socket(opening)
        self._early = self._socket.wait_ready(driver.log)

    def start(self, on_incoming_callback):
        super().start(on_incoming_callback)
        self._thread = threading.Thread(target=self._run, name="greenloom listener", daemon=True)
        self._thread.start()

    def _run(self):
        batch, began, frames = [], None, self._early
        while True:
            stopped = self._take(frames, batch)
            if batch and began is None:
                began = time.monotonic()
            while len(batch) >= self.batch_size:
                self._hand_over(batch[: self.batch_size])
                del batch[: self.batch_size]
                began = time.monotonic() if batch else None
            if stopped:
                break
            try:
                if batch and self.batch_timeout:
                    left = began + self.batch_timeout - time.monotonic()
                    frames = self._socket.receive(max(left, 0.001))
                else:
                    frames = self._socket.receive()
            except TimeoutError:
                self._hand_over(batch[:])
                del batch[:]
                began, frames = None, [(_bus.LOG, 0, b"")]
            if not frames:
                break
        if batch:
            self._hand_over(batch)

    def _take(self, frames, batch):
        """Makes messages of what has come. Returns whether no more come."""
        last, stopped = None, False
        for kind, number, body in frames:
            if kind == _bus.DELIVERY:
                last = number
                self._taken += 1
                try:
                    batch.append(self._kind(self, number, body))
                except Exception:
                    LOG.exception("a message that cannot be read is thrown away")
                    self.settle(_bus.DONE, number)
                    if self._once:
                        self.count("-", (ValueError,), 0.0)
            elif kind == _bus.STOPPED:
                stopped = True
            elif kind == _bus.LOG and body:
                self.driver.log(number, body)
        if self._once and last is not None:
            self.settle(_bus.DONE_UP_TO, last)
        return stopped

    def _hand_over(self, batch):
        try:
            self.on_incoming_callback(batch)
        except Exception:
            LOG.exception("a message could not be handed to the server")

    def settle(self, how, number):
        try:
            self._socket.send(how, number)
        except _bus.Failed as error:
            LOG.warning("a message is not acknowledged, and will come again: %s", error)

    def count(self, method, failure, seconds):
        """A request was worked on. Some are told together, as long as others are in work."""
        if not isinstance(method, str) or len(method) > 255 or failure and issubclass(failure[0], _NO_METHODS):
            # Names that anybody may have made up are not counted one by one.
            method = "-"
        name = method.encode(errors="replace")
        worked = self._worked
        worked.append(_WORKED.pack(failure is not None, seconds, len(name)) + name)
        if len(worked) >= min(_TOGETHER, self._taken - self._told):
            self._tell_worked()

    def _tell_worked(self):
        with self._telling:
            worked = [self._worked.popleft() for _ in range(len(self._worked))]
            if not worked:
                return
            self._told += len(worked)
            try:
                self._socket.send(_bus.WORKED, 0, *worked)
            except _bus.Failed:
                # With the bus its counts are gone.
                pass

    def stop(self):
        try:
            self._socket.send(_bus.STOP, 0)
        except _bus.Failed:
            # Nothing more comes.
            pass
        if self._thread is not None:
            self._thread.join()
        super().stop()

    def cleanup(self):
        self._socket.shut()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
