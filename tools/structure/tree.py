"""The files of the tree that git knows or would add: text as a dict of path to content."""

import os
import subprocess

_KINDS = (".rs", ".py", ".pyi", ".md", ".sh", ".mk", "Makefile", "Cargo.toml")


def read_tree(root):
    """The files that are checked: Rust, Python, Markdown, manifests, shell (a script with `#!` too), and make."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root, check=True, capture_output=True, text=True,
    )  # fmt: skip
    files = {}
    for path in sorted(set(listed.stdout.split("\0"))):
        full = os.path.join(root, path)
        if not path or os.path.islink(full) or not os.path.isfile(full):
            continue
        if path.endswith(_KINDS) or not os.path.splitext(path)[1] and _is_script(full):
            with open(full, encoding="utf-8") as file:
                files[path] = file.read()
    return files


def _is_script(path):
    with open(path, "rb") as file:
        return file.read(2) == b"#!"
