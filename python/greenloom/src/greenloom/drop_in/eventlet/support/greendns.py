"""Names and addresses without blocking the hub: `socket.getaddrinfo` and its kin, on dnspython.

The hosts file is asked first, then the nameservers of resolv.conf; both are read again when they change. `dns` is a
copy of dnspython that sees green sockets, with the `udp` and `tcp` of `dns_transport` in place of its own.
"""

import io
import re
import sys
import warnings

from eventlet.green import _socket_nodns, os
from eventlet.support import _fairness, address_order, functions, names
from eventlet.support.dns_transport import DNS_QUERY_TIMEOUT, tcp, udp
from eventlet.support.green_dnspython import dns, is_ip_addr, is_ipv4_addr, is_ipv6_addr
from eventlet.support.hosts_file import HOSTS_TTL, HostsAnswer, HostsResolver, stamp

__all__ = [
    "DNS_QUERY_TIMEOUT", "EAI_EAGAIN_ERROR", "EAI_NODATA_ERROR", "EAI_NONAME_ERROR", "HOSTS_TTL", "HostsAnswer",
    "HostsResolver", "ResolverProxy", "dns", "getaddrinfo", "getaliases", "gethostbyaddr", "gethostbyname",
    "gethostbyname_ex", "getnameinfo", "is_ip_addr", "is_ipv4_addr", "is_ipv6_addr", "reset", "resolve",
    "resolve_cname", "resolver", "tcp", "udp",
]

# green.socket imports this module, so it can't be imported here.
socket = _socket_nodns

# How many aliases of aliases are followed; there are rarely two.
_MAX_ALIASES = 16

# Never raised themselves, but as copies: an error that lives on keeps the frames it passed through.
EAI_EAGAIN_ERROR = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
EAI_NONAME_ERROR = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
EAI_NODATA_ERROR = EAI_NONAME_ERROR
if os.environ.get("EVENTLET_DEPRECATED_EAI_NODATA", "").lower() in ("1", "y", "yes") and hasattr(socket, "EAI_NODATA"):
    EAI_NODATA_ERROR = socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")


def _raise_new_error(error_instance):
    raise error_instance.__class__(*error_instance.args)


# Resolver.query is the one method that every version has.
warnings.filterwarnings("ignore", category=DeprecationWarning, module=re.escape(__name__) + "$")


# -- Addresses


def _needs_no_lookup(host):
    if host is None or is_ip_addr(host):
        return True
    # The system also takes 127.1 and 0x7f000001 for addresses.
    if not re.fullmatch(r"[0-9][0-9a-fA-FxX.]*", host):
        return False
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


# -- Nameservers


class Cache(dns.resolver.LRUCache):
    """Keeps answers for as long as they say. One that says there is nothing, but not for how long, is not kept
    (RFC 2308, section 5)."""

    def put(self, key, value):
        if value.rrset or any(each.rdtype == dns.rdatatype.SOA for each in value.response.authority):
            super().put(key, value)


