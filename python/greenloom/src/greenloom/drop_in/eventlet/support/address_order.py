"""In which order to try the addresses of a host: destination address selection of RFC 6724, section 6.

It asks the system which own address it would send from, as connecting a datagram socket tells without sending
anything. Rules about deprecated, home and encapsulated addresses need more than that tells, and are left out.
"""

import ipaddress

from eventlet.patcher import original

_socket = original("socket")

# Prefixes with their precedence and label: section 2.1.
_POLICIES = [
    (ipaddress.ip_network(prefix), precedence, label)
    for prefix, precedence, label in (
        ("::1/128", 50, 0), ("::ffff:0:0/96", 35, 4), ("2002::/16", 30, 2), ("2001::/32", 5, 5), ("fc00::/7", 3, 13),
        ("fec0::/10", 1, 11), ("3ffe::/16", 1, 12), ("::/96", 1, 3), ("::/0", 40, 1),
    )
]  # fmt: skip

_LINK_LOCAL, _SITE_LOCAL, _GLOBAL = 2, 5, 14
#: The part of an address that names its network.
_NETWORK_BITS = 64


def in_order(found):
    """Returns a list as getaddrinfo's, the addresses that are best to use first; else in the order they had."""
    if len({each[4][0] for each in found}) < 2:
        return found
    ranks = {}
    for family, _, _, _, address in found:
        if address not in ranks:
            ranks[address] = _rank(family, address)
    return sorted(found, key=lambda each: ranks[each[4]])


def _rank(family, address):
    """What to sort by; the numbers are those of the rules."""
    destination = _as_ipv6(address[0])
    precedence, label = _policy(destination)
    scope = _scope(destination)
    source = _source(family, address)
    if source is None:
        return True, True, True, -precedence, scope, 0
    common = 0 if destination.ipv4_mapped else min(_NETWORK_BITS, 128 - (int(destination) ^ int(source)).bit_length())
    return (
        False,  # 1: it can be reached
        _scope(source) != scope,  # 2
        _policy(source)[1] != label,  # 5
        -precedence,  # 6
        scope,  # 8
        -common,  # 9
    )


def _source(family, address):
    """The own address that the system sends from to this one; None if it knows no way."""
    try:
        with _socket.socket(family, _socket.SOCK_DGRAM) as sock:
            sock.connect((address[0], address[1] or 1, *address[2:]))
            return _as_ipv6(sock.getsockname()[0])
    except OSError:
        return None


def _as_ipv6(text):
    address = ipaddress.ip_address(text.partition("%")[0])
    return address if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}")


def _policy(address):
    for network, precedence, label in _POLICIES:
        if address in network:
            return precedence, label
    raise AssertionError("every address is in ::/0")


def _scope(address):
    ipv4 = address.ipv4_mapped
    if ipv4 is not None:
        return _LINK_LOCAL if ipv4.is_loopback or ipv4.is_link_local else _GLOBAL
    if address.is_multicast:
        return address.packed[1] & 0xF
    if address.is_loopback or address.is_link_local:
        return _LINK_LOCAL
    return _SITE_LOCAL if address.is_site_local else _GLOBAL
