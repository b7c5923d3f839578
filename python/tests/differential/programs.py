"""Programs of the differential test: made from a seed, run in a process of their own, compared, made smaller."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile

import datagram_kinds  # noqa: F401
import io_kinds  # noqa: F401
import process_kinds  # noqa: F401
import several_kinds  # noqa: F401
import sync_kinds  # noqa: F401
import thread_kinds  # noqa: F401
import tls_kinds  # noqa: F401
from kinds import KINDS

CONDUCTOR = pathlib.Path(__file__).resolve().parent / "conductor.py"
#: Seconds for which an operation has to wait until the next step begins: at first, and when a difference is confirmed.
GRACE, LONGER_GRACE = 0.02, 0.15
#: Seconds for one program.
LIMIT = 30
NATIVE, GREEN = "native", "green"


def program_of(seed, is_known=lambda operation: False):
    """A random program. Operations that are known to differ come seldom: what follows them says little."""
    choose = random.Random(seed)
    names = "abc"[: choose.choice((1, 1, 1, 2, 2, 3))]
    things = []
    for name in names:
        kind = choose.choice(sorted(KINDS))
        things.append([name, kind, *(choose.choice(values) for values in KINDS[kind].made_with)])
    threads = choose.randint(2, 5)
    steps = []
    while len(steps) < 14:
        name, kind, *_ = choose.choice(things)
        operations = KINDS[kind].operations
        operation = choose.choices(list(operations), [method.weight for method in operations.values()])[0]
        arguments = [choose.choice(values) for values in operations[operation].arguments]
        worker = choose.randrange(threads)
        if not is_known(text_of(kind, operation, arguments)) or choose.random() < 0.02:
            steps.append([worker, name, operation, *arguments])
    return {"threads": threads, "owned": choose.random() < 0.5, "things": things, "steps": steps}


def text_of(kind, operation, arguments):
    return f"{kind}.{operation}({', '.join(map(repr, arguments))})"


class Pythons:
    """Where programs run: on the OS threads of one interpreter, and under the other's monkey_patch()."""

    def __init__(self, native, green):
        self.python = {NATIVE: native, GREEN: green}

    def outcome(self, mode, program, grace):
        """What the conductor said, line by line. What it said last is less than "over" if the program hung or died."""
        command = [self.python[mode], "-B", "-u", str(CONDUCTOR), mode, str(grace)]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=errors, start_new_session=True,
            )  # fmt: skip
            try:
                process.communicate(json.dumps(program).encode(), LIMIT)
                ending = f"ended with {process.returncode}" if process.returncode != 1 else "hung"
            except subprocess.TimeoutExpired:
                ending = "hung"
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            output.seek(0)
            errors.seek(0)
            said = output.read().decode().splitlines()
            why = errors.read().decode(errors="replace")
        lines = [json.loads(line) for line in said]
        return lines if lines and lines[-1] == ["over"] else [*lines, [ending, why[-4000:]]]

    def difference(self, program, is_known=lambda difference: False):
        """The first difference of the outcomes, or None. One that is not known has to be there in a second try too."""
        for grace in (GRACE, LONGER_GRACE):
            outcomes = [self.outcome(mode, program, grace) for mode in (NATIVE, GREEN)]
            found = first_difference(program, *outcomes)
            if found is None or is_known(found):
                return found
        if self.outcome(NATIVE, program, LONGER_GRACE) != outcomes[0]:
            return Difference("unsure", "two runs on OS threads differ", outcomes)
        return found


class Difference:
    """`where` is the operation of the step, `what` the results that are not the same."""

    def __init__(self, where, what, outcomes):
        self.where, self.what, self.outcomes = where, what, outcomes

    @property
    def text(self):
        return f"{self.where}: {self.what}"


def first_difference(program, native, green):
    kinds = {name: kind for name, kind, *_ in program["things"]}

    def named(text):
        return re.sub(r"\b([abc])\.", lambda match: kinds[match[1]] + ".", text, count=1)

    for ours, theirs in zip(green, native):
        if ours != theirs:
            break
    else:
        return None
    is_step = isinstance(theirs[0], str) and "." in theirs[0] and len(theirs) == 2
    if not is_step or ours[0] != theirs[0]:
        same = theirs[0] == ours[0]
        ends = (theirs[-1], ours[-1] if same else ours[0])
        return Difference(named(theirs[0]), " | ".join(map(shown, ends)), (native, green))
    if "skipped" in (theirs[1], ours[1]):
        return Difference(named(theirs[0]), f"{shown(theirs[1])} | {shown(ours[1])}", (native, green))
    left, right = list(theirs[1]), list(ours[1])
    for item in list(left):
        if item in right:
            left.remove(item), right.remove(item)
    what = []
    for text in sorted({text for text, _ in left + right}):
        results = [", ".join(shown(result) for t, result in side if t == text) or "waits" for side in (left, right)]
        whose = "" if text == theirs[0] else named(text) + " "
        what.append(whose + " | ".join(results))
    return Difference(named(theirs[0]), "; ".join(what), (native, green))


def shown(value):
    return json.dumps(value)


def smaller(program, keeps):
    """The program with as few steps as still have what `keeps` asks."""
    size = len(program["steps"]) // 2
    while size:
        begin = 0
        while begin < len(program["steps"]):
            steps = program["steps"]
            fewer = {**program, "steps": steps[:begin] + steps[begin + size :]}
            if fewer["steps"] and keeps(fewer):
                program = fewer
            else:
                begin += size
        size //= 2
    used = {step[1] for step in program["steps"]}
    fewer = {**program, "things": [thing for thing in program["things"] if thing[0] in used]}
    return fewer if fewer["things"] != program["things"] and keeps(fewer) else program
