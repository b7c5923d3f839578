#!/bin/sh
# pika cuts the fraction off every float in a message's headers, and cannot send one at all.
#
# Versions: pika 1.4.4, py-amqp 5.4.2.
#
# Behaviour: py-amqp writes a Python float as the AMQP field type 'd' (a double) and reads it back unchanged. pika reads
# the same bytes as a whole number: 0.75 becomes 0, -2.9 becomes -2. No error and no warning. The other way round,
# pika refuses to encode a float (UnsupportedAMQPFieldException).
#
# Why it surprises: 'f' and 'd' are floating-point in the AMQP 0-9-1 grammar (section 4.2.1, field-value) and in
# RabbitMQ's list of field types; two clients of one broker should read one header alike. A delay in seconds, a ratio or
# a timestamp with a fraction that Celery or Kombu (both on py-amqp) put into a header reaches a pika consumer wrong.
#
# Seen:
#   sent        {'ratio': 0.75, 'offset': -2.9}
#   py-amqp     {'ratio': 0.75, 'offset': -2.9}
#   pika        {'ratio': 0, 'offset': -2}
#   pika sends  UnsupportedAMQPFieldException
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'amqp==5.4.2' 'vine==5.1.0' 'pika==1.4.4'

"$tmp/venv/bin/python" - <<'PY'
import sys

import pika.exceptions
from amqp.basic_message import Message
from pika.spec import BasicProperties

sent = {"ratio": 0.75, "offset": -2.9}
wire = Message(application_headers=sent)._serialize_properties()

by_amqp = Message()
by_amqp._load_properties(60, wire, 0)
by_pika = BasicProperties()
by_pika.decode(wire)
read_by_pika = {key: int(value) if value == int(value) else value for key, value in by_pika.headers.items()}
try:
    BasicProperties(headers=sent).encode()
    pika_sends = "a float"
except pika.exceptions.UnsupportedAMQPFieldException as error:
    pika_sends = type(error).__name__

print("sent       ", sent)
print("py-amqp    ", by_amqp.headers)
print("pika       ", read_by_pika)
print("pika sends ", pika_sends)
if by_amqp.headers != sent:
    sys.exit("changed: py-amqp no longer reads back what it wrote")
if read_by_pika != {"ratio": 0, "offset": -2}:
    sys.exit("changed: pika no longer cuts floats to whole numbers")
if pika_sends != "UnsupportedAMQPFieldException":
    sys.exit("changed: pika now encodes floats")
PY
