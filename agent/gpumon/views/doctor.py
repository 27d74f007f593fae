"""What ``gpumon doctor`` found: for people, and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from gpumon.checks import Level
from gpumon.doctor import Finding
from gpumon.documents.write import json_text
from gpumon.times import format_time
from gpumon.views.console import make_console, put
from gpumon.views.diagnosis import STYLES


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the design's exit code: 0 fine, 1 something is wrong, 3 something is not known."""
    return {"trouble": 1, "unknown": 3}.get(verdict(findings), 0)


def verdict(findings: Sequence[Finding]) -> str:
    """Say in one word what came out: ok, warning, trouble, unknown."""
    levels = {finding.level for finding in findings}
    if Level.FAIL in levels:
        return "trouble"
    if any(finding.missed for finding in findings):
        return "unknown"
    return "warning" if Level.WARN in levels else "ok"


def to_json(findings: Sequence[Finding], node: str, time: float) -> str:
    """Return the document, found at a time (unix seconds)."""
    document = {
        "time": format_time(time),
        "node": node,
        "verdict": verdict(findings),
        "exit_code": exit_code(findings),
        "findings": [
            {
                "item": finding.item,
                "level": finding.level.value,
                "evidence": finding.evidence,
                "next_step": finding.next_step or None,
                "missed": finding.missed,
            }
            for finding in findings
        ],
    }
    return json_text(document)


def show(findings: Sequence[Finding]) -> None:
    """Print them in their order, and what they come to."""
    put(make_console(), _parts(findings))


def _parts(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    for finding in findings:
        line = Text(f"{finding.level.value.upper():<4}  ", style=STYLES[finding.level])
        line.append(f"{finding.item:<17}  {finding.evidence}", style="default not bold not dim")
        yield line
        if finding.next_step:
            yield Padding(Text(f"-> {finding.next_step}", style="dim"), (0, 0, 0, 25))
    counts = Counter(finding.level for finding in findings)
    told = {
        Level.FAIL: "wrong",
        Level.WARN: "to look at",
        Level.SKIP: "skipped",
        Level.PASS: "right",
    }
    words = ", ".join(f"{counts[level]} {word}" for level, word in told.items() if counts[level])
    missed = sum(finding.missed for finding in findings)
    if missed:
        words += f"; {missed} could not be checked"
    yield Text(words, style="bold red" if counts[Level.FAIL] else "bold")
