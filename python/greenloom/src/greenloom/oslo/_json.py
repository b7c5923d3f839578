"""JSON as oslo.messaging writes it, and ids."""

import json
import uuid

from oslo_serialization import jsonutils

_ENCODER = json.JSONEncoder(default=jsonutils.to_primitive)


def dumps(value):
    return _ENCODER.encode(value).encode()


def unique():
    return uuid.uuid4().hex
