"""The processes on a node's GPUs: whose, of which job, and what each takes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.documents.snapshot import Document
from gpumon.documents.write import csv_text, json_line, json_text
from gpumon.model import GpuProcess, GpuReading, Snapshot
from gpumon.times import format_time
from gpumon.views import words
from gpumon.views.console import SIMULATED, make_console, put

_FACTS = tuple(field.name for field in dataclasses.fields(GpuProcess))

_KINDS = {"compute": "C", "graphics": "G"}


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A GPU and a process on it; None if a job holds the GPU and runs nothing there.

    ``jobs`` are the jobs that hold the GPU: if it is one, the process is that job's. ``silent``
    says that the GPU does not respond: what runs there is not known.
    """

    gpu: int
    uuid: str
    jobs: tuple[str, ...]
    process: GpuProcess | None
    silent: bool = False

    @property
    def document(self) -> Document:
        """The row as programs get it."""
        known = dict.fromkeys(_FACTS) if self.process is None else dataclasses.asdict(self.process)
        return {"gpu": self.gpu, "uuid": self.uuid, "jobs": list(self.jobs), **known}


def held(snapshot: Snapshot, user: str = "", sort: str = "gpu") -> list[Held]:
    """Return a snapshot's processes, or one user's of them, in one of PROCESS_ORDERS."""
    rows = [row for gpu in snapshot.gpus for row in _of(gpu)]
    if user:
        rows = [row for row in rows if row.process and row.process.user == user]
    return sorted(rows, key=lambda row: _rank(row, sort))


def _of(gpu: GpuReading) -> Iterator[Held]:
    identity = gpu.identity
    processes: Sequence[GpuProcess | None] = gpu.held_by
    if not processes and gpu.jobs:
        processes = (None,)
    for process in processes:
        yield Held(identity.index, identity.uuid, gpu.jobs, process, not gpu.up)


def _rank(row: Held, sort: str) -> tuple[object, ...]:
    process = row.process
    last = (row.gpu, process.pid if process else 0)
    if sort == "gpu":
        return last
    if process is None:  # what is not known comes last
        return (1, 0, *last)
    key: dict[str, object] = {
        "memory": -(process.memory_bytes or 0),
        "sm": -(process.sm_ratio or 0.0),
        "user": process.user,
        "pid": process.pid,
    }
    return (0, key[sort], *last)


def write(snapshot: Snapshot, rows: Sequence[Held], form: str, *, header: bool) -> None:
    """Write processes as ``table``, ``json``, ``ndjson`` or ``csv``."""
    if form == "table":
        console = make_console()
        put(console, _parts(snapshot, rows, console.width if console.is_terminal else None))
        return
    sys.stdout.write(_text(snapshot, rows, form, header=header))
    sys.stdout.flush()


def _text(snapshot: Snapshot, found: Sequence[Held], form: str, *, header: bool) -> str:
    facts = {
        "time": format_time(snapshot.time),
        "node": snapshot.node,
        "source": snapshot.source.source,
        "simulated": snapshot.source.simulated,
    }
    processes = [row.document for row in found]
    if form == "json":
        return json_text({**facts, "processes": processes, "errors": unknown(snapshot)})
    if form == "ndjson":
        return "".join(json_line({**facts, **each}) for each in processes)
    rows = [{**facts, **each, "jobs": " ".join(each["jobs"])} for each in processes]
    return csv_text(rows, [*facts, "gpu", "uuid", "jobs", *_FACTS], header=header)


def _parts(snapshot: Snapshot, rows: Sequence[Held], width: int | None) -> Iterator[RenderableType]:
    if snapshot.source.simulated:
        yield SIMULATED
    if not snapshot.up:
        yield from (Text(f"! {error}", style="bold red") for error in snapshot.errors)
        return
    silent = unknown(snapshot)
    yield from (Text(f"! {error}", style="bold red") for error in silent)
    yield Text(summary(rows, "the others" if silent else "these GPUs"), style="bold")
    if rows:
        yield _table(rows, width)


def unknown(snapshot: Snapshot) -> list[str]:
    """Say which GPUs did not report their processes: unknown is not none."""
    return [
        f"GPU {gpu.identity.index}: its processes are not known ({gpu.state.value}: {gpu.reason})"
        for gpu in snapshot.gpus
        if not gpu.up
    ]


def summary(rows: Sequence[Held], where: str = "these GPUs") -> str:
    """Say how many processes there are, on how many GPUs, and what they hold."""
    processes = [row.process for row in rows if row.process]
    if not processes:
        return f"no process on {where}"
    memory = sum(process.memory_bytes or 0 for process in processes)
    gpus = len({row.gpu for row in rows if row.process})
    return (
        f"{len(processes)} {'process' if len(processes) == 1 else 'processes'} on "
        f"{gpus} {'GPU' if gpus == 1 else 'GPUs'}, {words.gibibytes(memory)}"
    )


TITLES = ("GPU", "PID", "kind", "user", "job", "memory", "SM", "process")
LEFT = frozenset({"kind", "user", "job", "process"})


def cells(row: Held, most: int | None) -> tuple[str, ...]:
    """Return a row's cells by TITLES; of several jobs ``most`` are named, None for all."""
    jobs = words.some(row.jobs, most)
    process = row.process
    if process is None:
        blank = words.MISSING
        runs = "(not known)" if row.silent else "(holds it, runs nothing)"
        return str(row.gpu), blank, blank, blank, jobs, blank, blank, runs
    where = str(row.gpu)
    if process.gpu_instance is not None:
        where += f"/{process.gpu_instance}"
    return (
        where,
        str(process.pid),
        _KINDS.get(process.kind, process.kind),
        process.user or words.MISSING,
        jobs,
        words.gibibytes(process.memory_bytes),
        words.share(process.sm_ratio),
        process.name or words.MISSING,
    )


def _table(rows: Sequence[Held], width: int | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in TITLES:
        table.add_column(
            title,
            justify="left" if title in LEFT else "right",
            no_wrap=title != "process",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, cells(row, 1 if width else None)))
    return table
