"""What happened on this machine, in order, for people and programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpumon.documents.write import csv_text, json_line, json_text
from gpumon.statedb.events import Event
from gpumon.times import format_time
from gpumon.views.console import put

KINDS = (
    *("xid", "sxid", "state", "counter", "driver", "reader", "job", "order", "agent"),
    *("boot", "clock", "gpu"),
)
FORMATS = ("table", "json", "ndjson", "csv")


def about(events: Iterable[Event], gpu: str | None, kinds: Iterable[str]) -> list[Event]:
    """Return the events of some kinds, and of a GPU by its index or UUID."""
    wanted = set(kinds)
    return [
        event
        for event in events
        if event.kind in wanted
        and (gpu is None or gpu in event.uuids or gpu in map(str, event.gpus))
    ]


def to_text(events: list[Event], form: str) -> str:
    """Return events as ``json``, ``ndjson`` or ``csv``."""
    documents = [_document(event) for event in events]
    if form == "json":
        return json_text({"events": documents})
    if form == "ndjson":
        return "".join(map(json_line, documents))
    rows = [
        {**one, **{name: " ".join(map(str, one[name])) for name in ("gpus", "uuids")}}
        for one in documents
    ]
    return csv_text(rows, [field.name for field in dataclasses.fields(Event)])


def show(console: Console, events: list[Event]) -> None:
    """Print events for people."""
    table = Table(box=None, pad_edge=False, show_header=bool(events), header_style="bold")
    for title in ("time", "kind", "GPU", "what"):
        table.add_column(title, overflow="fold", no_wrap=title != "what")
    for event in events:
        gpus = ",".join(map(str, event.gpus)) or (event.uuids[0] if event.uuids else "")
        step = f" → {event.next_step}" if event.next_step else ""
        doubt = f" (clock {event.clock})" if event.clock and event.kind != "clock" else ""
        what = _printable(f"{event.text}{doubt}{step}")
        table.add_row(f"{format_time(event.time)[:19]}Z", event.kind, gpus, Text(what))
    put(console, [table])


def _document(event: Event) -> dict[str, Any]:
    return {**dataclasses.asdict(event), "time": format_time(event.time)}


def _printable(text: str) -> str:
    """Return a text without what a process's or a job's name could do to a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
