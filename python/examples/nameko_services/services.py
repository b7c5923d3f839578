"""nameko services that call each other, listen to events, keep time and answer over HTTP: nameko run services"""

import eventlet
from nameko.events import EventDispatcher, event_handler
from nameko.rpc import RpcProxy, rpc
from nameko.timer import timer
from nameko.web.handlers import http


class Adder:
    name = "adder"
    dispatch = EventDispatcher()

    @rpc
    def add(self, a, b):
        return a + b

    @rpc
    def wait(self, seconds):
        eventlet.sleep(seconds)
        return seconds

    @rpc
    def fail(self):
        raise ValueError("as it should")

    @rpc
    def tell(self, number):
        self.dispatch("told", {"number": number})


class Front:
    name = "front"
    adder = RpcProxy("adder")
    heard, ticks = [], []

    @rpc
    def double(self, number):
        return self.adder.add(number, number)

    @rpc
    def noticed(self):
        return {"heard": sorted(self.heard), "ticks": len(self.ticks)}

    @event_handler("adder", "told")
    def on_told(self, payload):
        self.heard.append(payload["number"])

    @timer(interval=0.2)
    def tick(self):
        self.ticks.append(1)

    @http("GET", "/double/<int:number>")
    def get_double(self, request, number):
        return str(self.double(number))
