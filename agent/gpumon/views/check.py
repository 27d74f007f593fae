"""The verdicts of ``gpumon check``: for people, for programs, for a scheduler, for Nagios."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gpumon.checks import Check, Judgement, Level, Observation, Verdict
from gpumon.documents.write import json_text
from gpumon.times import format_time
from gpumon.views.console import SIMULATED, put, text_of
from gpumon.views.diagnosis import STYLES
from gpumon.views.words import spans

MOST_WORDS = 230
"""A line for a scheduler is no longer than this many characters: Slurm shows them all."""

NAGIOS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""The plugins' words by exit code (Monitoring Plugins' development guidelines)."""


def verdict_of(report: Judgement) -> str:
    """Say in one word what came out: ok, warning, trouble, unknown."""
    if report.exit_code == 1:
        return "trouble"
    if report.exit_code == 3:
        return "unknown"
    return "warning" if report.of(Level.WARN) else "ok"


def to_json(report: Judgement, seen: Observation, time: float) -> str:
    """Return the document of a report, judged at a time (unix seconds)."""
    snapshot = seen.snapshot
    document = {
        "time": format_time(time),
        "node": snapshot.node if snapshot is not None else "",
        "source": snapshot.source.source if snapshot is not None else "",
        "simulated": snapshot is not None and snapshot.source.simulated,
        "verdict": verdict_of(report),
        "exit_code": report.exit_code,
        "level": report.level.value,
        "counts": report.counts,
        "verdicts": [
            {
                "check": verdict.check,
                "level": verdict.level.value,
                "gpu": verdict.gpu,
                "uuid": verdict.uuid or None,
                "evidence": verdict.evidence,
                "next_step": verdict.next_step or None,
                "alert": verdict.alert or None,
            }
            for verdict in report.verdicts
        ],
    }
    return json_text(document)


def to_line(report: Judgement) -> str:
    """Return one line: what is wrong with which GPU, the worst first; else that nothing is.

    It is what a scheduler shows as the reason for which it drained a node.
    """
    telling = (*report.trouble, *report.untold) or report.of(Level.WARN)
    if not telling:
        return f"{len(report.of(Level.PASS))} checks passed\n"
    shown: list[str] = []
    for verdict in telling:
        words = _printable(f"{_subject(verdict)}: {verdict.evidence}")
        if shown and len("; ".join([*shown, words])) > MOST_WORDS:
            break
        shown.append(words)
    more = len(telling) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "") + "\n"


def nagios_code(report: Judgement) -> int:
    """Return that world's exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    if report.exit_code == 3:
        return 3
    if report.exit_code == 1:
        return 2
    return 1 if report.of(Level.WARN) else 0


def to_nagios(report: Judgement) -> str:
    """Return the plugin's output: a line with performance data, then a line for each finding."""
    data = " ".join(f"{level}={count}" for level, count in report.counts.items())
    first = _plain(to_line(report).rstrip("\n"))
    lines = [f"GPUMON {NAGIOS[nagios_code(report)]} - {first} | {data}"]
    lines += [
        _plain(f"{v.level.value.upper()} {_subject(v)} {v.check}: {v.evidence}{_step(v)}")
        for v in report.verdicts
        if v.level in (Level.FAIL, Level.WARN)
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return a text without the character that begins performance data."""
    return _printable(text.replace("|", "/"))


def show(console: Console, report: Judgement, seen: Observation, *, verbose: bool) -> None:
    """Print a report for people, the worst first; what passed in one line, unless ``verbose``."""
    put(console, _parts(report, seen, verbose=verbose))


def _parts(report: Judgement, seen: Observation, *, verbose: bool) -> list[RenderableType]:
    snapshot = seen.snapshot
    parts: list[RenderableType] = []
    if snapshot is not None and snapshot.source.simulated:
        parts.append(SIMULATED)
    for verdict in report.verdicts:
        if verbose or verdict.level in (Level.FAIL, Level.WARN) or verdict in report.untold:
            parts += _verdict(verdict)
    if not verbose:
        # Of a GPU that does not answer it has been said why.
        silent = {v.gpu for v in report.verdicts if v.check == "state" and v.level != Level.PASS}
        rest = [v for v in report.of(Level.SKIP) if v not in report.untold and v.gpu not in silent]
        parts += [Text(line, style="dim") for line in _summary(rest)]
    return [*parts, _last_line(report, snapshot.node if snapshot is not None else "")]


def _verdict(verdict: Verdict) -> list[RenderableType]:
    """Return a verdict's line, and the one below it that says what to do."""
    line = Text(f"{verdict.level.value.upper():<4}  ", style=STYLES[verdict.level])
    line.append(f"{_subject(verdict):<6}  {verdict.check:<15}  ", style="default not bold not dim")
    line.append(_printable(verdict.evidence), style="default not bold not dim")
    step = _step(verdict).removeprefix(" -> ")
    if not step:
        return [line]
    return [line, Padding(Text(f"-> {step}", style="dim"), (0, 0, 0, 14))]


def _summary(skipped: Sequence[Verdict]) -> list[str]:
    """Return a line for each reason why a check could not be made, with its GPUs."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in skipped:
        found.setdefault((verdict.check, verdict.evidence), []).append(verdict)
    by_reason: dict[tuple[str, str], list[str]] = {}
    for (check, evidence), verdicts in found.items():
        where = _subjects(verdicts)
        by_reason.setdefault((where, evidence), []).append(check)
    return [
        f"SKIP  {where:<6}  {', '.join(checks)}: {_printable(evidence)}"
        for (where, evidence), checks in by_reason.items()
    ]


def _subjects(verdicts: Sequence[Verdict]) -> str:
    """Name the GPUs of some verdicts, with ranges: ``GPU 0-2,4``."""
    indexes = sorted(verdict.gpu for verdict in verdicts if verdict.gpu is not None)
    if not indexes:
        return "node"
    return f"GPU {spans(indexes)}"


def _last_line(report: Judgement, node: str) -> Text:
    counts = report.counts
    words = {
        "ok": "fine",
        "warning": "fine, with warnings",
        "trouble": "TROUBLE",
        "unknown": "UNKNOWN",
    }[verdict_of(report)]
    numbers = ", ".join(
        f"{counts[level.value]} {word}"
        for level, word in (
            (Level.FAIL, "failed"),
            (Level.WARN, "warned"),
            (Level.SKIP, "skipped"),
            (Level.PASS, "passed"),
        )
    )
    style = "bold green" if report.exit_code == 0 else "bold red"
    return Text(f"{node or 'this node'}: {words}: {numbers}", style=style)


def to_list(checks: Sequence[Check], form: str) -> str:
    """Return the checks by name, as ``table`` or ``json``."""
    if form == "json":
        rows = [
            {
                "check": check.name,
                "title": check.title,
                "of": "node" if check.node is not None else "gpu",
                "alerts": list(check.alerts),
                "thresholds": list(check.thresholds),
            }
            for check in checks
        ]
        return json_text({"checks": rows})
    table = Table.grid(padding=(0, 2))
    for check in checks:
        table.add_row(check.name, check.title)
    return text_of(Console(width=400, highlight=False, no_color=True), table)


def _subject(verdict: Verdict) -> str:
    return "node" if verdict.gpu is None else f"GPU {verdict.gpu}"


def _step(verdict: Verdict) -> str:
    """Return what to do, and where to read more."""
    more = f" (gpumon explain {verdict.alert})" if verdict.alert else ""
    return f" -> {verdict.next_step}{more}" if verdict.next_step else ""


def _printable(text: str) -> str:
    """Return a text on one line, without what a driver's words could do to a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
