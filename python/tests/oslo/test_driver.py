"""`greenloom://` on a real RabbitMQ, among itself and with `rabbit://` at the other end.

GREENLOOM_RABBITMQ is the folder of a broker (crates/rpc/tests/rabbitmq/broker.sh), GREENLOOM_OSLO_EXECUTOR is
`threading` or `eventlet`; with the latter all is patched.
"""

import os

EXECUTOR = os.environ.get("GREENLOOM_OSLO_EXECUTOR", "threading")
if EXECUTOR == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import json
import logging
import subprocess
import sys
import threading
import time
import unittest
import uuid
import warnings

import amqp
import greenloom.inspect
import oslo_messaging as messaging
from oslo_config import cfg

# Exceptions of endpoints, and that a broker is gone, are what these tests are about.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

FOLDER = os.environ.get("GREENLOOM_RABBITMQ")
SCRIPT = os.path.join(os.path.dirname(__file__), "../../../crates/rpc/tests/rabbitmq/broker.sh")


def port():
    with open(os.path.join(FOLDER, "ports")) as ports:
        return int(dict(line.strip().split("=") for line in ports)["AMQP"])


def until(condition, seconds=30):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not come true in time")
        time.sleep(0.01)


class Endpoint:
    target = messaging.Target(version="1.2")

    def __init__(self):
        self.notes = []
        self.contexts = []

    def add(self, context, a, b):
        return a + b

    def context(self, context):
        return context

    def fail(self, context, why):
        raise ValueError(why)

    def note(self, context, number):
        self.contexts.append(context)
        self.notes.append(number)

    def slow(self, context, seconds):
        time.sleep(seconds)
        return "done"


class Notes:
    def __init__(self, back=()):
        self.payloads = []
        self.back = set(back)

    def info(self, context, publisher_id, event_type, payload, metadata):
        if payload in self.back:
            self.back.remove(payload)
            return messaging.NotificationResult.REQUEUE
        self.payloads.append(payload)
        return None


class Batches:
    def __init__(self):
        self.sizes = []

    def info(self, notes):
        self.sizes.append(len(notes))


@unittest.skipUnless(FOLDER, "there is no broker; see the top of this file")
class OnABroker(unittest.TestCase):
    def setUp(self):
        self.topic = "topic-" + uuid.uuid4().hex
        # Some of its options are registered with this one only.
        self.conf = cfg.CONF
        self.conf([], project="greenloom-tests")

    def url(self, scheme, **options):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{scheme}://guest:guest@127.0.0.1:{port()}/?{query}"

    def transport(self, scheme="greenloom", make=messaging.get_rpc_transport, **options):
        transport = make(self.conf, url=self.url(scheme, **options), allowed_remote_exmods=["builtins"])
        self.addCleanup(transport.cleanup)
        return transport

    def serve(self, scheme="greenloom", endpoint=None, server="one"):
        endpoint = endpoint or Endpoint()
        target = messaging.Target(topic=self.topic, server=server)
        served = messaging.get_rpc_server(self.transport(scheme), target, [endpoint], executor=EXECUTOR)
        served.start()
        self.addCleanup(lambda: (served.stop(), served.wait()))
        return endpoint

    def client(self, scheme="greenloom", **more):
        target = messaging.Target(topic=self.topic, version="1.0")
        return messaging.get_rpc_client(self.transport(scheme), target, **more)

    def pairs(self):
        """Servers and clients of both kinds."""
        for server, client in (("greenloom", "greenloom"), ("rabbit", "greenloom"), ("greenloom", "rabbit")):
            with self.subTest(server=server, client=client):
                self.topic = "topic-" + uuid.uuid4().hex
                yield server, client
                self.doCleanups()

    def listen(self, endpoint, transport, **more):
        targets = [messaging.Target(topic=self.topic)]
        listener = messaging.get_notification_listener(
            transport, targets, [endpoint], executor=EXECUTOR, allow_requeue=True, **more
        )
        listener.start()
        self.addCleanup(lambda: (listener.stop(), listener.wait()))
        return listener


