"""The crates of a tree: their manifests, and the root files of their targets."""

import os
import re
from typing import NamedTuple


# The package behind a dependency that has another name here.
_PACKAGE = re.compile(r'package\s*=\s*"([^"]+)"')


class Package(NamedTuple):
    folder: str
    name: str
    uses: tuple  # names of the packages it depends on, but for those of its tests


def packages(files):
    """The packages whose `Cargo.toml` is among the files, given as a dict of path to text."""
    found = []
    for path, text in sorted(files.items()):
        if os.path.basename(path) == "Cargo.toml" and (package := _package(os.path.dirname(path), text)):
            found.append(package)
    return found


def _package(folder, manifest):
    section, table, name, uses = "", False, None, []
    for line in manifest.splitlines():
        if header := re.match(r"\[+([^\]]+(?:\][^\]]*)?)\]", line):
            section = header.group(1)
            kind = re.search(r"(?:^|\.)((?:build-|dev-)?dependencies)(?:\.([\w-]+))?$", section)
            table = kind is not None and kind.group(2) is not None and kind.group(1) != "dev-dependencies"
            if table:
                uses.append(kind.group(2))
        elif table and (renamed := _PACKAGE.match(line)):
            uses[-1] = renamed.group(1)
        elif section == "package" and (match := re.match(r'name\s*=\s*"([^"]+)"', line)):
            name = match.group(1)
        elif re.search(r"(?:^|\.)(?:build-)?dependencies$", section) and not section.startswith("workspace"):
            if match := re.match(r"([\w-]+)", line):
                renamed = re.search(r"[{,]\s*" + _PACKAGE.pattern, line)
                uses.append((renamed or match).group(1))
    return Package(folder, name, tuple(uses)) if name else None


def roots(folder, paths):
    """The root files of a package's targets among the paths."""
    below = re.compile(
        re.escape(folder + "/" if folder else "")
        + r"(?:src/(?:lib|main)\.rs|src/bin/[^/]+\.rs|build\.rs"
        + r"|(?:tests|examples|benches|fuzz_targets)/(?:[^/]+|[^/]+/main)\.rs)"
    )
    return [path for path in paths if below.fullmatch(path)]
