"""Logs of ``nvidia-smi --query-gpu=… --format=csv[,nounits]``.

``columns`` lists the columns that are understood; others are passed over. Without a column that
names the GPU, rows are told apart by counting: nvidia-smi writes the GPUs in their order, once a
tick, and may stall for seconds within one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpumon.errors import UsageError
from gpumon.model import (
    GpuIdentity,
    GpuReading,
    GpuState,
    Metric,
    PowerSample,
    SourceInfo,
    group_of,
)
from gpumon.model.origins import Origins, table_of
from gpumon.sources.clockmask import throttle_reasons
from gpumon.sources.replay.columns import COLUMNS
from gpumon.sources.replay.frame import Frame, numbered_lines
from gpumon.sources.tables import OriginTables

_COLUMN = re.compile(r"(?P<name>[A-Za-z0-9_.]+)(?: \[(?P<unit>[^\]]+)\])?")
_VALUE = re.compile(r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+))(?: ?(?P<unit>[A-Za-z/%]+))?")

_FACTORS = {"W": 1, "MiB": 1 << 20, "KiB": 1 << 10, "MHz": 1_000_000, "C": 1, "": 1}

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
_STATES = {
    "[GPU is lost]": GpuState.LOST,
    "[GPU requires reset]": GpuState.RESET_REQUIRED,
    "[Unknown Error]": GpuState.ERROR,
}
"""What nvidia-smi writes into every cell of a GPU that it cannot read."""

MEAN_POWER = "power.draw.average"
"""The column that is a mean over a second wherever the board makes one."""

_NAMES_THE_GPU = ("index", "uuid", "pci_bus_id")


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column that carries a metric."""

    position: int
    title: str
    unit: str
    metric: Metric
    key: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Header:
    """What the columns of a log are."""

    line: str
    width: int
    timestamp: int
    identity: Mapping[str, int]
    columns: tuple[_Column, ...]

    @property
    def names_the_gpu(self) -> bool:
        return any(field in self.identity for field in _NAMES_THE_GPU)


