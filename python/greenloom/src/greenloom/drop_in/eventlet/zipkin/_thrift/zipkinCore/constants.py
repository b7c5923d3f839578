"""Annotations that every span has: when a request was sent and received, by the client and by the server."""

CLIENT_SEND = "cs"
CLIENT_RECV = "cr"
SERVER_SEND = "ss"
SERVER_RECV = "sr"
