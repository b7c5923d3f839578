"""ldap_server.py SOCKET: answers what slapd asks its back-sock: the search of a base `cn=word,ou=seconds,dc=test` gives
the entry of that name, after so many seconds; for the word `large` it has 200 kB."""

import contextlib
import re
import socketserver
import sys
import time


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        request = b"".join(iter(self.rfile.readline, b"\n")).decode()
        base = re.search(r"^base: (cn=(.*),ou=(.*),dc=test)$", request, re.MULTILINE)
        if base:
            time.sleep(float(base[3]))
            more = f"description: {'x' * 200_000}\n" if base[2] == "large" else ""
            lines = f"dn: {base[1]}\nobjectClass: applicationProcess\ncn: {base[2]}\n{more}\nRESULT\ncode: 0\n"
        else:
            lines = "RESULT\ncode: 53\ninfo: what is this\n"
        with contextlib.suppress(BrokenPipeError):  # slapd has gone
            self.wfile.write(lines.encode())


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 200


with Server(sys.argv[1], Answer) as server:
    print("ready", flush=True)
    server.serve_forever()