class Requests(OnABroker):
    def test_a_call_brings_its_result_and_the_servers_exception(self):
        for server, client in self.pairs():
            self.serve(server)
            caller = self.client(client)
            self.assertEqual(caller.call({}, "add", a="\u00e9\ud800", b="\U0001f600"), "\u00e9\ud800\U0001f600")
            self.assertIsNone(caller.call({}, "note", number=1))
            with self.assertRaisesRegex(ValueError, "that is why"):
                caller.call({}, "fail", why="that is why")
            with self.assertRaises(messaging.RemoteError) as raised:
                caller.prepare(version="1.9").call({}, "add", a=1, b=2)
            self.assertEqual(raised.exception.exc_type, "UnsupportedVersion")

    def test_a_context_arrives_as_by_rabbit(self):
        for server, client in self.pairs():
            self.serve(server)
            context = {"user": "me", "roles": ["a"], "request_id": "req-1"}
            arrived = self.client(client).call(context, "context")
            self.assertEqual(arrived, {**context, "client_timeout": None})

    def test_casts_reach_one_server_a_named_one_or_all(self):
        for server, client in self.pairs():
            one, two = self.serve(server, server="one"), self.serve(server, server="two")
            caller = self.client(client)
            for number in range(20):
                caller.cast({}, "note", number=number)
            until(lambda: len(one.notes) + len(two.notes) == 20)
            self.assertEqual(sorted(one.notes + two.notes), list(range(20)))
            del one.notes[:], two.notes[:]
            caller.prepare(server="two").cast({}, "note", number=1)
            caller.prepare(fanout=True).cast({}, "note", number=2)
            until(lambda: len(one.notes) == 1 and len(two.notes) == 2)
            self.assertEqual((one.notes, sorted(two.notes)), ([2], [1, 2]))

    def test_many_calls_at_once_get_their_own_answers(self):
        self.serve()
        caller = self.client()
        results = {}

        def call(number):
            results[number] = caller.call({}, "add", a=number, b=1)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, {number: number + 1 for number in range(50)})

    def test_a_call_that_takes_too_long_times_out_and_its_late_answer_hurts_nobody(self):
        self.serve()
        caller = self.client()
        with self.assertRaises(messaging.MessagingTimeout):
            caller.prepare(timeout=0.2).call({}, "slow", seconds=1)
        time.sleep(1)
        self.assertEqual(caller.call({}, "add", a=1, b=2), 3)

    def test_a_call_of_nobody_times_out_as_by_rabbit_unless_the_message_has_to_arrive(self):
        with self.assertRaises(messaging.MessagingTimeout):
            self.client(timeout=0.3).call({}, "add", a=1, b=2)
        options = messaging.TransportOptions(at_least_once=True)
        with self.assertRaises(messaging.MessageUndeliverable):
            self.client(transport_options=options).cast({}, "note", number=1)

    def test_signs_of_life_keep_a_monitored_call_alive(self):
        for server, client in self.pairs():
            self.serve(server)
            caller = self.client(client).prepare(timeout=30, call_monitor_timeout=2)
            self.assertEqual(caller.call({}, "slow", seconds=3), "done")

    def test_a_request_that_comes_twice_is_worked_on_once(self):
        endpoint = self.serve()
        message = {"method": "note", "args": {"number": 1}, "_unique_id": uuid.uuid4().hex}
        body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)})
        with amqp.Connection(f"127.0.0.1:{port()}") as connection:
            channel = connection.channel()
            for _ in range(2):
                channel.basic_publish(amqp.Message(body), exchange="openstack", routing_key=self.topic)
            message["_unique_id"], message["args"] = uuid.uuid4().hex, {"number": 2}
            body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)})
            channel.basic_publish(amqp.Message(body), exchange="openstack", routing_key=self.topic)
        until(lambda: 2 in endpoint.notes)
        self.assertEqual(sorted(endpoint.notes), [1, 2])

    def test_what_is_no_message_is_thrown_away_and_the_next_one_is_taken(self):
        endpoint = self.serve()
        with amqp.Connection(f"127.0.0.1:{port()}") as connection:
            channel = connection.channel()
            for body in (b"\xff", b"[1]", b"{", b'{"oslo.version": "9.0", "oslo.message": "{}"}', b"{}"):
                channel.basic_publish(amqp.Message(body), exchange="openstack", routing_key=self.topic)
        self.client().cast({}, "note", number=7)
        until(lambda: endpoint.notes == [7])

    def test_a_server_that_stops_gives_back_what_it_has_not_taken(self):
        first = self.serve(server="one")
        until(lambda: True)
        self.client().cast({}, "note", number=0)
        until(lambda: first.notes == [0])
        self.doCleanups()
        caller = self.client()
        for number in range(1, 6):
            caller.cast({}, "note", number=number)
        second = self.serve(server="two")
        until(lambda: sorted(second.notes) == [1, 2, 3, 4, 5])


