"""What people read is plain English: none of the words at which operators stumbled.

``words.toml`` lists them with what to write instead. ``not_yet.txt`` lists the files that nobody
has gone through yet; it may only shrink.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.prose.text import Piece, pieces, plain
from tests.support.servers import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

HERE = Path(__file__).parent
SUFFIXES = {".py", ".md", ".html", ".yml", ".sh"}
READ_BY_NOBODY = ("tests/", "docs/metrics.md", "docs/alerts.md", "docs/alert-drills.md")
"""Tests, and what is generated from text that is checked where it stands."""


class Word(NamedTuple):
    """A pattern at which people stumble."""

    pattern: re.Pattern[str]
    unless: tuple[re.Pattern[str], ...]
    instead: str
    bad: str
    good: str

    def hits(self, text: str) -> Iterator[str]:
        """Yield each hit with the words around it."""
        right = [found.span() for each in self.unless for found in each.finditer(text)]
        for hit in self.pattern.finditer(text):
            if not any(begin <= hit.start() and hit.end() <= end for begin, end in right):
                yield text[max(0, hit.start() - 30) : hit.end() + 30]


@functools.cache
def words() -> tuple[Word, ...]:
    """Return the list."""
    listed = tomllib.loads((HERE / "words.toml").read_text("utf-8"))["word"]
    return tuple(
        Word(
            re.compile(each["pattern"], re.IGNORECASE),
            tuple(re.compile(one, re.IGNORECASE) for one in each.get("unless", ())),
            each["instead"],
            each["bad"],
            each["good"],
        )
        for each in listed
    )


@functools.cache
def files() -> tuple[Path, ...]:
    """Return every file that somebody reads."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return tuple(
        ROOT / name
        for name in listed
        if Path(name).suffix in SUFFIXES
        and not name.startswith(READ_BY_NOBODY)
        and (ROOT / name).is_file()
    )


@functools.cache
def not_yet() -> frozenset[str]:
    """Return the files that nobody has gone through."""
    lines = (HERE / "not_yet.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def stumbles(found: Iterator[Piece]) -> list[str]:
    """Return what is wrong with running text, a line each."""
    return [
        f"line {piece.line}: …{hit}… ({word.instead})"
        for piece in found
        for word in words()
        for hit in word.hits(plain(piece.text))
    ]


@pytest.mark.parametrize("word", words(), ids=lambda word: word.pattern.pattern)
def test_each_word_is_found_and_its_better_is_not(word: Word) -> None:
    """A pattern that finds nothing would hold nothing."""
    assert list(word.hits(word.bad))
    assert not list(word.hits(word.good))


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_prose_is_plain(file: Path) -> None:
    """Of each file that was gone through; one that has become clean leaves the list."""
    name = str(file.relative_to(ROOT))
    found = stumbles(pieces(file))
    if name in not_yet():
        assert found, f"{name} is clean: take it out of tests/prose/not_yet.txt"
    else:
        assert not found, "\n".join([f"{name}:", *found])


def test_the_list_names_files_that_are_there() -> None:
    """A file that was moved is gone through where it went."""
    assert not_yet() <= {str(file.relative_to(ROOT)) for file in files()}


def test_running_text_is_distinguished_from_code(tmp_path: Path) -> None:
    """Names, code blocks, SQL and scripts are not English; what is said to people is."""
    page = tmp_path / "page.md"
    page.write_text("It answers.\n\n```\nit answers\n```\n\nSee `answers`.\n")
    assert len(stumbles(pieces(page))) == 1
    code = tmp_path / "code.py"
    code.write_text(
        '"""It answers."""\nQ = "SELECT x FROM answers WHERE y"\n'
        'def f(n):\n    return f"{n} is told now"\nanswers = 1\n'
    )
    assert [line.partition(":")[0] for line in stumbles(pieces(code))] == ["line 1", "line 4"]
    html = tmp_path / "page.html"
    html.write_text("<p title='it answers'>It answers.</p><script>say('it answers');</script>")
    assert len(stumbles(pieces(html))) == 3
    rule = tmp_path / "rule.yml"
    rule.write_text(
        "- alert: X\n  expr: |-\n    it answers\n  why: >-\n    It\n    answers.\n"
        "  action: it answers\n  summary: 'it answers'\n"
    )
    assert len(stumbles(pieces(rule))) == 3
