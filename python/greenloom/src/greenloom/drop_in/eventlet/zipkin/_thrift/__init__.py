"""The little of Thrift that spans need: structures in its binary protocol."""

import struct

# Types, as they are written.
BYTE, I16, I32, I64, STRING, STRUCT, LIST = 3, 6, 8, 10, 11, 12, 15

_NUMBERS = {BYTE: "!b", I16: "!h", I32: "!i", I64: "!q"}


class Struct:
    """A structure. Its `FIELDS` are (number, name, type, type of a list's elements or None), in order."""

    FIELDS = ()

    def __init__(self, *args, **kwargs):
        names = [name for _, name, _, _ in self.FIELDS]
        values = {**dict(zip(names, args)), **kwargs}
        for name in names:
            setattr(self, name, values.pop(name, None))
        if values or len(args) > len(names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(names)}")

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def encode(kind, value, elements=None):
    """Returns the bytes of a value. Fields that are None are left out."""
    if kind in _NUMBERS:
        return struct.pack(_NUMBERS[kind], int(value))
    if kind == STRING:
        data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
        return struct.pack("!i", len(data)) + data
    if kind == LIST:
        items = b"".join(encode(elements, item) for item in value)
        return struct.pack("!bi", elements, len(value)) + items
    parts = []
    for number, name, field_kind, field_elements in value.FIELDS:
        field = getattr(value, name)
        if field is not None:
            parts.append(struct.pack("!bh", field_kind, number) + encode(field_kind, field, field_elements))
    return b"".join(parts) + b"\0"
