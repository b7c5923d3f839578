"""What the comparisons share: contenders that take turns, medians, and the file in which raw figures are kept.

A measurement is a fresh process. The contenders take turns, and every second turn goes the other way round, so that a
busy minute of the machine falls on all of them; a ratio is the median of the ratios within each turn.
"""

import json
import os
import platform
import statistics
import subprocess


class Failed(Exception):
    """A measurement that came to nothing."""


def output_of(command, timeout=60, **options):
    """What a program prints; Failed with its last words if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from None
    if done.returncode:
        raise Failed(done.stderr[-2000:])
    return done.stdout


def in_turns(contenders, measure, turns):
    """The values of each contender, turn by turn, None where it failed; and what the last failure of each was."""
    values, problems = {contender: [] for contender in contenders}, {}
    for turn in range(turns):
        for contender in contenders if turn % 2 == 0 else reversed(list(contenders)):
            try:
                values[contender].append(measure(contender))
            except Failed as failure:
                values[contender].append(None)
                problems[contender] = str(failure)
    return values, problems


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def ratio(ours, theirs):
    """The median of the ratios of ours to theirs, turn by turn."""
    pairs = [(mine, other) for mine, other in zip(ours, theirs) if mine is not None and other]
    return median([mine / other for mine, other in pairs])


def shown(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def keep(results, python, **figures):
    """Writes the raw figures, and where they were taken."""
    machine = {"machine": platform.platform(), "processors": os.cpu_count(), "load": os.getloadavg()}
    with open(results, "w") as file:
        json.dump({"interpreter": output_of([python, "-V"]).strip(), **machine, **figures}, file, indent=1)
        file.write("\n")
