"""Websockets as WSGI applications: :class:`WebSocketWSGI` around a handler, which gets a :class:`WebSocket`.

RFC 6455 (versions 8 and 13) with permessage-deflate, and the two drafts before it, known as hixie-75 and hixie-76.
``WebSocketWSGI.rfc6455_only = True`` turns all drafts off.
"""

import base64
import binascii
import errno
import hashlib
import string
import struct
import urllib.parse

from eventlet import wsgi
from eventlet._websocket_base import (
    BadRequest, ConnectionClosedError, FailedConnectionError, ProtocolError, WebSocket)
from eventlet._websocket_deflate import format_extensions, negotiate, parse_extensions
from eventlet._websocket_rfc6455 import DEFAULT_MAX_FRAME_LENGTH, RFC6455WebSocket, VALID_CLOSE_STATUS
from eventlet.green import socket
from eventlet.support import get_errno

__all__ = ["WebSocketWSGI", "WebSocket"]

ACCEPTABLE_CLIENT_ERRORS = {errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN}
PROTOCOL_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _is_key(text):
    """Whether it is sixteen bytes in base64."""
    try:
        return len(base64.b64decode(text.encode("latin-1"), validate=True)) == 16
    except binascii.Error:
        return False


class WebSocketWSGI:
    """A WSGI application that makes the handshake and calls ``handler`` with the websocket::

        @websocket.WebSocketWSGI
        def echo(ws):
            while (message := ws.wait()) is not None:
                ws.send(message)

    The websocket is closed when the handler returns, with status 1011 if it raises; the request is logged then. A
    message longer than ``max_frame_length`` bytes, uncompressed, closes the connection.
    """

    # Whether to refuse what came before RFC 6455 (hixie-75, hixie-76 and version 8), and a server_max_window_bits
    # without a value, which eventlet has always let pass. On the class it holds for all applications.
    rfc6455_only = False

    def __init__(self, handler, max_frame_length=DEFAULT_MAX_FRAME_LENGTH):
        self.handler = handler
        self.protocol_version = None
        self.support_legacy_versions = True
        self.supported_protocols = []
        self.origin_checker = None
        self.max_frame_length = max_frame_length

    @classmethod
    def configured(cls, handler=None, supported_protocols=None, origin_checker=None, support_legacy_versions=False):
        """A decorator with options: subprotocols to choose from, a function of host and origin that says whether to
        serve them, and whether to speak the drafts too."""
        def decorate(handler):
            application = cls(handler)
            application.support_legacy_versions = support_legacy_versions
            application.origin_checker = origin_checker
            if supported_protocols:
                application.supported_protocols = supported_protocols
            return application
        return decorate if handler is None else decorate(handler)

    def __call__(self, environ, start_response):
        connection = [option.strip() for option in environ.get("HTTP_CONNECTION", "").lower().split(",")]
        try:
            if "upgrade" not in connection or environ.get("HTTP_UPGRADE", "").lower() != "websocket":
                raise BadRequest
            is_http_1_0 = getattr(environ.get("eventlet.input"), "is_http_1_0", False)
            if environ.get("REQUEST_METHOD", "GET") != "GET" or is_http_1_0:
                raise BadRequest
            if "HTTP_SEC_WEBSOCKET_VERSION" in environ:
                ws = self._handle_hybi_request(environ)
            elif self.support_legacy_versions and not self.rfc6455_only:
                ws = self._handle_legacy_request(environ)
            else:
                raise BadRequest
        except BadRequest as refusal:
            start_response(refusal.status, [("Connection", "close")] + (refusal.headers or []))
            return [refusal.body] if refusal.body else []
        # A graceful stop does not wait for a websocket.
        if "eventlet.set_idle" in environ:
            environ["eventlet.set_idle"]()
        try:
            self.handler(ws)
        except Exception as error:
            if not isinstance(error, OSError) or get_errno(error) not in ACCEPTABLE_CLIENT_ERRORS:
                ws._fail()
                # The server logs it, and must not answer among the frames.
                wsgi.WSGI_LOCAL.already_handled = True
                raise
        ws._send_closing_frame(True)
        wsgi.WSGI_LOCAL.already_handled = True
        return []

    def _take_socket(self, environ):
        """The connection's socket, and what was read from it too early."""
        if "eventlet.input" in environ:
            body = environ["eventlet.input"]
            take_buffered = getattr(body, "take_buffered", bytes)
            return body.get_socket(), take_buffered()
        if "gunicorn.socket" in environ:
            return environ["gunicorn.socket"], b""
        raise Exception("A websocket needs eventlet.input or gunicorn.socket in the environ.")

    def _handle_legacy_request(self, environ):
        origin = environ.get("HTTP_ORIGIN")
        if origin is None:
            raise BadRequest
        answer = b""
        self.protocol_version = 75
        if "HTTP_SEC_WEBSOCKET_KEY1" in environ:
            self.protocol_version = 76
            answer = self._answer_challenge(environ)
        sock, buffered = self._take_socket(environ)
        scheme = "wss" if environ.get("wsgi.url_scheme") == "https" else "ws"
        # Decoded, a path could end the line.
        path = environ.get("RAW_PATH_INFO") or urllib.parse.quote(
            environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), safe="/:@!$&'()*+,;=~", encoding="latin-1")
        location = "{}://{}{}".format(scheme, environ.get("HTTP_HOST"), path)
        if environ.get("QUERY_STRING") is not None:
            location += "?" + environ["QUERY_STRING"]
        if self.protocol_version == 75:
            lines = [
                "HTTP/1.1 101 Web Socket Protocol Handshake", "Upgrade: WebSocket", "Connection: Upgrade",
                "WebSocket-Origin: " + origin, "WebSocket-Location: " + location,
            ]
        else:
            lines = [
                "HTTP/1.1 101 WebSocket Protocol Handshake", "Upgrade: WebSocket", "Connection: Upgrade",
                "Sec-WebSocket-Origin: " + origin,
                "Sec-WebSocket-Protocol: " + environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "default"),
                "Sec-WebSocket-Location: " + location,
            ]
        sock.sendall("\r\n".join(lines + ["", ""]).encode("latin-1") + answer)
        ws = WebSocket(sock, environ, self.protocol_version)
        ws._buf = buffered
        return ws

    def _answer_challenge(self, environ):
        """hixie-76: proves that the two keys and the eight bytes behind the headers were understood."""
        if "HTTP_SEC_WEBSOCKET_KEY2" not in environ:
            raise BadRequest
        keys = [self._extract_number(environ["HTTP_SEC_WEBSOCKET_KEY" + number]) for number in "12"]
        # They are there without a Content-Length.
        environ["wsgi.input"].content_length = 8
        try:
            challenge = struct.pack(">II", *keys) + environ["wsgi.input"].read(8)
        except struct.error:
            raise BadRequest from None
        return hashlib.md5(challenge, usedforsecurity=False).digest()

    def _extract_number(self, value):
        """The digits of a key as a number, divided by how many spaces it has."""
        digits = "".join(char for char in value if char in string.digits)
        spaces = value.count(" ")
        if not digits or not spaces:
            raise BadRequest
        return int(digits) // spaces

    def _handle_hybi_request(self, environ):
        version = environ["HTTP_SEC_WEBSOCKET_VERSION"]
        versions = ("13",) if self.rfc6455_only else ("8", "13")
        if version not in versions:
            raise BadRequest("426 Upgrade Required", headers=[("Sec-WebSocket-Version", ", ".join(versions))])
        self.protocol_version = int(version)
        key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
        if not _is_key(key):
            raise BadRequest
        draft_origin = environ.get("HTTP_SEC_WEBSOCKET_ORIGIN", "") if self.protocol_version <= 8 else ""
        origin = environ.get("HTTP_ORIGIN", draft_origin)
        if self.origin_checker is not None and not self.origin_checker(environ.get("HTTP_HOST"), origin):
            raise BadRequest("403 Forbidden")
        offered = [protocol.strip() for protocol in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")]
        protocol = next((name for name in offered if name and name in self.supported_protocols), None)
        extensions = {}
        deflate = self._negotiate_permessage_deflate(
            self._parse_extension_header(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")))
        if deflate is not None:
            extensions["permessage-deflate"] = deflate

        sock, buffered = self._take_socket(environ)
        accept = base64.b64encode(hashlib.sha1(key.encode() + PROTOCOL_GUID, usedforsecurity=False).digest())
        lines = [
            b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept,
        ]
        if protocol:
            lines.append(b"Sec-WebSocket-Protocol: " + protocol.encode("latin-1"))
        if extensions:
            lines.append(b"Sec-WebSocket-Extensions: " + self._format_extension_header(extensions))
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        ws = RFC6455WebSocket(sock, environ, self.protocol_version, protocol=protocol, extensions=extensions,
                              max_frame_length=self.max_frame_length)
        ws._buf = buffered
        return ws

    def _parse_extension_header(self, header):
        """The offers of each extension: a dict of lists of dicts of parameters."""
        return None if header is None else parse_extensions(header)

    def _negotiate_permessage_deflate(self, extensions):
        """The parameters of the first offer that can be met, or None."""
        return negotiate((extensions or {}).get("permessage-deflate", ()), self.rfc6455_only)

    def _format_extension_header(self, parsed_extensions):
        return format_extensions(parsed_extensions or {})
