"""An owner whose documentation lists its files in an order, each using those above it, must list them all, and rightly.

Such a list follows the words "those above it", as bullets or a table; a file stands where it is first named.
"""

import os
import re

from .circles import siblings
from .finding import Finding

_PROMISE = re.compile(r"\bthose\s+above\s+it\b")
_NAME = re.compile(r"`(?:mod@)?(\w+)`")


def order(crate):
    """Files that a list leaves out, and references that go down in it, of a `modules.Crate`."""
    found = []
    between = siblings(crate)
    for path, module in sorted(crate.modules.items()):
        file = module.files[0]
        listed = _listed(os.path.join(crate.tree, file))
        if listed is None:
            continue
        children = {name for name in module.children if file not in crate.files(path + (name,))}
        place = {name: index for index, name in enumerate(name for name in listed if name in children)}
        for name in sorted(children - place.keys()):
            found.append(Finding("order", file, 0, f"{name} is missing in the list of files"))
        for source, targets in between.get(path, {}).items():
            for target, reference in targets.items():
                if source in place and target in place and place[source] < place[target]:
                    message = f"{source} uses {target}, which {file} lists below it"
                    found.append(Finding("order", reference.file, reference.line, message))
    return found


def _listed(file):
    """The names in the list at the top of a file, in order of their first mention; `None` if it promises no order."""
    with open(file, encoding="utf-8") as source:
        lines = [line.strip() for line in source]
    end = next((index for index, line in enumerate(lines) if line and not line.startswith("//!")), len(lines))
    text = "\n".join(line.removeprefix("//!").strip() for line in lines[:end])
    promise = _PROMISE.search(text)
    if promise is None:
        return None
    paragraphs = text[promise.end() :].split("\n\n")
    block = next((block for block in paragraphs[1:] if block.startswith(("- ", "|"))), "")
    return list(dict.fromkeys(_NAME.findall(block)))