class ResolverProxy:
    """Asks *hosts_resolver*, if there is one, and then the nameservers of *filename*, in the format of resolv.conf.

    The file is read when it is first needed, and again when it has changed.
    """

    def __init__(self, hosts_resolver=None, filename="/etc/resolv.conf"):
        self._hosts = hosts_resolver
        self._filename = filename
        self._cached_resolver = None
        self._read = None

    @property
    def _resolver(self):
        if self._cached_resolver is None or self._read is not None and self._read != stamp(self._filename):
            self.clear()
        return self._cached_resolver

    @_resolver.setter
    def _resolver(self, value):
        self._cached_resolver = value
        self._read = None

    def clear(self):
        """Forgets what was answered so far, and reads the configuration again."""
        read = stamp(self._filename)
        resolver = dns.resolver.Resolver(filename=self._configuration())
        resolver.cache = Cache()
        self._cached_resolver, self._read = resolver, read

    def _configuration(self):
        """What dnspython is to read. It fails on a search list that others take, as in "search .example.com"."""
        try:
            with open(self._filename, errors="replace") as file:
                text = file.read()
        except (OSError, TypeError):
            return self._filename  # It has its own error, or its own way, for that.
        return io.StringIO(re.sub(r"(?m)^(\s*(?:search|domain)\s.*)$", lambda line: line[1].replace(" .", " "), text))

    def query(self, qname, rdtype=dns.rdatatype.A, rdclass=dns.rdataclass.IN, tcp=False, source=None,
              raise_on_no_answer=True, _hosts_rdtypes=(dns.rdatatype.A, dns.rdatatype.AAAA), use_network=True):
        """Returns the answer of the hosts file if it has one, else, with *use_network*, that of a nameserver.

        A name with fewer dots than resolv.conf's `ndots` is looked for in the domains of the search list, and then as
        it stands; another one the other way round. Parks; raises dnspython's errors.
        """
        if qname is None:
            qname = "0.0.0.0"
        if isinstance(qname, bytes):
            qname = qname.decode("ascii")
        if isinstance(qname, str):
            qname = dns.name.from_text(qname, None)

        if self._hosts and rdclass == dns.rdataclass.IN and rdtype in _hosts_rdtypes:
            try:
                answer = self._hosts.query(qname, rdtype, raise_on_no_answer=False)
            except Exception:
                pass  # The nameservers may know.
            else:
                if answer.rrset:
                    return answer
                if not use_network:
                    raise dns.resolver.NXDOMAIN(qnames=(qname,))

        answer = self._search(qname, rdtype, rdclass, tcp, source)
        if answer.rrset or not raise_on_no_answer:
            return answer
        raise dns.resolver.NoAnswer(response=answer.response)

    def _search(self, qname, *question):
        """Asks for a name as glibc does: what a domain of the search list has not, or can't tell, the next may have."""
        resolver = self._resolver
        names = _names_to_try(resolver, qname)
        outcomes = []
        try:
            for name in names:
                try:
                    outcome = resolver.query(name, *question, raise_on_no_answer=False)
                except dns.exception.Timeout:
                    raise
                except Exception as error:
                    outcome = error
                else:
                    if outcome.rrset:
                        return outcome
                outcomes.append(outcome)
            # A full name was asked for as such first, and the search list was the second choice.
            outcome = outcomes[0] if len(names[0]) == len(qname) + 1 else _worth_telling(outcomes)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        finally:
            # Errors have this frame.
            outcome = outcomes = None

    def getaliases(self, hostname):
        """Returns all other names of *hostname*: those of the hosts file, and what it is an alias for."""
        aliases = self._hosts.getaliases(hostname) if self._hosts else []
        for _ in range(_MAX_ALIASES):
            try:
                answer = self._resolver.query(hostname, dns.rdatatype.CNAME)
            except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
                break
            aliases.extend(str(record.target) for record in answer.rrset)
            hostname = answer[0].target
        return aliases


def _names_to_try(resolver, qname):
    """All full names that a name may stand for, in order."""
    if qname.is_absolute():
        return [qname]
    domains = list(getattr(resolver, "search", ()))
    domain = getattr(resolver, "domain", None)
    if not domains and domain not in (None, dns.name.root):
        domains = [domain]
    names = [qname.concatenate(each) for each in domains]
    as_it_stands = qname.concatenate(dns.name.root)
    ndots = getattr(resolver, "ndots", None)
    # A label more than dots.
    if len(qname) > (1 if ndots is None else ndots):
        return [as_it_stands, *names]
    return [*names, as_it_stands]


