"""Zipkin traces of wsgi applications, sent to a collector that takes them as Scribe does.

    from eventlet.zipkin import patcher
    patcher.enable_trace_patch(host="127.0.0.1", port=9410)

before the server is started. `eventlet.zipkin.api` adds annotations of one's own. Neither thrift nor scribe is needed.
"""
