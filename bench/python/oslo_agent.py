"""An agent as OpenStack's are: oslo.messaging's server on eventlet. Prints the seconds from its first cast to its last.

oslo_agent.py URL TOPIC CASTS
"""

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402
import time  # noqa: E402

import oslo_messaging as messaging  # noqa: E402
from oslo_config import cfg  # noqa: E402


class Agent:
    def __init__(self, casts):
        self.left = casts
        self.first = None
        self.done = eventlet.event.Event()

    def update(self, context, number):
        if self.first is None:
            self.first = time.perf_counter()
        self.left -= 1
        if self.left == 0:
            self.done.send(time.perf_counter() - self.first)


def main(url, topic, casts):
    cfg.CONF([], project="greenloom-bench")
    messaging.set_transport_defaults("openstack")
    transport = messaging.get_rpc_transport(cfg.CONF, url=url)
    agent = Agent(int(casts))
    target = messaging.Target(topic=topic, server="agent")
    server = messaging.get_rpc_server(transport, target, [agent], executor="eventlet")
    server.start()
    print(agent.done.wait(), flush=True)
    server.stop()


main(*sys.argv[1:])
