"""What the environment asks for when a program begins to use greenlets: to be looked into."""

import os

if os.environ.get("GREENLOOM_INSPECT") or os.environ.get("GREENLOOM_DUMP_SIGNAL"):
    from .inspect import start_as_told

    start_as_told()
