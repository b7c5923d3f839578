"""A copy of dnspython that sees green modules, and what it takes for an address."""

import importlib
import sys

from eventlet import patcher
from eventlet.green import _socket_nodns, os, select, ssl, time


def _is_dns(name):
    return name == "dns" or name.startswith("dns.")


def _import_dns():
    try:
        dns = importlib.import_module("dns")
    except ModuleNotFoundError as missing:
        # Where greenloom alone was installed and enabled, nobody has asked for it.
        message = "eventlet resolves names with dnspython, which is not installed: pip install dnspython"
        raise ModuleNotFoundError(message, name=missing.name) from None
    for name in dns.__all__:
        setattr(dns, name, importlib.import_module(f"dns.{name}"))
    for package in ("ANY", "IN"):
        importlib.import_module(f"dns.rdtypes.{package}")
    # The others are loaded when they are first met, from whichever dnspython is in sys.modules then.
    for rdtype in dns.rdatatype.RdataType:
        dns.rdata.get_rdata_class(dns.rdataclass.IN, rdtype)
    return dns


def _import_green_dns():
    """Returns a copy of dnspython that sees green modules."""
    # What it uses for DNS over HTTPS and QUIC belongs to all, and must not see them, not even while it is imported.
    for name in ("httpx", "httpcore", "h2", "aioquic.quic.connection"):
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    theirs = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_dns(name)}
    green = (("os", os), ("select", select), ("socket", _socket_nodns), ("ssl", ssl), ("time", time))
    before = set(sys.modules)
    try:
        return patcher.patch_function(_import_dns, *green)()
    finally:
        _give_back({name: module for name, module in sys.modules.items() if name not in before}, green)
        # A program that has imported dnspython keeps it whole; others may as well have the green copy.
        if theirs:
            for name in [name for name in sys.modules if _is_dns(name)]:
                del sys.modules[name]
            sys.modules.update(theirs)


def _give_back(modules, green):
    """What else was imported by the way, `tempfile` say, belongs to all as well: it gets the modules that others have.
    """
    for name, module in modules.items():
        if _is_dns(name):
            continue
        for attribute, value in list(vars(module).items()):
            for real, seen in green:
                if value is seen:
                    setattr(module, attribute, importlib.import_module(real))


dns = _import_green_dns()


def is_ipv4_addr(host):
    """Whether *host* is a text with an IPv4 address in four parts."""
    return _parses(dns.ipv4.inet_aton, host)


def is_ipv6_addr(host):
    """Whether *host* is a text with an IPv6 address; it may have a scope, as in fe80::1%eth0."""
    return isinstance(host, str) and _parses(dns.ipv6.inet_aton, host.split("%", 1)[0])


def is_ip_addr(host):
    """Whether *host* is a text with an IPv4 or IPv6 address."""
    return is_ipv4_addr(host) or is_ipv6_addr(host)


def _parses(parse, host):
    if not isinstance(host, str):
        return False
    try:
        parse(host)
    except (dns.exception.SyntaxError, UnicodeError):
        return False
    return True
