"""What a stream's own calls do without a timeout: they go on until all is sent or, with MSG_WAITALL, received.

What fails on the way is told by the next call; this one tells how much there was.
"""

import socket

from greenloom import _native

#: Flags of calls that do not wait.
DOES_NOT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_ERRQUEUE", 0)


def _takes_all(sock, flags, asked):
    looks = flags & (DOES_NOT_WAIT | socket.MSG_PEEK | socket.MSG_OOB)
    return flags & asked == asked and not looks and sock._timeout is None and sock.type == socket.SOCK_STREAM


def _beyond(count, buffers):
    """What is left of these buffers, as bytes, behind the first `count` of them."""
    for buffer in buffers:
        with memoryview(buffer) as view, view.cast("B") as part:
            if count < len(part):
                yield part[count:]
            count = max(count - len(part), 0)


def _transfer_rest(done, buffers, transfer):
    for part in _beyond(done, buffers):
        try:
            more = transfer(part)
        except OSError:
            break
        done += more
        if more < len(part):
            break
    return done


def send_rest(sock, sent, buffers, flags):
    """Sends what is left of buffers of which so much was sent. Returns how much it is then."""
    if not _takes_all(sock, flags, 0):
        return sent
    return _transfer_rest(sent, buffers, lambda part: _native.GreenSocket.send(sock, part, flags))


def receive_rest(sock, got, buffers, flags, control=()):
    """Fills what is left of buffers of which so much is filled. Returns how much it is then. The system stops at
    `control` messages."""
    if not got or control or not _takes_all(sock, flags, socket.MSG_WAITALL):
        return got
    return _transfer_rest(got, buffers, lambda part: _native.GreenSocket.recv_into(sock, part, 0, flags))


def with_rest(sock, data, size, flags, control=()):
    """Returns the bytes received, and what is still to come of that many."""
    if flags & socket.MSG_WAITALL and 0 < len(data) < size:
        room = bytearray(size)
        room[: len(data)] = data
        data = bytes(room[: receive_rest(sock, len(data), [room], flags, control)])
    return data
