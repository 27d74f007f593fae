"""A report as a table, JSON or CSV. Each says its boundary, its error and what it does not know."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from gpumon.report.hours import HOUR_SECONDS
from gpumon.report.sums import JOULES_PER_KILOWATT_HOUR, Line, Report
from gpumon.times import format_time

FORMATS = ("table", "json", "csv")

BOUNDARY = "GPUs alone (their boards, with memory): without CPUs, fans, network, losses and cooling"


def to_json(report: Report, currency: str, source: str) -> str:
    """Return the report as one document."""
    document = {
        "schema": 1,
        "since": format_time(report.since * HOUR_SECONDS),
        "until": format_time(report.until * HOUR_SECONDS),
        "source": source,
        "simulated": source.startswith("sim:"),
        "boundary": "gpu",
        "by": report.by,
        "error_ratio": report.error_ratio,
        "without_data_ratio": report.without_data_ratio,
        "unpriced_joules": report.unpriced_joules,
        "currency": currency or None,
        "price_source": report.price.source if report.price else None,
        "carbon_source": report.carbon.source if report.carbon else None,
        "lines": [_document(line) for line in report.lines],
        "total": _document(report.total),
    }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(report: Report) -> str:
    """Return the lines, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_document(report.total)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_document(line) for line in report.lines)
    return text.getvalue()


def to_table(console: Console, report: Report, currency: str, source: str) -> None:
    """Print the report for people."""
    if source.startswith("sim:"):
        console.print("SIMULATED: no hardware was measured", style="bold magenta")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(report.by)
    titles = ["kWh", "GPU h held", "active", "mean W", "waste kWh"]
    titles += [currency or "cost"] if report.price else []
    titles += ["kg CO2e"] if report.carbon else []
    for title in titles:
        table.add_column(title, justify="right")
    for line in (*report.lines, report.total):
        if line is report.total:
            table.add_section()
        name = f"{line.key}  {line.name}" if line.name else line.key
        table.add_row(name, *_cells(report, line), style="bold" if line is report.total else "")
    console.print(table)
    for note in notes(report):
        console.print(note, style="dim")


def notes(report: Report) -> Iterator[str]:
    """Yield what a reader of the figures must know."""
    since, until = (format_time(h * HOUR_SECONDS)[:16] for h in (report.since, report.until))
    yield f"{since}Z to {until}Z, by whole hours."
    yield f"Boundary: {BOUNDARY}."
    yield (
        f"Joules to within {report.error_ratio:.0%} (the boards' own sensors); waste is held and "
        "idle."
    )
    if report.without_data_ratio:
        yield f"No data for {report.without_data_ratio:.1%} of the GPUs' hours in this span."
    for what, factor in (("Price", report.price), ("Carbon", report.carbon)):
        if factor:
            yield f"{what} per kWh: {factor.source}."
    if report.unpriced_joules:
        kilowatt_hours = report.unpriced_joules / JOULES_PER_KILOWATT_HOUR
        yield f"{kilowatt_hours:.3f} kWh are of hours before the first price or carbon value."


def _cells(report: Report, line: Line) -> Iterator[str]:
    yield _number(line.energy_joules / JOULES_PER_KILOWATT_HOUR, 3)
    held = line.held_seconds
    yield _number(held / 3600, 2) if held else "-"
    yield f"{line.active_seconds / held:.0%}" if held else "-"
    watts = line.mean_power_watts if line is not report.total else None
    yield _number(watts, 0)
    yield _number(line.waste_joules / JOULES_PER_KILOWATT_HOUR, 3)
    if report.price:
        yield _number(line.cost, 2)
    if report.carbon:
        yield _number(None if line.carbon_grams is None else line.carbon_grams / 1000, 3)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _document(line: Line) -> dict[str, Any]:
    return {
        "key": line.key,
        "name": line.name,
        "energy_joules": round(line.energy_joules, 3),
        "waste_joules": round(line.waste_joules, 3),
        "held_seconds": round(line.held_seconds, 3),
        "active_seconds": round(line.active_seconds, 3),
        "mean_power_watts": line.mean_power_watts,
        "cost": line.cost,
        "carbon_grams": line.carbon_grams,
    }
