"""Mends lines that are too wide: `python3 -m tools.structure.rewrap FILE...`.

The last words of a line of a comment, or of Markdown, move to the line below, and so on to the paragraph's end. What it
leaves alone is for people: code, strings, comments behind code, tables and code blocks.
"""

import re
import sys

from . import rules

_COMMENT = {".rs": re.compile(r"\s*//[/!]? ?"), ".md": re.compile(r"")}
_HASH = re.compile(r"\s*#+ ?(?!!)")

# A list item's mark: the lines that continue it are indented by its width.
_ITEM = re.compile(r"\s*(?:[-*] |\d+\. )")

# Lines that no text is moved to.
_OWN_LINE = re.compile(r"\s*(?:$|[-*] |\d+\. |#|\||>|```|~~~|SAFETY:)")


def rewrap(path, text):
    """The text with its wide lines broken."""
    kind = next((kind for kind in _COMMENT if path.endswith(kind)), None)
    comment = _COMMENT[kind] if kind else _HASH
    lines, done, verbatim = text.split("\n"), [], False
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        mark = comment.match(line)
        body = line[mark.end() :] if mark else None
        if body is not None and body.lstrip().startswith(("```", "~~~")):
            verbatim = not verbatim
        if body is None or verbatim or len(line) <= rules.WIDTH or body.lstrip().startswith("|"):
            done.append(line)
            continue
        kept, moved = _break(line, mark.end())
        done.append(kept)
        if not moved:
            continue
        item = _ITEM.match(body)
        indent = " " * item.end() if item else re.match(r"\s*", body).group()
        begin = mark.group() + indent
        below = lines[index] if index < len(lines) else ""
        rest = below[len(mark.group()) :] if below.startswith(mark.group()) else None
        if rest is not None and not _OWN_LINE.match(rest) and len(rest) - len(rest.lstrip()) == len(indent):
            lines[index] = f"{begin}{moved} {rest.lstrip()}"
        else:
            lines.insert(index, begin + moved)
    return "\n".join(done)


def _break(line, start):
    """The line up to the last blank within the limit, and what comes after it. A code span is not broken."""
    spans = [match.span() for match in re.finditer(r"`[^`]*`", line)]
    for at in range(min(rules.WIDTH, len(line) - 1), start, -1):
        if line[at] == " " and not any(begin < at < end for begin, end in spans) and line[start:at].strip():
            return line[:at].rstrip(), line[at:].strip()
    return line, ""


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            before = file.read()
        after = rewrap(name, before)
        if after != before:
            with open(name, "w", encoding="utf-8") as file:
                file.write(after)
