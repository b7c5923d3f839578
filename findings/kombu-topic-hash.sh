#!/bin/sh
# In Kombu's own transports the '#' of a topic binding does not match zero words.
#
# Version: kombu 5.7.0, transport memory:// (the matching lives in kombu.transport.virtual, which the Redis, SQS,
# filesystem and other non-AMQP transports share).
#
# Behaviour: a queue bound with "*.stock.#" gets eur.stock.db but not usd.stock; one bound with "log.#" gets log.error
# but not log; one bound with "#.error" does not get error. The message is dropped without a word, as an unroutable
# one is.
#
# Why it surprises: the AMQP 0-9-1 specification (section 3.1.3.3, the topic exchange type) says that '#' matches zero
# or more words, and its own example is that *.stock.# matches usd.stock. Kombu keeps the dot before '#' as a must. A
# program that works on RabbitMQ loses messages when its broker URL, or its test's, names another transport.
#
# Seen (binding, routing key: expected by AMQP, delivered by Kombu):
#   *.stock.#  eur.stock.db   yes  yes
#   *.stock.#  usd.stock      yes  no
#   log.#      log.error      yes  yes
#   log.#      log            yes  no
#   #.error    error          yes  no
#   a.#.z      a.z            yes  no
#   *.stock.#  stock.nasdaq   no   no
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'kombu==5.7.0' 'amqp==5.4.2' 'vine==5.1.0'

"$tmp/venv/bin/python" - <<'PY'
import sys

from kombu import Connection, Exchange, Queue

CASES = [
    # binding, routing key, what AMQP says, what Kombu does
    ("*.stock.#", "eur.stock.db", True, True),
    ("*.stock.#", "usd.stock", True, False),
    ("log.#", "log.error", True, True),
    ("log.#", "log", True, False),
    ("#.error", "error", True, False),
    ("a.#.z", "a.z", True, False),
    ("*.stock.#", "stock.nasdaq", False, False),
]

changed = []
with Connection("memory://") as connection:
    channel = connection.channel()
    for number, (binding, key, by_amqp, stated) in enumerate(CASES):
        exchange = Exchange("topics-%d" % number, "topic", durable=False)
        queue = Queue("queue-%d" % number, exchange, routing_key=binding, channel=channel)
        queue.declare()
        connection.Producer(channel).publish("hello", exchange=exchange, routing_key=key)
        delivered = queue.get(no_ack=True) is not None
        print("%-10s %-14s %-4s %s" % (binding, key, "yes" if by_amqp else "no", "yes" if delivered else "no"))
        if delivered != stated:
            changed.append((binding, key))
if changed:
    sys.exit("changed: %r" % changed)
PY
