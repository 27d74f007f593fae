"""Recorded series and the list of them in docs/alerting.md are the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpumon.rules import RecordingRule, load
from gpumon.thresholds import shipped
from tests.support.servers import ROOT

RECORDED = {
    rule.record for group in load(shipped()) for rule in group.rules
    if isinstance(rule, RecordingRule)
}  # fmt: skip


def patterns(rows: list[str]) -> Iterator[re.Pattern[str]]:
    """Yield what each name in the rows of the list stands for.

    ``…`` is any text. A name without a level is at that of the name before it, and ``user:…``
    before another name is one more level of it.
    """
    for row in rows:
        levels = more = ""
        for name in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            if name.endswith(":…"):
                more += name.removesuffix(":…") + "|"
            elif "gpumon_" in name:
                level, mark, _ = name.partition(":gpumon_")
                if mark:
                    levels, more = more + level, ""
                yield re.compile(f"(?:{_any(levels)}):{_any(name[name.index('gpumon_') :])}")


def _any(text: str) -> str:
    return text.replace("…", "[a-z0-9_]+")


def rows_of_the_list() -> list[str]:
    """Return the rows of the table."""
    text = (ROOT / "docs" / "alerting.md").read_text("utf-8")
    listed = text.partition("\n### The list\n")[2].partition("\n## ")[0]
    return [line.removeprefix("| ") for line in listed.splitlines() if line.startswith("| `")]


def test_each_recorded_series_is_listed() -> None:
    """A reader of the list finds what each means."""
    known = list(patterns(rows_of_the_list()))
    assert sorted(n for n in RECORDED if not any(p.fullmatch(n) for p in known)) == []


def test_each_name_on_the_list_is_recorded() -> None:
    """None has gone, or is misspelled."""
    unknown = [
        pattern.pattern
        for pattern in patterns(rows_of_the_list())
        if not any(pattern.fullmatch(name) for name in RECORDED)
    ]
    assert unknown == []


def test_a_series_that_is_not_listed_is_found() -> None:
    """A name stands for its levels, and for no other name."""
    rows = [
        "`…:gpumon_a:sum`, `gpumon_b:max` | text",
        "`user:…`, `account:gpumon_c:sum` | `d:gpumon_d:sum`",
    ]
    (a, b, c) = patterns(rows)
    assert a.fullmatch("rack:gpumon_a:sum")
    assert b.fullmatch("rack:gpumon_b:max")
    assert c.fullmatch("user:gpumon_c:sum")
    assert c.fullmatch("account:gpumon_c:sum")
    assert not any(one.fullmatch("rack:gpumon_b:sum") for one in (a, b, c))
