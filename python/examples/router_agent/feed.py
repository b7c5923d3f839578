"""The feed: router updates as lines of text, in the format that the feed of the Rust example explains at its top."""

import json
import re
from typing import NamedTuple, Union

#: How urgent an update is; the most urgent first.
PRIORITIES = {"high": 0, "normal": 1, "low": 2}

#: What can be done with a router, and whether it takes an argument.
ACTIONS = {
    "add-interface": True,
    "remove-interface": True,
    "set-gateway": True,
    "clear-gateway": False,
    "add-floating-ip": True,
    "remove-floating-ip": True,
    "sync": False,
    "delete": False,
}


class Update(NamedTuple):
    """One update of one router. *fails* is how often the device refuses it: a number, or ``"always"``."""

    router: str
    priority: int
    change: str
    fails: Union[int, str]


class BadLine(ValueError):
    """What is wrong with a line."""


def parse(text):
    """Yields the number of each line that is neither empty nor a comment, with its update or a :class:`BadLine`."""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            yield number, parse_line(line)
        except BadLine as problem:
            yield number, problem


def parse_line(line):
    """The update that a line tells.

    >>> parse_line("r1 high set-gateway 10.0.0.1 fails=2")
    Update(router='r1', priority=0, change='set-gateway 10.0.0.1', fails=2)
    """
    words = line.split()
    router = words.pop(0)
    if not re.fullmatch("[A-Za-z0-9-]+", router):
        raise BadLine(f"{json.dumps(router)} is no router's name: letters, digits and dashes")
    priority = PRIORITIES.get(take(words, "the priority is missing"))
    if priority is None:
        raise BadLine(f"{json.dumps(line.split()[1])} is no priority: high, normal or low")
    change = parse_change(words)
    fails = parse_fails(words.pop(0)) if words else 0
    if words:
        raise BadLine(f"{json.dumps(words[0])} is too much")
    return Update(router, priority, change, fails)


def parse_change(words):
    action = take(words, "the action is missing")
    if action not in ACTIONS:
        raise BadLine(f"{json.dumps(action)} is no action")
    if not ACTIONS[action]:
        return action
    if not words or words[0].startswith("fails="):
        raise BadLine(f"{action} wants an argument")
    argument = words.pop(0)
    # It goes into a line for the device and onto a terminal.
    if not re.fullmatch("[!-~]+", argument):
        raise BadLine(f"{json.dumps(argument)} is no argument: printable ASCII")
    return f"{action} {argument}"


def parse_fails(word):
    name, equals, times = word.partition("=")
    if name != "fails" or not equals:
        raise BadLine(f"{json.dumps(word)} is too much")
    if times == "always":
        return times
    if not re.fullmatch("[0-9]{1,9}", times):
        raise BadLine(f"{word}: a number, or always")
    return int(times)


def take(words, problem):
    if not words:
        raise BadLine(problem)
    return words.pop(0)
