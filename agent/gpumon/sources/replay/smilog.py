"""Logs of ``nvidia-smi --query-gpu=… --format=csv[,nounits]``.

``columns`` lists the columns that are understood; others are passed over. Without a column that
names the GPU, rows are distinguished by counting: nvidia-smi writes the GPUs in their order, once a
tick, and may stall for seconds within one.

Such logs are kept of sick GPUs. A cell that nvidia-smi could not read has no value. A GPU is lost
if its rows have nothing else, or stop while others go on. Messages stand among the rows; loggers
are started again on the same file, for other columns, or in the middle of a line.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpumon.errors import UsageError, printable
from gpumon.model import GpuIdentity, GpuReading, GpuState, PowerSample, SourceInfo
from gpumon.model.origins import Origins, table_of
from gpumon.sources.origins import OriginTables
from gpumon.sources.replay.cells import CellError, state_of, value_of, word_of
from gpumon.sources.replay.frame import Frame, cut_off, numbered_lines
from gpumon.sources.replay.header import TIME, Header, parse_header
from gpumon.sources.replay.messages import PassedOver, is_message, loses_the_driver, lost_gpu
from gpumon.sources.replay.roster import Roster, TwoOfOneIndexError
from gpumon.sources.replay.roworder import RowOrder
from gpumon.times import format_time

HEADER_LINES = 100
"""Lines within which a log has its header; messages may stand before it."""

_DIGITS = 6
"""Of the number of a GPU; a longer one is damaged."""

_WORDS = {
    GpuState.LOST: "GPU is lost",
    GpuState.RESET_REQUIRED: "GPU requires reset",
    GpuState.ERROR: "none of its values can be read",
}

_BEGINNING = re.compile(rf"\d{{4}}[/-]\d\d[/-]\d\d \d\d:\d\d:\d\d|{TIME}\b")
"""How a row and a header begin, if they follow the rest of a line that was cut off."""


class SmiLog:
    """A Recording over such a log."""

    def __init__(self, path: Path, gpus: int | None, tz: dt.tzinfo | None) -> None:
        """Read the header; UsageError if GPUs cannot be distinguished or there is no time.

        ``gpus`` is how many GPUs the log has, needed if no column names them. ``tz`` is the
        time zone of the log's timestamps; None is this machine's own, as nvidia-smi wrote it.
        """
        self._path = path
        self._tz = tz
        self._gpus = gpus
        header, line = _first_header(path)
        _check(header, gpus, path, line)
        self.recorded = SourceInfo("replay")
        self.node = ""
        self.sampled = header.sampled
        self.remarks: tuple[str, ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Yield a frame for each row, and for each message that says how GPUs are."""
        reading = _Pass(self._path, self._gpus, self._tz)
        for number, line, last in numbered_lines(self._path, reading.cut_off):
            try:
                yield from reading.line(number, line)
            except UsageError:
                if last:  # the writer was stopped within a line
                    break
                raise
            finally:
                self.remarks = reading.remarks
                if reading.header is not None:
                    self.sampled = reading.header.sampled
        self.remarks = reading.remarks


