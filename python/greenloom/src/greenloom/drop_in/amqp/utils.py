"""Small helpers."""

import fcntl
import logging
from functools import wraps
from logging import NullHandler

from vine import promise  # noqa: F401 (celery imports it from here)


def set_cloexec(fd, cloexec):
    """Says whether a descriptor is closed when another program is started."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFD)
    flags = flags | fcntl.FD_CLOEXEC if cloexec else flags & ~fcntl.FD_CLOEXEC
    return fcntl.fcntl(fd, fcntl.F_SETFD, flags)


def coro(gen):
    """Starts the generators that a function returns, so that they can be sent to."""

    @wraps(gen)
    def started(*args, **kwargs):
        generator = gen(*args, **kwargs)
        next(generator)
        return generator

    return started


def str_to_bytes(s):
    """The UTF-8 of a string; anything else as it is."""
    return s.encode("utf-8", "surrogatepass") if isinstance(s, str) else s


def bytes_to_str(s):
    """The string that bytes are the UTF-8 of; anything else as it is."""
    return s.decode("utf-8", "surrogatepass") if isinstance(s, bytes) else s


def get_logger(logger):
    """A logger, by its name or itself, that prints nothing unless it is told where."""
    if isinstance(logger, str):
        logger = logging.getLogger(logger)
    if not logger.handlers:
        logger.addHandler(NullHandler())
    return logger
