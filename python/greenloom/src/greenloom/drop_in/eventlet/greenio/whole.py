"""What a stream's own calls do without a timeout: they go on until all is sent or, with MSG_WAITALL, received.

Here for the calls that are not native; their rest is.
"""

import socket

#: Flags of calls that do not wait.
DOES_NOT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_ERRQUEUE", 0)


def _beyond(count, buffers):
    """What is left of these buffers, as bytes, behind the first `count` of them."""
    for buffer in buffers:
        with memoryview(buffer) as view, view.cast("B") as part:
            if count < len(part):
                yield part[count:]
            count = max(count - len(part), 0)


def _transfer_rest(done, buffers, flags, patience, transfer):
    for part in _beyond(done, buffers):
        more = transfer(part, flags, patience.left())
        done += more
        if more < len(part):
            break
    return done


def send_rest(sock, sent, buffers, flags, patience):
    """Sends what is left of buffers of which so much was sent. Returns how much it is then."""
    return _transfer_rest(sent, buffers, flags, patience, sock._send_rest)


def receive_rest(sock, got, buffers, flags, patience, control=()):
    """Fills what is left of buffers of which so much is filled. Returns how much it is then. The system stops at
    `control` messages."""
    if not got or control or not flags & socket.MSG_WAITALL:
        return got
    return _transfer_rest(got, buffers, flags, patience, sock._receive_rest)


def with_rest(sock, data, size, flags, patience, control=()):
    """Returns the bytes received, and what is still to come of that many."""
    if flags & socket.MSG_WAITALL and 0 < len(data) < size:
        room = bytearray(size)
        room[: len(data)] = data
        data = bytes(room[: receive_rest(sock, len(data), [room], flags, patience, control)])
    return data
