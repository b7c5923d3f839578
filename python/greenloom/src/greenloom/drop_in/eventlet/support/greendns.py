"""Names and addresses without blocking the hub: `socket.getaddrinfo` and its kin, on dnspython.

The hosts file is asked first, then the nameservers of resolv.conf; both are read again when they change. `dns` is a
copy of dnspython that sees green sockets, with `udp` and `tcp` of this module in place of its own.
"""

import importlib
import io
import re
import struct
import sys
import time as _time
import warnings

from eventlet import patcher
from eventlet.green import _socket_nodns, os, select, ssl, time
from eventlet.support import address_order

__all__ = [
    "EAI_EAGAIN_ERROR", "EAI_NODATA_ERROR", "EAI_NONAME_ERROR", "HostsAnswer", "HostsResolver", "ResolverProxy", "dns",
    "getaddrinfo", "getaliases", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo", "is_ip_addr", "is_ipv4_addr",
    "is_ipv6_addr", "reset", "resolve", "resolve_cname", "resolver", "tcp", "udp",
]

# green.socket imports this module, so it can't be imported here.
socket = _socket_nodns

# Seconds.
DNS_QUERY_TIMEOUT = 10.0
HOSTS_TTL = 10.0

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


# -- dnspython


def _is_dns(name):
    return name == "dns" or name.startswith("dns.")


def _import_dns():
    dns = importlib.import_module("dns")
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
    # What it uses for DNS over HTTPS and QUIC belongs to all, and must not see them.
    for name in ("httpx", "httpcore", "h2", "aioquic.quic.connection"):
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    theirs = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_dns(name)}
    green = (("os", os), ("select", select), ("socket", _socket_nodns), ("ssl", ssl), ("time", time))
    try:
        return patcher.patch_function(_import_dns, *green)()
    finally:
        # Whoever has imported dnspython keeps it whole; others may as well have the green copy.
        if theirs:
            for name in [name for name in sys.modules if _is_dns(name)]:
                del sys.modules[name]
            sys.modules.update(theirs)


dns = _import_green_dns()

# Resolver.query is the one method that every version has.
warnings.filterwarnings("ignore", category=DeprecationWarning, module=re.escape(__name__) + "$")


# -- Addresses


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


# -- The hosts file


