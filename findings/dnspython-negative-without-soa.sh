#!/bin/sh
# dnspython 2.9.0 keeps a negative answer that has no SOA record for 136 years.
#
# Versions: dnspython 2.9.0 (2.6.1, 2.7.0 and 2.8.0 do the same) and 2.9.2 (2.9.1 does the same).
#
# Behaviour: a resolver with a cache asks a server that answers "no such data" or "no such name" with an empty
# authority section. 2.9.0 caches both answers for 4294967295 seconds: a name that comes into being later stays
# unknown to the process until it restarts. 2.9.2 caches them for 300 seconds.
#
# Why it surprises: RFC 2308, section 5, says that a negative answer without an SOA record SHOULD NOT be cached, since
# nothing in it says for how long it holds. RFC 2181, section 8, ends the range of a TTL at 2147483647, so that the
# older figure is not even one that a server could have sent. Such answers are well formed, and plain forwarders give
# them. Long-lived programs meet it: eventlet's greendns, for one, resolves through dnspython with a cache.
#
# Seen:
#   2.9.0  NoAnswer for nodata.test. kept 4294967295 s; NXDOMAIN for nx.test. kept 4294967295 s
#   2.9.2  NoAnswer for nodata.test. kept 300 s; NXDOMAIN for nx.test. kept 300 s
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
for version in 2.9.0 2.9.2; do
    "$tmp/venv/bin/pip" install -q --disable-pip-version-check --no-deps --target "$tmp/$version" "dnspython==$version"
done

cat > "$tmp/probe.py" <<'PY'
import socket
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
import dns.message
import dns.rcode
import dns.resolver
import dns.version

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))


def answer():
    while True:
        wire, client = server.recvfrom(4096)
        query = dns.message.from_wire(wire)
        reply = dns.message.make_response(query, recursion_available=True)
        if query.question[0].name.to_text() == "nx.test.":
            reply.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(reply.to_wire(), client)


threading.Thread(target=answer, daemon=True).start()
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = ["127.0.0.1"]
resolver.port = server.getsockname()[1]
resolver.cache = dns.resolver.Cache()

seen, lifetimes = [], []
for name in "nodata.test.", "nx.test.":
    before = time.time()
    try:
        resolver.resolve(name, "A")
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN) as error:
        outcome = type(error).__name__
    (kept,) = [kept for key, kept in resolver.cache.data.items() if key[0].to_text() == name]
    lifetimes.append(kept.expiration - before)
    seen.append("%s for %s kept %.0f s" % (outcome, name, lifetimes[-1]))
print(dns.version.version, "", "; ".join(seen))

expected = int(sys.argv[2])
if not all(abs(lifetime - expected) < 30 for lifetime in lifetimes):
    sys.exit("changed: expected both to be kept for about %d s" % expected)
PY
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/2.9.0" 4294967295
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/2.9.2" 300
