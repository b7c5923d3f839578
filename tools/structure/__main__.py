"""Runs all checks and lists what they find: `python3 -m tools.structure [--root FOLDER] [PATH...]`.

With paths, only findings in them are shown. Exits with 1 if there is one.
"""

import argparse
import os
import sys
from collections import Counter

from . import circles, crates, drift, floors, order, text
from .modules import Crate
from .tree import read_tree

_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def check(root):
    """All findings in a tree."""
    files = read_tree(root)
    packages = crates.packages(files)
    found = [*floors.crates_order(packages), *drift.drift(files)]
    for package in packages:
        for target in crates.roots(package.folder, files):
            crate = Crate(root, target)
            found += circles.circles(crate)
            found += order.order(crate)
            if target.endswith("src/lib.rs"):
                found += floors.modules_order(package.folder, crate)
    for path, content in files.items():
        if not path.endswith("Cargo.toml"):
            found += text.too_wide(path, content)
        if path.endswith((".rs", ".py")):
            found += text.too_long(path, content)
        if path.endswith(".py"):
            found += text.empty_first_line(path, content)
        if path.endswith(".rs"):
            found += text.unsafe_outside(path, content)
            found += text.unsafe_too_long(path, content)
    return sorted(set(found))


def main(arguments):
    parser = argparse.ArgumentParser(prog="tools.structure", description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=_HERE, help="the tree to check")
    parser.add_argument("paths", nargs="*", help="files or folders, relative to the root, to show findings of")
    options = parser.parse_args(arguments)
    wanted = tuple(path.rstrip("/") for path in options.paths)
    found = [
        finding
        for finding in check(options.root)
        if not wanted or any(finding.path == path or finding.path.startswith(path + "/") for path in wanted)
    ]
    for finding in found:
        print(f"{finding.check:<8} {finding}")
    if found:
        counts = ", ".join(f"{count} of {check}" for check, count in sorted(Counter(f.check for f in found).items()))
        print(f"structure: {len(found)} findings ({counts}); what is allowed is in tools/structure/rules.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
