"""Between frames and methods with their messages. The work is done in Rust."""

import threading

from greenloom import _native

from .basic_message import Message

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
    write = transport.write
    frames_of = _native.amqp_frames
    # Frames of two callers must not be mixed, and a write may wait.
    lock = threading.Lock()

    def write_frame(type_, channel, method_sig, args, content):
        frames = frames_of(type_, channel, method_sig, args, content, connection.frame_max)
        with lock:
            if type(frames) is list:
                for frame in frames:
                    write(frame)
            else:
                write(memoryview(frames))
            connection.bytes_sent += 1

    return write_frame
