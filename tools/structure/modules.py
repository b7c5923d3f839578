"""The modules of a Rust crate, and what each refers to, read from `mod`, `use` and paths in the code.

Code under `#[cfg(test)]` is left out: tests may reach where the product may not. A reference is followed through
re-exports to the file that defines what is meant. Macros and methods are not seen.
"""

import os
from dataclasses import dataclass, field

from .tokens import skip_group, skip_item, tokens

_DEFINING = {"fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules", "mod"}
_BEFORE_A_NAME = {"fn", "mut", "unsafe", "extern"}

# No path of a program is longer; one that grows without end is that of a name imported from a crate of the same name.
_LONGEST_PATH = 30


@dataclass
class Module:
    """A module, and the files it may be in: more than one where `cfg` chooses."""

    path: tuple
    files: list
    children: set = field(default_factory=set)
    defined: set = field(default_factory=set)
    imported: dict = field(default_factory=dict)  # a name here -> the path it stands for
    globs: list = field(default_factory=list)
    references: list = field(default_factory=list)  # (path as written, file, line)


@dataclass(frozen=True)
class Reference:
    """That `source`, a module's path, names something of `target`, another's."""

    source: tuple
    target: tuple
    file: str
    line: int


class Crate:
    """All modules below a root file such as `src/lib.rs`; paths of files are relative to `tree`."""

    def __init__(self, tree, root):
        self.tree = tree
        self.modules = {}
        self._read((), root, os.path.dirname(root))

    def files(self, path):
        return self.modules[path].files

    def references(self):
        """All references from one module to another that are not just a declaration."""
        found = set()
        for module in list(self.modules.values()):
            for path, file, line in module.references:
                target = self.resolve(module.path, path)
                if target is not None and target != module.path:
                    found.add(Reference(module.path, target, file, line))
        return sorted(found, key=lambda reference: (reference.file, reference.line, reference.target))

    def resolve(self, start, path, seen=frozenset()):
        """The path of the module that defines what `path` means in the module `start`; `None` if another crate does."""
        if (start, path) in seen or len(path) > _LONGEST_PATH:
            return None
        seen = seen | {(start, path)}
        here, rest = start, path
        if rest[0] == "crate":
            here, rest = (), rest[1:]
        while rest and rest[0] in ("self", "super"):
            here, rest = (here[:-1] if rest[0] == "super" else here), rest[1:]
        anchored = len(rest) < len(path)
        while rest:
            module = self.modules[here]
            name = rest[0]
            if name in module.children:
                here, rest, anchored = here + (name,), rest[1:], True
            elif name in module.imported and module.imported[name] != rest:
                return self.resolve(here, module.imported[name] + rest[1:], seen)
            elif name in module.defined:
                return here
            else:
                for glob in module.globs:
                    into = self.resolve(here, glob, seen)
                    if into is not None and into != here and self._has(into, name):
                        return self.resolve(into, rest, seen)
                return here if anchored else None
        return here

    def _has(self, path, name):
        module = self.modules[path]
        return name in module.children or name in module.imported or name in module.defined

    def _read(self, path, file, folder):
        """Reads a file as the module `path`, whose children's files are in `folder`."""
        module = self.modules.setdefault(path, Module(path, []))
        module.files.append(file)
        with open(os.path.join(self.tree, file), encoding="utf-8") as source:
            found = tokens(source.read())
        self._read_block(module, found, 0, file, folder)

    def _read_block(self, module, found, index, file, folder):
        """Reads up to the `}` that closes the module; returns the index behind it."""
        depth, path_attribute = 0, None
        while index < len(found):
            token = found[index]
            if token.kind == "mark" and token.text == "#" and _opens_attribute(found, index):
                index, attribute = self._attribute(found, index)
                if is_for_tests(attribute):
                    index = skip_item(found, index)
                elif attribute[:2] == ["path", "="]:
                    path_attribute = attribute[2]
            elif token.kind == "mark":
                depth += {"{": 1, "}": -1}.get(token.text, 0)
                index += 1
                if depth < 0:
                    return index
            elif token.kind == "string":
                index += 1
            elif token.text == "mod" and index + 2 < len(found) and found[index + 2].text in (";", "{"):
                index = self._mod(module, found, index, file, folder, path_attribute)
                path_attribute = None
            elif token.text == "use":
                index = self._use(module, found, index + 1, file)
            else:
                if token.text in _DEFINING and depth == 0:
                    after = (token.text for token in found[index + 1 : index + 5] if token.kind == "name")
                    module.defined.add(next((name for name in after if name not in _BEFORE_A_NAME), None))
                index = self._path(module, found, index, file)
        return index

    @staticmethod
    def _attribute(found, index):
        """The index behind an attribute, and its tokens' texts."""
        index += 2 if found[index + 1].text == "!" else 1
        end = skip_group(found, index)
        return end, [token.text for token in found[index + 1 : end - 1]]

    def _mod(self, module, found, index, file, folder, path_attribute):
        name = found[index + 1].text
        path = module.path + (name,)
        module.children.add(name)
        if found[index + 2].text == "{":
            child = self.modules.setdefault(path, Module(path, []))
            child.files.append(file)
            return self._read_block(child, found, index + 3, file, os.path.join(folder, name))
        if path_attribute:
            candidates = [os.path.join(os.path.dirname(file), path_attribute)]
        else:
            candidates = [os.path.join(folder, name + ".rs"), os.path.join(folder, name, "mod.rs")]
        for candidate in candidates:
            if os.path.exists(os.path.join(self.tree, candidate)):
                own = os.path.basename(candidate) == "mod.rs"
                below = os.path.dirname(candidate) if own else os.path.splitext(candidate)[0]
                self._read(path, os.path.normpath(candidate), below)
                return index + 3
        self.modules.setdefault(path, Module(path, [file]))
        return index + 3

    def _use(self, module, found, index, file):
        index, leaves = _use_tree(found, index, ())
        for path, name, line in leaves:
            if name == "*":
                module.globs.append(path)
            elif name != "_":
                module.imported[name] = path
            module.references.append((path, file, line))
        return index

    @staticmethod
    def _path(module, found, index, file):
        """Notes a path in the code; returns the index behind it."""
        start = found[index]
        names, index = [start.text], index + 1
        while index + 1 < len(found) and found[index].text == "::" and found[index + 1].kind == "name":
            names.append(found[index + 1].text)
            index += 2
        if len(names) > 1:
            module.references.append((tuple(names), file, start.line))
        return index


def _opens_attribute(found, index):
    after = [token.text for token in found[index + 1 : index + 3]]
    return after[:1] == ["["] or after == ["!", "["]


def _use_tree(found, index, before):
    """The leaves of the tree at `index`, as (path, name here, line), and the index behind it."""
    path, line = before, found[index].line
    while index < len(found):
        token = found[index]
        if token.text == "{":
            leaves, index = [], index + 1
            while found[index].text != "}":
                index, more = _use_tree(found, index, path)
                leaves += more
                index += found[index].text == ","
            return index + 1, leaves
        if token.text == "*":
            return index + 1, [(path, "*", line)]
        if token.text == "as":
            return index + 2, [(path, found[index + 1].text, line)]
        if token.kind == "name":
            if not (token.text == "self" and path):
                path += (token.text,)
        elif token.text != "::":
            return index, [(path, path[-1], line)] if path else []
        index += 1
    return index, []


def is_for_tests(attribute):
    """Whether what follows an attribute, given as texts, is there in tests only."""
    return attribute[:1] == ["cfg"] and "test" in attribute and "not" not in attribute and "any" not in attribute
