"""Rust source as tokens, without comments. It knows enough of the language to find paths, modules and blocks."""

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<line_comment>//[^\n]*)
  | (?P<block_comment>/\*)
  | (?P<raw_string>(?:b|c)?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
  | (?P<string>(?:b|c)?"(?:\\.|\\\n|[^"\\])*")
  | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<name>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>[0-9][\w]*)
  | (?P<path>::)
  | (?P<mark>[^\s])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """A name (keywords are names), a string without its quotes, or a mark: one character of punctuation, or `::`."""

    kind: str
    text: str
    line: int


def tokens(source):
    """The tokens of a file. Comments, characters, numbers and lifetimes are left out."""
    found = []
    position, line, counted = 0, 1, 0
    while match := _TOKEN.search(source, position):
        kind, start, position = match.lastgroup, match.start(), match.end()
        line += source.count("\n", counted, start)
        counted = start
        if kind == "block_comment":
            position = _end_of_block_comment(source, start)
        elif kind == "name":
            found.append(Token("name", match.group().removeprefix("r#"), line))
        elif kind in ("string", "raw_string"):
            found.append(Token("string", match.group().lstrip("bcr").strip("#").strip('"'), line))
        elif kind in ("path", "mark"):
            found.append(Token("mark", match.group(), line))
    return found


def _end_of_block_comment(source, start):
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(source, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(source)


_CLOSING = {"{": "}", "(": ")", "[": "]"}


def skip_group(found, index):
    """The index behind the group that opens at `index`."""
    opening = found[index].text
    closing, depth = _CLOSING[opening], 0
    while index < len(found):
        if found[index].kind == "mark":
            depth += {opening: 1, closing: -1}.get(found[index].text, 0)
        index += 1
        if depth == 0:
            break
    return index


def skip_item(found, index):
    """The index behind the item that begins at `index`, attributes first: behind its `;` or its block."""
    uses = False
    while index < len(found):
        token = found[index]
        if token.kind == "name" and token.text == "use":
            uses = True
        if token.kind == "mark":
            if token.text == ";":
                return index + 1
            if token.text in _CLOSING:
                end = skip_group(found, index)
                if token.text == "{" and not uses:
                    return end
                index = end
                continue
            if token.text == "}":
                return index
        index += 1
    return index
