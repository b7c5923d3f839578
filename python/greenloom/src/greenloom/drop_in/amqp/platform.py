"""Which options a TCP socket has here."""

import platform
import re
import sys
import typing
from socket import IPPROTO_TCP as SOL_TCP

__all__ = ("LINUX_VERSION", "SOL_TCP", "KNOWN_TCP_OPTS")


def _linux_version_to_tuple(s: str) -> typing.Tuple[int, int, int]:
    return tuple(map(_versionatom, s.split(".")[:3]))


def _versionatom(s: str) -> int:
    """The number that a part of a version begins with."""
    digits = re.match(r"\d+", s)
    return int(digits.group()) if digits else 0


LINUX_VERSION = _linux_version_to_tuple(platform.release())

#: Names of options that are read from a fresh socket and set again, unless the user says otherwise.
KNOWN_TCP_OPTS = {
    "TCP_CORK", "TCP_DEFER_ACCEPT", "TCP_KEEPCNT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_LINGER2", "TCP_MAXSEG",
    "TCP_NODELAY", "TCP_QUICKACK", "TCP_SYNCNT", "TCP_USER_TIMEOUT", "TCP_WINDOW_CLAMP",
}  # fmt: skip
if LINUX_VERSION < (2, 6, 37):
    KNOWN_TCP_OPTS.discard("TCP_USER_TIMEOUT")
# The Windows Subsystem for Linux names more options than it has.
if platform.release().endswith("Microsoft"):
    KNOWN_TCP_OPTS = {"TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"}
elif not sys.platform.startswith("linux"):
    KNOWN_TCP_OPTS = {"TCP_NODELAY"}
