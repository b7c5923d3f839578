"""load.py KIND HOST:PORT COUNT [TOPIC]: work for one of the programs; ends when it is done.

nameko: calls, 200 at once; celery: tasks; oslo: casts of an agent's size, which then wait in the topic's queue.
"""

import sys
import time
import uuid

AT_ONCE = 200


def nameko(address, count):
    from nameko.standalone.rpc import ClusterRpcProxy

    with ClusterRpcProxy({"AMQP_URI": f"amqp://guest:guest@{address}/"}, timeout=60) as services:
        for _ in range(count // AT_ONCE):
            waiting = [services.adder.add.call_async(number, 1) for number in range(AT_ONCE)]
            assert [reply.result() for reply in waiting] == list(range(1, AT_ONCE + 1))


def celery(address, count):
    import amqp
    import tasks

    def worked_on():
        stats = tasks.application.control.inspect(timeout=1).stats() or {}
        return sum(worker["total"].get("tasks.nothing", 0) for worker in stats.values()) if stats else None

    while (before := worked_on()) is None:
        pass
    for number in range(count):
        tasks.nothing.delay(number)
    # The worker is asked only when little is left to do: that is work, too.
    with amqp.Connection(address) as connection:
        channel = connection.channel()
        while channel.queue_declare("celery", passive=True).message_count:
            time.sleep(0.1)
    while (worked_on() or 0) - before < count:
        time.sleep(0.1)


def oslo(address, count, topic):
    import oslo_messaging as messaging
    from oslo_config import cfg

    cfg.CONF([], project="greenloom-bench")
    messaging.set_transport_defaults("openstack")
    transport = messaging.get_rpc_transport(cfg.CONF, url=f"rabbit://guest:guest@{address}/")
    # So there is a queue.
    target = messaging.Target(topic=topic, server="agent")
    server = messaging.get_rpc_server(transport, target, [], executor="threading")
    server.start()
    server.stop()
    server.wait()
    client = messaging.get_rpc_client(transport, messaging.Target(topic=topic))
    for number in range(count):
        client.cast(context(), "update", number=number, ports=[port(number) for _ in range(2)])
    transport.cleanup()


def context():
    """What oslo.context makes of a request."""
    names = ("user", "project_id", "request_id", "global_request_id", "resource_uuid")
    roles = {"roles": ["admin", "member", "reader"], "is_admin": True, "read_only": False, "show_deleted": False}
    return {name: uuid.uuid4().hex for name in names} | roles


def port(number):
    """What Neutron says of a port, more or less."""
    return {
        "id": str(uuid.uuid4()),
        "name": f"port-{number}",
        "network_id": str(uuid.uuid4()),
        "mac_address": "fa:16:3e:00:00:01",
        "admin_state_up": True,
        "status": "ACTIVE",
        "device_owner": "network:router_interface",
        "device_id": str(uuid.uuid4()),
        "fixed_ips": [{"subnet_id": str(uuid.uuid4()), "ip_address": "192.0.2.7", "prefixlen": 24}],
        "allowed_address_pairs": [],
        "binding:vif_type": "ovs",
        "binding:host_id": "compute-7",
        "mtu": 1450,
    }


if __name__ == "__main__":
    kind, address, count, *rest = sys.argv[1:]
    globals()[kind](address, int(count), *rest)