class _Pass:
    """One reading of the log from its beginning."""

    def __init__(self, path: Path, gpus: int | None, tz: dt.tzinfo | None) -> None:
        self.header: Header | None = None
        self.passed_over = PassedOver()
        self._path = path
        self._tz = tz
        self._gpus = gpus
        self._roster = Roster()
        self._tables = OriginTables()
        self._numbers: dict[tuple[str, ...], int] = {}
        self._count = 0
        self._time: float | None = None
        self._cut = ""
        self._order = RowOrder()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the values must know of the lines so far."""
        cut = (self._cut,) if self._cut else ()
        return (*self.passed_over.remarks, *self._order.remarks, *cut)

    def cut_off(self, line: int) -> None:
        """Take note that nothing follows a line, because the file was cut off."""
        self._cut = cut_off(line)

    def line(self, number: int, line: str) -> Iterator[Frame]:
        """Yield what a line says; UsageError names it if it is neither a row nor a message."""
        text = line.strip()
        if not text:
            return
        if self._is_header(number, text):
            return
        cells = [cell.strip() for cell in text.split(",")]
        if self.header is None or (
            not _has_a_date(cells, self.header) and is_message(text, known=True)
        ):
            yield from self._message(number, text)
            return
        try:
            frame = self._row(number, cells, self.header)
        except UsageError:
            rest = _after_a_cut(text)
            if rest is not None:
                self.passed_over.add(number, text[: -len(rest)])
                yield from self.line(number, rest)
                return
            if len(cells) == self.header.width or not is_message(text):
                raise
            yield from self._message(number, text)
            return
        if frame is None:
            self.passed_over.add(number, text)
        else:
            yield frame

    def _is_header(self, number: int, text: str) -> bool:
        """Take in a header: nvidia-smi was started again, perhaps for other columns."""
        if self.header is not None and text == self.header.line:
            self._count = 0
            return True
        header = parse_header(text)
        if header is None:
            return False
        if self.header is None or header.columns:
            _check(header, self._gpus, self._path, number)
        self.header, self._count = header, 0
        return True

    def _message(self, number: int, text: str) -> Iterator[Frame]:
        """Pass over a message, and yield what it says of GPUs."""
        self.passed_over.add(number, text)
        if self._time is None:
            return
        sick = []
        up = not loses_the_driver(text)
        about = lost_gpu(text)
        if not up:
            sick = [_without(s.identity, GpuState.ERROR, s.time, text) for s in self._roster.all()]
        elif about is not None:
            seen = self._roster.at(about[0])
            sick = [] if seen is None else [_without(seen.identity, about[1], seen.time, text)]
        errors = (text,) if not up else self.remarks
        yield Frame(self._time, tuple(sick), up=up, errors=errors, origins=self._tables.tables)

    def _row(self, number: int, cells: list[str], header: Header) -> Frame | None:
        """Return what a row says; None if it does not say when, or of which GPU."""
        if len(cells) != header.width:
            raise self._wrong(number, f"{len(cells)} columns", f"{header.width} columns")
        position = self._count % self._gpus if self._gpus else None
        stamp = cells[header.timestamp]
        time = None if word_of(stamp) is not None else self._moment(number, stamp)
        values, used = self._values(number, cells, header)
        self._count += 1
        named = header.identity.items()
        facts = {f: printable(cells[at]) for f, at in named if word_of(cells[at]) is None}
        index = facts.get("index", "0")
        if not index.isdecimal() or len(index) > _DIGITS:
            raise self._wrong(number, f"index is {index[:40]!r}", "the number of a GPU")
        state = GpuState.OK if values else _state(cells, header)
        identity = self._identify(number, facts, None if header.names_the_gpu else position)
        if identity is None and state is not GpuState.OK and time is not None:
            identity = self._roster.most_overdue()
        if identity is None or time is None:
            return None
        self._time = time
        problem = self._order.saw(number, self._roster.before(identity), time)
        if problem:
            raise self._wrong(number, problem, "the order in which it was written")
        self._roster.saw(identity, time)
        if state is GpuState.OK:
            reading = self._reading(identity, time, values, used)
        else:
            reading = _without(identity, state, time, f"{_WORDS[state]}, says the log")
        return Frame(
            time,
            (reading, *self._silent(time)),
            gone=self._roster.renamed(),
            errors=self.remarks,
            origins=self._tables.tables,
        )

    def _identify(
        self, number: int, facts: Mapping[str, str], position: int | None
    ) -> GpuIdentity | None:
        try:
            return self._roster.identify(facts, position)
        except TwoOfOneIndexError as error:
            raise self._wrong(number, str(error), "the log of one node") from None

    def _reading(
        self, identity: GpuIdentity, time: float, values: Mapping[str, Any], used: tuple[str, ...]
    ) -> GpuReading:
        watts = values.get("power_watts")
        return GpuReading(
            identity=identity,
            state=GpuState.OK,
            time=time,
            power_samples=() if watts is None else (PowerSample(time, watts),),
            origins=self._numbers[used],
            **values,
        )

    def _silent(self, time: float) -> Iterator[GpuReading]:
        for seen in self._roster.newly_silent(time):
            since = format_time(seen.time)[:19]
            reason = f"the log has no rows of it since {since}Z, and goes on with others"
            yield _without(seen.identity, GpuState.ERROR, seen.time, reason)

    def _values(
        self, number: int, cells: list[str], header: Header
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return a row's values by field, and the titles of the columns they were taken from."""
        values: dict[str, Any] = {}
        used = []
        taken: set[tuple[str, tuple[str, ...]]] = set()
        for column in header.columns:
            name = column.metric.field, column.key
            if name in taken:
                continue
            try:
                value = value_of(cells[column.position], column.title, column.unit, column.metric)
            except CellError as error:
                raise self._wrong(number, error.problem, error.expected) from None
            if value is None:
                continue
            taken.add(name)
            used.append(column)
            if column.key:
                key = column.key[0] if len(column.key) == 1 else column.key
                values.setdefault(column.metric.field, {})[key] = value
            else:
                values[column.metric.field] = value
        titles = tuple(column.title for column in used)
        if titles not in self._numbers:
            table = table_of((c.metric.field, c.key, f"column {c.title}") for c in used)
            self._numbers[titles] = self._tables.number(_with_energy(table))
        return values, titles

    def _moment(self, number: int, text: str) -> float:
        try:
            moment = dt.datetime.fromisoformat(text.replace("/", "-"))
            return (moment if moment.tzinfo else moment.replace(tzinfo=self._tz)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise self._wrong(
                number, f"timestamp is {text[:40]!r}", "the form 2025/07/27 00:34:45.155"
            ) from None

    def _wrong(self, number: int, problem: str, expected: str) -> UsageError:
        return UsageError(f"{self._path}: line {number}: {problem}", f"expected {expected}")


def _first_header(path: Path) -> tuple[Header, int]:
    """Return the header and its line's number; UsageError if there is none."""
    first = ""
    for number, line, _ in numbered_lines(path):
        header = parse_header(line.strip())
        if header is not None:
            return header, number
        first = first or line.strip()
        if number == HEADER_LINES:
            break
    said = f" (it begins: {first[:80]!r})" if is_message(first, known=True) else ""
    raise UsageError(
        f"{path}: line 1: no header with a column 'timestamp'{said}",
        "log with nvidia-smi --query-gpu=timestamp,index,power.draw,… --format=csv",
    )


def _check(header: Header, gpus: int | None, path: Path, line: int) -> None:
    """Raise UsageError if nothing can be made of the rows after a header."""
    if not header.columns:
        raise UsageError(
            f"{path}: line {line}: none of its columns is known to gpumon",
            "log at least power.draw",
        )
    if gpus is None and not header.names_the_gpu:
        raise UsageError(
            f"{path}: line {line}: no column names the GPU (index, uuid or pci.bus_id)",
            f"say how many GPUs it logs, as in replay:{path},gpus=8",
        )


def _state(cells: list[str], header: Header) -> GpuState:
    return state_of([cells[at] for at in header.readings], [cells[at] for at in header.names])


def _has_a_date(cells: list[str], header: Header) -> bool:
    return len(cells) == header.width and cells[header.timestamp][:4].isdigit()


def _after_a_cut(text: str) -> str | None:
    """Return what begins within a line: its first part was cut off when the logger was stopped."""
    found = _BEGINNING.search(text, 1)
    return None if found is None else text[found.start() :]


def _without(identity: GpuIdentity, state: GpuState, time: float, reason: str) -> GpuReading:
    return GpuReading(identity=identity, state=state, time=time, reason=reason)


def _with_energy(table: Origins) -> Origins:
    """Return the table of a row with what is made of its power."""
    if "power_watts" not in table:
        return table
    power = table["power_watts"]
    return {
        **table,
        "power_peak_watts": power,
        "power_trough_watts": power,
        "energy_joules": f"integral of {power}",
    }