def _worth_telling(outcomes):
    """Of answers without records and errors, one for each domain: that there is such a name, else that a nameserver
    can't tell, else what came last."""
    for kind in (dns.resolver.Answer, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
        for outcome in outcomes:
            if isinstance(outcome, kind):
                return outcome
    return outcomes[-1]


resolver = ResolverProxy(hosts_resolver=HostsResolver())


def reset():
    """Forgets all answers, and reads resolv.conf again."""
    resolver.clear()


def _raise_as_gaierror(error):
    """Raises what the system's functions raise where dnspython raised *error*."""
    for_now = (dns.exception.Timeout, dns.resolver.NoNameservers, getattr(dns.resolver, "NoResolverConfiguration", ()))
    _raise_new_error(EAI_EAGAIN_ERROR if isinstance(error, for_now) else EAI_NODATA_ERROR)


def resolve(name, family=socket.AF_INET, raises=True, _proxy=None, use_network=True):
    """Returns dnspython's answer for the addresses of *name* of a family, AF_INET or AF_INET6. Parks.

    Without *raises* an answer may be empty. Other errors are socket.gaierror.
    """
    if family == socket.AF_INET:
        rdtype = dns.rdatatype.A
    elif family == socket.AF_INET6:
        rdtype = dns.rdatatype.AAAA
    else:
        raise socket.gaierror(socket.EAI_FAMILY, "Address family not supported")
    try:
        return (_proxy or resolver).query(name, rdtype, raise_on_no_answer=raises, use_network=use_network)
    except dns.resolver.NXDOMAIN as error:
        if raises:
            _raise_as_gaierror(error)
        return HostsAnswer(dns.name.from_text(name), rdtype, dns.rdataclass.IN, None, False)
    except dns.exception.DNSException as error:
        _raise_as_gaierror(error)


def resolve_cname(host):
    """Returns the canonical name of *host*, which may be *host* itself. Parks; raises socket.gaierror."""
    hosts = getattr(resolver, "_hosts", None)
    known = hosts.canonical_name(host) if hosts else None
    if known is not None:
        return known
    for _ in range(_MAX_ALIASES):
        try:
            target = str(resolver.query(host, dns.rdatatype.CNAME)[0].target).removesuffix(".")
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            break
        except dns.exception.DNSException as error:
            _raise_as_gaierror(error)
        if target == host:
            break
        host = target
    return host


def getaliases(host):
    """Returns all other names of *host*. Parks; raises socket.gaierror."""
    try:
        return resolver.getaliases(host)
    except dns.exception.DNSException as error:
        _raise_as_gaierror(error)


# -- The functions of the socket module


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """As socket.getaddrinfo. The lookup parks; the rest is done by the system, which is told not to look up."""
    if isinstance(host, bytearray):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    host = _as_text(host)
    if _needs_no_lookup(host):
        name, addresses = host, [host]
    else:
        sys.audit("socket.getaddrinfo", host, port, family, type, proto)
        name, addresses = _look_up(host, family, flags)

    found = []
    failure = None
    system_flags = (flags | socket.AI_NUMERICHOST) & ~socket.AI_CANONNAME
    for address in addresses:
        try:
            found.extend(socket.getaddrinfo(address, port, family, type, proto, system_flags))
        except OSError as error:
            # One of the two families may not be configured here.
            if not flags & socket.AI_ADDRCONFIG:
                raise
            failure = error
    if not found:
        raise failure or socket.gaierror(socket.EAI_NONAME, "No address found")
    if len(addresses) > 1:
        found = address_order.in_order(found)
    if flags & socket.AI_CANONNAME and name is not None:
        if not _needs_no_lookup(name):
            name = resolve_cname(name.removesuffix(".")).encode("ascii").decode("idna")
        found[0] = (*found[0][:3], name, found[0][4])
    return found


def _look_up(host, family, flags):
    """Returns the name under which a host was found, and its addresses."""
    if flags & socket.AI_NUMERICHOST or not host.strip("."):
        _raise_new_error(EAI_NONAME_ERROR)
    if family == socket.AF_UNSPEC:
        return _look_up_any(host)
    answer = resolve(host, family, False)
    addresses = _addresses(answer)
    if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED and (not addresses or flags & socket.AI_ALL):
        answer = resolve(host, socket.AF_INET, False)
        addresses += ["::ffff:" + address for address in _addresses(answer)]
    return str(answer.qname), addresses


def _look_up_any(host):
    # An address in the hosts file is enough: nobody is asked for one of the other family then.
    failure = answer = None
    for use_network in (False, True):
        addresses = []
        for family in (socket.AF_INET6, socket.AF_INET):
            try:
                answered = resolve(host, family, False, use_network=use_network)
            except socket.gaierror as error:
                if error.errno not in (socket.EAI_AGAIN, EAI_NONAME_ERROR.errno, EAI_NODATA_ERROR.errno):
                    raise
                failure = error
                continue
            if answered.rrset or answer is None:
                answer = answered
            addresses += _addresses(answered)
        if addresses:
            return str(answer.qname), addresses
    if failure is not None:
        raise failure
    return str(answer.qname), addresses


def _addresses(answer):
    return [record.address for record in answer.rrset or ()]


def _as_text(host):
    """A name as it is looked up; a UnicodeError, as the socket module has it, for text that no name can be."""
    if isinstance(host, str):
        host = host.encode("idna")
    return host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host


def _is_for_the_system(host):
    """Whether the system answers at once, or refuses it, without a lookup."""
    return not isinstance(host, str) or "\0" in host or host in names.SPECIAL or _needs_no_lookup(host)


def gethostbyname(hostname):
    """As socket.gethostbyname; parks."""
    if is_ipv4_addr(hostname):
        sys.audit("socket.gethostbyname", hostname)
        return hostname
    hostname = _as_text(hostname)
    if _is_for_the_system(hostname):
        return socket.gethostbyname(hostname)
    sys.audit("socket.gethostbyname", hostname)
    return resolve(hostname).rrset[0].address


def gethostbyname_ex(hostname):
    """As socket.gethostbyname_ex; parks."""
    if is_ipv4_addr(hostname):
        sys.audit("socket.gethostbyname", hostname)
        return hostname, [], [hostname]
    hostname = _as_text(hostname)
    if _is_for_the_system(hostname):
        return socket.gethostbyname_ex(hostname)
    sys.audit("socket.gethostbyname", hostname)
    answer = resolve(hostname)
    hosts = getattr(resolver, "_hosts", None)
    if isinstance(answer, HostsAnswer) and hosts:
        # What the file says is all there is to say; no nameserver is asked, which may not be there.
        name = hosts.canonical_name(hostname) or hostname
        return name, hosts.getaliases(name), _addresses(answer)
    return str(answer.qname).removesuffix("."), getaliases(hostname), _addresses(answer)


def gethostbyaddr(host):
    """As socket.gethostbyaddr, for an address or a name; parks."""
    host = _as_text(host)
    if not host or not isinstance(host, str) or "\0" in host:
        return socket.gethostbyaddr(host)  # which refuses it
    sys.audit("socket.gethostbyaddr", host)
    if host == "<broadcast>":
        host = "255.255.255.255"
    address = host if is_ip_addr(host) else getaddrinfo(host.encode(), None, 0, socket.SOCK_STREAM)[0][4][0]
    try:
        name = _name_of(address)
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
        raise socket.herror(1, "Unknown host") from None
    except dns.exception.DNSException:
        raise socket.herror(2, "Host name lookup failure") from None
    hosts = getattr(resolver, "_hosts", None)
    return name, hosts.getaliases(name) if hosts else [], [address]


def getnameinfo(sockaddr, flags):
    """As socket.getnameinfo, for IPv4 and IPv6; parks."""
    if not isinstance(sockaddr, tuple):
        raise TypeError("getnameinfo() argument 1 must be a tuple")
    # Checks the arguments, and names the service.
    numeric, service = socket.getnameinfo(_numeric(sockaddr), flags & ~socket.NI_NAMEREQD | socket.NI_NUMERICHOST)
    if flags & socket.NI_NUMERICHOST:
        if flags & socket.NI_NAMEREQD:
            _raise_new_error(EAI_NONAME_ERROR)
        return numeric, service
    try:
        name = _name_of(numeric)
    except dns.exception.DNSException as error:
        if flags & socket.NI_NAMEREQD:
            _raise_as_gaierror(error)
        return numeric, service
    if flags & socket.NI_NOFQDN:
        name = name.split(".", 1)[0]
    return name, service


def _numeric(sockaddr):
    host = sockaddr[0] if sockaddr else None
    if _is_for_the_system(host):
        return sockaddr
    family = socket.AF_INET if len(sockaddr) == 2 else socket.AF_INET6
    addresses = _addresses(resolve(host, family))
    if len(addresses) > 1:
        raise OSError("sockaddr resolved to multiple addresses")
    return (addresses[0], *sockaddr[1:])


def _name_of(address):
    hosts = getattr(resolver, "_hosts", None)
    known = hosts.name_of(address) if hosts else None
    if known is not None:
        return known
    answer = resolver.query(dns.reversename.from_address(address.split("%", 1)[0]), dns.rdatatype.PTR)
    return answer[0].target.to_text(omit_final_dot=True)


dns.query.tcp = tcp
dns.query.udp = udp

_fairness.make_fair("names", globals())
functions.stand_for_those_of_c(_socket_nodns, globals(), __all__)
