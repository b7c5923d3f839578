"""What is allowed: the order of the crates, the floors inside a crate, and the limits of a file.

This is the one table. `docs/design.md` shows it to people, and `drift` compares the two.
"""

# The crates from the ground up, each with those it may use. What is not named here may use all of them: examples,
# benchmarks, fuzz targets. Tests are free.
CRATES = {
    "crates/fiber": (),
    "crates/hub": (),
    "crates/trace": (),
    "crates/inspect": ("crates/fiber", "crates/trace"),
    "crates/greenloom": ("crates/fiber", "crates/hub", "crates/inspect", "crates/trace"),
    "crates/amqp": (),
    "crates/rpc": ("crates/fiber", "crates/inspect", "crates/greenloom", "crates/amqp"),
    "crates/http": (),
    "crates/web": ("crates/greenloom", "crates/http"),
    "crates/hooks": ("crates/greenloom",),
    "crates/cli": ("crates/trace", "crates/inspect"),
    # It does not know the Rust runtime, which waits by other means than the interpreter's threads do. Of `crates/rpc`
    # it uses the bridge alone: that runs on an OS thread of its own, and all that the two share is sockets.
    "crates/python": (
        "crates/fiber", "crates/hub", "crates/inspect", "crates/trace", "crates/http", "crates/amqp", "crates/rpc",
        "crates/hooks", "crates/cli",
    ),
}

# The floors inside a crate, from the ground up. A module may use those on the floors below it; not those above it, not
# a neighbour on its own floor, and not the root, which assembles. `...` stands for all modules that are not named: they
# may use each other and the root too, as long as no circle comes of it.
FLOORS = {
    "crates/greenloom": ({"runtime"}, ...),
    "crates/python": ({"py"}, {"tstate"}, {"greenlet"}, {"eventlet", "http", "amqp", "bus"}, {"wsgi"}, {"inspect"}),
}

# The only crates with `unsafe`. A test elsewhere may have some, with a `SAFETY:` comment.
UNSAFE = ("crates/fiber", "crates/python", "crates/hooks")

# Lines of an unsafe block, those of its braces included.
UNSAFE_LENGTH = 24

# Columns of a line, comments included.
WIDTH = 120

# Lines of a Rust or Python file that gives no reason at its top for more.
LENGTH = 500

# How a reason begins, in the documentation at the top of the file.
REASON = "Over 500 lines: "
