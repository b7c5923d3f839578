"""Requests to a wsgi server have spans: they go on with the trace their headers name, or begin one."""

import random

from eventlet import wsgi
from eventlet.zipkin import api
from eventlet.zipkin._thrift.zipkinCore.constants import SERVER_RECV, SERVER_SEND
from eventlet.zipkin.http import HDR_PARENT_SPAN_ID, HDR_SAMPLED, HDR_SPAN_ID, HDR_TRACE_ID

_sampler = None
_original_handle_one_response = wsgi.HttpProtocol.handle_one_response


class Sampler:
    """Decides which requests are recorded: a part of them, *sampling_rate* from 0 to 1."""

    def __init__(self, sampling_rate):
        self.sampling_rate = sampling_rate

    def sampling(self):
        """Whether to trace the next request."""
        return random.random() < self.sampling_rate


def int_or_none(val):
    """The number of a header in hexadecimal; None if there is none."""
    return None if val is None else int(val, 16)


def bool_or_none(val):
    """What a header with 0 or 1 means; None if there is none."""
    return {"1": True, "0": False}.get(val)


def _patched_handle_one_response(self, *args, **kwargs):
    api.init_trace_data()
    headers = self.headers
    try:
        trace_id, span_id, parent_id = (
            int_or_none(headers.get(name)) for name in (HDR_TRACE_ID, HDR_SPAN_ID, HDR_PARENT_SPAN_ID)
        )
    except ValueError:
        trace_id = None
    sampled = bool_or_none(headers.get(HDR_SAMPLED))
    if trace_id is None:
        trace_id = span_id = api.generate_trace_id()
        parent_id = None
    if sampled is None:
        sampled = _sampler.sampling()
    endpoint = _endpoint(self.request.getsockname())
    api.set_trace_data(api.TraceData(self.command, trace_id, span_id, parent_id, sampled, endpoint))
    api.put_annotation(SERVER_RECV)
    api.put_key_value("http.uri", self.path)
    try:
        return _original_handle_one_response(self, *args, **kwargs)
    finally:
        api.put_annotation(SERVER_SEND)


def _endpoint(address):
    # A Unix socket has a path for a name, and an endpoint has room for IPv4 only.
    is_ipv4 = isinstance(address, tuple) and len(address) == 2
    return api.ZipkinDataBuilder.build_endpoint(*(address if is_ipv4 else ()))


def patch(sampling_rate):
    """Makes wsgi servers do so."""
    global _sampler
    _sampler = Sampler(sampling_rate)
    wsgi.HttpProtocol.handle_one_response = _patched_handle_one_response


def unpatch():
    """Takes that back."""
    wsgi.HttpProtocol.handle_one_response = _original_handle_one_response
