"""The name of the hub for systems with kqueue, on which Greenloom does not run yet."""


def is_available():
    """False."""
    return False


class Hub:
    """Cannot be made."""

    def __init__(self, clock=None):
        raise NotImplementedError("Greenloom has no kqueue hub; use epolls, poll or selects")
