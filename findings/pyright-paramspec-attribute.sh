#!/bin/sh
# pyright refuses asyncio.to_thread(self.target, 1) where nothing is known about self.target.
#
# Version: pyright 1.1.414; mypy 2.4.1 accepts the same program.
#
# Behaviour: a class keeps a parameter without annotation, `self.target = target`, and passes it on with an argument:
# `asyncio.to_thread(self.target, 1)`. pyright reports an error: Arguments for ParamSpec "_P@to_thread" are missing
# (reportCallIssue). It reports none for the parameter itself, `asyncio.to_thread(target, 1)`, nor once the attribute
# is annotated, `self.target: Any = target`.
#
# Why it surprises: the program is valid and runs; of an attribute and a parameter of unknown type the same is known,
# nothing, and Any, which says just that, is accepted. A library that types its spawn() or submit() with a ParamSpec, as
# the standard library does, so turns valid programs of its users into failing checks: python-engineio's thread class
# for eventlet is one.
#
# Seen: the program prints 1 three times; mypy: no issues; pyright: one error, for the attribute without annotation.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'pyright[nodejs]==1.1.414' 'mypy==2.4.1'

cat >"$tmp/program.py" <<'PY'
import asyncio
from typing import Any


class Task:
    def __init__(self, target):
        self.target = target
        self.annotated: Any = target

    async def by_attribute(self):
        return await asyncio.to_thread(self.target, -1)

    async def by_annotated_attribute(self):
        return await asyncio.to_thread(self.annotated, -1)


async def by_parameter(target):
    return await asyncio.to_thread(target, -1)


print(asyncio.run(Task(abs).by_attribute()))
print(asyncio.run(Task(abs).by_annotated_attribute()))
print(asyncio.run(by_parameter(abs)))
PY
cd "$tmp"
venv/bin/python program.py
venv/bin/mypy --check-untyped-defs program.py
venv/bin/pyright --outputjson program.py >said.json || :
venv/bin/python - <<'PY'
import json
import sys

found = [
    (each["range"]["start"]["line"] + 1, each["rule"], each["message"].splitlines()[0])
    for each in json.load(open("said.json"))["generalDiagnostics"]
    if each["severity"] == "error"
]
print(*found, sep="\n")
lines = open("program.py").read().splitlines()
if ["self.target, -1" in lines[line - 1] and "ParamSpec" in message for line, _, message in found] != [True]:
    sys.exit("changed: %r" % found)
PY
