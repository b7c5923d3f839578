from collections.abc import Callable
from typing import Any

DNS_QUERY_TIMEOUT: float
HOSTS_TTL: float
EAI_EAGAIN_ERROR: OSError
EAI_NONAME_ERROR: OSError
EAI_NODATA_ERROR: OSError

class HostsAnswer:
    def __init__(
        self, qname: Any, rdtype: Any, rdclass: Any, rrset: Any, raise_on_no_answer: bool = True
    ) -> None: ...
    def __getattr__(self, name: str) -> Any: ...

class HostsResolver:
    fname: str
    interval: float
    def __init__(self, fname: str | None = None, interval: float = ...) -> None: ...
    def query(
        self,
        qname: Any,
        rdtype: Any = ...,
        rdclass: Any = ...,
        tcp: bool = False,
        source: Any = None,
        raise_on_no_answer: bool = True,
    ) -> Any: ...
    def getaliases(self, hostname: str) -> list[str]: ...

class ResolverProxy:
    def __init__(self, hosts_resolver: Any = None, filename: str | None = "/etc/resolv.conf") -> None: ...
    def clear(self) -> None: ...
    def query(
        self,
        qname: Any,
        rdtype: Any = ...,
        rdclass: Any = ...,
        tcp: bool = False,
        source: Any = None,
        raise_on_no_answer: bool = True,
        _hosts_rdtypes: Any = ...,
        use_network: bool = True,
    ) -> Any: ...
    def getaliases(self, hostname: str) -> list[str]: ...

# Tests put others in their places.
resolver: Any
resolve: Callable[..., Any]
resolve_cname: Callable[..., Any]
getaliases: Callable[..., Any]
getaddrinfo: Callable[..., Any]
gethostbyname: Callable[..., Any]
gethostbyname_ex: Callable[..., Any]
gethostbyaddr: Callable[..., Any]
getnameinfo: Callable[..., Any]

def reset() -> None: ...
def is_ip_addr(host: str) -> bool: ...
def is_ipv4_addr(host: str) -> bool: ...
def is_ipv6_addr(host: str) -> bool: ...
def __getattr__(name: str) -> Any: ...
