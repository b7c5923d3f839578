"""The extension permessage-deflate (RFC 7692): its negotiation, and the decoding of messages."""

import collections
import re
import zlib

FLUSH_TAIL = b"\x00\x00\xff\xff"
# Raw deflate of nothing: a last block that is empty. Where a block may begin, and nowhere else, this ends the stream.
_LAST_BLOCK = b"\x03\x00"
# zlib makes no raw stream with a window of 8 bits, so only the client's side may have one.
_WINDOW_BITS = {"server_max_window_bits": range(9, 16), "client_max_window_bits": range(8, 16)}
_TAKEOVERS = ("server_no_context_takeover", "client_no_context_takeover")
_COMMAS = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_SEMICOLONS = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')


def parse_extensions(header):
    """The offers of each extension: a dict of lists of dicts of parameters, which are True or a string; False for one
    that is there twice."""
    offers = {}
    for offer in _COMMAS.findall(header):
        name, *parameters = _SEMICOLONS.findall(offer) or [""]
        config = {}
        for parameter in parameters:
            key, has_value, value = parameter.partition("=")
            key, value = key.strip().lower(), value.strip().strip('"').lower() if has_value else True
            config[key] = False if key in config else value
        offers.setdefault(name.strip().lower(), []).append(config)
    return offers


def format_extensions(extensions):
    """A header of the extensions that were agreed on; None if there are none."""
    formatted = []
    for name, config in extensions.items():
        parts = [name] + [key if value is True else "{}={}".format(key, value)
                          for key, value in config.items() if value is not False]
        formatted.append("; ".join(parts))
    return ", ".join(formatted).encode() or None


def negotiate(offers, needs_value):
    """The parameters of the first offer of permessage-deflate that can be met, or None.

    An offer with a parameter that is unknown, or has no valid value, is declined as a whole. ``needs_value`` says
    whether that holds for a server_max_window_bits without one.
    """
    for offer in offers:
        config = _accept(offer, needs_value)
        if config is not None:
            return config
    return None


def _accept(offer, needs_value):
    config = dict.fromkeys(_TAKEOVERS, False)
    for name, value in offer.items():
        if name in _TAKEOVERS:
            if value is not True:
                return None
        elif name not in _WINDOW_BITS:
            return None
        elif value is True:
            if needs_value and name == "server_max_window_bits":
                return None
            # The client can be told a size.
            value = zlib.MAX_WBITS
        else:
            value = int(value) if value and re.fullmatch("[1-9][0-9]?", value) else 0
            if value not in _WINDOW_BITS[name]:
                return None
        config[name] = value
    return config


class TooLong(Exception):
    """A message is longer than it may be."""


class Inflater:
    """Decodes messages. With ``takes_over`` one may refer to those before it."""

    def __init__(self, bits, takes_over):
        self.bits = bits
        self.takes_over = takes_over
        self._stream = None
        # The last of what was decoded, as far back as a message may refer: the next stream needs it when one has ended.
        self._recent = collections.deque()
        self._recent_size = 0

    def decompress(self, data, limit):
        """A message of at most ``limit`` bytes.

        Raises :class:`TooLong`, or zlib.error for data that is damaged or cut off.
        """
        if not data:
            # Some send this for an empty message, in place of an empty block.
            return b""
        if not self.takes_over:
            self._forget()
        data += FLUSH_TAIL
        parts, left = [], limit
        while True:
            stream = self._stream = self._stream or self._begin()
            part = stream.decompress(data, left + 1)
            left -= len(part)
            if left < 0:
                raise TooLong
            parts.append(part)
            self._remember(part)
            if not stream.eof:
                break
            # A block that calls itself the last ends zlib's stream, and not the message: more blocks may follow.
            self._stream, data = None, stream.unused_data
            if data == FLUSH_TAIL:
                break
        if self._stream is not None and not self._is_between_blocks():
            self._stream = None
            raise zlib.error("the compressed data is cut off")
        return b"".join(parts)

    def _begin(self):
        window = b"".join(self._recent)[-(1 << self.bits):]
        return zlib.decompressobj(-self.bits, window) if window else zlib.decompressobj(-self.bits)

    def _is_between_blocks(self):
        probe = self._stream.copy()
        return not probe.decompress(_LAST_BLOCK) and probe.eof and not probe.unused_data

    def _remember(self, part):
        window = 1 << self.bits
        part = part[-window:]
        self._recent.append(part)
        self._recent_size += len(part)
        while self._recent_size - len(self._recent[0]) >= window:
            self._recent_size -= len(self._recent.popleft())

    def _forget(self):
        self._stream = None
        self._recent.clear()
        self._recent_size = 0