def told(sample):
    """A value on the page of metrics, or None: as of the time before, for the bus has an OS thread of its own."""
    for line in greenloom.inspect.metrics().splitlines():
        name, _, value = line.rpartition(" ")
        if name == sample:
            return float(value)
    return None


class Metrics(OnABroker):
    def test_calls_casts_and_queues_are_on_the_page_of_metrics(self):
        # What is known now of the calls of other tests is not this one's.
        greenloom.inspect.metrics()
        self.serve()
        caller = self.client()
        until(lambda: told("rpc_client_waiting") == 0)
        failures = 'rpc_client_failures_total{error_type="%s"}'
        calls = "rpc_client_call_duration_seconds_count"
        casts = 'messaging_client_sent_messages_total{messaging_operation_name="cast"}'
        names = (calls, casts, *(failures % why for why in ("remote", "timeout", "undelivered")))
        before = [told(name) for name in names]
        self.assertEqual([caller.call({}, "add", a=1, b=number) for number in range(3)], [1, 2, 3])
        with self.assertRaises(ValueError):
            caller.call({}, "fail", why="that is why")
        with self.assertRaises(messaging.RemoteError):
            caller.call({}, "made_up_by_the_caller")
        with self.assertRaises(messaging.MessagingTimeout):
            caller.prepare(timeout=0.2).call({}, "slow", seconds=1)
        nobody = messaging.get_rpc_client(
            self.transport(),
            messaging.Target(topic="nobody-" + uuid.uuid4().hex),
            transport_options=messaging.TransportOptions(at_least_once=True),
        )
        with self.assertRaises(messaging.MessageUndeliverable):
            nobody.call({}, "add", a=1, b=2)
        caller.cast({}, "note", number=1)
        caller.cast({}, "note", number=2)
        expected = [before + more for before, more in zip(before, (5, 2, 2, 1, 1))]
        until(lambda: [told(name) for name in names] == expected)
        until(lambda: told("rpc_client_waiting") == 0)
        topic = f'messaging_destination_name="{self.topic}"'
        until(lambda: told("messaging_client_consumed_messages_total{%s}" % topic) == 8)
        until(lambda: told("rpc_server_active_requests{%s}" % topic) == 0)
        for method, worked, failed in (("add", 3, 0), ("note", 2, 0), ("slow", 1, 0), ("fail", 1, 1), ("-", 1, 1)):
            labels = f'{topic},rpc_method="{method}"'
            self.assertEqual(told("rpc_server_call_duration_seconds_count{%s}" % labels), worked, method)
            self.assertEqual(told('rpc_server_failures_total{%s,error_type="failure"}' % labels), failed, method)
        self.assertGreaterEqual(
            told('rpc_server_call_duration_seconds_sum{%s,rpc_method="slow"}' % topic), 1, "it has slept for that"
        )
        until(lambda: told('messaging_queue_messages{%s,state="ready"}' % topic) == 0)
        # Its late answer finds nobody.
        until(lambda: told("rpc_client_late_answers_total") >= 1)
        self.doCleanups()
        until(lambda: told('messaging_queue_messages{%s,state="ready"}' % topic) is None)


class Notifications(OnABroker):
    def notifier(self, scheme="greenloom", driver="messagingv2"):
        transport = self.transport(scheme, messaging.get_notification_transport)
        return messaging.Notifier(transport, "tests", driver=driver, topics=[self.topic])

    def test_they_are_kept_until_somebody_listens_and_come_again_if_given_back(self):
        for server, client in self.pairs():
            for driver in ("messaging", "messagingv2"):
                notifier = self.notifier(client, driver)
                for payload in range(5):
                    notifier.info({}, "event", payload)
                notes = Notes(back=[2, 3])
                self.listen(notes, self.transport(server, messaging.get_notification_transport))
                until(lambda notes=notes: len(notes.payloads) == 5)
                self.assertEqual((sorted(notes.payloads), notes.back), (list(range(5)), set()))
                self.doCleanups()

    def test_each_pool_gets_each(self):
        pools = [Notes(), Notes()]
        transport = self.transport(make=messaging.get_notification_transport)
        for number, notes in enumerate(pools):
            self.listen(notes, transport, pool=f"pool-{number}-{self.topic}")
        notifier = self.notifier()
        for payload in range(5):
            notifier.info({}, "event", payload)
        until(lambda: all(len(notes.payloads) == 5 for notes in pools))

    def test_a_batch_ends_when_it_is_full_and_when_its_time_is_over(self):
        notifier = self.notifier()
        for payload in range(7):
            notifier.info({}, "event", payload)
        batches = Batches()
        listener = messaging.get_batch_notification_listener(
            self.transport(make=messaging.get_notification_transport),
            [messaging.Target(topic=self.topic)], [batches], executor=EXECUTOR, batch_size=5, batch_timeout=0.5,
        )
        listener.start()
        self.addCleanup(lambda: (listener.stop(), listener.wait()))
        until(lambda: sum(batches.sizes) == 7)
        self.assertEqual(batches.sizes, [5, 2])


