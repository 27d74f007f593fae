"""A report as one HTML file: table, notes and two plots; no script, nothing from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from gpumon.ledger.hours import HOUR_SECONDS
from gpumon.report.render import Sheet, cells, heading, name_of, notes, titles
from gpumon.report.sums import JOULES_PER_KILOWATT_HOUR
from gpumon.times import format_time

MOST_BARS = 15
"""Lines that are drawn; the table has them all."""

MOST_COLUMNS = 120
"""Columns over time; more hours than that are drawn by the day, or by several."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #6a737d; --bar: #2f7d32; --waste: #c77700;
  --line: #d8dee4; --page: #ffffff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --bar: #4caf50;
  --waste: #ffb74d; --line: #30363d; --page: #0d1117 } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
.simulated { color: #b5179e; font-weight: bold }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere }
tr.total { font-weight: bold } p.note { color: var(--soft); margin: .2rem 0 }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif } svg { width: 100%; height: auto }
.bar { fill: var(--bar) } .waste { fill: var(--waste) } .axis { stroke: var(--line) }
"""


def to_html(sheet: Sheet) -> str:
    """Return the report as a page."""
    report = sheet.report
    since, until = (format_time(h * HOUR_SECONDS)[:16] for h in (report.since, report.until))
    what = heading(sheet.job) if sheet.job else f"GPU energy by {report.by}"
    title = f"{what}, {since}Z to {until}Z"
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            '<p class="simulated">SIMULATED: no hardware was measured</p>'
            if sheet.simulated
            else "",
            "<h2>Who drew most</h2>",
            *_bars(sheet),
            "<h2>When</h2>",
            *_columns(report.by_hour, report.since, report.until),
            "<h2>All</h2>",
            *_table(sheet),
            *(f'<p class="note">{escape(note)}</p>' for note in notes(sheet)),
            f'<p class="note">From {escape(sheet.source)}.</p></body></html>\n',
        )
    )


def _table(sheet: Sheet) -> Iterator[str]:
    report = sheet.report
    yield '<div class="wide"><table><thead><tr>'
    yield _row((report.by, *titles(sheet)), "th")
    yield "</tr></thead><tbody>"
    for line in report.lines:
        yield f"<tr>{_row((name_of(line), *cells(report, line)))}</tr>"
    total = report.total
    yield f'<tr class="total">{_row((name_of(total), *cells(report, total)))}</tr>'
    yield "</tbody></table></div>"


def _row(texts: Sequence[str], tag: str = "td") -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _bars(sheet: Sheet) -> Iterator[str]:
    """Draw the energy of the first lines, with its waste."""
    lines = sheet.report.lines[:MOST_BARS]
    most = max((line.energy_joules for line in lines), default=0.0) or 1.0
    height = 24 * len(lines)
    yield f'<svg viewBox="0 0 800 {height}" role="img" aria-label="energy and waste by line">'
    for at, line in enumerate(lines):
        top, width = 24 * at, 420 * line.energy_joules / most
        idle = 420 * line.waste_joules / most
        name = name_of(line)
        short = name if len(name) <= 34 else f"{name[:33]}…"
        yield f'<text x="0" y="{top + 16}">{escape(short)}<title>{escape(name)}</title></text>'
        yield f'<rect class="bar" x="250" y="{top + 4}" width="{width:.1f}" height="16"/>'
        yield f'<rect class="waste" x="250" y="{top + 4}" width="{idle:.1f}" height="16"/>'
        energy = _kilowatt_hours(line.energy_joules)
        yield f'<text x="{256 + width:.1f}" y="{top + 16}">{energy}</text>'
    yield '</svg><p class="note">Orange: held and idle.</p>'


def _columns(by_hour: Mapping[int, float], since: int, until: int) -> Iterator[str]:
    """Draw mean power over time."""
    hours = max(1, -(-(until - since) // MOST_COLUMNS))
    hours = hours if hours <= 1 else -(-hours // 24) * 24
    watts: dict[int, float] = {}
    for hour, joules in by_hour.items():
        start = since + (hour - since) // hours * hours
        watts[start] = watts.get(start, 0.0) + joules / (min(hours, until - start) * HOUR_SECONDS)
    most = max(watts.values(), default=0.0) or 1.0
    width = 740 / max(1, -(-(until - since) // hours))
    yield '<svg viewBox="0 0 800 200" role="img" aria-label="mean power of the GPUs over time">'
    yield '<line class="axis" x1="60" y1="170" x2="800" y2="170"/>'
    yield f'<text x="60" y="12">{most / 1000:,.1f} kW</text><text x="40" y="174">0</text>'
    for start, power in watts.items():
        left, tall = 60 + width * (start - since) / hours, 150 * power / most
        moment = format_time(start * HOUR_SECONDS)[:16]
        yield (
            f'<rect class="bar" x="{left:.1f}" y="{170 - tall:.1f}" width="{width * 0.9:.1f}" '
            f'height="{tall:.1f}"><title>{moment}Z: {power / 1000:,.1f} kW</title></rect>'
        )
    for hour, anchor, x in ((since, "start", 60), (until, "end", 800)):
        label = format_time(hour * HOUR_SECONDS)[:16]
        yield f'<text x="{x}" y="190" text-anchor="{anchor}">{label}Z</text>'
    per = "hour" if hours == 1 else f"{hours // 24} days" if hours > 24 else "day"
    yield f'</svg><p class="note">Mean power of the GPUs, a column for each {per}.</p>'


def _kilowatt_hours(joules: float) -> str:
    return f"{joules / JOULES_PER_KILOWATT_HOUR:,.2f} kWh"
