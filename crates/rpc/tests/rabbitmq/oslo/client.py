"""Asks a server through oslo.messaging and prints each outcome as a line of JSON: client.py URL TOPIC SERVER."""

import json
import sys

import oslo_messaging as messaging
from oslo_config import cfg

messaging.set_transport_defaults("openstack")


def outcome(name, ask):
    try:
        result = {"result": ask()}
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error), "module": type(error).__module__}
        for attribute in ("exc_type", "value", "args", "kwargs"):
            value = getattr(error, attribute, None)
            try:
                json.dumps(value)
            except TypeError:
                value = repr(value)
            result[attribute] = value
    print(json.dumps({"name": name, **result}), flush=True)


def main(url, topic, server):
    cfg.CONF([], project="greenloom")
    transport = messaging.get_rpc_transport(cfg.CONF, url=url)
    client = messaging.get_rpc_client(transport, messaging.Target(topic=topic, version="1.0"), timeout=20)
    context = {"request_id": "req-python", "user": "ä"}

    def call(method, prepared=None, /, **args):
        return (prepared or client).call(context, method, **args)

    odd = {"list": [1, 2.5, None, True, "ä\n\"\\"], "nested": {"a": {"b": []}}, "large": 2**53}
    outcome("echo", lambda: call("echo", value=odd))
    outcome("context", lambda: call("context"))
    outcome("nothing", lambda: call("nothing"))
    outcome("server", lambda: call("echo", client.prepare(server=server), value="one"))
    outcome("large", lambda: len(call("echo", value="x" * 1_000_000)))
    outcome("value error", lambda: call("fail"))
    outcome("own error", lambda: call("fail_own"))
    outcome("no method", lambda: call("no_such_method"))
    outcome("arguments", lambda: call("echo", other=1))
    outcome("minor version", lambda: call("echo", client.prepare(version="1.3"), value=3))
    outcome("too new", lambda: call("echo", client.prepare(version="1.4"), value=4))
    outcome("other major", lambda: call("echo", client.prepare(version="2.0"), value=4))
    outcome("namespace", lambda: call("who", client.prepare(namespace="admin", version="2.1")))
    outcome("no namespace", lambda: call("who", client.prepare(namespace="nobody", version="2.1")))
    outcome("timeout", lambda: call("slow", client.prepare(timeout=1), seconds=3))
    outcome("monitored", lambda: call("slow", client.prepare(timeout=20, call_monitor_timeout=2), seconds=4))
    outcome("cast", lambda: client.cast(context, "note", text="cast"))
    outcome("cast to server", lambda: client.prepare(server=server).cast(context, "note", text="to server"))
    outcome("fanout", lambda: client.prepare(fanout=True).cast(context, "note", text="fanout"))
    outcome("notes", lambda: call("notes", count=3))
    transport.cleanup()


main(*sys.argv[1:])