def _stamp(path):
    """What changes when a file does; None if there is none."""
    try:
        status = os.stat(path)
    except (OSError, TypeError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class HostsAnswer(dns.resolver.Answer):
    """What `HostsResolver.query` answers: as dnspython's Answer, without a response."""

    def __init__(self, qname, rdtype, rdclass, rrset, raise_on_no_answer=True):
        if not rrset and raise_on_no_answer:
            raise dns.resolver.NoAnswer()
        self.response = None
        self.qname = self.canonical_name = qname
        self.rdtype = rdtype
        self.rdclass = rdclass
        self.rrset = rrset
        self.expiration = time.time() + getattr(rrset, "ttl", 0)


class HostsResolver:
    """Answers from a hosts file, /etc/hosts by default, which need not exist. Reads it again whenever it has changed.

    *interval* is how many seconds an answer is said to hold. Reading the file blocks, shortly.
    """

    LINES_RE = re.compile(r"^[ \t]*([^\s#][^#\r\n]*?)[ \t]*(?:#.*)?$", re.MULTILINE)

    def __init__(self, fname=None, interval=HOSTS_TTL):
        self._v4 = {}
        self._v6 = {}
        self._aliases = {}
        self._further = {}
        self.interval = interval
        self.fname = "/etc/hosts" if fname is None else fname
        self._load()

    def _readlines(self):
        """Returns the lines that are more than blanks and comments; none if the file can't be read."""
        try:
            with open(self.fname, "rb") as file:
                text = file.read().decode(errors="ignore")
        except OSError:
            return []
        return self.LINES_RE.findall(text.replace("\r", "\n"))

    def _load(self):
        # Taken before, so that a change in between is seen next time.
        self._loaded = _stamp(self.fname)
        self._v4, self._v6, self._aliases = {}, {}, {}
        # The addresses of a name after its first one, IPv4 and IPv6.
        self._further = {}
        for line in self._readlines():
            address, *names = line.lower().split()
            if is_ipv4_addr(address):
                addresses = self._v4
            elif is_ipv6_addr(address) and not address.startswith("fe80"):
                addresses = self._v6
            else:
                continue  # A link-local address would need a scope, which a name can't have.
            for name in names:
                if addresses.setdefault(name, address) != address:
                    self._further.setdefault(name, []).append(address)
            for alias in names[1:]:
                self._aliases.setdefault(alias, names[0])

    def _refresh(self):
        if _stamp(self.fname) != self._loaded:
            self._load()

    def query(self, qname, rdtype=dns.rdatatype.A, rdclass=dns.rdataclass.IN, tcp=False, source=None,
              raise_on_no_answer=True):
        """Answers for the types A, AAAA and CNAME. Raises dns.resolver.NoAnswer, or returns an empty answer.

        *rdclass*, *tcp* and *source* mean nothing here.
        """
        self._refresh()
        rdclass = dns.rdataclass.IN
        if isinstance(qname, bytes):
            qname = qname.decode("ascii")
        name = str(qname).lower()
        if isinstance(qname, str):
            qname = dns.name.from_text(qname)
        rrset = dns.rrset.RRset(qname, rdclass, rdtype)
        rrset.ttl = self.interval
        for found in self._find(rdtype, name):
            rrset.add(found)
        return HostsAnswer(qname, rdtype, rdclass, rrset, raise_on_no_answer)

    def _find(self, rdtype, name):
        kinds = {
            dns.rdatatype.A: (self._v4, dns.rdtypes.IN.A.A),
            dns.rdatatype.AAAA: (self._v6, dns.rdtypes.IN.AAAA.AAAA),
            dns.rdatatype.CNAME: (self._aliases, dns.rdtypes.ANY.CNAME.CNAME),
        }
        if rdtype not in kinds:
            return []
        known, make = kinds[rdtype]
        if name not in known:
            name = name.removesuffix(".")
        if name not in known:
            return []
        if rdtype == dns.rdatatype.CNAME:
            return [make(dns.rdataclass.IN, rdtype, dns.name.from_text(known[name]))]
        return [make(dns.rdataclass.IN, rdtype, address) for address in self._addresses(known, name)]

    def _addresses(self, known, name):
        """All addresses of a name that *known*, `_v4` or `_v6`, has."""
        is_of_kind = is_ipv4_addr if known is self._v4 else is_ipv6_addr
        return [known[name], *filter(is_of_kind, self._further.get(name, ()))]

    def name_of(self, address):
        """Returns the canonical name of an address; None if no line has it."""
        self._refresh()
        for known in (self._v4, self._v6):
            for name in known:
                if address in self._addresses(known, name):
                    return self._aliases.get(name, name)
        return None

    def canonical_name(self, hostname):
        """Returns the first name of the line that has *hostname*; None if no line has it."""
        self._refresh()
        name = hostname.lower().removesuffix(".")
        if name in self._v4 or name in self._v6:
            return self._aliases.get(name, name)
        return None

    def getaliases(self, hostname):
        """Returns all other names of the host that has the name *hostname*."""
        canonical = self._aliases.get(hostname, hostname)
        names = [canonical, *(alias for alias, name in self._aliases.items() if name == canonical)]
        return [name for name in names if name != hostname]


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
        if self._cached_resolver is None or self._read is not None and self._read != _stamp(self._filename):
            self.clear()
        return self._cached_resolver

    @_resolver.setter
    def _resolver(self, value):
        self._cached_resolver = value
        self._read = None

    def clear(self):
        """Forgets what was answered so far, and reads the configuration again."""
        read = _stamp(self._filename)
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
    if isinstance(host, str):
        host = host.encode("idna").decode("ascii")
    elif isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii")
    if _needs_no_lookup(host):
        name, addresses = host, [host]
    else:
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


def gethostbyname(hostname):
    """As socket.gethostbyname; parks."""
    special = {"": "0.0.0.0", "<broadcast>": "255.255.255.255"}
    if hostname in special:
        return special[hostname]
    if is_ipv4_addr(hostname):
        return hostname
    return resolve(hostname).rrset[0].address


def gethostbyname_ex(hostname):
    """As socket.gethostbyname_ex; parks."""
    if is_ipv4_addr(hostname):
        return hostname, [], [hostname]
    answer = resolve(hostname)
    return str(answer.qname).removesuffix("."), getaliases(hostname), _addresses(answer)


def gethostbyaddr(host):
    """As socket.gethostbyaddr, for an address or a name; parks."""
    address = host if is_ip_addr(host) else getaddrinfo(host, None, 0, socket.SOCK_STREAM)[0][4][0]
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
    if not isinstance(host, str) or _needs_no_lookup(host):
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


# -- Asking one nameserver


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
    return None if timeout is None else _time.monotonic() + timeout


def _within(deadline, s, operation, *args):
    """Calls an operation of a socket. Raises dns.exception.Timeout if it does not end in time."""
    left = None if deadline is None else deadline - _time.monotonic()
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


dns.query.tcp = tcp
dns.query.udp = udp
