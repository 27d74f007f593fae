"""A report as a table, JSON or CSV. Each says its boundary, its error and what it does not know."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from gpumon.documents.write import csv_text, json_text
from gpumon.ledger.hours import HOUR_SECONDS, Demand
from gpumon.model import Job
from gpumon.report.meter import Reconciliation
from gpumon.report.sums import JOULES_PER_KILOWATT_HOUR, UNKNOWN, Line, Report
from gpumon.sources.energy import MAX_GAP_SECONDS
from gpumon.times import format_time

BOUNDARIES = {
    "gpu": "GPUs alone (their boards, with memory): without CPUs, fans, network, losses and "
    "cooling",
    "node": "nodes behind their power supplies: GPUs, CPUs, fans and losses, without cooling",
    "facility": "nodes times PUE: with cooling and distribution",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A report with what belongs to it: its currency, its source, a meter beside it.

    ``job`` is the one that it is all about. ``recorded`` is the span of a recording (unix
    seconds), which begins and ends within an hour.
    """

    report: Report
    source: str
    job: Job | None = None
    currency: str = ""
    meter: Reconciliation | None = None
    recorded: tuple[float, float] | None = None

    @property
    def simulated(self) -> bool:
        """Whether nothing was measured."""
        return self.source.startswith("sim:")

    @property
    def span(self) -> tuple[float, float]:
        """The span that it covers (unix seconds)."""
        whole = (self.report.since * HOUR_SECONDS, self.report.until * HOUR_SECONDS)
        return self.recorded or whole


def to_json(sheet: Sheet) -> str:
    """Return the report as one document."""
    report, terms = sheet.report, sheet.report.terms
    document = {
        "since": format_time(sheet.span[0]),
        "until": format_time(sheet.span[1]),
        "source": sheet.source,
        "simulated": sheet.simulated,
        "boundary": terms.boundary,
        "by": report.by,
        "job": sheet.job.facts() if sheet.job else None,
        "error_ratio": report.error_ratio,
        "without_data_ratio": report.without_data_ratio,
        "missing": list(report.missing),
        "unpriced_joules": report.unpriced_joules,
        "active_lines": [
            {"since": format_time(line.since), "ratio": line.ratio} for line in report.active_lines
        ],
        "node_known_ratio": round(report.host_known_ratio, 6),
        "currency": sheet.currency or None,
        "price_source": terms.price.source if terms.price else None,
        "carbon_source": terms.carbon.source if terms.carbon else None,
        "pue_source": terms.pue.source if terms.pue else None,
        "demand": {boundary: _demand(demand) for boundary, demand in report.demands.items()},
        "lines": [_document(report, line) for line in report.lines],
        "total": _document(report, report.total),
        "meter": _meter(sheet.meter) if sheet.meter else None,
    }
    return json_text(document)


def to_csv(sheet: Sheet) -> str:
    """Return the lines, with a header."""
    report = sheet.report
    rows = [_document(report, line) for line in report.lines]
    return csv_text(rows, list(_document(report, report.total)))


