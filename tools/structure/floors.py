"""No arrow up: a crate uses those below it, a module those on lower floors of its crate. The order is in `rules`."""

import os

from . import rules
from .finding import Finding


def crates_order(packages):
    """Checks the dependencies of the crates named in the table, and that every crate is named there."""
    folders = {package.name: package.folder for package in packages}
    found = []
    for package in packages:
        manifest = os.path.join(package.folder, "Cargo.toml")
        if package.folder.startswith("crates/") and package.folder not in rules.CRATES:
            found.append(Finding("floor", manifest, 0, "a crate without a place in tools/structure/rules.py"))
            continue
        allowed = rules.CRATES.get(package.folder)
        for name in package.uses if allowed is not None else ():
            used = folders.get(name)
            if used is not None and used not in allowed:
                may = ", ".join(allowed) or "no other crate of the house"
                found.append(Finding("floor", manifest, 0, f"it depends on {used}, and may use {may}"))
    return found


def modules_order(folder, crate):
    """Checks the floors inside one crate, given as `modules.Crate`."""
    floors = rules.FLOORS.get(folder)
    if floors is None:
        return []
    height = {name: level for level, floor in enumerate(floors) if floor is not ... for name in floor}
    rest = next((level for level, floor in enumerate(floors) if floor is ...), None)
    found = []
    for path in sorted(path for path in crate.modules if len(path) == 1):
        if path[0] not in height and rest is None:
            order = " < ".join("|".join(sorted(floor)) for floor in floors)
            found.append(Finding("floor", crate.files(path)[0], 0, f"{path[0]} is on no floor; they are {order}"))
    for reference in crate.references():
        source, target = reference.source[:1], reference.target[:1]
        # The root assembles, and a module that is not named has the rule on circles.
        if not source or source[0] not in height or source == target:
            continue
        own = height[source[0]]
        other = height.get(target[0], rest) if target else len(floors)
        if other is not None and other >= own:
            which = "::".join(reference.target) or "the crate's root"
            where = "above it" if other > own else "beside it"
            message = f"{'::'.join(reference.source)} uses {which}, which is {where}"
            found.append(Finding("floor", reference.file, reference.line, message))
    return found
