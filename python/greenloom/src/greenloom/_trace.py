"""Recording a timeline of what green threads do. ``greenloom.inspect.trace`` is this module's."""

import os
import sys

from . import _native


class trace:
    """Records what all greenlets of the process do while the ``with`` statement runs, and writes it to *path*.

    A path that ends in ``.html`` gives one page, which works offline; any other one a file for https://ui.perfetto.dev.
    It has when each greenlet ran, was ready or waited, for what, and who woke it; the Python frames of what ran for
    more than 100 us without giving way; how late timers were; and how long a hub waited for the interpreter's lock.

    At most the newest *events* of each thread are kept, of 16 bytes each; ``recorded`` and ``dropped`` say afterwards
    how many there were. Raises ``OSError`` if the file cannot be written, at once where that can be known, and
    ``RuntimeError`` while there is another recording. An exception of the ``with`` statement's own goes on, and what
    led to it is written all the same; that it cannot be written then is said on standard error.

    >>> import eventlet, greenloom.inspect, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "out.html")
    >>> with greenloom.inspect.trace(path) as recording:
    ...     eventlet.spawn(eventlet.sleep, 0.001).wait()
    >>> recording.recorded > 0, recording.dropped
    (True, 0)
    """

    def __init__(self, path, *, events=1 << 20):
        self.path = os.fspath(path)
        self.events = events
        self.recorded = self.dropped = None

    def __enter__(self):
        _native._trace_check(self.path)
        if not _native._trace_start(self.events):
            raise RuntimeError("a trace of this process is being recorded already; finish that one first")
        return self

    def __exit__(self, *exception):
        program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        try:
            self.recorded, self.dropped = _native._trace_stop(f"{program} ({os.getpid()})", self.path)
        except OSError as error:
            if exception[0] is None:
                raise
            # The one that goes on matters more.
            os.write(2, f"greenloom: {error.strerror}\n".encode(errors="replace"))

    def __repr__(self):
        return f"<trace to {self.path!r}>"
