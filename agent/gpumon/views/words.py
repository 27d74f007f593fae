"""Readings as people read them: with their unit, and a dash for what is not known."""

from __future__ import annotations

from collections.abc import Iterable

from gpumon.model import GpuReading, Snapshot
from gpumon.times import format_age

MISSING = "-"


def watts(value: float | None, of: float | None = None) -> str:
    """Return power, and of how much: ``692 / 700 W``."""
    if value is None:
        return MISSING
    return f"{value:,.0f} W" if of is None else f"{value:,.0f} / {of:,.0f} W"


def celsius(value: float | None) -> str:
    """Return degrees."""
    return MISSING if value is None else f"{value:.0f} °C"


def share(ratio: float | None) -> str:
    """Return a ratio in per cent."""
    return MISSING if ratio is None else f"{100 * ratio:.0f} %"


def gibibytes(value: float | None, of: float | None = None) -> str:
    """Return memory, and of how much: ``70.1 / 80 GiB``."""
    if value is None:
        return MISSING
    used = f"{value / 2**30:.1f}"
    return f"{used} GiB" if of is None else f"{used} / {of / 2**30:.0f} GiB"


def megahertz(value: float | None) -> str:
    """Return a clock."""
    return MISSING if value is None else f"{value / 1e6:.0f} MHz"


def energy(joules: float | None) -> str:
    """Return energy in kJ, and from one kilowatt hour on in kWh."""
    if joules is None:
        return MISSING
    kilowatt_hours = joules / 3.6e6
    return f"{joules / 1e3:,.1f} kJ" if kilowatt_hours < 1 else f"{kilowatt_hours:,.2f} kWh"


def name(gpu: GpuReading) -> str:
    """Return what a GPU is, without its maker; its UUID if it cannot say, and - without either."""
    known = gpu.identity.uuid if gpu.identity.known else MISSING
    return gpu.identity.name.removeprefix("NVIDIA ") or known


def users(gpu: GpuReading, snapshot: Snapshot) -> tuple[str, ...]:
    """Return whose a GPU's jobs are; if no job is known, whose its processes are."""
    of_jobs = {reading.job.job_id: reading.job.user for reading in snapshot.ledger.jobs}
    named = [of_jobs.get(job, "") for job in gpu.jobs] or [p.user for p in gpu.held_by]
    return tuple(dict.fromkeys(user for user in named if user))


def last_xid(gpu: GpuReading, now: float) -> str:
    """Return a GPU's last Xid and how long ago it was: ``79, 3 min ago``.

    One that waits for a reset comes before any later one that does not.
    """
    waits = gpu.xid_unresolved or {}
    last = max(
        ((waits.get(c, 0), at, c) for c, at in (gpu.xid_last_timestamp_seconds or {}).items()),
        default=(),
    )
    if not last:
        return MISSING
    unresolved, at, code = last
    ago = f"{code}, {format_age(max(0.0, now - at))} ago"
    return f"{ago}, no reset since" if unresolved else ago


def some(names: tuple[str, ...], most: int | None) -> str:
    """Return names, and if there are more than ``most``, how many more."""
    if not names:
        return MISSING
    if most is None or len(names) <= most:
        return " ".join(names)
    return f"{' '.join(names[:most])} +{len(names) - most}"


def gpu_hours(seconds: float | None) -> str:
    """Return time in which GPUs were held, each counted: ``3.2 GPU h``."""
    return MISSING if seconds is None else f"{seconds / 3600:,.2f} GPU h"


def spans(numbers: Iterable[int]) -> str:
    """Return sorted numbers with runs drawn together: ``0-3,6``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
