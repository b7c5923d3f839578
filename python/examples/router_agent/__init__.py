"""The router agent, written for plain eventlet: the twin of the Rust example of the same name, on the same feed.

It takes router updates from a feed and works through them with a pool of green threads, each of which talks to a
device over TCP. It runs on stock eventlet and on Greenloom's alike::

    python -m router_agent --help

    feed file -> read_feed -> queue of routers, by priority -> process_routers -> GreenPool(size=8)
                                     ^                                             |  apply over TCP
                                     |  retry after a delay                        v
                                     +------------------------------------- device server, in another process
"""
