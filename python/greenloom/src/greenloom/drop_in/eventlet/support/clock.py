"""The clock that waits of our own are measured by.

The system's calls, which they stand for, have theirs in the kernel. A program that puts a function of its own in place
of `time.monotonic`, as tests that stop the clock do in each module that has it, must not reach that of a wait.
"""

from functools import partial
from time import CLOCK_MONOTONIC, clock_gettime

#: As `time.monotonic`.
monotonic = partial(clock_gettime, CLOCK_MONOTONIC)