class SmiLog:
    """A Recording over such a log."""

    def __init__(self, path: Path, gpus: int | None, tz: dt.tzinfo | None) -> None:
        """Read the header; UsageError where the log cannot be told apart or has no time.

        ``gpus`` is how many GPUs the log has, needed where no column names them. ``tz`` is the
        time zone of the log's timestamps; None is this machine's own, as nvidia-smi wrote it.
        """
        self._path = path
        self._tz = tz
        self._header = self._read_header()
        self._gpus = gpus
        if gpus is None and not self._header.names_the_gpu:
            raise UsageError(
                f"{path}: no column names the GPU (index, uuid or pci.bus_id)",
                f"say how many GPUs it logs, as in replay:{path},gpus=8",
            )
        self.recorded = SourceInfo("replay")
        self.node = ""
        self.sampled = not any(c.title.startswith(MEAN_POWER) for c in self._header.columns)

    def frames(self) -> Iterator[Frame]:
        """Yield a frame for each row."""
        header = self._header
        identities: dict[tuple[str, ...], GpuIdentity] = {}
        tables = OriginTables()
        numbers: dict[tuple[int, ...], int] = {}
        count = 0
        for number, line, last in numbered_lines(self._path):
            if not line.strip():
                continue
            if line.strip() == header.line:  # nvidia-smi was started again on the same file
                count = 0
                continue
            try:
                cells = [cell.strip() for cell in line.split(",")]
                if len(cells) != header.width:
                    raise self._wrong(number, f"{len(cells)} columns", f"{header.width} columns")
                time = self._time(number, cells[header.timestamp])
                position = count % self._gpus if self._gpus else count
                identity = _identity(header, cells, position, identities)
                values, used = self._values(number, cells)
                if used not in numbers:
                    numbers[used] = tables.number(self._where_from(used))
                reading = _reading(cells, identity, time, values, numbers[used])
            except UsageError:
                if last:  # the writer was stopped within a line
                    return
                raise
            count += 1
            yield Frame(time, (reading,), origins=tables.tables)

    def _values(self, number: int, cells: list[str]) -> tuple[dict[str, Any], tuple[int, ...]]:
        """Return a row's values by field, and which of the columns they were taken from."""
        values: dict[str, Any] = {}
        used: list[int] = []
        if _state(cells) is not GpuState.OK:
            return values, ()
        taken: set[tuple[str, tuple[str, ...]]] = set()
        for at, column in enumerate(self._header.columns):
            name = column.metric.field, column.key
            value = None if name in taken else self._value(number, column, cells[column.position])
            if value is None:
                continue
            taken.add(name)
            used.append(at)
            if column.key:
                key = column.key[0] if len(column.key) == 1 else column.key
                values.setdefault(column.metric.field, {})[key] = value
            else:
                values[column.metric.field] = value
        return values, tuple(used)

    def _where_from(self, used: tuple[int, ...]) -> Origins:
        """Return the table of a row whose values were taken from these columns."""
        columns = [self._header.columns[at] for at in used]
        table = table_of((c.metric.field, c.key, f"column {c.title}") for c in columns)
        if "power_watts" in table:
            table["power_peak_watts"] = table["power_trough_watts"] = table["power_watts"]
            table["energy_joules"] = f"integral of {table['power_watts']}"
        return table

    def _value(self, number: int, column: _Column, text: str) -> Any:
        """Return a cell in the metric's base unit, or None where nvidia-smi had no value."""
        if text.startswith("[") or text in ("N/A", ""):
            return None
        if column.metric.states:
            try:
                return throttle_reasons(int(text, 16))
            except ValueError:
                raise self._wrong(number, f"{column.title} is {text!r}", "0x…") from None
        match = _VALUE.fullmatch(text)
        unit = (match["unit"] or column.unit) if match else ""
        if match is None or (unit != "%" and unit not in _FACTORS):
            example = f"'72.36 {column.unit}'" if column.unit else "'72'"
            raise self._wrong(
                number, f"{column.title} is {text!r}", f"a number such as {example}, or [N/A]"
            )
        value = float(match["number"])
        if not math.isfinite(value):
            raise self._wrong(number, f"{column.title} is {text[:20]!r}…", "a number")
        if unit == "%":
            return value / 100
        value *= _FACTORS[unit]
        return int(value) if column.metric.unit in ("", "bytes", "hertz") else value

    def _time(self, number: int, text: str) -> float:
        try:
            moment = dt.datetime.fromisoformat(text.replace("/", "-"))
        except ValueError:
            raise self._wrong(
                number, f"timestamp is {text!r}", "the form 2025/07/27 00:34:45.155"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._tz)
        return moment.timestamp()

    def _wrong(self, number: int, problem: str, expected: str) -> UsageError:
        return UsageError(f"{self._path}: line {number}: {problem}", f"expected {expected}")

    def _read_header(self) -> _Header:
        line = next((text for _, text, _ in numbered_lines(self._path) if text.strip()), "")
        titles = [title.strip() for title in line.split(",")]
        matches = [_COLUMN.fullmatch(title) for title in titles]
        names = [match["name"] if match else "" for match in matches]
        if "timestamp" not in names:
            raise UsageError(
                f"{self._path}: line 1: no header with a column 'timestamp'",
                "log with nvidia-smi --query-gpu=timestamp,index,power.draw,… --format=csv",
            )
        units = [(match["unit"] or "") if match else "" for match in matches]
        columns = tuple(_columns(titles, names, units))
        if not columns:
            raise UsageError(
                f"{self._path}: line 1: none of its columns is known to gpumon",
                "log at least power.draw",
            )
        return _Header(
            line=line.strip(),
            width=len(titles),
            timestamp=names.index("timestamp"),
            identity={_IDENTITY[name]: i for i, name in enumerate(names) if name in _IDENTITY},
            columns=columns,
        )


def _state(cells: list[str]) -> GpuState:
    return next((_STATES[cell] for cell in cells if cell in _STATES), GpuState.OK)


def _reading(
    cells: list[str], identity: GpuIdentity, time: float, values: dict[str, Any], origins: int
) -> GpuReading:
    state = _state(cells)
    watts = values.get("power_watts")
    return GpuReading(
        identity=identity,
        state=state,
        time=time,
        reason="" if state is GpuState.OK else "says the log",
        power_samples=() if watts is None else (PowerSample(time, watts),),
        origins=origins,
        **values,
    )


def _columns(titles: list[str], names: list[str], units: list[str]) -> Iterator[_Column]:
    group = group_of(GpuReading)
    for choice in COLUMNS:
        # Every column that is there, best first: if one has no value, the next may have.
        for name in choice.names:
            if name in names:
                at = names.index(name)
                yield _Column(at, titles[at], units[at], group[choice.field], choice.key)


def _identity(
    header: _Header,
    cells: list[str],
    position: int,
    known: dict[tuple[str, ...], GpuIdentity],
) -> GpuIdentity:
    """Return who a row is about; ``position`` counts rows where no column says it."""
    facts = {f: cells[at] for f, at in header.identity.items() if not cells[at].startswith("[")}
    naming = tuple(facts.get(field, "") for field in _NAMES_THE_GPU)
    key = naming if header.names_the_gpu else (str(position),)
    if key not in known:
        index = facts.get("index", "")
        number = int(index) if index.isdecimal() else len(known)
        known[key] = GpuIdentity(
            index=number,
            uuid=facts.get("uuid", f"replay-{number}"),
            name=facts.get("name", ""),
            serial=facts.get("serial", ""),
            pci_bus_id=facts.get("pci_bus_id", ""),
            vbios_version=facts.get("vbios_version", ""),
        )
    return known[key]
