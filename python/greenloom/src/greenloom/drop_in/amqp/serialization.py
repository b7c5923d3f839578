"""Arguments, tables and properties, to bytes and back. The work is done in Rust.

The letters of a format: ``b`` a bit, ``o`` an octet, ``B``, ``l`` and ``L`` whole numbers of 16, 32 and 64 bits, ``f``
a float, ``s`` and ``S`` a short and a long string, ``x`` bytes, ``F`` a table, ``A`` an array, ``T`` a timestamp.
"""

import calendar
import struct
from datetime import datetime, timezone
from decimal import Decimal

from greenloom import _native

from .exceptions import FrameSyntaxError, UnexpectedFrame
from .spec import Basic

#: ``loads(format, buf, offset)``: the values of fields, a list, and the offset behind them.
loads = _native.amqp_loads
#: ``dumps(format, values)``: fields of values, as bytes.
dumps = _native.amqp_dumps
#: ``decode_properties_basic(buf, offset)``: a message's properties, a dict, and the offset behind them.
decode_properties_basic = _native.amqp_load_properties

_read_item = _native.amqp_item
_dump_properties = _native.amqp_dump_properties

PROPERTY_CLASSES = {Basic.CLASS_ID: decode_properties_basic}


def _write_table(d, write, bits):
    write(dumps("F", (d,)))


def _write_array(list_, write, bits):
    write(dumps("A", (list_,)))


def _rare(*given):
    """Makes a decimal or a timestamp of its letter and its numbers, or its bytes of one."""
    if len(given) == 3:
        letter, first, second = given
        if letter == ord("D"):
            return Decimal(second) / Decimal(10**first)
        return datetime.fromtimestamp(first, tz=timezone.utc).replace(tzinfo=None)
    (value,) = given
    if isinstance(value, Decimal) and value.is_finite():
        _sign, _digits, exponent = value.as_tuple()
        scale = max(-exponent, 0)
        return struct.pack(">cBi", b"D", scale, int(value.scaleb(scale)))
    if isinstance(value, datetime):
        return struct.pack(">cQ", b"T", calendar.timegm(value.utctimetuple()))
    return None


_native.amqp_shell(FrameSyntaxError, UnexpectedFrame, struct.error, _rare)


def _size_in(header):
    return struct.unpack_from(">Q", header, 4)[0] if header else 0


def _properties_of(content):
    header = content._header
    return decode_properties_basic(header, 12)[0] if header else {}


#: What an attribute is that was not set: a message that came in has only its parts, the rest is made when asked for.
_UNSET = {
    "_header": lambda content: None,
    "_encoded": lambda content: False,
    "properties": _properties_of,
    "body_size": lambda content: _size_in(content._header),
    "body_received": lambda content: _size_in(content._header),
    "ready": lambda content: content._header is not None,
    "_pending_chunks": lambda content: [],
    "frame_method": lambda content: None,
    "frame_args": lambda content: None,
    "delivery_info": lambda content: None,
    "channel": lambda content: None,
}


class GenericContent:
    """What a method carries beside its arguments: properties, which are attributes too, and a body."""

    CLASS_ID = None
    PROPERTIES = [("dummy", "s")]

    __slots__ = (
        "frame_method",
        "frame_args",
        "properties",
        "_pending_chunks",
        "body_received",
        "body_size",
        "ready",
        # What came in, properties and all; whether it says that the body is encoded.
        "_header",
        "_encoded",
        "__dict__",
        "__weakref__",
    )

    def __init__(self, frame_method=None, frame_args=None, **props):
        self.frame_method = frame_method
        self.frame_args = frame_args
        self.properties = props

    def __getattr__(self, name):
        # Asked only for what is not set.
        make = _UNSET.get(name)
        if make is None:
            # Copying and pickling ask an instance that has nothing yet.
            if name.startswith("__"):
                raise AttributeError(name)
            try:
                return self.properties[name]
            except KeyError:
                raise AttributeError(name) from None
        value = make(self)
        setattr(self, name, value)
        return value

    def _load_properties(self, class_id, buf, offset):
        self.properties, offset = PROPERTY_CLASSES[class_id](buf, offset)
        return offset

    def _serialize_properties(self):
        flags, letters, values = 0, "", []
        for place, (name, letter) in enumerate(self.PROPERTIES):
            value = self.properties.get(name)
            if value is not None:
                flags |= 1 << (15 - place)
                letters += letter
                values.append(value)
        return struct.pack(">H", flags) + dumps(letters, values)

    def inbound_header(self, buf, offset=0):
        """Takes a content header. Returns the offset behind its fixed part."""
        class_id, self.body_size = struct.unpack_from(">HxxQ", buf, offset)
        self.body_received = 0
        offset += 12
        self._load_properties(class_id, buf, offset)
        self.ready = not self.body_size
        return offset

    def inbound_body(self, buf):
        """Takes a piece of the body."""
        self.body_received += len(buf)
        if self.body_received < self.body_size:
            self._pending_chunks.append(buf)
            return
        self.body = b"".join([*self._pending_chunks, buf]) if self._pending_chunks else buf
        self._pending_chunks.clear()
        self.ready = True