class Ends(OnABroker):
    def test_what_rabbit_only_can_is_an_error_that_says_so(self):
        with self.assertRaisesRegex(messaging.DriverLoadFailure, "kombu_compression"):
            self.transport(kombu_compression="gzip")

    def test_a_broker_that_is_not_there_is_an_error_after_the_tries_that_are_wanted(self):
        url = "greenloom://guest:guest@127.0.0.1:1/"
        transport = messaging.get_rpc_transport(self.conf, url=url)
        self.addCleanup(transport.cleanup)
        caller = messaging.get_rpc_client(transport, messaging.Target(topic=self.topic), retry=0)
        with self.assertRaises(messaging.MessageDeliveryFailure):
            caller.cast({}, "note", number=1)
        caller = messaging.get_rpc_client(transport, messaging.Target(topic=self.topic), timeout=0.5)
        began = time.monotonic()
        with self.assertRaises(messaging.MessagingException):
            caller.call({}, "note", number=1)
        self.assertLess(time.monotonic() - began, 15)

    def test_a_child_process_has_connections_of_its_own(self):
        endpoint = self.serve()
        caller = self.client()
        self.assertEqual(caller.call({}, "add", a=1, b=2), 3)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                caller.cast({}, "note", number=5)
                code = 0 if caller.call({}, "add", a=2, b=2) == 4 and not endpoint.notes else 2
            finally:
                os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(caller.call({}, "add", a=1, b=2), 3)
        self.assertEqual(endpoint.notes, [5])

    def test_a_program_that_ends_without_a_cleanup_has_sent_its_answers(self):
        program = f"""
import os, sys
if {EXECUTOR!r} == "eventlet":
    import eventlet
    eventlet.monkey_patch()
import threading
import oslo_messaging as messaging
from oslo_config import cfg
cfg.CONF([], project="greenloom-tests")
done = threading.Event()
class Endpoint:
    def last(self, context):
        threading.Timer(0.2, done.set).start()
        return "bye"
transport = messaging.get_rpc_transport(cfg.CONF, url={self.url("greenloom")!r})
target = messaging.Target(topic={self.topic!r}, server="one")
server = messaging.get_rpc_server(transport, target, [Endpoint()], executor={EXECUTOR!r})
server.start()
print("ready", flush=True)
done.wait()
"""
        command = [sys.executable, "-W", "ignore", "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            self.addCleanup(server.kill)
            self.assertEqual(server.stdout.readline(), "ready\n")
            self.assertEqual(self.client().call({}, "last"), "bye")
            self.assertEqual(server.wait(30), 0)

    def test_a_broker_that_is_killed_and_comes_back_finds_servers_and_callers_as_they_were(self):
        endpoint = self.serve()
        caller = self.client(timeout=60)
        self.assertEqual(caller.call({}, "add", a=1, b=2), 3)
        subprocess.run([SCRIPT, "kill"], check=True)
        subprocess.run([SCRIPT, "start"], check=True)

        def is_back():
            try:
                return caller.prepare(timeout=1).call({}, "add", a=1, b=3) == 4
            except messaging.MessagingTimeout:
                # What the caller was faster with than the server with its queue is lost, as by `rabbit://`.
                return False

        until(is_back, 60)
        caller.cast({}, "note", number=9)
        caller.prepare(fanout=True).cast({}, "note", number=10)
        until(lambda: sorted(endpoint.notes) == [9, 10])


if __name__ == "__main__":
    unittest.main()
