"""What is known of the request that a green thread works on, and annotations to add to it."""

import os
import random
import socket
import struct
import sys
import time

from eventlet import corolocal
from eventlet.zipkin._thrift.zipkinCore import ttypes
from eventlet.zipkin._thrift.zipkinCore.constants import CLIENT_RECV, SERVER_SEND

# A `ZipkinClient`, while traces are taken.
client = None

_tls = corolocal.local()


def put_annotation(msg, endpoint=None):
    """Notes that *msg* happened now, at *endpoint* or where the trace is taken. Nothing if this is not sampled."""
    if is_sample():
        get_trace_data().add_annotation(ZipkinDataBuilder.build_annotation(msg, endpoint))


def put_key_value(key, value, endpoint=None):
    """Notes *value* under *key*, without a time. Nothing if this is not sampled."""
    if is_sample():
        get_trace_data().add_binary_annotation(ZipkinDataBuilder.build_binary_annotation(key, value, endpoint))


def is_tracing():
    """Whether this green thread works on a request with a trace."""
    return hasattr(_tls, "trace_data")


def is_sample():
    """Whether that trace is recorded."""
    return is_tracing() and bool(_tls.trace_data.sampled)


def get_trace_data():
    """The `TraceData` of the request; None if there is none."""
    return getattr(_tls, "trace_data", None)


def set_trace_data(trace_data):
    """Makes *trace_data* that of this green thread."""
    _tls.trace_data = trace_data


def init_trace_data():
    """Forgets the request before."""
    if is_tracing():
        del _tls.trace_data


def generate_trace_id():
    """A random number. Collectors have trouble with more than 56 bits."""
    return random.randrange(1 << 56)


generate_span_id = generate_trace_id


class TraceData:
    """A span in the making: it is sent when the annotation comes that ends it. *sampled*: whether it is recorded."""

    END_ANNOTATION = SERVER_SEND

    def __init__(self, name, trace_id, span_id, parent_id, sampled, endpoint):
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.endpoint = endpoint
        self.annotations = []
        self.bannotations = []
        self._done = False

    def add_annotation(self, annotation):
        """Adds an annotation, unless the span was sent."""
        if self._done:
            return
        annotation.host = annotation.host or self.endpoint
        self.annotations.append(annotation)
        if annotation.value == self.END_ANNOTATION.encode():
            self.flush()

    def add_binary_annotation(self, bannotation):
        """Adds a key and a value, unless the span was sent."""
        if self._done:
            return
        bannotation.host = bannotation.host or self.endpoint
        self.bannotations.append(bannotation)

    def flush(self):
        """Sends the span."""
        span = ZipkinDataBuilder.build_span(
            self.name, self.trace_id, self.span_id, self.parent_id, self.annotations, self.bannotations
        )
        self.annotations = []
        self.bannotations = []
        self._done = True
        if client is not None:
            client.send_to_collector(span)


class ClientTraceData(TraceData):
    """The span of a request that this program makes."""

    END_ANNOTATION = CLIENT_RECV


class ZipkinDataBuilder:
    """Makes the structures of a trace."""

    @staticmethod
    def build_span(name, trace_id, span_id, parent_id, annotations, bannotations):
        """A span with its annotations."""
        return ttypes.Span(trace_id, name, span_id, parent_id, annotations, bannotations)

    @staticmethod
    def build_annotation(value, endpoint=None):
        """A text or bytes, as of now."""
        data = value.encode("utf-8") if isinstance(value, str) else value
        assert isinstance(data, bytes)
        return ttypes.Annotation(int(time.time() * 1_000_000), data, endpoint)

    @staticmethod
    def build_binary_annotation(key, value, endpoint=None):
        """A key and its value."""
        return ttypes.BinaryAnnotation(key, value, ttypes.AnnotationType.STRING, endpoint)

    @staticmethod
    def build_endpoint(ipv4=None, port=None, service_name=None):
        """A host: its IPv4 address as text, its port, the name of its service, which is by default the program's."""
        return ttypes.Endpoint(
            None if ipv4 is None else struct.unpack("!i", socket.inet_aton(ipv4))[0],
            # Thrift knows signed numbers only.
            None if port is None else struct.unpack("!h", struct.pack("!H", port))[0],
            service_name or os.path.basename(sys.argv[0]),
        )
