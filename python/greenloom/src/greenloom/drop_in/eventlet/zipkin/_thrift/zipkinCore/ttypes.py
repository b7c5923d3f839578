"""The structures of a trace."""

from eventlet.zipkin._thrift import I16, I32, I64, LIST, STRING, STRUCT, Struct


class AnnotationType:
    """What the value of a binary annotation is."""

    BOOL, BYTES, I16, I32, I64, DOUBLE, STRING = range(7)


class Endpoint(Struct):
    """A host: the IPv4 address and the port as signed numbers, and the name of the service."""

    FIELDS = ((1, "ipv4", I32, None), (2, "port", I16, None), (3, "service_name", STRING, None))


class Annotation(Struct):
    """Something that happened: when, in microseconds since 1970, what, and where."""

    FIELDS = ((1, "timestamp", I64, None), (2, "value", STRING, None), (3, "host", STRUCT, None))


class BinaryAnnotation(Struct):
    """Something to know about a request: a key and a value."""

    FIELDS = (
        (1, "key", STRING, None), (2, "value", STRING, None), (3, "annotation_type", I32, None),
        (4, "host", STRUCT, None),
    )


class Span(Struct):
    """One side of a request."""

    FIELDS = (
        (1, "trace_id", I64, None), (3, "name", STRING, None), (4, "id", I64, None), (5, "parent_id", I64, None),
        (6, "annotations", LIST, STRUCT), (8, "binary_annotations", LIST, STRUCT),
    )
