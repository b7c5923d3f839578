"""Between frames and methods with their messages. The work is done in Rust."""

import _socket
import threading

from greenloom import _native

from .basic_message import Message
from .transport import TCPTransport

__all__ = ("frame_handler", "frame_writer")

#: A broker may send no larger frame than was agreed. Before that, and where less was agreed, this much will do.
LIMIT = 128 * 1024

#: As they are unless a program changes them.
_WRITE = TCPTransport.write
_SENDALL = _socket.socket.sendall


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


def _plain_calls(transport):
    """``sendall`` and ``fileno`` of a transport's socket if writing to the transport is nothing but sending to the
    descriptor; else None twice. A program may have a transport or a socket of its own, or change what one does; and
    green sockets do more: they see to it that others have their turn.
    """
    write = getattr(transport, "write", None)
    if type(transport) is not TCPTransport or getattr(write, "__func__", None) is not _WRITE:
        return None, None
    sock, sendall = transport.sock, transport._write
    method = getattr(type(sock), "sendall", None)
    if method is not _SENDALL or getattr(sendall, "__self__", None) is not sock:
        return None, None
    return sendall, sock.fileno


def frame_writer(connection, transport):
    """A function that writes a method, and its message if it has one, as frames; one call at a time."""
    # The lock is of the kind that the program's threads have: a write may wait.
    return _native.AmqpWriter(connection, transport, threading.Lock(), *_plain_calls(transport)).write
