"""The sockets to the OS thread that serves the bus, and the frames on them, as crates/rpc/src/bridge describes them."""

import _socket
import itertools
import json
import os
import queue
import socket
import struct
import threading
import weakref

from greenloom import _native

# What is asked for.
_OPEN, _SEND, _REPLIES, _REPLY, _FLUSH, DONE_UP_TO, DONE, AGAIN, STOP, _FORGET, WORKED = range(11)
# What is told.
_READY, _DONE, _FAILED, _ANSWER, DELIVERY, STOPPED, LOG = range(7)

# How something has failed.
CLOSED, DISCONNECTED, TIMED_OUT, UNROUTABLE, REFUSED, BAD_URL = range(1, 7)

MANDATORY, ENVELOPE, DECLARE, RESENT = 1, 2, 4, 8

# Why nobody waits for the answer to a call any more.
ENDED, LATE, UNDELIVERED = range(3)

_HEAD = struct.Struct("<IBQ")
_SENDING = struct.Struct("<BddH")
_REPLYING = struct.Struct("<dH")
_LENGTH = struct.Struct("<H")
_PIECE = 256 * 1024


class Failed(Exception):
    """The bus did not do something: `kind` says how, the text why."""

    def __init__(self, kind, why):
        super().__init__(why)
        self.kind = kind


_sockets = weakref.WeakSet()


def _abandon_all():
    """In the child of a fork, where green threads go on and must not read what is their parent's."""
    for each in list(_sockets):
        each.abandon()


os.register_at_fork(after_in_child=_abandon_all)


