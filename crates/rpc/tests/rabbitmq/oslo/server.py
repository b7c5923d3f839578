"""A server on oslo.messaging that runs until its standard input ends: server.py URL TOPIC SERVER."""

import sys
import threading
import time

import oslo_messaging as messaging
from oslo_config import cfg

messaging.set_transport_defaults("openstack")


class OwnError(Exception):
    def __init__(self, message, code):
        super().__init__(message, code)
        self.kwargs = {"code": code}


class Plain:
    target = messaging.Target(version="1.3")

    def __init__(self):
        self.noted = []
        self.changed = threading.Condition()

    def echo(self, context, value):
        return value

    def context(self, context):
        return context

    def nothing(self, context):
        return None

    def fail(self, context):
        raise ValueError("no such router")

    def fail_own(self, context):
        raise OwnError("mine", 7)

    def slow(self, context, seconds):
        time.sleep(seconds)
        return "slept"

    def note(self, context, text):
        with self.changed:
            self.noted.append(text)
            self.changed.notify_all()

    def notes(self, context, count):
        with self.changed:
            self.changed.wait_for(lambda: len(self.noted) >= count, timeout=15)
            return sorted(self.noted)


class Admin:
    target = messaging.Target(namespace="admin", version="2.1")

    def who(self, context):
        return "admin"


def main(url, topic, server):
    cfg.CONF([], project="greenloom")
    transport = messaging.get_rpc_transport(cfg.CONF, url=url)
    target = messaging.Target(topic=topic, server=server)
    rpc = messaging.get_rpc_server(transport, target, [Plain(), Admin()], executor="threading")
    rpc.start()
    print("ready", flush=True)
    sys.stdin.read()
    rpc.stop()
    rpc.wait()


main(*sys.argv[1:])
