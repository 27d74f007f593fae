"""The table of a week, for ``docs/alerting.md``."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence

from tests.bench.week.kinds import (
    BEGIN_MINUTES,
    DAYS,
    KINDS,
    NODES,
    RARE,
    RATES,
    REPAIR_MINUTES,
    Drawn,
    Kind,
    draw,
)
from tests.bench.week.notify import PAGER, Message

BEGIN, END = "<!-- a week: python -m tests.bench.week -->", "<!-- end of the week -->"

SHIFT_MINUTES = 480
SICK = "GpuSickButSchedulable"
RECENT_MINUTES = 15
"""Within which SameXidOnManyNodes counts (``xid.recent``)."""

COLUMNS = (
    *("faults", "seen", "pages a shift", "most in a shift", "tickets a seen fault"),
    "faults with more than one ticket",
)

Outcome = Mapping[str, Sequence[Message]]


def put(page: str, text: str) -> str:
    """Return a page with the text between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def render(before: Outcome, after: Outcome, seed: int) -> str:
    """Return both tables, and what the week had of coincidences."""
    lines = [
        "| fault (before → after) | of 419 | pages | tickets | open until repaired |",
        "|---|---|---|---|---|",
        *(_kind_row(kind, before, after) for kind in (*KINDS, *RARE)),
        "",
        f"| {NODES:,} nodes, seed {seed} (before → after) | {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|---|---|",
        *(_week_row(name, rate, before, after, seed) for name, rate in RATES.items()),
        "",
        *(_coincidence(name, rate, seed) for name, rate in RATES.items()),
    ]
    return "\n".join(lines)


def pages(found: Sequence[Message]) -> list[Message]:
    """Return those that wake somebody."""
    return [message for message in found if message.receiver == PAGER]


def tickets(found: Sequence[Message]) -> list[Message]:
    """Return those that are tickets."""
    return [message for message in found if message.receiver != PAGER]


def lasts(found: Sequence[Message]) -> bool:
    """Return whether one of a fault's messages is open from its begin to its repair."""
    return any(message.end >= BEGIN_MINUTES + REPAIR_MINUTES for message in found)


def _kind_row(kind: Kind, before: Outcome, after: Outcome) -> str:
    if not kind.seen:
        return f"| {kind.name} | {kind.share} | - | - | - |"
    was, now = before[kind.name], after[kind.name]
    held = " → ".join("yes" if lasts(found) else "no" for found in (was, now))
    share = str(kind.share) if kind.share else "rare"
    numbers = [f"{len(of(was))} → {len(of(now))}" for of in (pages, tickets)]
    return f"| {kind.name} | {share} | {numbers[0]} | {numbers[1]} | {held} |"


def _week_row(name: str, rate: float, before: Outcome, after: Outcome, seed: int) -> str:
    week = draw(rate, seed)
    seen = [fault for fault in week if fault.kind.seen]
    shifts = DAYS * 1440 // SHIFT_MINUTES
    cells: list[list[str]] = [[], [], [], []]
    for found in (before, after):
        by_shift = collections.Counter(_shifts(seen, found))
        opened = [len(tickets(found[fault.kind.name])) for fault in seen]
        cells[0].append(f"{sum(by_shift.values()) / shifts:.2f}")
        cells[1].append(str(max(by_shift.values(), default=0)))
        cells[2].append(f"{sum(opened) / len(seen):.2f}")
        cells[3].append(str(sum(each > 1 for each in opened)))
    shown = " | ".join(" → ".join(cell) for cell in cells)
    return f"| {name} | {len(week)} | {len(seen)} | {shown} |"


def _shifts(seen: Sequence[Drawn], found: Outcome) -> Iterator[int]:
    """Yield the shift of each page.

    Recordings have the longest drain. With the one that was drawn, what began after it did not.
    """
    for fault in seen:
        for page in pages(found[fault.kind.name]):
            after = page.begin - BEGIN_MINUTES
            if fault.kind.drained and page.alerts == {SICK} and after > fault.drain:
                continue
            yield int((fault.minute + page.begin - BEGIN_MINUTES) // SHIFT_MINUTES)


def _coincidence(name: str, rate: float, seed: int) -> str:
    """Return how near the week comes to alerts on many nodes, and to a repeat offender."""
    week = [fault for fault in draw(rate, seed) if fault.kind.seen]
    alike = max(
        sum(b.kind == a.kind and 0 <= b.minute - a.minute < RECENT_MINUTES for b in week)
        for a in week
    )
    together = max(sum(0 <= b.minute - a.minute < REPAIR_MINUTES for b in week) for a in week)
    nodes = collections.Counter(fault.node for fault in week)
    return (
        f"* {name}: at most {alike} of one kind within {RECENT_MINUTES} minutes, {together} nodes "
        f"in repair at once, {max(nodes.values())} faults on one node."
    )
