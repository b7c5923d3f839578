"""What a program of the differential test is made of: kinds of objects, and operations on them.

A kind is a class, an operation a method with `@operation`. The conductor calls one operation after the other, each in
a thread that the program names, and writes down what it returned or raised. So an operation says what the conductor
has to know beforehand: what to draw its arguments from, and whether it may wait, in which line.

This module knows no kind; those are in `sync_kinds`, `thread_kinds`, `io_kinds`, `datagram_kinds`, `tls_kinds`,
`process_kinds` and `several_kinds`, which a program's process imports after `monkey_patch()`.
"""

import zlib

#: A timeout that is meant to pass; the conductor waits for it.
SHORT = 0.06
#: A timeout that does not pass within a program: the wait counts as one without end.
LONG = 60
WAITS = (None, LONG, SHORT, 0)
NAN = float("nan")

KINDS = {}


def kind(name):
    """The class is made when a program has an object of this kind."""

    def register(cls):
        KINDS[name] = cls
        cls.kind = name
        cls.operations = {n: m for n in dir(cls) if hasattr(m := getattr(cls, n), "arguments")}
        return cls

    return register


def operation(*arguments, line=None, alone=False, owned=False, weight=1):
    """`arguments`: for each argument the values it is drawn from. `line`: the operation may wait; operations that wait
    in one line of one object are told apart by nobody, so all of them have to be the same. With braces, arguments are
    part of the line's name. `alone`: not while another operation of the object waits. `owned`: which thread does it
    makes a difference.
    """

    def register(method):
        method.arguments, method.line, method.alone, method.owned = arguments, line, alone, owned
        method.weight = weight
        return method

    return register


class Thing:
    """What kinds share."""

    #: For each argument of the class the values it is drawn from.
    made_with = ()
    payloads = 0

    def payload(self, count):
        """Bytes that no other write of this object has."""
        self.payloads += 1
        return bytes([64 + self.payloads % 60]) * count

    def is_brief(self, name, arguments):
        """Whether an operation that may wait ends by itself, soon."""
        return any(argument == SHORT for argument in arguments)

    def state(self):
        """What is left at the end."""


def described(value):
    """A result as JSON that is the same in every run."""
    if isinstance(value, BaseException):
        errno = getattr(value, "errno", None)
        return type(value).__name__ + (f" {errno}" if isinstance(errno, int) else "")
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        return f"{len(value)} bytes {zlib.crc32(value) & 0xFFFF:04x}"
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f"a {type(value).__name__}"
