"""A broker that does what a test tells it: it shakes hands, opens channels, and then sends the bytes it is given."""

import socket
import struct
import threading

from amqp.serialization import dumps

SPEC_DELIVER = (60, 60)


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, numbers, letters="", values=()):
    return frame(1, channel, struct.pack(">HH", *numbers) + dumps(letters, values))


def message(channel, body, tag=1, consumer="t", properties=b"\0\0"):
    """A delivery: a method, a header, and the body in one frame."""
    deliver = method(channel, SPEC_DELIVER, "sLbss", (consumer, tag, False, "an exchange", "a key"))
    header = frame(2, channel, struct.pack(">HHQ", 60, 0, len(body)) + properties)
    return deliver + header + (frame(3, channel, body) if body else b"")


class Broker:
    """Serves one connection. What comes in is in ``methods``, numbers with payloads; ``answers`` says what is sent for
    which.
    """

    def __init__(self, capabilities=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.methods = []
        self.heard = threading.Condition()
        properties = {"capabilities": capabilities or {}}
        self.answers = {
            (10, 11): method(0, (10, 30), "BlB", (2047, 131072, 60)),
            (10, 40): method(0, (10, 41), "s", ("",)),
            (10, 50): method(0, (10, 51)),
            (20, 10): method(1, (20, 11), "S", ("",)),
            (20, 40): method(1, (20, 41)),
            (60, 20): method(1, (60, 21), "s", ("t",)),
        }
        self.start = method(0, (10, 10), "ooFSS", (0, 9, properties, "PLAIN", "en_US"))
        self.socket = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        self.socket = self.listener.accept()[0]
        reader = self.socket.makefile("rb")
        try:
            reader.read(8)
            self.send(self.start)
            while head := reader.read(7):
                payload = reader.read(struct.unpack(">I", head[3:])[0])
                reader.read(1)
                if head[0] != 1:
                    continue
                numbers = struct.unpack(">HH", payload[:4])
                answer = self.answers.get(numbers)
                if answer:
                    self.send(answer)
                with self.heard:
                    self.methods.append((numbers, payload[4:]))
                    self.heard.notify_all()
        except OSError:
            pass

    def send(self, data):
        self.socket.sendall(data)

    def wait_for(self, numbers):
        with self.heard:
            if not self.heard.wait_for(lambda: any(one == numbers for one, _ in self.methods), 10):
                raise AssertionError(f"{numbers} did not come: {self.methods}")

    def die(self):
        """Ends the connection without a word."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(10)
        if self.socket is not None:
            self.socket.close()
