"""Where a server's lines go: a logger, or a file."""

import atexit
import os
import sys

from greenloom import _native


def get_logger(log, debug):
    """``log`` itself if it is a logger; one that writes lines to it, or to stderr, if not."""
    if callable(getattr(log, "info", None)) and callable(getattr(log, "debug", None)):
        return log
    return LoggerFileWrapper(log or sys.stderr, debug)


class LoggerNull:
    """A logger that keeps quiet."""

    def error(self, msg, *args, **kwargs):
        """Drops a line about an error."""

    def info(self, msg, *args, **kwargs):
        """Drops a line."""

    def debug(self, msg, *args, **kwargs):
        """Drops a line for debugging."""

    def write(self, msg, *args):
        """Drops a line."""


class LoggerFileWrapper(_native.LogFile, LoggerNull):
    """A logger that writes lines to a file; those of ``debug`` only if that is on.

    The native part writes the access log, as if by :meth:`info`. If the file has a buffer of its own and keeps lines in
    it, those of one turn of the hub are written together.
    """

    def __init__(self, log, debug):
        self.log = log
        self._debug = debug

    def error(self, msg, *args, **kwargs):
        """Writes a line about an error."""
        self.write(msg, *args)

    def info(self, msg, *args, **kwargs):
        """Writes a line, with its arguments filled in."""
        self._write_lines()
        self.log.write((msg % args if args else msg) + "\n")

    def debug(self, msg, *args, **kwargs):
        """Writes a line for debugging, if that is on."""
        if self._debug:
            self.write(msg, *args)

    def write(self, msg, *args):
        """Writes a line."""
        self.info(msg, *args)


# The file's own buffer is written when the program ends, too.
atexit.register(_native._write_log_lines)
os.register_at_fork(after_in_child=_native._forget_log_lines)
