"""Turns tracing on and off."""

from eventlet.zipkin import api, greenthread, http, log, wsgi
from eventlet.zipkin.client import ZipkinClient


def enable_trace_patch(host="127.0.0.1", port=9410, trace_app_log=False, sampling_rate=1.0):
    """Traces the requests that wsgi servers started from now on handle, and sends spans to the collector at *host*,
    *port*.

    *sampling_rate*, from 0 to 1, is which part of the requests that come without a decision is recorded; with
    *trace_app_log* what is logged meanwhile becomes annotations.
    """
    api.client = ZipkinClient(host, port)
    wsgi.patch(sampling_rate)
    http.patch()
    greenthread.patch()
    if trace_app_log:
        log.patch()


def disable_trace_patch():
    """Ends tracing. Parks until what is being sent is sent."""
    http.unpatch()
    wsgi.unpatch()
    greenthread.unpatch()
    log.unpatch()
    client, api.client = api.client, None
    if client is not None:
        client.close()
