"""Snapshots for programs: JSON, NDJSON, CSV, and the exposition format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gpumon.clock import SYSTEM
from gpumon.documents.snapshot import Document, to_document
from gpumon.documents.write import csv_text, json_line, json_text
from gpumon.model import Snapshot, Tier

FORMATS = ("json", "ndjson", "csv", "prom")


def render(snapshot: Snapshot, form: str, *, header: bool = True) -> str:
    """Return a snapshot in one of FORMATS, with its last newline.

    ``header`` is the CSV's first line, wanted once only if rows follow each other.
    """
    if form == "prom":
        from gpumon.exposition import Encoder, Format
        from gpumon.exposition.owners import owners_of

        owners = owners_of(snapshot, SYSTEM.monotonic())
        return Encoder(Format.TEXT, Tier.FULL).encode(owners).decode()
    document = to_document(snapshot)
    if form == "csv":
        return csv_of([document], header=header)
    return json_text(document) if form == "json" else json_line(document)


def csv_of(documents: Iterable[Document], *, header: bool) -> str:
    """Return a line for each GPU of some nodes, with all columns that any of them has."""
    rows = []
    for document in documents:
        facts = {"snapshot_time": document["time"], "node": document["node"]}
        rows += [dict(_flat({**facts, **gpu}, "")) for gpu in document["gpus"]]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return csv_text(rows, columns, header=header)


def _flat(value: Document, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list):
            if not any(isinstance(each, dict) for each in item):  # a table has no room for tables
                yield f"{prefix}{key}", " ".join(map(str, item))
        else:
            yield f"{prefix}{key}", item
