"""`selectors` on our green select, poll and epoll.

`monkey_patch` changes the classes of the standard library where they are, so that who imported them before waits in
the hub as well, and `isinstance` holds.
"""

from eventlet import patcher
from eventlet.green import select

__patched__ = []

_copy = patcher.inject("selectors", globals(), ("select", select))


def _patch_in_place(selectors):
    # The others made their choice when the module was imported.
    selectors.SelectSelector._select = staticmethod(select.select)
    selectors.PollSelector._selector_cls = select.poll
    selectors.EpollSelector._selector_cls = select.epoll


_patch_in_place(_copy)

del patcher
