"""Messages of 1 KiB through the package amqp, on one OS thread with plain sockets: ours beside py-amqp's, in turns.

    amqp_messages.py VENV_PYTHON STOCK_FOLDER RESULTS.json [HOST:PORT]

The interpreter must have ours installed; stock lies in a folder that goes first on the path for its turns. The peer is
a process that takes what is published and throws it away, and delivers what it made before: so the client is measured,
and not a broker. With HOST:PORT, a RabbitMQ, both are measured on that too.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time

from turns import in_turns, keep, median, output_of

MESSAGES = 30_000
TURNS = 5
BODY = b"x" * 1024
FLOOR = 4.0


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, first, second, arguments=b""):
    return frame(1, channel, struct.pack(">HH", first, second) + arguments)


def short(text):
    return bytes([len(text)]) + text


def long(octets):
    return struct.pack(">I", len(octets)) + octets


#: What the peer answers, by method; None is what a message begins with.
ANSWERS = {
    (10, 11): method(0, 10, 30, struct.pack(">HIH", 2047, 131072, 0)),
    (10, 40): method(0, 10, 41, short(b"")),
    (20, 10): method(1, 20, 11, long(b"")),
    (60, 10): method(1, 60, 11),
    (60, 20): method(1, 60, 21, short(b"t")),
}


def deliveries(count):
    """Messages as a broker delivers them, with what a client of kombu's puts into them."""
    properties = struct.pack(">H", 0xF000) + short(b"application/json") + short(b"utf-8")
    headers = short(b"retries") + b"I" + struct.pack(">i", 0) + short(b"task") + b"S" + long(b"a.b.c")
    properties += long(headers) + b"\x02"
    header = frame(2, 1, struct.pack(">HHQ", 60, 0, len(BODY)) + properties)
    for tag in range(1, count + 1):
        arguments = short(b"t") + struct.pack(">QB", tag, 0) + short(b"jobs") + short(b"jobs")
        yield method(1, 60, 60, arguments) + header + frame(3, 1, BODY)


def peer():
    """Serves one connection after another."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    messages = b"".join(deliveries(MESSAGES))
    while True:
        connection = listener.accept()[0]
        try:
            serve(connection, messages)
        except ConnectionError:
            pass
        finally:
            connection.close()


def serve(connection, messages):
    # As RabbitMQ says: so a client looks for what it has to say before it publishes.
    capabilities = short(b"capabilities") + b"F" + long(short(b"connection.blocked") + b"t\x01")
    start = b"\0\x09" + long(capabilities) + long(b"PLAIN") + long(b"en_US")
    reader = connection.makefile("rb")
    reader.read(8)
    connection.sendall(method(0, 10, 10, start))
    while head := reader.read(7):
        payload = reader.read(struct.unpack(">I", head[3:])[0])
        reader.read(1)
        name = struct.unpack(">HH", payload[:4])
        connection.sendall(ANSWERS.get(name, b""))
        if name == (60, 20):
            connection.sendall(messages)
        elif name == (20, 10) and connection.recv(1, socket.MSG_PEEK):
            # A consumer declares how much it wants first; from a publisher comes nothing but messages.
            if connection.recv(11, socket.MSG_PEEK)[7:11] == struct.pack(">HH", 60, 40):
                room = bytearray(1 << 18)
                while connection.recv_into(room):
                    pass
                return


def measured(count, work):
    began, used = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    return {"messages_a_second": count / wall, "cpu_microseconds": cpu / count * 1e6}


def client(address, kind, end="abort"):
    import amqp

    connection = amqp.Connection(address)
    connection.connect()
    channel = connection.channel()
    left = MESSAGES
    if kind == "publish":
        queue = "greenloom-bench"

        def publish():
            for _ in range(MESSAGES):
                message = amqp.Message(
                    BODY,
                    content_type="application/json",
                    content_encoding="utf-8",
                    application_headers={"retries": 0, "task": "a.b.c"},
                    delivery_mode=1,
                )
                channel.basic_publish(message, routing_key=queue)

        figures = measured(MESSAGES, publish)
    else:
        channel.basic_qos(0, 0, False)

        def on_message(message):
            nonlocal left
            left -= 1
            if kind == "consume and ack":
                channel.basic_ack(message.delivery_tag)

        # The peer knows its queue; RabbitMQ has been given one.
        channel.basic_consume("greenloom-bench", callback=on_message, no_ack=kind == "consume")

        def consume():
            while left:
                connection.drain_events()

        figures = measured(MESSAGES, consume)
    print(json.dumps(figures | {"package": amqp.__file__}))
    # A broker drops what it has not read yet of a connection that goes without a word; the peer knows no word.
    connection.close() if end == "close" else connection.transport.close()


def run(python, stock, *arguments):
    env = {**os.environ, "PYTHONPATH": stock or ""}
    return json.loads(output_of([python, __file__, *arguments], env=env))


def queue(address, python, what):
    """Makes RabbitMQ's queue anew, or deletes it; returns when it is there."""
    code = (
        "import amqp, sys\nwith amqp.Connection(sys.argv[1]) as c:\n ch = c.channel()\n"
        " ch.queue_delete('greenloom-bench')\n"
        " if sys.argv[2] == 'new': ch.queue_declare('greenloom-bench', auto_delete=False, durable=True)\n"
    )
    output_of([python, "-c", code, address, what])


def compare(python, stock, address, broker):
    end, folders = "close" if broker else "abort", {"ours": None, "stock": stock}

    def measure(kind, side):
        if broker:
            queue(address, python, "new")
            if kind != "publish":
                run(python, None, "client", address, "publish", end)
        return run(python, folders[side], "client", address, kind, end)

    figures = {}
    for kind in ("publish", "consume", "consume and ack"):
        figures[kind], problems = in_turns(folders, lambda side: measure(kind, side), TURNS)
        if problems:
            sys.exit(str(problems))
    if broker:
        queue(address, python, "gone")
    return figures


def median_of(turns, name):
    return median([turn[name] for turn in turns])


def main(python, stock, results, broker=None):
    server = subprocess.Popen([sys.executable, __file__, "peer"], stdout=subprocess.PIPE, text=True)
    try:
        address = f"127.0.0.1:{server.stdout.readline().strip()}"
        all_figures = {"a peer that costs nothing": compare(python, stock, address, False)}
        if broker:
            all_figures["RabbitMQ"] = compare(python, stock, broker, True)
    finally:
        server.kill()
        server.wait()
    for peer_name, figures in all_figures.items():
        print(f"{peer_name}: messages a second of ours and of py-amqp, and microseconds of CPU a message")
        for kind, sides in figures.items():
            ours, theirs = (median_of(sides[side], "messages_a_second") for side in ("ours", "stock"))
            cpu = [median_of(sides[side], "cpu_microseconds") for side in ("ours", "stock")]
            verdict = "   within" if ours / theirs >= FLOOR else f"   MISSES {FLOOR}x"
            if peer_name == "RabbitMQ":
                verdict = ""
            print(
                f"  {kind:16} {ours:10,.0f} {theirs:10,.0f} {ours / theirs:6.2f}x"
                f"   CPU {cpu[0]:6.2f} {cpu[1]:6.2f} {cpu[1] / cpu[0]:6.2f}x{verdict}"
            )
    keep(results, python, messages=MESSAGES, figures=all_figures)


if __name__ == "__main__":
    if sys.argv[1:] == ["peer"]:
        peer()
    elif sys.argv[1:2] == ["client"]:
        client(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
