"""Requests that a traced program makes tell their trace to the server, and have spans of their own."""

from eventlet.green.http import client
from eventlet.zipkin import api
from eventlet.zipkin._thrift.zipkinCore.constants import CLIENT_RECV, CLIENT_SEND

HDR_TRACE_ID = "X-B3-TraceId"
HDR_SPAN_ID = "X-B3-SpanId"
HDR_PARENT_SPAN_ID = "X-B3-ParentSpanId"
HDR_SAMPLED = "X-B3-Sampled"

_original_endheaders = client.HTTPConnection.endheaders
_original_getresponse = client.HTTPConnection.getresponse


def hex_str(n):
    """An id as it stands in a header."""
    return f"{n:016x}"


def _patched_endheaders(self, *args, **kwargs):
    parent = api.get_trace_data()
    self._zipkin = None
    if parent is not None:
        self._zipkin = child = api.ClientTraceData(
            getattr(self, "_method", None) or "http", parent.trace_id, api.generate_span_id(), parent.span_id,
            parent.sampled, parent.endpoint,
        )
        self.putheader(HDR_TRACE_ID, hex_str(child.trace_id))
        self.putheader(HDR_SPAN_ID, hex_str(child.span_id))
        self.putheader(HDR_PARENT_SPAN_ID, hex_str(child.parent_id))
        self.putheader(HDR_SAMPLED, "1" if child.sampled else "0")
        _annotate(child, CLIENT_SEND)
    return _original_endheaders(self, *args, **kwargs)


def _patched_getresponse(self, *args, **kwargs):
    response = _original_getresponse(self, *args, **kwargs)
    child, self._zipkin = getattr(self, "_zipkin", None), None
    if child is not None:
        _annotate(child, CLIENT_RECV)
    return response


def _annotate(trace_data, message):
    if trace_data.sampled:
        trace_data.add_annotation(api.ZipkinDataBuilder.build_annotation(message))


def patch():
    """Makes connections of eventlet.green.http.client do so."""
    client.HTTPConnection.endheaders = _patched_endheaders
    client.HTTPConnection.getresponse = _patched_getresponse


def unpatch():
    """Takes that back."""
    client.HTTPConnection.endheaders = _original_endheaders
    client.HTTPConnection.getresponse = _original_getresponse
