"""Programs on amqp. A line that checkers must refuse ends in `# error`."""

import socket
from typing import Any

import amqp
from amqp import exceptions, sasl, spec
from amqp.basic_message import Message
from amqp.channel import Channel
from amqp.connection import Connection
from amqp.serialization import dumps, loads
from amqp.transport import TCPTransport, to_host_port


def on_message(message: amqp.Message) -> None:
    text: str = message.body.decode()
    headers = message.headers or {}
    print(text, headers.get("tries"), message.content_type, message.delivery_info["routing_key"])
    message.channel.basic_ack(message.delivery_tag)


class Logged(amqp.Connection):
    library_properties = {"product": "a program"}

    def drain_events(self, timeout: float | None = None) -> None:
        super().drain_events(timeout)


with amqp.Connection("localhost:5672", "guest", "guest", heartbeat=60, confirm_publish=True) as connection:
    channel = connection.channel()
    name, messages, consumers = channel.queue_declare("jobs", durable=True, arguments={"x-max-priority": 5})
    print(name.upper(), messages + consumers)
    channel.queue_declare(queue="others", nowait=True)
    channel.exchange_declare("changes", "topic", auto_delete=False)
    channel.queue_bind("jobs", exchange="changes", routing_key="#")
    sent = amqp.Message("dig", content_type="text/plain", application_headers={"tries": 1}, priority=3)
    channel.basic_publish(sent, exchange="changes", routing_key="dig", mandatory=True, timeout=5)
    channel.basic_qos(0, 10, False)
    tag: str = channel.basic_consume("jobs", callback=on_message, on_cancel=print)
    try:
        while connection.connected:
            connection.heartbeat_tick(rate=2)
            connection.drain_events(timeout=1)
    except socket.timeout:
        pass
    channel.basic_cancel(tag)
    got = channel.basic_get("jobs", no_ack=True)
    if got is not None:
        print(got.body)
    purged: int = channel.queue_purge("jobs") + channel.queue_delete("jobs")
    channel.events["basic_return"].add(print)
    number: int = connection.sock.fileno()
    connection.then(print)

secure = Connection(
    host="broker:5671",
    ssl={"ca_certs": "ca.pem", "server_hostname": "broker"},
    authentication=[sasl.EXTERNAL(), sasl.PLAIN("guest", "guest")],
    socket_settings={socket.TCP_NODELAY: 1},
    on_blocked=print,
)
secure.connect()
own: Channel = secure.channel(3)
own.close()
try:
    secure.channel().basic_publish(Message(b"bytes"), routing_key="nowhere")
except amqp.NotFound as error:
    print(error.reply_code + 1, error.reply_text, error.method)
except (amqp.ConnectionError, exceptions.MessageNacked):
    pass
except secure.recoverable_connection_errors:
    pass
code: int = amqp.PreconditionFailed.code
failure: amqp.AMQPError = amqp.error_for_code(404, "gone", spec.Queue.Declare, amqp.ChannelError)
major: int = amqp.VERSION.major
host, port = to_host_port("broker")
TCPTransport(host, connect_timeout=1.5).connect()
values, offset = loads("sl", dumps("sl", ["text", 1]), 0)


class Token(sasl.SASL):
    mechanism = b"XOAUTH2"

    def start(self, connection: amqp.Connection) -> bytes:
        return b"token"


def declare(channel: Any, *names: str) -> None:
    for name in names:
        channel.queue_declare(name)


amqp.Connection(5672)  # error
amqp.Connection(heartbeat="60")  # error
amqp.Connection(on_blocked=3)  # error
connection.channel("1")  # error
connection.connected = True  # error
connection.drain(1)  # error
channel.queue_declare(name="jobs")  # error
channel.queue_declare("jobs", nowait=True).queue  # error
channel.exchange_declare("changes")  # error
channel.basic_publish("text")  # error
channel.basic_publish(sent, key="jobs")  # error
channel.basic_consume("jobs", callback="text")  # error
channel.basic_ack("1")  # error
channel.basic_qos(10)  # error
channel.basic_get("jobs").body  # error
amqp.Message(3)  # error
amqp.MissingError  # error
raise amqp.error_for_code(404)  # error
