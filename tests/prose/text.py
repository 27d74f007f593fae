"""The running text of a file: what somebody reads, with the line that each piece stands on."""

from __future__ import annotations

import ast
import functools
import html.parser
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Piece(NamedTuple):
    """Some running text, and the line that it begins on."""

    line: int
    text: str


def pieces(file: Path) -> Iterator[Piece]:
    """Yield the running text of a Python, Markdown, HTML, YAML, TOML or shell file."""
    text = file.read_text("utf-8")
    yield from _READERS[file.suffix](text)


_SPAN = re.compile(r"``[^`]*``|`[^`]*`")
"""Code in running text, to be taken out first: what is in it may look like anything."""

_NAME = re.compile(r"\{\{.*?\}\}|<[^>]{1,60}>|https?://\S+|\S*[_/.=]\S*\w")
"""Names, paths, markup and addresses in running text: not English."""


def plain(text: str) -> str:
    """Return text without the names, paths and markup in it."""
    return _NAME.sub("X", _SPAN.sub("X", text))


def _python(text: str) -> Iterator[Piece]:
    """Docstrings, and every string that is a sentence or a part of one."""
    tree = ast.parse(text)
    inner = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            words = "".join(
                part.value if isinstance(part, ast.Constant) else "X" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in inner:
                continue
            words = node.value
        else:
            continue
        if " " in words.strip() and _is_english(words):
            for number, paragraph in _paragraphs(words):
                yield Piece(node.lineno + number, paragraph)


def _is_english(words: str) -> bool:
    """Return whether a string is prose, and not SQL, PromQL, a pattern or markup."""
    return not re.search(
        r"\b(SELECT|INSERT|UPDATE \w+ SET|CREATE TABLE|DELETE FROM)\b|\bby \(|[\\{}<>]{2}", words
    )


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield (lines down, paragraph), each as one line."""
    begun, lines = 0, []
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            if not lines:
                begun = number
            lines.append(line.strip())
        elif lines:
            yield begun, " ".join(lines)
            lines = []
    if lines:
        yield begun, " ".join(lines)


def _markdown(text: str) -> Iterator[Piece]:
    """Everything outside of code."""
    blank = re.sub(
        r"(?ms)^ *```.*?^ *```$|<!--.*?-->|^    .*?$",
        lambda found: "\n" * found[0].count("\n"),
        text,
    )
    for number, paragraph in _paragraphs(blank):
        yield Piece(number + 1, paragraph)


def _html(text: str) -> Iterator[Piece]:
    """Text between tags, titles and labels; in scripts, the strings that are sentences."""
    reader = _Html()
    reader.feed(text)
    yield from reader.found


_QUOTED = re.compile(r"""(['"`])((?:(?!\1)[^\\\n]|\\.)* (?:(?!\1)[^\\\n]|\\.)*)\1""")
"""A string of a script that has a blank in it."""


class _Html(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Piece] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name in ("title", "alt", "aria-label", "placeholder") and value:
                self.found.append(Piece(self.getpos()[0], value))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        line = self.getpos()[0]
        if self._inside == "script":
            for found in re.finditer(
                r"(['\"`])((?:(?!\1)[^\\\n]|\\.)* (?:(?!\1)[^\\\n]|\\.)*)\1", data
            ):
                self.found.append(Piece(line + data[: found.start()].count("\n"), found[2]))
        elif self._inside != "style" and data.strip():
            self.found.append(Piece(line, " ".join(data.split())))


_PROSE = re.compile(
    r"^( *)(?:- )?(?:summary|description|action|why|no_check|title|message): *(.*)$"
)
"""A key whose value is read by somebody: its indent, and what stands behind it."""


def _annotated(text: str) -> Iterator[Piece]:
    """YAML and shell: comments, and values of keys that hold prose, in a line or in a block."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        comment = re.search(r"(?:^|\s)# (.+)$", line)
        if comment:
            yield Piece(number, comment[1])
        key = _PROSE.match(line)
        if key:
            inside = functools.partial(_deeper, len(key[1]))
            more = itertools.takewhile(inside, lines[number:])
            begun = key[2].removeprefix(">-").removeprefix("|-").strip("'\"")
            yield Piece(number, " ".join([begun, *(one.strip() for one in more)]).strip())


def _deeper(indent: int, line: str) -> bool:
    """Return whether a line is empty, or belongs to a key of some indent."""
    return not line.strip() or len(line) - len(line.lstrip(" ")) > indent


_READERS = {
    ".py": _python,
    ".md": _markdown,
    ".html": _html,
    ".yml": _annotated,
    ".yaml": _annotated,
    ".toml": _annotated,
    ".sh": _annotated,
    ".service": _annotated,
}
