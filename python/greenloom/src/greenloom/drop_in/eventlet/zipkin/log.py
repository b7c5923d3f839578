"""What a traced program logs becomes annotations."""

import logging

from eventlet.zipkin import api

_original_handle = logging.Logger.handle


def _patched_handle(self, record):
    _original_handle(self, record)
    api.put_annotation(record.getMessage())


def patch():
    """Makes loggers do so."""
    logging.Logger.handle = _patched_handle


def unpatch():
    """Takes that back."""
    logging.Logger.handle = _original_handle
