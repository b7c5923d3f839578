"""CPU of an agent for a cast of 1.8 kB, on eventlet: `rabbit://` or `greenloom://`, on whatever eventlet and amqp there
are. For figures beside stock's, run it with both in turn.

oslo_casts.py SCHEME HOST:PORT CASTS
"""

import eventlet

eventlet.monkey_patch()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import uuid  # noqa: E402

import amqp  # noqa: E402
import oslo_messaging as messaging  # noqa: E402
from oslo_config import cfg  # noqa: E402

# As of a service of OpenStack.
CONTEXT = {
    "user": "u" * 32, "project_id": "p" * 32, "user_domain": "default", "project_domain": "default", "domain": None,
    "is_admin": True, "read_only": False, "show_deleted": False, "request_id": f"req-{uuid.uuid4()}",
    "resource_uuid": None, "roles": ["reader", "admin", "member"], "user_identity": "a b - c d",
    "is_admin_project": True, "global_request_id": None, "timestamp": "2026-11-28 10:00:00", "tenant": "p" * 32,
    "tenant_id": "p" * 32, "tenant_name": "demo", "user_id": "u" * 32, "user_name": "demo", "auth_token": "g" * 180,
}
ROUTER = {
    "id": str(uuid.uuid4()), "name": "router1", "admin_state_up": True, "status": "ACTIVE", "routes": [], "ha": False,
    "distributed": False, "external_gateway_info": {
        "network_id": str(uuid.uuid4()), "enable_snat": True,
        "external_fixed_ips": [{"subnet_id": str(uuid.uuid4()), "ip_address": "10.0.0.5"}],
    },
}


def feed(address, topic, casts):
    """Puts the casts into the agent's queue, before it is there to take them."""
    with amqp.Connection(address) as connection:
        channel = connection.channel()
        channel.exchange_declare("openstack", "topic", durable=False, auto_delete=False)
        channel.queue_declare(topic, durable=False, auto_delete=False)
        channel.queue_bind(topic, "openstack", topic)
        for number in range(casts):
            message = {"method": "update", "args": {"number": number, "routers": [ROUTER]}, "version": "1.0"}
            message.update({f"_context_{name}": value for name, value in CONTEXT.items()}, _unique_id=uuid.uuid4().hex)
            body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)})
            channel.basic_publish(
                amqp.Message(body, content_type="application/json", content_encoding="utf-8"), "openstack", topic
            )
        # What is behind all that was published is answered when the broker has it.
        channel.close()


class Agent:
    def __init__(self, casts):
        self.left = casts
        self.done = eventlet.event.Event()

    def update(self, context, number, routers):
        self.left -= 1
        if self.left == 0:
            self.done.send()


def main(scheme, address, casts):
    topic = f"casts-{uuid.uuid4().hex}"
    feed(address, topic, casts)
    cfg.CONF([], project="greenloom-bench")
    transport = messaging.get_rpc_transport(cfg.CONF, url=f"{scheme}://guest:guest@{address}/")
    agent = Agent(casts)
    target = messaging.Target(topic=topic, server="agent")
    server = messaging.get_rpc_server(transport, target, [agent], executor="eventlet")
    began, used = time.perf_counter(), time.process_time()
    server.start()
    agent.done.wait()
    seconds, used = time.perf_counter() - began, time.process_time() - used
    print(f"{scheme}: {used / casts * 1e6:.1f} us of CPU a cast, {casts / seconds:.0f} casts a second", flush=True)
    server.stop()


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
