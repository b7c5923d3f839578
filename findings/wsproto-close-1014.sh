#!/bin/sh
# wsproto sends WebSocket close codes that it refuses to receive, 1014 (Bad Gateway) among them.
#
# Versions: wsproto 1.3.2, websockets 17.4.
#
# Behaviour: a wsproto server closes with 1014 without complaint. A wsproto client turns that frame into a close with
# 1002 (protocol error) and the reason "CLOSE with unknown reserved code": the program never learns the code that was
# sent. websockets reads 1014 as what it is. The neighbours 1012 and 1013 pass in both.
#
# Why it surprises: 1012, 1013 and 1014 stand side by side in IANA's registry of close codes, which is where RFC 6455
# (sections 7.4.2 and 11.7) says that codes of 1000-2999 are defined. A proxy that loses its upstream is right to send
# 1014, and a client that reconnects on it but gives up on 1002 gives up. A library that treats a code as a violation
# when reading should also refuse to write it.
#
# Seen (code: sent by wsproto, read by wsproto, read by websockets):
#   1012  sent  1012  1012
#   1013  sent  1013  1013
#   1014  sent  1002  1014
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'wsproto==1.3.2' 'h11==0.16.0' 'websockets==17.4'

"$tmp/venv/bin/python" - <<'PY'
import sys

from websockets.frames import Close
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection

seen = {}
for code in 1012, 1013, 1014:
    frame = Connection(ConnectionType.SERVER).send(CloseConnection(code=code))
    header, payload = frame[:2], frame[2:]
    if header != b"\x88\x02" or payload != code.to_bytes(2, "big"):
        sys.exit("changed: wsproto no longer sends %d as it is: %r" % (code, frame))
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frame)
    (event,) = client.events()
    seen[code] = int(event.code), int(Close.parse(payload).code)
    print("%d  sent  %d  %d" % (code, *seen[code]))
if seen != {1012: (1012, 1012), 1013: (1013, 1013), 1014: (1002, 1014)}:
    sys.exit("changed: %r" % seen)
PY
