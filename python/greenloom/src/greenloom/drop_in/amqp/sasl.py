"""How a client says who it is: SASL's mechanisms."""

import socket
import warnings

from .serialization import dumps


class SASL:
    """Base of all mechanisms; derive from it for one of your own."""

    @property
    def mechanism(self):
        """The mechanism's name, as bytes."""
        raise NotImplementedError

    def start(self, connection):
        """The first response, as bytes; NotImplemented if this mechanism cannot be used after all."""
        raise NotImplementedError


class _NameAndPassword(SASL):
    __slots__ = ("username", "password")

    def __init__(self, username, password):
        self.username, self.password = username, password

    def start(self, connection):
        if self.username is None or self.password is None:
            return NotImplemented
        return self._response()


class PLAIN(_NameAndPassword):
    """Name and password, as in RFC 4616."""

    mechanism = b"PLAIN"
    __slots__ = ()

    def _response(self):
        return b"\0".join((b"", self.username.encode("utf-8"), self.password.encode("utf-8")))


class AMQPLAIN(_NameAndPassword):
    """Name and password in a table, as only AMQP has it."""

    mechanism = b"AMQPLAIN"
    __slots__ = ()

    def _response(self):
        # Without the table's length.
        return dumps("F", ({b"LOGIN": self.username, b"PASSWORD": self.password},))[4:]


def _get_gssapi_mechanism():
    try:
        import gssapi
        import gssapi.raw.misc
    except ImportError:
        return _MissingGSSAPI

    class GSSAPI(SASL):
        """Kerberos, as in RFC 4752."""

        mechanism = b"GSSAPI"
        __slots__ = ("client_name", "fail_soft", "service", "rdns")

        def __init__(self, client_name=None, service=b"amqp", rdns=False, fail_soft=False):
            self.client_name = client_name.encode("ascii") if isinstance(client_name, str) else client_name
            self.fail_soft = fail_soft
            self.service = service
            self.rdns = rdns

        def get_hostname(self, connection):
            sock = connection.transport.sock
            if self.rdns and sock.family in (socket.AF_INET, socket.AF_INET6):
                hostname = socket.gethostbyaddr(sock.getpeername()[0])[0]
            else:
                hostname = connection.transport.host
            return hostname if isinstance(hostname, bytes) else hostname.encode("ascii")

        def start(self, connection):
            try:
                creds = gssapi.Credentials(name=gssapi.Name(self.client_name)) if self.client_name else None
                name = b"@".join((self.service, self.get_hostname(connection)))
                target = gssapi.Name(name, gssapi.NameType.hostbased_service)
                return gssapi.SecurityContext(name=target, creds=creds).step(None)
            except gssapi.raw.misc.GSSError:
                if self.fail_soft:
                    return NotImplemented
                raise

    return GSSAPI


class _MissingGSSAPI(SASL):
    """Stands in for Kerberos where the package ``gssapi`` is missing."""

    mechanism = None

    def __init__(self, client_name=None, service=b"amqp", rdns=False, fail_soft=False):
        if not fail_soft:
            raise NotImplementedError("GSSAPI needs the package gssapi: pip install gssapi")

    def start(self, connection):
        return NotImplemented


GSSAPI = _get_gssapi_mechanism()


class EXTERNAL(SASL):
    """The broker knows already, from a certificate for instance."""

    mechanism = b"EXTERNAL"

    def start(self, connection):
        return b""


class RAW(SASL):
    """A mechanism's name and the response to send."""

    mechanism = None

    def __init__(self, mechanism, response):
        if not (isinstance(mechanism, bytes) and isinstance(response, bytes)):
            raise AssertionError("mechanism and response must be bytes")
        self.mechanism, self.response = mechanism, response
        warnings.warn(
            "login_method with login_response is deprecated; derive from amqp.sasl.SASL instead", DeprecationWarning
        )

    def start(self, connection):
        return self.response