class Socket:
    """One socket to the bus, open for what `opening` says."""

    def __init__(self, opening):
        ours, theirs = _socket.socketpair()
        # Made anew, so that it is a green one where sockets are.
        self._socket = socket.socket(ours.family, ours.type, ours.proto, fileno=ours.detach())
        self._writing = threading.Lock()
        self._rest = b""
        self._abandoned = False
        _sockets.add(self)
        _native.serve_bus(theirs.detach())
        self.send(_OPEN, 0, json.dumps(opening).encode())

    def send(self, kind, number, *parts):
        length = sum(map(len, parts))
        data = b"".join((_HEAD.pack(length + 9, kind, number), *parts))
        try:
            with self._writing:
                self._socket.sendall(data)
        except OSError as error:
            raise Failed(CLOSED, f"the bus is gone: {error}") from error

    def receive(self, timeout=None):
        """Waits for frames, and returns a list of kind, number and body; an empty one is the end.

        Raises TimeoutError, and loses nothing then.
        """
        # One who waits without a limit never changes it.
        if timeout is not None:
            self._socket.settimeout(timeout)
        try:
            while True:
                try:
                    data = self._socket.recv(_PIECE)
                except ConnectionError:
                    data = b""
                except OSError:
                    if not self._abandoned:
                        raise
                    data = b""
                if not data:
                    return []
                if self._rest:
                    data = self._rest + data
                frames, at, end = [], 0, len(data)
                while end - at >= 13:
                    length, kind, number = _HEAD.unpack_from(data, at)
                    following = at + 4 + length
                    if following > end:
                        break
                    frames.append((kind, number, data[at + 13 : following]))
                    at = following
                self._rest = data[at:] if at < end else b""
                if frames:
                    return frames
        finally:
            if timeout is not None:
                self._socket.settimeout(None)

    def wait_ready(self, log):
        """Waits until it is open for what it was opened for. Returns what has come since then."""
        while frames := self.receive():
            for index, (kind, number, body) in enumerate(frames):
                if kind == _READY:
                    return frames[index + 1 :]
                if kind == _FAILED:
                    raise failed(body)
                if kind == LOG:
                    log(number, body)
        raise Failed(CLOSED, "the bus is gone")

    def shut(self):
        """Lets both sides read the end, whoever has the socket open besides."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The bus was first.
            pass

    def abandon(self):
        """Closes it here, while the process that has opened it goes on with it."""
        self._abandoned = True
        self._socket.close()

    def close(self):
        """When nobody reads any more: not all kinds of green threads learn of it."""
        self._socket.close()


def failed(body):
    return Failed(body[0], str(body[1:], "utf-8", "replace"))


class _Waiter:
    """Somebody who waits for one outcome."""

    __slots__ = ("_lock", "outcome")

    def __init__(self):
        self._lock = threading.Lock()
        self._lock.acquire()
        self.outcome = None

    def tell(self, outcome):
        self.outcome = outcome
        self._lock.release()

    def wait(self, timeout=-1):
        return self._lock.acquire(timeout=timeout)


class Client:
    """The socket that sends, with a thread that reads what comes back."""

    def __init__(self, opening, log):
        self._socket = Socket(opening)
        self._log = log
        self._waiting = {}
        self._calls = {}
        self._unanswered = set()
        self._numbers = itertools.count(1)
        self._ended = None
        self._answers = None
        self._opening = threading.Lock()
        early = self._socket.wait_ready(log)
        self._reader = threading.Thread(target=self._read, args=(early,), name="greenloom bus", daemon=True)
        self._reader.start()

    def _read(self, frames):
        try:
            while True:
                for kind, number, body in frames:
                    if kind == _DONE:
                        if waiter := self._waiting.pop(number, None):
                            waiter.tell(body)
                    elif kind == _FAILED:
                        if waiter := self._waiting.pop(number, None):
                            waiter.tell(failed(body))
                    elif kind == _ANSWER:
                        self._take_answer(number, body)
                    elif kind == LOG:
                        self._log(number, body)
                frames = self._socket.receive()
                if not frames:
                    return
        finally:
            self._ended = Failed(CLOSED, "the bus is gone")
            while self._waiting:
                self._waiting.popitem()[1].tell(self._ended)

    def _take_answer(self, bits, body):
        (length,) = _LENGTH.unpack_from(body)
        msg_id = str(body[2 : 2 + length], "utf-8")
        waiting = self._calls.get(msg_id)
        # Nobody may wait any more.
        if waiting is not None:
            if bits & 1:
                self._unanswered.discard(msg_id)
            waiting.put((bits, body[2 + length :]))

    def _ask(self, kind, *parts, timeout=-1):
        waiter = _Waiter()
        number = next(self._numbers)
        self._waiting[number] = waiter
        if self._ended:
            raise self._ended
        self._socket.send(kind, number, *parts)
        if not waiter.wait(timeout):
            self._waiting.pop(number, None)
            raise Failed(TIMED_OUT, "timed out waiting for the bus")
        if isinstance(waiter.outcome, Failed):
            raise waiter.outcome
        return waiter.outcome

    def send_message(self, place, message, flags, expires=0.0, within=0.0, call=""):
        """Sends a message, in JSON, and waits until the broker has it. *call* is its id if it is one. Raises Failed."""
        call = call.encode()
        head = _SENDING.pack(flags, expires, within, len(place))
        self._ask(_SEND, head, place, _LENGTH.pack(len(call)), call, message)

    def answers(self):
        """The name of the queue where answers come in."""
        if self._answers is None:
            with self._opening:
                if self._answers is None:
                    self._answers = str(self._ask(_REPLIES), "utf-8")
        return self._answers

    def expect(self, msg_id):
        """A queue of what is answered to a call: bits and JSON."""
        self._calls[msg_id] = answers = queue.Queue()
        self._unanswered.add(msg_id)
        return answers

    def forget(self, msg_id, why=ENDED):
        """Nobody waits for the answer to a call any more, since there is one, or why not."""
        del self._calls[msg_id]
        if msg_id in self._unanswered:
            self._unanswered.discard(msg_id)
            try:
                self._socket.send(_FORGET, why, msg_id.encode())
            except Failed:
                # With the bus its counts are gone.
                pass

    def reply(self, queue_name, message, patience):
        """Gives an answer away, to be sent for as long as its queue may be missing."""
        name = queue_name.encode()
        self._socket.send(_REPLY, 0, _REPLYING.pack(patience, len(name)), name, message)

    def flush(self, timeout):
        """Waits until all is sent."""
        self._ask(_FLUSH, timeout=timeout)

    def close(self):
        self._socket.shut()
        self._reader.join()
        self._socket.close()