def to_table(console: Console, sheet: Sheet) -> None:
    """Print the report for people."""
    report = sheet.report
    if sheet.simulated:
        console.print("SIMULATED: no hardware was measured", style="bold magenta")
    if sheet.job:
        console.print(heading(sheet.job), style="bold", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(report.by)
    for title in titles(sheet):
        table.add_column(title, justify="right")
    for line in (*report.lines, report.total):
        if line is report.total:
            table.add_section()
        style = "bold" if line is report.total else ""
        table.add_row(name_of(line), *cells(report, line), style=style)
    console.print(table)
    for note in notes(sheet):
        console.print(note, style="dim", markup=False)


def heading(job: Job) -> str:
    """Return who a job is, in a line."""
    of = f"of {job.user}" if job.user else ""
    facts = (("account", job.account), ("partition", job.partition))
    told = ", ".join(f"{name} {value}" for name, value in facts if value)
    return " ".join(filter(None, (f"Job {job.job_id}", job.name, of, f"({told})" if told else "")))


def titles(sheet: Sheet) -> list[str]:
    """Return the columns beside the first."""
    report = sheet.report
    _, unit = unit_of(report)
    return [
        f"GPU {unit}",
        *([f"node {unit}"] if report.host_known_ratio else []),
        *([f"facility {unit}"] if report.terms.pue and report.host_known_ratio else []),
        "GPU h held",
        "active",
        "mean W",
        f"waste {unit}",
        *([sheet.currency or "cost"] if report.terms.price else []),
        *(["kg CO2e"] if report.terms.carbon else []),
    ]


def unit_of(report: Report) -> tuple[float, str]:
    """Return the unit in which the report's energies are easily read, and its joules."""
    total = report.total.energy_joules
    if total < JOULES_PER_KILOWATT_HOUR:
        return JOULES_PER_KILOWATT_HOUR / 1000, "Wh"
    if total < 10_000 * JOULES_PER_KILOWATT_HOUR:
        return JOULES_PER_KILOWATT_HOUR, "kWh"
    return JOULES_PER_KILOWATT_HOUR * 1000, "MWh"


def name_of(line: Line) -> str:
    """Return a line's key with what else is known of it."""
    return f"{line.key}  {line.name}" if line.name else line.key


def cells(report: Report, line: Line) -> Iterator[str]:
    """Yield a line's figures, by the titles."""
    joules, _ = unit_of(report)
    yield number(line.energy_joules / joules, 3)
    if report.host_known_ratio:
        yield number(line.node_joules / joules, 3)
        if report.terms.pue:
            yield number((line.facility_joules or 0.0) / joules, 3)
    held = line.held_seconds
    yield number(held / 3600, 2) if held else "-"
    yield f"{line.active_seconds / held:.0%}" if held else "-"
    yield number(line.mean_power_watts, 0)
    yield number(line.waste_joules / joules, 3)
    if report.terms.price:
        yield number(line.cost, 2)
    if report.terms.carbon:
        yield number(None if line.carbon_grams is None else line.carbon_grams / 1000, 3)


def notes(sheet: Sheet) -> Iterator[str]:
    """Yield what a reader of the figures must know."""
    report, terms = sheet.report, sheet.report.terms
    since, until = (format_time(moment)[:19] for moment in sheet.span)
    yield f"{since}Z to {until}Z{'.' if sheet.recorded else ', by whole hours.'}"
    charged = " and charged" if terms.price or terms.carbon else ""
    yield f"Boundary{charged}: {BOUNDARIES[terms.boundary]}."
    idle = _idle(report)
    yield f"{'' if sheet.simulated else _accuracy(sheet)}waste is held and idle{idle}."
    if report.by == "user" and any(line.key == UNKNOWN for line in report.lines):
        yield (
            "Unknown users: agents show whose a job is only with --web.expose-users, or to a "
            "scrape with a password."
        )
    yield from _node_notes(report)
    for boundary, demand in report.demands.items():
        yield (
            f"Highest 15 minutes ({boundary}): {demand.watts / 1000:,.1f} kW from "
            f"{format_time(demand.time)[:16]}Z."
        )
    if report.without_data_ratio and sheet.recorded:
        yield (
            f"No data for {report.without_data_ratio:.1%} of the GPUs' time in this span: what was "
            f"drawn then is not known. Holes of up to {MAX_GAP_SECONDS:.0f} s are filled by the "
            "mean of the power at their ends."
        )
    elif report.without_data_ratio:
        yield f"No data for {report.without_data_ratio:.1%} of the hours in this span."
    elif sheet.recorded and report.without_data_ratio is not None:
        yield "There is data for all of the GPUs' time in this span."
    yield from report.missing
    for what, factor in (("Price", terms.price), ("Carbon", terms.carbon)):
        if factor:
            yield f"{what} per kWh: {factor.source}."
    if report.unpriced_joules:
        kilowatt_hours = report.unpriced_joules / JOULES_PER_KILOWATT_HOUR
        yield f"{kilowatt_hours:.3f} kWh are of hours without a price or carbon value."
    if sheet.meter:
        yield from _meter_notes(sheet.meter)


def _idle(report: Report) -> str:
    """Return below which activity a GPU was idle, and since when if that was changed."""
    if not report.active_lines:
        return ""
    first, *later = report.active_lines
    told = [f"activity below {100 * first.ratio:g} %"]
    told += [f"from {format_time(r.since)[:16]}Z on below {100 * r.ratio:g} %" for r in later]
    return f" ({', '.join(told)})"


def _accuracy(sheet: Sheet) -> str:
    """Return how far off the joules may be; of a recording with holes nobody knows that."""
    error = f"{sheet.report.error_ratio:.0%}"
    if sheet.recorded and sheet.report.without_data_ratio:
        return f"The boards' own sensors are off by up to {error}, while there is data; "
    return f"GPU joules to within {error} (the boards' own sensors); "


def _node_notes(report: Report) -> Iterator[str]:
    if not report.host_known_ratio:
        return
    total = report.total
    measured = 1 - total.estimated_joules / total.host_joules if total.host_joules else 1.0
    yield (
        f"What nodes draw beyond GPUs is known for {report.host_known_ratio:.1%} of the GPUs' "
        f"energy; {measured:.0%} of it is measured, the rest estimated."
    )
    if report.terms.pue:
        yield f"PUE, on node energy: {report.terms.pue.source}."


def _meter_notes(meter: Reconciliation) -> Iterator[str]:
    yield (
        f"Meter {meter.meter}, {format_time(meter.since)} to {format_time(meter.until)}: "
        f"{_kilojoules(meter.meter_joules, meter.meter_interval)}."
    )
    explained = meter.explained_ratio
    yield (
        f"Reckoned ({meter.boundary}) for the same time: "
        f"{_kilojoules(meter.joules, meter.interval)}, "
        f"{'-' if explained is None else format(explained, '.1%')} of the meter's; the intervals "
        f"{'meet' if meter.agrees else 'do not meet'}."
    )
    yield f"Grounds: {'; '.join(meter.grounds)}."


def _kilojoules(joules: float, interval: tuple[float, float]) -> str:
    low, high = interval
    unit, name = (
        (1000, "kJ") if joules < JOULES_PER_KILOWATT_HOUR else (JOULES_PER_KILOWATT_HOUR, "kWh")
    )
    return f"{joules / unit:,.3f} {name} ({low / unit:,.3f} to {high / unit:,.3f})"


def number(value: float | None, digits: int) -> str:
    """Write a number for people."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _demand(demand: Demand) -> dict[str, Any]:
    return {"time": format_time(demand.time), "power_watts": demand.watts}


def _meter(meter: Reconciliation) -> dict[str, Any]:
    return {
        "meter": meter.meter,
        "since": format_time(meter.since),
        "until": format_time(meter.until),
        "boundary": meter.boundary,
        "energy_joules": meter.joules,
        "energy_interval_joules": list(meter.interval),
        "meter_energy_joules": meter.meter_joules,
        "meter_energy_interval_joules": list(meter.meter_interval),
        "explained_ratio": meter.explained_ratio,
        "agrees": meter.agrees,
        "grounds": list(meter.grounds),
    }


def _document(report: Report, line: Line) -> dict[str, Any]:
    known = bool(report.host_known_ratio)
    return {
        "key": line.key,
        "name": line.name,
        "energy_joules": round(line.energy_joules, 3),
        "node_energy_joules": round(line.node_joules, 3) if known else None,
        "node_estimated_joules": round(line.estimated_joules, 3) if known else None,
        "facility_energy_joules": line.facility_joules if known else None,
        "waste_joules": round(line.waste_joules, 3),
        "held_seconds": round(line.held_seconds, 3),
        "active_seconds": round(line.active_seconds, 3),
        "mean_power_watts": line.mean_power_watts,
        "cost": line.cost,
        "carbon_grams": line.carbon_grams,
    }
