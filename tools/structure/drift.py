"""Lists in the documentation that must say what the code says: layers, floors, and the surfaces of backends."""

import re

from . import rules
from .finding import Finding
from .tokens import tokens

_NAMES = re.compile(r"`([^`]+)`")


def drift(files):
    """Compares the lists with the code; `files` is a dict of path to text."""
    return [*_layers(files), *_floors(files), *_surfaces(files)]


def _layers(files):
    """Every crate has a row in the design's table, in the order of `rules`, and is named by the two other lists."""
    crates = [crate for crate in rules.CRATES if f"{crate}/Cargo.toml" in files]
    rows = [cells[1].strip("`") for cells in _table(files, "docs/design.md", "Layers")]
    rows = [row for row in rows if row.startswith("crates/")]
    if rows != crates:
        message = f"the table of layers has {', '.join(rows)}; tools/structure/rules.py has {', '.join(crates)}"
        yield Finding("drift", "docs/design.md", 0, message)
    for path, heading in (("CONTRIBUTING.md", "Layers"), ("README.md", "What is where")):
        named = _NAMES.findall(_section(files, path, heading))
        for crate in crates:
            if crate not in named:
                yield Finding("drift", path, 0, f'{crate} is missing under "{heading}"')


def _floors(files):
    """The design's table of floors names the same modules in the same order."""
    rows = {cells[0].strip("`"): _NAMES.findall(cells[1]) for cells in _table(files, "docs/design.md", "Floors")}
    for crate, floors in rules.FLOORS.items():
        if f"{crate}/Cargo.toml" not in files:
            continue
        expected = [name for floor in floors if floor is not ... for name in sorted(floor)]
        if rows.get(crate) != expected:
            message = f"the floors of {crate} are {rows.get(crate)}; tools/structure/rules.py has {expected}"
            yield Finding("drift", "docs/design.md", 0, message)


def _surfaces(files):
    """What a backend has to offer, as CONTRIBUTING lists it, is what the present ones do."""
    backends = {
        "A poller backend": ["crates/hub/src/poller.rs"],
        "An architecture": [f"crates/fiber/src/switch/{name}.rs" for name in ("x86_64", "aarch64")],
    }
    for heading, paths in backends.items():
        listed = {name for cells in _table(files, "CONTRIBUTING.md", heading) for name in _NAMES.findall(cells[0])}
        for path in (path for path in paths if path in files):
            offered = functions_offered(files[path])
            for name in sorted(offered ^ listed):
                where = "is in no table" if name in offered else "is only in the table"
                yield Finding("drift", "CONTRIBUTING.md", 0, f'{name} of {path} {where} under "{heading}"')


def functions_offered(source):
    """The functions that a Rust file offers, public or within the crate, as `Type::name` or `name`."""
    found, offered, owner, depth = tokens(source), set(), None, 0
    for index, token in enumerate(found):
        if token.kind == "mark":
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            owner = None if depth == 0 and token.text == "}" else owner
        elif token.text == "impl" and depth == 0:
            owner = found[index + 1].text
        elif token.text == "mod" and found[index + 2].text == "{":
            break  # The tests, which come last.
        elif token.text == "pub" and depth <= 1:
            start = index + 1
            if found[start].text == "(":
                start += 3
            words = [token.text for token in found[start : start + 4]]
            if "fn" in words:
                name = found[start + words.index("fn") + 1].text
                if set(words[: words.index("fn")]) <= {"const", "unsafe", "async", "extern"}:
                    offered.add(f"{owner}::{name}" if owner else name)
    return offered


def _section(files, path, heading):
    """The text under a heading of the second level."""
    match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", files.get(path, ""), re.MULTILINE | re.DOTALL)
    return match.group(1) if match else ""


def _table(files, path, heading):
    """The rows of the tables under a heading, without their heads: lists of cells."""
    rows = [line.strip().strip("|") for line in _section(files, path, heading).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    heads = {index - 1 for index, row in enumerate(cells) if set("".join(row)) <= set("-: ")}
    return [row for index, row in enumerate(cells) if index not in heads and index - 1 not in heads]
