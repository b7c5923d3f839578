"""`asyncore` on green sockets, where Python still has it: until 3.11."""

import sys

if sys.version_info < (3, 12):
    import warnings

    from eventlet import patcher
    from eventlet.green import select, socket, time

    with warnings.catch_warnings():
        # Who imports this knows that the module is old.
        warnings.simplefilter("ignore", DeprecationWarning)
        patcher.inject("asyncore", globals(), ("select", select), ("socket", socket), ("time", time))

    del patcher
