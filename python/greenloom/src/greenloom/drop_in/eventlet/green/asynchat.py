"""`asynchat` on green sockets, where Python still has it: until 3.11."""

import sys

if sys.version_info < (3, 12):
    import warnings

    from eventlet import patcher
    from eventlet.green import asyncore, socket

    with warnings.catch_warnings():
        # Who imports this knows that the module is old.
        warnings.simplefilter("ignore", DeprecationWarning)
        patcher.inject("asynchat", globals(), ("asyncore", asyncore), ("socket", socket))

    del patcher
