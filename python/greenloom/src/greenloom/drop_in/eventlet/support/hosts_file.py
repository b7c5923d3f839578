"""Names and addresses of the hosts file, as answers of dnspython's."""

import re

from eventlet.green import os, time
from eventlet.support.green_dnspython import dns, is_ipv4_addr, is_ipv6_addr

# Seconds.
HOSTS_TTL = 10.0


def stamp(path):
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
        self._loaded = stamp(self.fname)
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
        if stamp(self.fname) != self._loaded:
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
