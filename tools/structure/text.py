"""What a single file must keep to: the width of its lines, its length, where `unsafe` may be, how docstrings begin."""

import ast
import re

from . import rules
from .finding import Finding
from .modules import is_for_tests
from .tokens import skip_group, skip_item, tokens


def too_wide(path, text):
    """Lines wider than the limit. In Markdown, tables and verbatim `text` blocks are as they are.

    A line may end in one word that cannot be broken, such as a URL, if that word alone crosses the limit.
    """
    markdown, fence = path.endswith(".md"), None
    for number, line in enumerate(text.splitlines(), 1):
        if markdown and (mark := re.match(r"\s*(```|~~~)\s*(\w*)", line)):
            fence = None if fence is not None else mark.group(2)
        if len(line) <= rules.WIDTH:
            continue
        if markdown and (fence == "text" or fence is None and line.lstrip().startswith("|")):
            continue
        last = line.split()[-1]
        if ("://" in last or markdown and "](" in last) and len(line.rstrip()) - len(last) <= rules.WIDTH:
            continue
        yield Finding("width", path, number, f"{len(line)} columns; {rules.WIDTH} are allowed")


def empty_first_line(path, text):
    """Docstrings of a Python file that do not begin on their first line."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if (ast.get_docstring(node, clean=False) or "").startswith("\n"):
            yield Finding("docs", path, node.body[0].lineno, "a docstring begins on its first line")


def too_long(path, text):
    """A source file over the limit without a reason in the documentation at its top."""
    lines = text.splitlines()
    if len(lines) <= rules.LENGTH:
        return
    if not re.search(re.escape(rules.REASON.rstrip()) + r"\s+\S", " ".join(_top(path, lines))):
        message = f'{len(lines)} lines; split it by idea, or say at its top "{rules.REASON}" and why'
        yield Finding("length", path, 0, message)


def _top(path, lines):
    """The lines of the documentation at the top of a file, without their marks."""
    if path.endswith(".rs"):
        comment = re.compile(r"\s*(?://!?/?|#!\[|$)")
        for line in lines:
            if not comment.match(line):
                return
            yield line.strip().lstrip("/!").strip()
    else:
        quotes = None
        for line in lines:
            if quotes is None and (mark := re.match(r'\s*[rR]?("""|\'\'\')', line)):
                quotes = mark.group(1)
                line = line.replace(quotes, "", 1)
            elif quotes is None and line.strip() and not line.lstrip().startswith("#"):
                return
            yield line.replace(quotes or "\0", "").strip().lstrip("#").strip()
            if quotes and quotes in line:
                return


def unsafe_outside(path, text):
    """`unsafe` outside the crates that may have it. A test may, if a `SAFETY:` comment says why it is sound."""
    if path.startswith(tuple(folder + "/" for folder in rules.UNSAFE)) or "unsafe" not in text:
        return
    lines = text.splitlines()
    found = tokens(text)
    in_tests = _lines_for_tests(path, found)
    for token in found:
        if (token.kind, token.text) != ("name", "unsafe"):
            continue
        if token.line not in in_tests:
            yield Finding("unsafe", path, token.line, f"unsafe outside {', '.join(rules.UNSAFE)}")
        elif not any("SAFETY:" in line for line in lines[max(0, token.line - 5) : token.line]):
            yield Finding("unsafe", path, token.line, "unsafe in a test without a SAFETY: comment above it")


def unsafe_too_long(path, text):
    """Unsafe blocks over the limit, from brace to brace: nobody can check one that does not fit the eye."""
    found = tokens(text) if "unsafe" in text else []
    for index, token in enumerate(found[:-1]):
        if (token.kind, token.text) == ("name", "unsafe") and found[index + 1].text == "{":
            opening, closing = found[index + 1].line, found[skip_group(found, index + 1) - 1].line
            if closing - opening + 1 > rules.UNSAFE_LENGTH:
                message = f"an unsafe block of {closing - opening + 1} lines; {rules.UNSAFE_LENGTH} are allowed"
                yield Finding("unsafe", path, token.line, message)


def _lines_for_tests(path, found):
    if re.search(r"(^|/)(tests|benches)/", path):
        return range(1, found[-1].line + 1) if found else ()
    lines = set()
    for index, token in enumerate(found):
        if token.text == "#" and index + 1 < len(found) and found[index + 1].text == "[":
            end = skip_group(found, index + 1)
            if is_for_tests([token.text for token in found[index + 2 : end - 1]]):
                last = skip_item(found, end) - 1
                lines.update(range(token.line, found[last].line + 1))
    return lines
