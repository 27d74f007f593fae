"""What a report is made of: joules by the hour, by job and by node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from gpumon.model import Job

HOUR_SECONDS = 3600

Progress = Callable[[int, int], None]
"""Called with how many of how many pieces of work are done."""


def silent(done: int, of: int) -> None:
    """Report no progress."""
    del done, of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HourRow:
    """What one job, or nobody (``job`` None), had of one GPU, or of one node, in one hour.

    ``hour`` counts from 1970; if nothing depends on the hour, a row may stand for the day that
    begins with it. ``method`` is empty for a GPU's own joules; for those that the node drew beyond
    its GPUs it says how they are known, ``measured`` or ``estimated``. ``idle_joules`` are those of
    ``joules`` that were drawn while the job left the GPU idle. ``gpu`` and ``uuid`` are None and
    empty if all of a node's GPUs are in one row. ``place`` has rack, row, hall and cluster as
    far as they are known; ``reason`` says why it was nobody's.
    """

    hour: int
    joules: float
    job: Job | None = None
    node: str = ""
    place: Mapping[str, str] = dataclasses.field(default_factory=dict)
    uuid: str = ""
    gpu: int | None = None
    method: str = ""
    reason: str = ""
    idle_joules: float = 0.0
    active_seconds: float = 0.0
    idle_seconds: float = 0.0


def placed(hours: Hours, places: Mapping[str, Mapping[str, str]]) -> Hours:
    """Return the hours with the places of their nodes, if the source did not report them."""
    rows = tuple(
        dataclasses.replace(row, place={**places[row.node], **row.place})
        if row.node in places
        else row
        for row in hours.rows
    )
    return dataclasses.replace(hours, rows=rows)


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """The quarter of an hour in which most was drawn: its beginning (unix seconds), mean watts."""

    time: float
    watts: float


@dataclasses.dataclass(frozen=True, slots=True)
class ActiveLine:
    """From which activity on a held GPU was active, since when (unix seconds)."""

    since: float
    ratio: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """All rows of a span, and what is not in them.

    ``without_data_ratio`` is the share of the hours of GPUs (or nodes) of which nothing is known,
    ``missing`` says of which, worst first. ``demands`` are by boundary, if they are known;
    ``error_ratio`` is how far off the GPUs' joules may be. ``active_lines`` are those by which GPUs
    were active or idle in the span, oldest first; none if that is not known.
    """

    rows: tuple[HourRow, ...]
    without_data_ratio: float | None = None
    missing: tuple[str, ...] = ()
    demands: Mapping[str, Demand] = dataclasses.field(default_factory=dict)
    error_ratio: float = 0.05
    active_lines: tuple[ActiveLine, ...] = ()
