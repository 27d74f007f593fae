"""The alert drills: every alert, its fault, and what must arrive (``drill/drills.toml``)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "drill"
SITE = FOLDER / "site.toml"
THRESHOLDS = FOLDER / "thresholds.toml"
TIME_SCALE = 60

INTRODUCTION = """\
# Alert drills

Written by `python -m tests.e2e.drills`; do not edit. Each alert is provoked once by a fault of a
simulated fleet ([site.toml](../tests/e2e/drill/site.toml), 48 nodes), scraped and judged by a real
Prometheus with all times divided by {scale}, and sent by a real Alertmanager with the configuration
that ships. This table is what `tests/e2e/test_alerts.py` checks. An alert without a fault of its
own follows from another's.

To hold a drill yourself:

    gpumon simulate --site tests/e2e/drill/site.toml --fault 'hung@t02:0'
    gpumon rules export --time-scale {scale} --thresholds tests/e2e/drill/thresholds.toml --to rules

| alert | fault | arrives at | with |
|---|---|---|---|
"""

UNDRILLED = """
## What has no drill

| alert | why |
|---|---|
"""

SILENCES = """
## What is not told twice

| alert | of | why it does not arrive |
|---|---|---|
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drill:
    """An alert and its fault; ``labels`` and ``says`` are parts of what arrives at ``receiver``."""

    alert: str
    faults: tuple[str, ...]
    labels: Mapping[str, str]
    receiver: str
    says: str
    last: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silence:
    """An alert that must not arrive; with ``never`` it does not even fire."""

    alert: str
    labels: Mapping[str, str]
    why: str
    never: bool = False


def drills() -> list[Drill]:
    """Return the drills in order."""
    return [
        Drill(alert=name, **{**entry, "faults": tuple(entry["faults"])})
        for name, entry in _document().items()
        if name not in ("silent", "undrilled")
    ]


def undrilled() -> dict[str, str]:
    """Return the alerts without a drill, and why they have none."""
    return {alert: str(why) for alert, why in _document()["undrilled"].items()}


def silences() -> list[Silence]:
    """Return what must not arrive."""
    return [Silence(**entry) for entry in _document()["silent"]]


def _document() -> dict[str, dict[str, object]]:
    document: dict[str, dict[str, object]] = tomllib.loads(
        (FOLDER / "drills.toml").read_text("utf-8")
    )
    return document


def table() -> str:
    """Return the drills as ``docs/alert-drills.md``."""
    return INTRODUCTION.format(scale=TIME_SCALE) + "".join(_rows())


def _rows() -> Iterator[str]:
    for drill in drills():
        faults = "<br>".join(f"`{fault}`" for fault in drill.faults) or "-"
        yield (
            f"| [{drill.alert}](runbooks/{drill.alert}.md) | {faults} | {drill.receiver} "
            f'| {_words(drill.labels)}: "… {drill.says} …" |\n'
        )
    yield SILENCES
    for silence in silences():
        why = silence.why + (" (it does not fire)" if silence.never else "")
        yield f"| {silence.alert} | {_words(silence.labels)} | {why} |\n"
    yield UNDRILLED
    for alert, why in undrilled().items():
        yield f"| {alert} | {why} |\n"


def _words(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


if __name__ == "__main__":
    path = Path(__file__).parents[2] / "docs" / "alert-drills.md"
    path.write_text(table(), "utf-8")
