"""Snapshots for people: a line for each GPU, and one that sums up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.clock import SYSTEM
from gpumon.model import GpuReading, GpuState, Snapshot
from gpumon.xids import RECOVERY, xid

MISSING = "-"

STALE_SECONDS = 10.0
"""A reading older than this is shown with its age."""

XID_SECONDS = 86400.0
"""Xids of the driver and the hardware are shown for a day; those of applications are theirs."""

LOW_MARGIN_CELSIUS = 5.0
"""Fewer degrees left than this are shown as a warning (nvml-reference: margin)."""


def make_console() -> Console:
    """Return a console for stdout: off a terminal without colour and without truncation."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=400)


def render(snapshot: Snapshot, width: int) -> RenderableType:
    """Return the whole view of a node, for a terminal of so many columns."""
    parts: list[RenderableType] = []
    if snapshot.source.simulated:
        parts.append(Text("SIMULATED: no hardware was measured", style="bold magenta"))
    parts.append(_headline(snapshot))
    if snapshot.gpus:
        parts.append(_gpus(snapshot, width))
    parts += [Text(f"! {error}", style="bold red") for error in snapshot.errors]
    parts += [Text(f"! {note}", style="bold yellow") for note in _notes(snapshot)]
    return Group(*parts)


def show(console: Console, snapshot: Snapshot) -> None:
    """Print the view of a node; off a terminal without trailing blanks."""
    if console.is_terminal:
        console.print(render(snapshot, console.width))
        return
    with console.capture() as capture:
        console.print(render(snapshot, console.width))
    for line in capture.get().splitlines():
        console.file.write(line.rstrip() + "\n")
    console.file.flush()


def _notes(snapshot: Snapshot) -> Iterator[str]:
    """Yield what of each GPU its owner should know: the driver's demands, and Xids of the day."""
    for gpu in snapshot.gpus:
        if gpu.recovery_action not in (None, "none"):
            demand = RECOVERY[gpu.recovery_action or "none"]
            yield f"gpu {gpu.identity.index}: the driver asks for {gpu.recovery_action}: {demand}"
        for code, last in (gpu.xid_last_timestamp_seconds or {}).items():
            ago = snapshot.time - last
            if ago > XID_SECONDS or xid(int(code)).xid_class == "application":
                continue
            times = (gpu.xid_errors or {}).get(code, 1)
            yield (
                f"gpu {gpu.identity.index}: Xid {code}, {xid(int(code)).meaning}, "
                f"{max(0.0, ago) / 60:.0f} min ago{f', {times} times' if times > 1 else ''}"
            )


def _headline(snapshot: Snapshot) -> Text:
    ok = sum(gpu.state is GpuState.OK for gpu in snapshot.gpus)
    there = max(len(snapshot.gpus), snapshot.gpus_expected or 0)
    moment = dt.datetime.fromtimestamp(snapshot.time).astimezone()
    words = [
        f"{snapshot.node or 'this node'}: {ok} of {there} GPUs ok",
        _power(snapshot.power.gpu_power_watts, "W"),
        f"peak {_power(snapshot.power.gpu_power_peak_watts, 'W')}",
        f"{moment:%Y-%m-%d %H:%M:%S}",
        str(snapshot.source.source)
        + (f" {snapshot.source.driver_version}" if snapshot.source.driver_version else ""),
    ]
    good = snapshot.up and ok == there and ok > 0
    return Text("  ".join(words), style="bold" if good else "bold red")


_TITLES = (
    *("GPU", "name", "state", "power", "limit", "temp", "margin", "util", "SM", "memory"),
    *("clock", "energy", "held down by"),
)

_LEFT = ("name", "state", "held down by")

_DISPENSABLE = ("energy", "clock", "name", "SM", "temp", "limit")
"""Columns a narrow terminal goes without, the first one first."""

_GAP = 2


def _gpus(snapshot: Snapshot, width: int) -> Table:
    """Return the table of the GPUs, with as many columns as a width has room for."""
    rows = [_row(gpu) for gpu in snapshot.gpus]
    widths = [
        max([len(title), *(len(row[n]) for row in rows)]) + _GAP for n, title in enumerate(_TITLES)
    ]
    shown = list(range(len(_TITLES)))
    for title in _DISPENSABLE:
        if sum(widths[n] for n in shown) - _GAP > width:
            shown.remove(_TITLES.index(title))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for n in shown:
        justify = "left" if _TITLES[n] in _LEFT else "right"
        table.add_column(_TITLES[n], justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(row[n] for n in shown))
    return table


def _row(gpu: GpuReading) -> list[Text]:
    state = gpu.state.value
    age = gpu.age(SYSTEM.monotonic())
    if age is not None and age > STALE_SECONDS:
        state += f", {age:.0f} s old"
    margin = gpu.temperature_margin_celsius
    low = margin is not None and margin < LOW_MARGIN_CELSIUS
    clock = (gpu.clock_hertz or {}).get("sm")
    reasons = sorted((gpu.throttle_reasons or frozenset()) - {"applications_clocks"})
    return [
        Text(str(gpu.identity.index)),
        Text(gpu.identity.name.removeprefix("NVIDIA ") or gpu.identity.uuid),
        Text(state, style="green" if gpu.state is GpuState.OK else "bold red"),
        Text(_power(gpu.power_watts, "W")),
        Text(_power(gpu.power_limit_watts, "W"), style="dim"),
        Text(_number(gpu.temperature_celsius, " °C")),
        Text(_number(margin, " °C"), style="bold red" if low else ""),
        Text(_share(gpu.utilization_ratio)),
        Text(_share(gpu.sm_active_ratio)),
        Text(_memory(gpu)),
        Text(MISSING if clock is None else f"{clock / 1e6:.0f} MHz"),
        Text(MISSING if gpu.energy_joules is None else _energy(gpu.energy_joules)),
        Text(" ".join(reasons), style="yellow"),
    ]


def _power(watts: float | None, unit: str) -> str:
    return MISSING if watts is None else f"{watts:,.0f} {unit}"


def _number(value: float | None, unit: str) -> str:
    return MISSING if value is None else f"{value:.0f}{unit}"


def _share(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{100 * ratio:.0f} %"


def _memory(gpu: GpuReading) -> str:
    if gpu.memory_used_bytes is None:
        return MISSING
    used = f"{gpu.memory_used_bytes / 2**30:.1f}"
    total = gpu.memory_total_bytes
    return f"{used} GiB" if total is None else f"{used} / {total / 2**30:.0f} GiB"


def _energy(joules: float) -> str:
    kilowatt_hours = joules / 3.6e6
    return f"{joules / 1e3:,.1f} kJ" if kilowatt_hours < 1 else f"{kilowatt_hours:,.2f} kWh"
