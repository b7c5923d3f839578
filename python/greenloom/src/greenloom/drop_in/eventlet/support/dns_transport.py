"""Asking one nameserver over a green socket, in place of dnspython's `udp` and `tcp`, whose timeouts block the hub."""

import struct

from eventlet.green import _socket_nodns as socket
from eventlet.support.clock import monotonic
from eventlet.support.green_dnspython import dns

# Seconds.
DNS_QUERY_TIMEOUT = 10.0


def udp(q, where, timeout=DNS_QUERY_TIMEOUT, port=53, af=None, source=None, source_port=0, ignore_unexpected=False,
        one_rr_per_rrset=False, ignore_trailing=False, raise_on_truncation=False, sock=None, ignore_errors=False):
    """As dns.query.udp: asks the nameserver at the address *where* the query *q*, and returns its response. Parks.

    *timeout* in seconds is for all of it; None: without end. Raises dns.exception.Timeout. A datagram from elsewhere
    raises dns.query.UnexpectedSource or, with *ignore_unexpected*, is passed over; with *ignore_errors*, so is what is
    no response to *q*. A *sock* given is used and left open.
    """
    deadline = _deadline(timeout)
    family, destination, source = _endpoints(where, port, af, source, source_port)
    s = sock or socket.socket(family, socket.SOCK_DGRAM)
    try:
        if source is not None and sock is None:
            s.bind(source)
        _within(deadline, s, s.sendto, q.to_wire(), destination)
        while True:
            wire, sender = _within(deadline, s, s.recvfrom, 65535)
            if _comparable(sender) != _comparable(destination):
                if ignore_unexpected:
                    continue
                raise dns.query.UnexpectedSource(f"got a response from {sender} instead of {destination}")
            try:
                return _response(q, wire, one_rr_per_rrset, ignore_trailing, raise_on_truncation=raise_on_truncation)
            except dns.message.Truncated as error:
                if not ignore_errors or q.is_response(error.message()):
                    raise
            except Exception:
                if not ignore_errors:
                    raise
    finally:
        if sock is None:
            s.close()


def tcp(q, where, timeout=DNS_QUERY_TIMEOUT, port=53, af=None, source=None, source_port=0, one_rr_per_rrset=False,
        ignore_trailing=False, sock=None):
    """As dns.query.tcp; see `udp`. A *sock* given is connected already."""
    deadline = _deadline(timeout)
    family, destination, source = _endpoints(where, port, af, source, source_port)
    s = sock or socket.socket(family, socket.SOCK_STREAM)
    try:
        if sock is None:
            if source is not None:
                s.bind(source)
            _within(deadline, s, s.connect, destination)
        wire = q.to_wire()
        _within(deadline, s, s.sendall, struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", _receive(deadline, s, 2))
        return _response(q, _receive(deadline, s, length), one_rr_per_rrset, ignore_trailing)
    finally:
        if sock is None:
            s.close()


def _deadline(timeout):
    return None if timeout is None else monotonic() + timeout


def _within(deadline, s, operation, *args):
    """Calls an operation of a socket. Raises dns.exception.Timeout if it does not end in time."""
    left = None if deadline is None else deadline - monotonic()
    if left is not None and left <= 0:
        raise dns.exception.Timeout
    s.settimeout(left)
    try:
        return operation(*args)
    except socket.timeout:
        raise dns.exception.Timeout from None


def _receive(deadline, s, count):
    received = b""
    while len(received) < count:
        more = _within(deadline, s, s.recv, count - len(received))
        if not more:
            raise EOFError
        received += more
    return received


def _endpoints(where, port, family, source, source_port):
    """Returns an address family, whom to ask, and what to bind to, which may be None."""
    if family is None:
        try:
            family = dns.inet.af_for_address(where)
        except Exception:
            family = socket.AF_INET
    rest = (0, 0) if family == socket.AF_INET6 else ()
    return family, (where, port, *rest), None if source is None else (source, source_port, *rest)


def _comparable(address):
    """An address as it is compared with others: IPv6 can be written in many ways."""
    host, port, *_ = address
    return dns.inet.inet_pton(dns.inet.af_for_address(host), host.split("%", 1)[0]), port


def _response(q, wire, one_rr_per_rrset, ignore_trailing, **options):
    response = dns.message.from_wire(
        wire, keyring=q.keyring, request_mac=q.mac, one_rr_per_rrset=one_rr_per_rrset, ignore_trailing=ignore_trailing,
        **options,
    )
    if not q.is_response(response):
        raise dns.query.BadResponse
    return response
