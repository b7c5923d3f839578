from socket import IPPROTO_TCP

__all__ = ("LINUX_VERSION", "SOL_TCP", "KNOWN_TCP_OPTS")

SOL_TCP = IPPROTO_TCP
LINUX_VERSION: tuple[int, ...]
KNOWN_TCP_OPTS: set[str]
