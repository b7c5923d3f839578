"""Between frames and methods with their messages. The work is done in Rust."""

import threading

from greenloom import _native

from .basic_message import Message
from .transport import plain_calls

__all__ = ("frame_handler", "frame_writer")

#: A broker may send no larger frame than was agreed. Before that, and where less was agreed, this much will do.
LIMIT = 128 * 1024


def frame_handler(connection, callback):
    """A function that takes frames, each a tuple of kind, channel and payload, and calls *callback* with the channel,
    the numbers, the arguments and the message, or None, of each method that is complete. It returns whether one was.
    """
    take = _native.AmqpStream(Message, LIMIT).frame

    def on_frame(frame):
        connection.bytes_recv += 1
        event = take(*frame)
        if event is None:
            return False
        callback(*event)
        return True

    return on_frame


def frame_writer(connection, transport):
    """A function that writes a method, and its message if it has one, as frames; one call at a time."""
    # The lock is of the kind that the program's threads have: a write may wait.
    return _native.AmqpWriter(connection, transport, threading.Lock(), *plain_calls(transport)).write
