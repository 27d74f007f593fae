"""The header of an nvidia-smi log: which column is what."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from gpumon.model import GpuReading, Metric, group_of
from gpumon.sources.replay.columns import COLUMNS

_COLUMN = re.compile(r"(?P<name>[A-Za-z0-9_.]+)(?: \[(?P<unit>[^\]]+)\])?")

TIME = "timestamp"

MEAN_POWER = "power.draw.average"
"""The column that is a mean over a second wherever the board makes one."""

_IDENTITY = {
    "index": "index",
    "uuid": "uuid",
    "gpu_uuid": "uuid",
    "name": "name",
    "gpu_name": "name",
    "serial": "serial",
    "gpu_serial": "serial",
    "pci.bus_id": "pci_bus_id",
    "gpu_bus_id": "pci_bus_id",
    "vbios_version": "vbios_version",
}

NAMES_THE_GPU = ("uuid", "pci_bus_id", "index")
"""Facts of which one is enough to know a GPU again, the surest first."""

_ASKED = ("name", "uuid", "serial", "vbios_version")
"""Facts that nvidia-smi asks the GPU for; a number and an address it knows without it."""

_NOT_ITS_OWN = frozenset({TIME, "count", "driver_version", *_IDENTITY})
"""Columns that say nothing of how the GPU is; so do all that begin with pci."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that carries a metric."""

    position: int
    title: str
    unit: str
    metric: Metric
    key: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Header:
    """What the columns of a log are.

    ``readings`` and ``names`` are the positions of what the GPU is asked for each time, and of what
    it says it is; ``names_the_gpu`` is whether rows say which GPU they are about, and ``sampled``
    whether power may be samples that do not see all of the time.
    """

    line: str
    width: int
    timestamp: int
    identity: Mapping[str, int]
    columns: tuple[Column, ...]
    readings: tuple[int, ...]
    names: tuple[int, ...]
    names_the_gpu: bool
    sampled: bool


def parse_header(line: str) -> Header | None:
    """Return what a line says that the columns are; None if it is not a header."""
    if TIME not in line:
        return None
    titles = [title.strip() for title in line.split(",")]
    matches = [_COLUMN.fullmatch(title) for title in titles]
    names = [match["name"] if match else "" for match in matches]
    if TIME not in names:
        return None
    units = [(match["unit"] or "") if match else "" for match in matches]
    identity = {_IDENTITY[name]: at for at, name in enumerate(names) if name in _IDENTITY}
    columns = tuple(_columns(titles, names, units))
    return Header(
        line=line.strip(),
        width=len(titles),
        timestamp=names.index(TIME),
        identity=identity,
        columns=columns,
        readings=tuple(
            at
            for at, name in enumerate(names)
            if name not in _NOT_ITS_OWN and not name.startswith("pci.")
        ),
        names=tuple(identity[fact] for fact in _ASKED if fact in identity),
        names_the_gpu=any(fact in identity for fact in NAMES_THE_GPU),
        sampled=not any(column.title.startswith(MEAN_POWER) for column in columns),
    )


def _columns(titles: Sequence[str], names: Sequence[str], units: Sequence[str]) -> Iterator[Column]:
    group = group_of(GpuReading)
    for choice in COLUMNS:
        # Every column that is there, best first: if one has no value, the next may have.
        for name in choice.names:
            if name in names:
                at = names.index(name)
                yield Column(at, titles[at], units[at], group[choice.field], choice.key)
