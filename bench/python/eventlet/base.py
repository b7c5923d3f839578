"""This tree's greenlet and eventlet beside those of an earlier revision: what a change has cost or gained.

    base.py PYTHON BASE_PYTHON [ROW...]

Two environments of the same CPython. A value is nanoseconds of CPU for one operation, the best of the turns; the ratio
is the median of the turns'. The rows are in rows.py; a few per cent more are shown as `slower`.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from turns import in_turns, output_of, ratio  # noqa: E402

TURNS = int(os.environ.get("TURNS", "7"))
TOLERANCE = 1.03


def main(python, base, *wanted):
    rows = os.path.join(HERE, "rows.py")
    missed = False
    print(f"{'ns of CPU':14} {'this':>10} {'base':>10}   this is")
    for row in wanted or output_of([python, rows]).split():
        turns, problems = in_turns((python, base), lambda side: json.loads(output_of([side, rows, row])), TURNS)
        if problems:
            sys.exit("\n".join(problems.values()))
        found = ratio(turns[python], turns[base])
        missed |= found > TOLERANCE
        verdict = "   slower" if found > TOLERANCE else ""
        print(f"{row:14} {min(turns[python]):10.1f} {min(turns[base]):10.1f}   {found:.3f}x{verdict}", flush=True)
    sys.exit(missed)


if __name__ == "__main__":
    main(*sys.argv[1:])
