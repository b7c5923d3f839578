"""An RPC server as OpenStack's services are: oslo.messaging's, with the eventlet executor, in oslo.service.

server.py WORKERS URL: with fake:// each worker answers itself, over a broker they answer each other.
"""

import eventlet

eventlet.monkey_patch()

import sys
import time

import oslo_messaging
from oslo_config import cfg
from oslo_service import backend

backend.init_backend(backend.BackendType.EVENTLET)

from oslo_service import loopingcall, service  # noqa: E402


def say(what):
    """Prints a line in one piece, for the workers print to the same pipe."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


class Endpoint:
    """What clients may call."""

    target = oslo_messaging.Target(version="1.0")

    def add(self, context, a, b):
        return a + b

    def wait(self, context, seconds):
        time.sleep(seconds)
        return context["number"]

    @oslo_messaging.expected_exceptions(KeyError)
    def fail(self, context):
        raise KeyError("as it should")


class Server(service.Service):
    """The RPC server, a heartbeat, and in this example its client too."""

    def __init__(self, configuration, url):
        super().__init__()
        self.configuration, self.url = configuration, url
        self.server = None
        self.beats = 0

    def start(self):
        # Here, and not before the workers are forked: two of them cannot share a connection.
        self.transport = oslo_messaging.get_rpc_transport(self.configuration, url=self.url)
        target = oslo_messaging.Target(topic="sums", server="one")
        self.server = oslo_messaging.get_rpc_server(self.transport, target, [Endpoint()], executor="eventlet")
        self.server.start()
        self.heartbeat = loopingcall.FixedIntervalLoopingCall(self.beat)
        self.heartbeat.start(0.1)
        self.tg.add_thread(self.use)

    def beat(self):
        self.beats += 1

    def use(self):
        target = oslo_messaging.Target(topic="sums", version="1.0")
        client = oslo_messaging.get_rpc_client(self.transport, target, timeout=10)
        assert client.call({}, "add", a=2, b=3) == 5
        began = time.monotonic()
        pool = eventlet.GreenPool(20)
        answers = list(pool.imap(lambda number: client.call({"number": number}, "wait", seconds=0.5), range(20)))
        assert answers == list(range(20)), answers
        took = time.monotonic() - began
        assert took < 5, f"twenty calls of half a second took {took:.1f} s"
        try:
            client.call({}, "fail")
            raise AssertionError("the error did not arrive")
        except KeyError:
            pass
        assert self.beats > 3, self.beats
        say("answered")

    def stop(self, graceful=False):
        super().stop(graceful)
        # It is stopped more than once, and in the parent of the workers without a start.
        if self.server is None:
            return
        server, self.server = self.server, None
        self.heartbeat.stop()
        server.stop()
        server.wait()
        say("stopped")


if __name__ == "__main__":
    configuration = cfg.CONF
    configuration([])
    workers, url = sys.argv[1:]
    server = Server(configuration, url)
    launcher = service.launch(configuration, server, workers=int(workers), restart_method="mutate")
    launcher.wait()
