"""An agent as OpenStack's are: oslo.messaging's server on eventlet.

Prints the seconds from its start to its last cast, and those that it has used of its core.

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
        self.done = eventlet.event.Event()

    def update(self, context, number, ports=()):
        self.left -= 1
        if self.left == 0:
            self.done.send()


def main(url, topic, casts):
    cfg.CONF([], project="greenloom-bench")
    messaging.set_transport_defaults("openstack")
    transport = messaging.get_rpc_transport(cfg.CONF, url=url)
    agent = Agent(int(casts))
    target = messaging.Target(topic=topic, server="agent")
    server = messaging.get_rpc_server(transport, target, [agent], executor="eventlet")
    began, used = time.perf_counter(), time.process_time()
    server.start()
    agent.done.wait()
    print(time.perf_counter() - began, time.process_time() - used, flush=True)
    server.stop()


main(*sys.argv[1:])
